//! A client of a discovery service: state-of-the-world xDS over one stream, for one resource.
//!
//! An update that cannot be used is refused (NACK) with the reason and changes nothing. A stream that ended is opened
//! again after a back-off.

use super::action::{Action, SubscriptionId};
use super::backoff::Backoff;
use super::compile::Compiled;
use super::snapshot::Snapshot;
use super::vm::Node;
use super::{discovery, eds, rtds};
use crate::config::XdsConfig;
use crate::hash::Random;
use crate::protobuf::{self, DiscoveryRequest, DiscoveryResponse, GrpcService, Status};
use crate::time::Time;
use prost::Message;
use std::fmt;

/// `google.rpc.Code.INVALID_ARGUMENT`
const INVALID_ARGUMENT: i32 = 3;

/// A subscription to one runtime resource.
#[derive(Debug)]
pub struct Xds {
    cluster: String,
    authority: String,
    resource: String,
    wanted: Wanted,
    /// The version in use, which outlives the stream.
    accepted: String,
    stream: Option<u32>,
    /// Whether a new stream has to take the place of this one.
    asks_again: bool,
    /// Whether the log has the present outage.
    is_reported: bool,
    backoff: Backoff,
}

/// What a resource is wanted for.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// The runtime values under a prefix.
    Runtime {
        /// The prefix.
        prefix: String,
    },
    /// The endpoints of a cluster.
    Endpoints {
        /// The cluster.
        cluster: String,
    },
}

impl Wanted {
    /// The type of the resource, the gRPC service and its method.
    fn service(&self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Runtime { .. } => (rtds::TYPE_URL, rtds::SERVICE, rtds::METHOD),
            Self::Endpoints { .. } => (eds::TYPE_URL, eds::SERVICE, eds::METHOD),
        }
    }
}

/// For the log.
impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Runtime { .. } => "runtime",
            Self::Endpoints { .. } => "endpoint",
        })
    }
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

impl Xds {
    /// A subscription to a resource of this server.
    pub fn new(server: &XdsConfig, wanted: Wanted, random: Random) -> Self {
        let XdsConfig { cluster, authority, resource } = server.clone();
        Self {
            cluster,
            authority,
            resource,
            wanted,
            accepted: String::new(),
            stream: None,
            asks_again: false,
            is_reported: false,
            backoff: Backoff::new(random),
        }
    }

    /// Whether this is the token of its stream.
    pub fn is(&self, token: u32) -> bool {
        self.stream == Some(token)
    }

    /// This VM holds the lease: opens a stream if there is none and one is due.
    pub fn drive(&mut self, id: SubscriptionId, now: Time, node: impl FnOnce() -> Node) -> Option<Action> {
        if std::mem::take(&mut self.asks_again)
            && let Some(cancel) = self.stop()
        {
            return Some(cancel);
        }
        if self.stream.is_some() || !self.backoff.is_due(now) {
            return None;
        }
        self.backoff.attempt(now);
        Some(Action::OpenStream {
            id,
            // Envoy also takes a bare cluster name, but aborts on one that happens to parse as this message.
            service: GrpcService::bytes_of(&self.cluster, &self.authority),
            name: self.wanted.service().1,
            method: self.wanted.service().2,
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

    /// The last update was lost after it was acknowledged: the next stream begins as if there had been none.
    pub fn ask_again(&mut self) {
        self.accepted.clear();
        // The stream ends with the next tick: this may be called while Envoy delivers a message on it.
        self.asks_again = true;
    }

    /// The server accepted the stream.
    pub fn on_accepted(&mut self) {
        log::info!("pinroute: connected to the {} server in the cluster `{}`", self.wanted, self.cluster);
        self.is_reported = false;
    }

    /// The stream ended. The next one is opened by [`Self::drive`].
    pub fn on_closed(&mut self, status: u32, now: Time) {
        self.stream = None;
        // Once for each outage.
        if !std::mem::replace(&mut self.is_reported, true) {
            log::warn!(
                "pinroute: the {} stream to the cluster `{}` ended with gRPC status {status}; \
                 the last values stay in use",
                self.wanted,
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
            type_url: self.wanted.service().0.to_owned(),
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
        let (type_url, ..) = self.wanted.service();
        if response.type_url != type_url {
            return Err(format!("the type {} is not {type_url}", discovery::shown(&response.type_url)));
        }
        // A response without the resource changes nothing.
        let (resources, name) = (response.resources.as_slice(), self.resource.as_str());
        match &self.wanted {
            Wanted::Runtime { prefix } => rtds::read(resources, name, prefix, version, last),
            Wanted::Endpoints { cluster } => eds::read(resources, name, cluster, version, last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::discovery::WRAPPER;
    use crate::live::rtds::{METHOD, SERVICE, TYPE_URL};
    use crate::live::value::Number;
    use crate::protobuf::Resource;
    use proptest::prelude::*;
    use prost_types::value::Kind;
    use prost_types::{Any, Struct, Value};

    const ID: SubscriptionId = SubscriptionId::new(1);

    fn rtds() -> Xds {
        let [cluster, authority, resource] =
            ["xds_cluster", "xds.example:18000", "runtime"].map(str::to_owned);
        let wanted = Wanted::Runtime { prefix: "p".to_owned() };
        Xds::new(&XdsConfig { cluster, authority, resource }, wanted, Random::new(1))
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

    fn receive(rtds: &mut Xds, message: &[u8]) -> (Update, DiscoveryRequest) {
        let update = rtds.on_message(7, message, 7, &Snapshot::default(), Node::default());
        let Action::Send { token: 7, message } = &update.reply else { panic!("{:?}", update.reply) };
        let request = DiscoveryRequest::decode(message.as_slice()).unwrap();
        (update, request)
    }

    fn total_hosts(update: Update) -> Option<u32> {
        update.outcome.unwrap().unwrap().snapshot.number(Number::TotalHosts)
    }

    /// The first request of the stream that is opened at this time, if one is.
    fn open(rtds: &mut Xds, now: Time) -> Option<DiscoveryRequest> {
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
        let wrong_type = Any { type_url: "other\n\x1b".to_owned(), value: Vec::new() };
        let garbage = Any { type_url: TYPE_URL.to_owned(), value: vec![0xff] };
        let twice = [runtime("runtime", 1.0), runtime("runtime", 1.0)];
        let cases: [(&[Any], &str); 3] = [
            (&twice, "occurs twice"),
            (&[wrong_type], r"has the type other\n\u{1b}"),
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

    #[test]
    fn endpoints_have_a_service_of_their_own() {
        let [cluster, authority, resource] = ["xds", "xds", "fleet"].map(str::to_owned);
        let wanted = Wanted::Endpoints { cluster: "a".to_owned() };
        let mut eds = Xds::new(&XdsConfig { cluster, authority, resource }, wanted, Random::new(1));
        let action = eds.drive(ID, at(0), Node::default);
        let Some(Action::OpenStream { name, method, first, .. }) = action else { panic!("{action:?}") };
        assert_eq!((name, method), (crate::live::eds::SERVICE, crate::live::eds::METHOD));
        let request = DiscoveryRequest::decode(first.as_slice()).unwrap();
        assert_eq!(request.type_url, crate::live::eds::TYPE_URL);
        assert_eq!(request.resource_names, ["fleet"]);
        let (update, nack) = receive(&mut eds, &response("v1", &[runtime("runtime", 12.0)]));
        assert!(update.outcome.is_err() && nack.error_detail.is_some(), "of another type");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_answered(bytes: Vec<u8>) {
            prop_assert_eq!(receive(&mut rtds(), &bytes).1.type_url, TYPE_URL);
        }
    }
}
