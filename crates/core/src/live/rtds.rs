//! A client of the Runtime Discovery Service: state-of-the-world xDS over one stream (`StreamRuntime`).
//!
//! An update that cannot be used is refused (NACK) with the reason and changes nothing. A stream that ended is opened
//! again after a back-off.

use super::action::{Action, SubscriptionId};
use super::backoff::Backoff;
use super::compile::{Compiled, Compiler};
use super::snapshot::Snapshot;
use super::value::Scalar;
use super::vm::Node;
use crate::config::RtdsConfig;
use crate::hash::Random;
use crate::protobuf::{self, DiscoveryRequest, DiscoveryResponse, GrpcService, Resource, Status};
use crate::time::Time;
use prost::Message;
use prost_types::value::Kind;
use prost_types::{Any, Struct};

/// The type of the resource.
pub const TYPE_URL: &str = "type.googleapis.com/envoy.service.runtime.v3.Runtime";
/// The gRPC service.
const SERVICE: &str = "envoy.service.runtime.v3.RuntimeDiscoveryService";
/// The method of the service.
const METHOD: &str = "StreamRuntime";
/// The type of a message that may wrap a resource.
const WRAPPER: &str = "type.googleapis.com/envoy.service.discovery.v3.Resource";
/// `google.rpc.Code.INVALID_ARGUMENT`
const INVALID_ARGUMENT: i32 = 3;

/// A subscription to one runtime resource.
#[derive(Debug)]
pub struct Rtds {
    cluster: String,
    authority: String,
    resource: String,
    prefix: String,
    /// The version in use, which outlives the stream.
    accepted: String,
    stream: Option<u32>,
    backoff: Backoff,
}

/// An update that was received.
#[derive(Debug)]
pub struct Update {
    /// The request to send back: an ACK or a NACK.
    pub reply: Action,
    /// The new values if the message has any, or why it is refused.
    pub outcome: Result<Option<Compiled>, String>,
    /// The server's version of the message.
    pub version: String,
}

impl Rtds {
    /// A subscription to a resource of this server, for entries under `prefix`.
    pub fn new(server: &RtdsConfig, prefix: &str, random: Random) -> Self {
        let RtdsConfig { cluster, authority, resource } = server.clone();
        Self {
            cluster,
            authority,
            resource,
            prefix: prefix.to_owned(),
            accepted: String::new(),
            stream: None,
            backoff: Backoff::new(random),
        }
    }

    /// Whether this is the token of its stream.
    pub fn is(&self, token: u32) -> bool {
        self.stream == Some(token)
    }

    /// This VM holds the lease: opens a stream if there is none and one is due.
    pub fn drive(&mut self, id: SubscriptionId, now: Time, node: impl FnOnce() -> Node) -> Option<Action> {
        if self.stream.is_some() || !self.backoff.is_due(now) {
            return None;
        }
        self.backoff.attempt(now);
        Some(Action::OpenStream {
            id,
            // Envoy also takes a bare cluster name, but aborts on one that happens to parse as this message.
            service: GrpcService::bytes_of(&self.cluster, &self.authority),
            name: SERVICE,
            method: METHOD,
            first: self.request(node(), "", None),
        })
    }

    /// A stream was opened and its first message sent; `None` if Envoy refused that.
    pub fn on_opened(&mut self, token: Option<u32>) {
        if token.is_none() {
            log::debug!("pinroute: cannot open a stream to the cluster `{}`", self.cluster);
        }
        self.stream = token;
    }

    /// A message was received: `last` is the snapshot in use, `version` the number of the next one.
    pub fn on_message(
        &mut self,
        token: u32,
        message: &[u8],
        version: u64,
        last: &Snapshot,
        node: Node,
    ) -> Update {
        let (response, outcome) = match DiscoveryResponse::decode(message) {
            Ok(response) => {
                let outcome = self.read(&response, version, last);
                (response, outcome)
            }
            Err(_) => {
                (DiscoveryResponse::default(), Err("the message is not a DiscoveryResponse".to_owned()))
            }
        };
        if outcome.is_ok() {
            self.accepted.clone_from(&response.version_info);
        }
        let error = outcome.as_ref().err().map(String::as_str);
        let reply = Action::Send { token, message: self.request(node, &response.nonce, error) };
        Update { reply, outcome, version: response.version_info }
    }

