//! The protobuf messages that Envoy exchanges with the filter: the few fields of each that matter here.
//!
//! Decoding skips all other fields. The full definitions are in Envoy's API; generating code for them would add
//! hundreds of types to the filter.

use prost::Message;
use prost_types::value::Kind;
use prost_types::{Any, Struct};
use serde_json::{Map, Number, Value};
use std::collections::BTreeMap;

/// `envoy.config.core.v3.Metadata`
#[derive(Clone, PartialEq, Message)]
pub struct Metadata {
    #[prost(btree_map = "string, message", tag = "1")]
    pub filter_metadata: BTreeMap<String, Struct>,
}

impl Metadata {
    /// A namespace out of serialized metadata; `None` if it is absent or the bytes are not metadata.
    pub fn namespace(bytes: &[u8], name: &str) -> Option<Struct> {
        Self::decode(bytes).ok()?.filter_metadata.remove(name)
    }
}

/// `envoy.config.core.v3.Node`
#[derive(Clone, PartialEq, Message)]
pub struct Node {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(string, tag = "2")]
    pub cluster: String,
    #[prost(string, tag = "6")]
    pub user_agent_name: String,
}

/// `envoy.service.discovery.v3.DiscoveryRequest`
#[derive(Clone, PartialEq, Message)]
pub struct DiscoveryRequest {
    #[prost(string, tag = "1")]
    pub version_info: String,
    #[prost(message, optional, tag = "2")]
    pub node: Option<Node>,
    #[prost(string, repeated, tag = "3")]
    pub resource_names: Vec<String>,
    #[prost(string, tag = "4")]
    pub type_url: String,
    #[prost(string, tag = "5")]
    pub response_nonce: String,
    #[prost(message, optional, tag = "6")]
    pub error_detail: Option<Status>,
}

/// `google.rpc.Status`
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
}

/// `envoy.service.discovery.v3.DiscoveryResponse`
#[derive(Clone, PartialEq, Message)]
pub struct DiscoveryResponse {
    #[prost(string, tag = "1")]
    pub version_info: String,
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<Any>,
    #[prost(string, tag = "4")]
    pub type_url: String,
    #[prost(string, tag = "5")]
    pub nonce: String,
}

/// `envoy.service.discovery.v3.Resource`, which may wrap a resource.
#[derive(Clone, PartialEq, Message)]
pub struct Resource {
    #[prost(message, optional, tag = "2")]
    pub resource: Option<Any>,
}

/// `envoy.service.runtime.v3.Runtime`
#[derive(Clone, PartialEq, Message)]
pub struct Runtime {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub layer: Option<Struct>,
}

/// `envoy.config.endpoint.v3.ClusterLoadAssignment`
#[derive(Clone, PartialEq, Message)]
pub struct ClusterLoadAssignment {
    #[prost(string, tag = "1")]
    pub cluster_name: String,
    #[prost(message, repeated, tag = "2")]
    pub endpoints: Vec<LocalityLbEndpoints>,
}

/// `envoy.config.endpoint.v3.LocalityLbEndpoints`
#[derive(Clone, PartialEq, Message)]
pub struct LocalityLbEndpoints {
    #[prost(message, repeated, tag = "2")]
    pub lb_endpoints: Vec<LbEndpoint>,
}

/// `envoy.config.endpoint.v3.LbEndpoint`
#[derive(Clone, PartialEq, Message)]
pub struct LbEndpoint {
    #[prost(message, optional, tag = "1")]
    pub endpoint: Option<Endpoint>,
    /// `envoy.config.core.v3.HealthStatus`
    #[prost(int32, tag = "2")]
    pub health_status: i32,
    #[prost(message, optional, tag = "3")]
    pub metadata: Option<Metadata>,
}

/// `envoy.config.endpoint.v3.Endpoint`
#[derive(Clone, PartialEq, Message)]
pub struct Endpoint {
    #[prost(message, optional, tag = "1")]
    pub address: Option<Address>,
    #[prost(string, tag = "3")]
    pub hostname: String,
}

/// `envoy.config.core.v3.Address`
#[derive(Clone, PartialEq, Message)]
pub struct Address {
    #[prost(message, optional, tag = "1")]
    pub socket_address: Option<SocketAddress>,
}

/// `envoy.config.core.v3.SocketAddress`
#[derive(Clone, PartialEq, Message)]
pub struct SocketAddress {
    #[prost(string, tag = "2")]
    pub address: String,
    #[prost(uint32, tag = "3")]
    pub port_value: u32,
}

/// `envoy.config.core.v3.GrpcService` with an `EnvoyGrpc` target.
#[derive(Clone, PartialEq, Message)]
pub struct GrpcService {
    #[prost(message, optional, tag = "1")]
    pub envoy_grpc: Option<EnvoyGrpc>,
}

