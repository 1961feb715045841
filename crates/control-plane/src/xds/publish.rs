//! Makes resources out of what operators set.

use std::collections::BTreeMap;
use std::path::PathBuf;

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
use envoy_types::pb::google::protobuf::value::Kind as ValueKind;
use envoy_types::pb::google::protobuf::{Duration, StringValue, Struct, Value};
use envoy_types::util::pack_any;
use prost::Message;
use serde_json::Value as Json;

use super::Kind;
use super::snapshot::{Resource, Resources, Snapshot, Transport};
use crate::model::{Config, Hosts, State};

/// The namespace of metadata that Envoy's load balancers and the filter read.
const ENVOY_LB: &str = "envoy.lb";
/// The number of a host, in the metadata of its endpoint.
const HOST_ID: &str = "host_id";
/// Envoy refuses a cluster without any.
const CONNECT_TIMEOUT: Duration = Duration { seconds: 1, nanos: 0 };

/// What Envoys have to know beside what operators set.
#[derive(Clone, Debug)]
pub struct Publish {
    /// The name of the runtime layer's resource.
    pub resource: String,
    /// A runtime value that is left out, because metadata carries it.
    pub left_out: Option<String>,
    /// The cluster by which Envoys reach this server.
    pub xds_cluster: String,
    /// The module of the filter, as Envoys find it.
    pub module: PathBuf,
}

impl Publish {
    /// The resources of a state. Those that `previous` has in the same version are not made again.
    pub fn snapshot(&self, state: &State, previous: Option<&Snapshot>) -> Snapshot {
        let known = |kind, name: &str, revision| {
            let resource = previous?.get(kind, name)?;
            (resource.revision == revision).then_some(resource)
        };
        let changed = state.changed;
        let mut clusters = Resources { changed: changed.clusters, by_name: BTreeMap::new() };
        let mut endpoints = clusters.clone();
        for (name, hosts) in &state.clusters {
            let revision = hosts.revision;
            let cluster = known(Kind::Cluster, name, revision).unwrap_or_else(|| {
                Resource::by_transport(revision, |transport| self.cluster(name, hosts, transport))
            });
            clusters.by_name.insert(name.clone(), cluster);
            let assignment = known(Kind::Endpoints, name, revision)
                .unwrap_or_else(|| Resource::new(revision, assignment(name, hosts)));
            endpoints.by_name.insert(name.clone(), assignment);
        }
        let layer = known(Kind::Runtime, &self.resource, changed.runtime)
            .unwrap_or_else(|| Resource::new(changed.runtime, self.runtime(state)));
        let runtime =
            Resources { changed: changed.runtime, by_name: [(self.resource.clone(), layer)].into() };
        let extensions = state.configs.iter().map(|(name, config)| {
            let made = known(Kind::Extension, name, config.revision)
                .unwrap_or_else(|| Resource::new(config.revision, self.extension(name, config)));
            (name.clone(), made)
        });
        let extensions = Resources { changed: changed.configs, by_name: extensions.collect() };
        let kinds = [
            (Kind::Cluster, clusters),
            (Kind::Endpoints, endpoints),
            (Kind::Runtime, runtime),
            (Kind::Extension, extensions),
        ];
        Snapshot::new(kinds.into(), empty_layer)
    }

    fn runtime(&self, state: &State) -> Vec<u8> {
        let values = state.runtime.iter().filter(|(key, _)| Some(*key) != self.left_out.as_ref());
        let fields = values.map(|(key, value)| (key.clone(), scalar(value.json()))).collect();
        Runtime { name: self.resource.clone(), layer: Some(Struct { fields }) }.encode_to_vec()
    }