    /// The server accepted the stream.
    pub fn on_accepted(&mut self) {
        log::info!("pinroute: connected to the runtime server in the cluster `{}`", self.cluster);
    }

    /// The stream ended. The next one is opened by [`Self::drive`].
    pub fn on_closed(&mut self, status: u32, now: Time) {
        self.stream = None;
        if self.backoff.attempts() <= 1 {
            log::warn!(
                "pinroute: the runtime stream to the cluster `{}` ended with gRPC status {status}; \
                 the last values stay in use",
                self.cluster
            );
        }
        self.backoff.end(now);
    }

    /// This VM no longer holds the lease: ends the stream, if there is one.
    pub fn stop(&mut self) -> Option<Action> {
        self.stream.take().map(|token| Action::Cancel { token })
    }

    fn request(&self, node: Node, nonce: &str, error: Option<&str>) -> Vec<u8> {
        let node =
            protobuf::Node { id: node.id, cluster: node.cluster, user_agent_name: "pinroute".to_owned() };
        DiscoveryRequest {
            version_info: self.accepted.clone(),
            node: Some(node),
            resource_names: vec![self.resource.clone()],
            type_url: TYPE_URL.to_owned(),
            response_nonce: nonce.to_owned(),
            error_detail: error.map(|message| Status { code: INVALID_ARGUMENT, message: message.to_owned() }),
        }
        .encode_to_vec()
    }

    fn read(
        &self,
        response: &DiscoveryResponse,
        version: u64,
        last: &Snapshot,
    ) -> Result<Option<Compiled>, String> {
        if response.type_url != TYPE_URL {
            return Err(format!("the type {:.100} is not {TYPE_URL}", response.type_url));
        }
        let mut layer = None;
        for resource in &response.resources {
            let runtime = unwrap(resource)?;
            if runtime.name == self.resource && layer.replace(runtime.layer.unwrap_or_default()).is_some() {
                return Err(format!("the resource {} occurs twice", self.resource));
            }
        }
        // A response without the resource changes nothing.
        let Some(layer) = layer else { return Ok(None) };
        let mut compiler = Compiler::new(&self.prefix, last);
        add_entries(&layer, &mut String::new(), &mut compiler);
        Ok(Some(compiler.finish(version)))
    }
}

/// The runtime resource in a message, which may be wrapped.
fn unwrap(resource: &Any) -> Result<protobuf::Runtime, String> {
    let unreadable = |_| "a resource cannot be decoded".to_owned();
    if resource.type_url == WRAPPER {
        let inner = Resource::decode(resource.value.as_slice()).map_err(unreadable)?.resource;
        return unwrap_plain(&inner.unwrap_or_default());
    }
    unwrap_plain(resource)
}

fn unwrap_plain(resource: &Any) -> Result<protobuf::Runtime, String> {
    if resource.type_url != TYPE_URL {
        return Err(format!("a resource has the type {:.100}", resource.type_url));
    }
    protobuf::Runtime::decode(resource.value.as_slice())
        .map_err(|_| "a resource cannot be decoded".to_owned())
}

