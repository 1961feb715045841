//! The resources that tests push, as Envoy's messages.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, bail};
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::lb_subset_config::LbSubsetSelector;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, EdsClusterConfig, LbSubsetConfig,
};
use envoy_types::pb::envoy::config::core::v3::address::Address as AddressKind;
use envoy_types::pb::envoy::config::core::v3::api_config_source::ApiType;
use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::grpc_service::{EnvoyGrpc, TargetSpecifier};
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{
    Address, ApiConfigSource, ApiVersion, AsyncDataSource, ConfigSource, DataSource, GrpcService, Metadata,
    SocketAddress, TypedExtensionConfig, async_data_source, data_source,
};
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints,
};
use envoy_types::pb::envoy::extensions::filters::http::wasm::v3::Wasm;
use envoy_types::pb::envoy::extensions::wasm::v3::plugin_config::Vm;
use envoy_types::pb::envoy::extensions::wasm::v3::{FailurePolicy, PluginConfig, VmConfig};
use envoy_types::pb::envoy::service::runtime::v3::Runtime;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Duration, ListValue, StringValue, Struct, Value};
use envoy_types::util::pack_any;
use serde_json::Value as Json;

use super::types::XDS_CLUSTER;

/// Where Envoy's load balancers look in metadata.
const ENVOY_LB: &str = "envoy.lb";
/// Seconds. Envoy refuses a cluster without any.
const CONNECT_TIMEOUT: i64 = 5;

/// A cluster whose endpoints come from the same server, over Envoy's cluster [`XDS_CLUSTER`].
#[derive(Debug, Clone, PartialEq)]
pub struct EdsCluster {
    name: String,
    metadata: Vec<(String, Json)>,
    subset_key: Option<String>,
}

impl EdsCluster {
    /// A round-robin cluster.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), metadata: Vec::new(), subset_key: None }
    }

    /// Gives it the metadata `envoy.lb`, a JSON object.
    #[must_use]
    pub fn metadata(self, object: Json) -> Self {
        self.metadata_of(ENVOY_LB, object)
    }

    /// Gives it metadata of any namespace, a JSON object.
    #[must_use]
    pub fn metadata_of(mut self, namespace: &str, object: Json) -> Self {
        self.metadata.push((namespace.to_owned(), object));
        self
    }

    /// Makes a subset for every value of this key, such as `host_id`, in the endpoints' metadata. A request
    /// for a value that no endpoint has gets 503.
    #[must_use]
    pub fn subsets(mut self, key: &str) -> Self {
        self.subset_key = Some(key.to_owned());
        self
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn message(&self) -> Result<Cluster> {
        let eds_config = Some(from_this_server());
        Ok(Cluster {
            name: self.name.clone(),
            cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
            eds_cluster_config: Some(EdsClusterConfig { eds_config, ..EdsClusterConfig::default() }),
            connect_timeout: Some(Duration { seconds: CONNECT_TIMEOUT, nanos: 0 }),
            metadata: metadata(&self.metadata)?,
            lb_subset_config: self.subset_key.clone().map(|key| LbSubsetConfig {
                subset_selectors: vec![LbSubsetSelector { keys: vec![key], ..LbSubsetSelector::default() }],
                ..LbSubsetConfig::default()
            }),
            ..Cluster::default()
        })
    }
}

/// A Wasm filter for an extension configuration. It uses V8 and is loaded again when it has failed.
#[derive(Debug, Clone, Copy)]
pub struct WasmFilter<'a> {
    /// Filters with the same one, and the same code, share a VM.
    pub vm_id: &'a str,
    /// The module.
    pub wasm: &'a Path,
    /// The plugin's configuration, JSON as far as the plugin cares.
    pub config: &'a str,
}