    fn cluster(&self, name: &str, hosts: &Hosts, transport: Transport) -> Vec<u8> {
        // A request with a host's number goes to this host or nowhere; one without goes to any.
        let by_id = LbSubsetSelector {
            keys: vec![HOST_ID.to_owned()],
            fallback_policy: LbSubsetSelectorFallbackPolicy::NoFallback.into(),
            ..LbSubsetSelector::default()
        };
        let cluster = Cluster {
            name: name.to_owned(),
            cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
            eds_cluster_config: Some(EdsClusterConfig {
                eds_config: Some(self.source(transport)),
                ..EdsClusterConfig::default()
            }),
            connect_timeout: Some(CONNECT_TIMEOUT),
            metadata: (hosts.total() > 0).then(|| lb_metadata("total_hosts", hosts.total())),
            lb_subset_config: Some(LbSubsetConfig {
                fallback_policy: LbSubsetFallbackPolicy::AnyEndpoint.into(),
                subset_selectors: vec![by_id],
                ..LbSubsetConfig::default()
            }),
            ..Cluster::default()
        };
        cluster.encode_to_vec()
    }

    /// Where the endpoints of a cluster come from: from this server, in the way that the cluster came.
    fn source(&self, transport: Transport) -> ConfigSource {
        let separate = |api_type: ApiType| {
            let grpc = EnvoyGrpc { cluster_name: self.xds_cluster.clone(), ..EnvoyGrpc::default() };
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

    fn extension(&self, name: &str, config: &Config) -> Vec<u8> {
        let file = DataSource {
            specifier: Some(data_source::Specifier::Filename(self.module.to_string_lossy().into_owned())),
            ..DataSource::default()
        };
        let vm = VmConfig {
            vm_id: "pinroute".to_owned(),
            runtime: "envoy.wasm.runtime.v8".to_owned(),
            code: Some(AsyncDataSource { specifier: Some(async_data_source::Specifier::Local(file)) }),
            ..VmConfig::default()
        };
        let plugin = PluginConfig {
            name: name.to_owned(),
            failure_policy: FailurePolicy::FailReload.into(),
            configuration: Some(pack_any(StringValue { value: config.value.to_string() })),
            vm: Some(Vm::VmConfig(vm)),
            ..PluginConfig::default()
        };
        let typed_config = Some(pack_any(Wasm { config: Some(plugin) }));
        TypedExtensionConfig { name: name.to_owned(), typed_config }.encode_to_vec()
    }
}

fn empty_layer(name: &str) -> Vec<u8> {
    Runtime { name: name.to_owned(), layer: Some(Struct::default()) }.encode_to_vec()
}

fn assignment(cluster: &str, hosts: &Hosts) -> Vec<u8> {
    let endpoint = |(id, address): (&u32, &std::net::SocketAddr)| {
        let socket = SocketAddress {
            address: address.ip().to_string(),
            port_specifier: Some(PortSpecifier::PortValue(address.port().into())),
            ..SocketAddress::default()
        };
        let address = Some(Address { address: Some(AddressKind::SocketAddress(socket)) });
        LbEndpoint {
            host_identifier: Some(HostIdentifier::Endpoint(Endpoint { address, ..Endpoint::default() })),
            metadata: Some(lb_metadata(HOST_ID, *id)),
            ..LbEndpoint::default()
        }
    };
    let lb_endpoints = hosts.by_id.iter().map(endpoint).collect();
    ClusterLoadAssignment {
        cluster_name: cluster.to_owned(),
        endpoints: vec![LocalityLbEndpoints { lb_endpoints, ..LocalityLbEndpoints::default() }],
        ..ClusterLoadAssignment::default()
    }
    .encode_to_vec()
}

fn lb_metadata(name: &str, number: u32) -> Metadata {
    let fields = [(name.to_owned(), scalar(&number.into()))].into();
    Metadata { filter_metadata: [(ENVOY_LB.to_owned(), Struct { fields })].into(), ..Metadata::default() }
}

fn scalar(value: &Json) -> Value {
    let kind = match value {
        Json::Bool(truth) => ValueKind::BoolValue(*truth),
        Json::Number(number) => ValueKind::NumberValue(number.as_f64().unwrap_or_default()),
        Json::String(text) => ValueKind::StringValue(text.clone()),
        // The model has scalars only.
        Json::Null | Json::Array(_) | Json::Object(_) => ValueKind::NullValue(0),
    };
    Value { kind: Some(kind) }
}