/// Adds every entry of a runtime layer. The names of nested objects are joined by dots.
fn add_entries(layer: &Struct, path: &mut String, compiler: &mut Compiler<'_>) {
    let outer = path.len();
    for (name, value) in &layer.fields {
        if outer != 0 {
            path.push('.');
        }
        path.push_str(name);
        match &value.kind {
            Some(Kind::NumberValue(number)) => compiler.add(path, Scalar::Number(*number)),
            Some(Kind::StringValue(text)) => compiler.add(path, Scalar::Text(text)),
            Some(Kind::BoolValue(truth)) => compiler.add(path, Scalar::Bool(*truth)),
            Some(Kind::StructValue(inner)) => {
                // An object where a number is expected is a mistake.
                compiler.add(path, Scalar::Other);
                add_entries(inner, path, compiler);
            }
            Some(Kind::NullValue(_) | Kind::ListValue(_)) | None => compiler.add(path, Scalar::Other),
        }
        path.truncate(outer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::value::Number;
    use proptest::prelude::*;
    use prost_types::Value;

    const ID: SubscriptionId = SubscriptionId::new(1);

    fn rtds() -> Rtds {
        let [cluster, authority, resource] =
            ["xds_cluster", "xds.example:18000", "runtime"].map(str::to_owned);
        Rtds::new(&RtdsConfig { cluster, authority, resource }, "p", Random::new(1))
    }

    fn at(millis: u64) -> Time {
        Time::from_millis(1_000_000 + millis)
    }

    fn value(kind: Kind) -> Value {
        Value { kind: Some(kind) }
    }

    fn any(type_url: &str, message: &impl Message) -> Any {
        Any { type_url: type_url.to_owned(), value: message.encode_to_vec() }
    }

    fn runtime(name: &str, total_hosts: f64) -> Any {
        let fields = [("p.total_hosts".to_owned(), value(Kind::NumberValue(total_hosts)))].into();
        any(TYPE_URL, &protobuf::Runtime { name: name.to_owned(), layer: Some(Struct { fields }) })
    }

    fn response(version: &str, resources: &[Any]) -> Vec<u8> {
        DiscoveryResponse {
            version_info: version.to_owned(),
            resources: resources.to_vec(),
            type_url: TYPE_URL.to_owned(),
            nonce: format!("nonce of {version}"),
        }
        .encode_to_vec()
    }

    fn receive(rtds: &mut Rtds, message: &[u8]) -> (Update, DiscoveryRequest) {
        let update = rtds.on_message(7, message, 7, &Snapshot::default(), Node::default());
        let Action::Send { token: 7, message } = &update.reply else { panic!("{:?}", update.reply) };
        let request = DiscoveryRequest::decode(message.as_slice()).unwrap();
        (update, request)
    }

    fn total_hosts(update: Update) -> Option<u32> {
        update.outcome.unwrap().unwrap().snapshot.number(Number::TotalHosts)
    }

    /// The first request of the stream that is opened at this time, if one is.
    fn open(rtds: &mut Rtds, now: Time) -> Option<DiscoveryRequest> {
        let node = || Node { id: "node".to_owned(), cluster: "group".to_owned() };
        match rtds.drive(ID, now, node)? {
            Action::OpenStream { id: ID, service, name: SERVICE, method: METHOD, first } => {
                let service = GrpcService::decode(service.as_slice()).unwrap().envoy_grpc.unwrap();
                assert_eq!(service.cluster_name, "xds_cluster");
                assert_eq!(service.authority, "xds.example:18000");
                Some(DiscoveryRequest::decode(first.as_slice()).unwrap())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_subscription_names_the_resource_and_the_node() {
        let request = open(&mut rtds(), at(0)).unwrap();
        assert_eq!((request.version_info.as_str(), request.response_nonce.as_str()), ("", ""));
        assert_eq!(
            (request.resource_names, request.type_url.as_str()),
            (vec!["runtime".to_owned()], TYPE_URL)
        );
        let node = request.node.unwrap();
        assert_eq!((node.id.as_str(), node.cluster.as_str()), ("node", "group"));
    }

    #[test]
    fn an_update_is_acknowledged_and_its_version_outlives_the_stream() {
        let mut rtds = rtds();
        open(&mut rtds, at(0)).unwrap();
        rtds.on_opened(Some(7));
        let (update, ack) = receive(&mut rtds, &response("v1", &[runtime("runtime", 12.0)]));
        assert_eq!(total_hosts(update), Some(12));
        assert_eq!((ack.version_info.as_str(), ack.response_nonce.as_str()), ("v1", "nonce of v1"));
        assert_eq!(ack.error_detail, None);
        rtds.on_closed(14, at(100));
        assert_eq!(open(&mut rtds, at(10_000)).unwrap().version_info, "v1");
    }

    #[test]
    fn a_refused_update_changes_nothing_and_the_nack_gives_the_reason() {
        let mut rtds = rtds();
        receive(&mut rtds, &response("v1", &[runtime("runtime", 12.0)]));
        let wrong_type = Any { type_url: "other".to_owned(), value: Vec::new() };
        let garbage = Any { type_url: TYPE_URL.to_owned(), value: vec![0xff] };
        let twice = [runtime("runtime", 1.0), runtime("runtime", 1.0)];
        let cases: [(&[Any], &str); 3] = [
            (&twice, "occurs twice"),
            (&[wrong_type], "has the type other"),
            (&[garbage], "cannot be decoded"),
        ];
        for (resources, reason) in cases {
            let (update, nack) = receive(&mut rtds, &response("v2", resources));
            assert!(update.outcome.unwrap_err().contains(reason));
            assert_eq!((nack.version_info.as_str(), nack.response_nonce.as_str()), ("v1", "nonce of v2"));
            let error = nack.error_detail.unwrap();
            assert!(error.code == INVALID_ARGUMENT && error.message.contains(reason), "{error:?}");
        }
        let (update, nack) = receive(&mut rtds, b"\xff");
        assert!(update.outcome.is_err() && nack.error_detail.is_some() && nack.version_info == "v1");
    }

    #[test]
    fn a_resource_may_be_wrapped_and_other_resources_are_ignored() {
        let wrapped = any(WRAPPER, &Resource { resource: Some(runtime("runtime", 5.0)) });
        assert_eq!(total_hosts(receive(&mut rtds(), &response("v", &[wrapped])).0), Some(5));
        let both = [runtime("other", 9.0), runtime("runtime", 6.0)];
        assert_eq!(total_hosts(receive(&mut rtds(), &response("v", &both)).0), Some(6));
        for resources in [&[runtime("other", 5.0)][..], &[]] {
            assert!(receive(&mut rtds(), &response("v", resources)).0.outcome.unwrap().is_none());
        }
    }

    #[test]
    fn nested_entries_are_named_by_their_path() {
        let object = |fields: Vec<(&str, Value)>| {
            let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            Struct { fields }
        };
        let three = value(Kind::NumberValue(3.0));
        let a = value(Kind::StructValue(object(vec![("shard_size", three)])));
        let customer = value(Kind::StructValue(object(vec![("a", a)])));
        let wrong = value(Kind::StructValue(object(vec![])));
        let p = value(Kind::StructValue(object(vec![("customer", customer), ("total_hosts", wrong)])));
        let layer = object(vec![("p", p)]);
        let runtime = any(TYPE_URL, &protobuf::Runtime { name: "runtime".to_owned(), layer: Some(layer) });
        let compiled = receive(&mut rtds(), &response("v", &[runtime])).0.outcome.unwrap().unwrap();
        assert_eq!(compiled.snapshot.shard_size_of(b"a"), Some(3));
        let skipped: Vec<_> = compiled.skipped.iter().map(|skipped| skipped.name.as_str()).collect();
        assert_eq!(skipped, ["p.total_hosts"], "an object is not a number");
    }

    #[test]
    fn a_stream_is_opened_once_and_again_after_a_back_off() {
        let mut rtds = rtds();
        assert!(open(&mut rtds, at(0)).is_some());
        rtds.on_opened(Some(7));
        assert!(open(&mut rtds, at(60_000)).is_none(), "one stream at a time");
        rtds.on_closed(14, at(60_000));
        assert!(open(&mut rtds, at(60_000)).is_none(), "not at once");
        assert!(open(&mut rtds, at(65_000)).is_some());
        rtds.on_opened(None);
        assert!(open(&mut rtds, at(65_001)).is_none(), "a refused attempt counts as one");
        assert!(open(&mut rtds, at(75_000)).is_some());
        rtds.on_opened(Some(9));
        assert!(matches!(rtds.stop(), Some(Action::Cancel { token: 9 })));
        assert!(!rtds.is(9) && rtds.stop().is_none());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_answered(bytes: Vec<u8>) {
            prop_assert_eq!(receive(&mut rtds(), &bytes).1.type_url, TYPE_URL);
        }
    }
}