impl WasmFilter<'_> {
    pub(super) fn message(&self, name: &str) -> Result<TypedExtensionConfig> {
        let path = self.wasm.to_str().with_context(|| format!("{} is not UTF-8", self.wasm.display()))?;
        let file = DataSource {
            specifier: Some(data_source::Specifier::Filename(path.to_owned())),
            ..DataSource::default()
        };
        let vm = VmConfig {
            vm_id: self.vm_id.to_owned(),
            runtime: "envoy.wasm.runtime.v8".to_owned(),
            code: Some(AsyncDataSource { specifier: Some(async_data_source::Specifier::Local(file)) }),
            ..VmConfig::default()
        };
        let plugin = PluginConfig {
            name: name.to_owned(),
            failure_policy: FailurePolicy::FailReload.into(),
            configuration: Some(pack_any(StringValue { value: self.config.to_owned() })),
            vm: Some(Vm::VmConfig(vm)),
            ..PluginConfig::default()
        };
        let typed_config = Some(pack_any(Wasm { config: Some(plugin) }));
        Ok(TypedExtensionConfig { name: name.to_owned(), typed_config })
    }
}

pub(super) fn runtime(name: &str, layer: &Json) -> Result<Runtime> {
    let layer = object(layer).context("the runtime layer")?;
    Ok(Runtime { name: name.to_owned(), layer: Some(layer) })
}

pub(super) fn endpoints(cluster: &str, list: &[(SocketAddr, Json)]) -> Result<ClusterLoadAssignment> {
    let lb_endpoints: Result<Vec<_>> = list.iter().map(|(addr, lb)| endpoint(*addr, lb)).collect();
    let locality = LocalityLbEndpoints { lb_endpoints: lb_endpoints?, ..LocalityLbEndpoints::default() };
    Ok(ClusterLoadAssignment {
        cluster_name: cluster.to_owned(),
        endpoints: vec![locality],
        ..ClusterLoadAssignment::default()
    })
}

fn endpoint(addr: SocketAddr, lb: &Json) -> Result<LbEndpoint> {
    let socket = SocketAddress {
        address: addr.ip().to_string(),
        port_specifier: Some(PortSpecifier::PortValue(addr.port().into())),
        ..SocketAddress::default()
    };
    let address = Some(Address { address: Some(AddressKind::SocketAddress(socket)) });
    let lb = if lb.is_null() { Vec::new() } else { vec![(ENVOY_LB.to_owned(), lb.clone())] };
    Ok(LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(Endpoint { address, ..Endpoint::default() })),
        metadata: metadata(&lb).with_context(|| format!("the endpoint {addr}"))?,
        ..LbEndpoint::default()
    })
}

fn from_this_server() -> ConfigSource {
    let grpc = EnvoyGrpc { cluster_name: XDS_CLUSTER.to_owned(), ..EnvoyGrpc::default() };
    let service =
        GrpcService { target_specifier: Some(TargetSpecifier::EnvoyGrpc(grpc)), ..GrpcService::default() };
    let source = ApiConfigSource {
        api_type: ApiType::Grpc.into(),
        transport_api_version: ApiVersion::V3.into(),
        grpc_services: vec![service],
        ..ApiConfigSource::default()
    };
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(ConfigSourceSpecifier::ApiConfigSource(source)),
        ..ConfigSource::default()
    }
}

fn metadata(namespaces: &[(String, Json)]) -> Result<Option<Metadata>> {
    if namespaces.is_empty() {
        return Ok(None);
    }
    let of = |(namespace, json): &(String, Json)| {
        let fields = object(json).with_context(|| format!("the metadata {namespace}"))?;
        Ok((namespace.clone(), fields))
    };
    let filter_metadata = namespaces.iter().map(of).collect::<Result<HashMap<_, _>>>()?;
    Ok(Some(Metadata { filter_metadata, ..Metadata::default() }))
}

fn object(json: &Json) -> Result<Struct> {
    let Json::Object(fields) = json else { bail!("not a JSON object: {json}") };
    let fields = fields.iter().map(|(name, json)| Ok((name.clone(), value(json)?)));
    Ok(Struct { fields: fields.collect::<Result<_>>()? })
}

fn value(json: &Json) -> Result<Value> {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(flag) => Kind::BoolValue(*flag),
        Json::Number(number) => {
            Kind::NumberValue(number.as_f64().with_context(|| format!("not a double: {number}"))?)
        }
        Json::String(text) => Kind::StringValue(text.clone()),
        Json::Array(items) => {
            Kind::ListValue(ListValue { values: items.iter().map(value).collect::<Result<_>>()? })
        }
        Json::Object(_) => Kind::StructValue(object(json)?),
    };
    Ok(Value { kind: Some(kind) })
}