/// `envoy.config.core.v3.GrpcService.EnvoyGrpc`
#[derive(Clone, PartialEq, Message)]
pub struct EnvoyGrpc {
    #[prost(string, tag = "1")]
    pub cluster_name: String,
    #[prost(string, tag = "2")]
    pub authority: String,
}

impl GrpcService {
    /// The serialized service of a cluster. Its bytes are text, because the names are and every length is below 128: it is
    /// one message in two parts, which a parser merges.
    pub fn bytes_of(cluster: &str, authority: &str) -> Vec<u8> {
        let part = |envoy_grpc| Self { envoy_grpc: Some(envoy_grpc) }.encode_to_vec();
        let cluster = EnvoyGrpc { cluster_name: cluster.to_owned(), ..EnvoyGrpc::default() };
        let authority = EnvoyGrpc { authority: authority.to_owned(), ..EnvoyGrpc::default() };
        [part(cluster), part(authority)].concat()
    }
}

/// `envoy.source.extensions.common.wasm.SetEnvoyFilterStateArguments`, with the life span of the filter chain.
#[derive(Clone, PartialEq, Message)]
pub struct SetFilterState {
    #[prost(string, tag = "1")]
    path: String,
    #[prost(string, tag = "2")]
    value: String,
}

impl SetFilterState {
    /// Sets the object of this name to a string.
    pub fn new(name: &str, value: &str) -> Self {
        Self { path: name.to_owned(), value: value.to_owned() }
    }

    /// The serialized message.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }
}

/// A Struct as a JSON object.
pub fn struct_to_json(object: Struct) -> Value {
    let members = object.fields.into_iter().map(|(name, value)| (name, value_to_json(value.kind)));
    Value::Object(members.collect::<Map<_, _>>())
}

fn value_to_json(kind: Option<Kind>) -> Value {
    match kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::NumberValue(number)) => json_number(number),
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::BoolValue(truth)) => Value::Bool(truth),
        Some(Kind::StructValue(object)) => struct_to_json(object),
        Some(Kind::ListValue(list)) => {
            Value::Array(list.values.into_iter().map(|value| value_to_json(value.kind)).collect())
        }
    }
}

/// Whole numbers become integers, so that messages show `5` where a user wrote `5`.
fn json_number(number: f64) -> Value {
    /// Above this a double cannot tell neighbouring whole numbers apart.
    const LAST_EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= LAST_EXACT {
        Value::from(number as i64)
    } else {
        Number::from_f64(number).map_or(Value::Null, Value::Number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn number(number: f64) -> prost_types::Value {
        prost_types::Value { kind: Some(Kind::NumberValue(number)) }
    }

    #[test]
    fn whole_numbers_become_integers() {
        let fields = [("a", 5.0), ("b", -2.5), ("c", 1e16), ("d", f64::NAN)];
        let fields = fields.map(|(name, value)| (name.to_owned(), number(value))).into();
        assert_eq!(struct_to_json(Struct { fields }), json!({ "a": 5, "b": -2.5, "c": 1e16, "d": null }));
    }

    #[test]
    fn a_namespace_is_found_by_its_name() {
        let object = Struct { fields: [("x".to_owned(), number(1.0))].into() };
        let metadata = Metadata { filter_metadata: [("pinroute".to_owned(), object.clone())].into() };
        let bytes = metadata.encode_to_vec();
        assert_eq!(Metadata::namespace(&bytes, "pinroute"), Some(object));
        assert_eq!(Metadata::namespace(&bytes, "other"), None);
        assert_eq!(Metadata::namespace(b"\xff", "pinroute"), None);
    }

    #[test]
    fn a_serialized_service_is_text_and_one_message() {
        let (cluster, authority) = ("c".repeat(100), "a".repeat(100));
        let bytes = GrpcService::bytes_of(&cluster, &authority);
        let service = GrpcService::decode(bytes.as_slice()).unwrap().envoy_grpc.unwrap();
        assert_eq!((service.cluster_name, service.authority), (cluster, authority));
        assert!(String::from_utf8(bytes).is_ok());
    }

    #[test]
    fn a_struct_that_nests_too_deep_is_refused() {
        let nested = |depth: usize| {
            (0..depth).fold(Struct::default(), |inner, _| {
                let value = prost_types::Value { kind: Some(Kind::StructValue(inner)) };
                Struct { fields: [("a".to_owned(), value)].into() }
            })
        };
        assert!(Struct::decode(nested(20).encode_to_vec().as_slice()).is_ok());
        assert!(Struct::decode(nested(200).encode_to_vec().as_slice()).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = (Metadata::namespace(&bytes, "x"), Struct::decode(bytes.as_slice()).map(struct_to_json));
        }
    }
}
