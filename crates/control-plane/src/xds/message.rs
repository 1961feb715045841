//! Encodes resources as Envoy's messages.

use std::net::SocketAddr;
use std::path::Path;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::lb_subset_config::lb_subset_selector::LbSubsetSelectorFallbackPolicy;
use envoy_types::pb::envoy::config::cluster::v3::cluster::lb_subset_config::{
    LbSubsetFallbackPolicy, LbSubsetSelector,
};
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, EdsClusterConfig, LbSubsetConfig,
};
use envoy_types::pb::envoy::config::core::v3::address::Address as AddressKind;
use envoy_types::pb::envoy::config::core::v3::api_config_source::ApiType;
use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::grpc_service::{EnvoyGrpc, TargetSpecifier};
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{
    Address, AggregatedConfigSource, ApiConfigSource, ApiVersion, AsyncDataSource, ConfigSource, DataSource,
    GrpcService, Metadata, SocketAddress, TypedExtensionConfig, async_data_source, data_source,
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
use prost::Message;
use serde_json::Value as Json;

use super::snapshot::Transport;

/// The namespace of metadata that Envoy's load balancers and the filter read.
const ENVOY_LB: &str = "envoy.lb";
/// The number of a host, in the metadata of its endpoint.
const HOST_ID: &str = "host_id";
/// Envoy refuses a cluster without any.
const CONNECT_TIMEOUT: Duration = Duration { seconds: 1, nanos: 0 };

/// A runtime layer: an object, in which objects may nest.
pub fn runtime(name: &str, layer: &Json) -> Vec<u8> {
    Runtime { name: name.to_owned(), layer: Some(fields(layer)) }.encode_to_vec()
}

/// A runtime layer without values.
pub fn empty_layer(name: &str) -> Vec<u8> {
    runtime(name, &Json::Null)
}

/// A cluster whose endpoints come from the server behind the cluster `xds`, in the way that this cluster comes. A request with a
/// host's number goes to this host or nowhere; one without goes to any. `metadata`: an object, for the namespace `envoy.lb`.
pub fn cluster(name: &str, metadata: Option<&Json>, xds: &str, transport: Transport) -> Vec<u8> {
    let by_id = LbSubsetSelector {
        keys: vec![HOST_ID.to_owned()],
        fallback_policy: LbSubsetSelectorFallbackPolicy::NoFallback.into(),
        ..LbSubsetSelector::default()
    };
    let cluster = Cluster {
        name: name.to_owned(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        eds_cluster_config: Some(EdsClusterConfig {
            eds_config: Some(source(xds, transport)),
            ..EdsClusterConfig::default()
        }),
        connect_timeout: Some(CONNECT_TIMEOUT),
        metadata: metadata.map(lb_metadata),
        lb_subset_config: Some(LbSubsetConfig {
            fallback_policy: LbSubsetFallbackPolicy::AnyEndpoint.into(),
            subset_selectors: vec![by_id],
            ..LbSubsetConfig::default()
        }),
        ..Cluster::default()
    };
    cluster.encode_to_vec()
}

fn source(xds: &str, transport: Transport) -> ConfigSource {
    let separate = |api_type: ApiType| {
        let grpc = EnvoyGrpc { cluster_name: xds.to_owned(), ..EnvoyGrpc::default() };
        let service = GrpcService {
            target_specifier: Some(TargetSpecifier::EnvoyGrpc(grpc)),
            ..GrpcService::default()
        };
        ConfigSourceSpecifier::ApiConfigSource(ApiConfigSource {
            api_type: api_type.into(),
            transport_api_version: ApiVersion::V3.into(),
            grpc_services: vec![service],
            ..ApiConfigSource::default()
        })
    };
    let source = match transport {
        Transport::Aggregated => ConfigSourceSpecifier::Ads(AggregatedConfigSource {}),
        Transport::StateOfTheWorld => separate(ApiType::Grpc),
        Transport::Incremental => separate(ApiType::DeltaGrpc),
    };
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(source),
        ..ConfigSource::default()
    }
}

/// The endpoints of a cluster, each with its metadata: an object, for the namespace `envoy.lb`.
pub fn assignment(cluster: &str, endpoints: impl IntoIterator<Item = (SocketAddr, Option<Json>)>) -> Vec<u8> {
    let endpoint = |(address, metadata): (SocketAddr, Option<Json>)| {
        let socket = SocketAddress {
            address: address.ip().to_string(),
            port_specifier: Some(PortSpecifier::PortValue(address.port().into())),
            ..SocketAddress::default()
        };
        let address = Some(Address { address: Some(AddressKind::SocketAddress(socket)) });
        LbEndpoint {
            host_identifier: Some(HostIdentifier::Endpoint(Endpoint { address, ..Endpoint::default() })),
            metadata: metadata.as_ref().map(lb_metadata),
            ..LbEndpoint::default()
        }
    };
    let lb_endpoints = endpoints.into_iter().map(endpoint).collect();
    ClusterLoadAssignment {
        cluster_name: cluster.to_owned(),
        endpoints: vec![LocalityLbEndpoints { lb_endpoints, ..LocalityLbEndpoints::default() }],
        ..ClusterLoadAssignment::default()
    }
    .encode_to_vec()
}

/// The filter with this configuration, from the module at this path. Filters with the same `vm_id` and module share a VM.
pub fn extension(name: &str, vm_id: &str, module: &Path, configuration: String) -> Vec<u8> {
    let file = DataSource {
        specifier: Some(data_source::Specifier::Filename(module.to_string_lossy().into_owned())),
        ..DataSource::default()
    };
    let vm = VmConfig {
        vm_id: vm_id.to_owned(),
        runtime: "envoy.wasm.runtime.v8".to_owned(),
        code: Some(AsyncDataSource { specifier: Some(async_data_source::Specifier::Local(file)) }),
        ..VmConfig::default()
    };
    let plugin = PluginConfig {
        name: name.to_owned(),
        failure_policy: FailurePolicy::FailReload.into(),
        configuration: Some(pack_any(StringValue { value: configuration })),
        vm: Some(Vm::VmConfig(vm)),
        ..PluginConfig::default()
    };
    let typed_config = Some(pack_any(Wasm { config: Some(plugin) }));
    TypedExtensionConfig { name: name.to_owned(), typed_config }.encode_to_vec()
}

fn lb_metadata(object: &Json) -> Metadata {
    Metadata { filter_metadata: [(ENVOY_LB.to_owned(), fields(object))].into(), ..Metadata::default() }
}

/// The members of an object; none of anything else.
fn fields(json: &Json) -> Struct {
    let members = json.as_object().into_iter().flatten();
    Struct { fields: members.map(|(name, json)| (name.clone(), value(json))).collect() }
}

fn value(json: &Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(truth) => Kind::BoolValue(*truth),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Json::String(text) => Kind::StringValue(text.clone()),
        Json::Array(items) => Kind::ListValue(ListValue { values: items.iter().map(value).collect() }),
        Json::Object(_) => Kind::StructValue(fields(json)),
    };
    Value { kind: Some(kind) }
}
