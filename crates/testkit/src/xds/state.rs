//! The state of the server: resources, streams and requests. This file does no I/O.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use envoy_types::pb::google::protobuf::Any;
use prost::Message;
use tokio::sync::mpsc::UnboundedSender;
use tonic::Status;

use super::types::{CLUSTER, LISTENER, Pushed, Request};

/// What goes to a client: the bytes of one gRPC message, or the stream's end.
pub(super) type Outgoing = Result<Vec<u8>, Status>;

/// All state of one server. It outlives restarts.
#[derive(Debug, Default)]
pub(super) struct State {
    kinds: HashMap<String, Kind>,
    /// The open streams, by number.
    streams: BTreeMap<u64, Stream>,
    last_stream: u64,
    last_nonce: u64,
    /// How each new stream ends at once, if it does.
    ended: Option<Status>,
    /// The `:authority` of each stream so far.
    pub(super) authorities: Vec<String>,
}

/// All there is about one type URL.
#[derive(Debug, Default)]
struct Kind {
    version: u64,
    resources: BTreeMap<String, Any>,
    requests: Vec<Request>,
    streams_ever: usize,
}

#[derive(Debug)]
struct Stream {
    /// The type URL of the service it belongs to; none for the aggregated one.
    service: Option<&'static str>,
    /// Id and cluster of the node, which a client may name in its first request only.
    node: (String, String),
    subscriptions: HashMap<String, Subscription>,
    out: UnboundedSender<Outgoing>,
}

#[derive(Debug, Default)]
struct Subscription {
    names: BTreeSet<String>,
    wildcard: bool,
    /// Whether the stream has ever sent a name.
    explicit: bool,
    /// Of the latest response.
    nonce: String,
}

impl Stream {
    fn carries(&self, type_url: &str) -> bool {
        self.service == Some(type_url) || self.subscriptions.contains_key(type_url)
    }
}

impl Subscription {
    fn includes(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    /// Sets the names to those of a request. Returns whether there is a new name.
    fn subscribe(&mut self, type_url: &str, names: &[String]) -> bool {
        let fresh: BTreeSet<String> = names.iter().filter(|&name| name != "*").cloned().collect();
        self.explicit |= !names.is_empty();
        // No names mean everything, but only on a stream that has never sent a name.
        let implied = matches!(type_url, CLUSTER | LISTENER) && !self.explicit;
        let wildcard = implied || names.iter().any(|name| name == "*");
        let more = (wildcard && !self.wildcard) || !fresh.is_subset(&self.names);
        (self.names, self.wildcard) = (fresh, wildcard);
        more
    }
}

// Events from clients.

impl State {
    /// A new stream; gives its number.
    pub(super) fn open(&mut self, service: Option<&'static str>, out: UnboundedSender<Outgoing>) -> u64 {
        self.last_stream += 1;
        if let Some(type_url) = service {
            self.kind(type_url).streams_ever += 1;
        }
        if let Some(status) = &self.ended {
            let _ = out.send(Err(status.clone()));
            return self.last_stream;
        }
        let stream = Stream { service, node: Default::default(), subscriptions: HashMap::new(), out };
        self.streams.insert(self.last_stream, stream);
        self.last_stream
    }

    pub(super) fn close(&mut self, stream: u64) {
        self.streams.remove(&stream);
    }

    /// Handles a request: subscription, ACK or NACK. Returns whether the stream stays open.
    pub(super) fn receive(&mut self, number: u64, request: DiscoveryRequest) -> bool {
        let Some(stream) = self.streams.get_mut(&number) else { return false };
        let type_url = match (stream.service, request.type_url.as_str()) {
            (Some(service), "") => service.to_owned(),
            (Some(service), other) if service != other => {
                return self.refuse(number, format!("this service has {service}, not {other}"));
            }
            (None, "") => return self.refuse(number, "a request without a type URL".to_owned()),
            (_, named) => named.to_owned(),
        };
        if let Some(node) = request.node {
            stream.node = (node.id, node.cluster);
        }
        let first = !stream.carries(&type_url);
        let subscription = stream.subscriptions.entry(type_url.clone()).or_default();
        // An ACK or NACK of an older response: the one of the latest response is still to come.
        let stale = !request.response_nonce.is_empty() && request.response_nonce != subscription.nonce;
        let more = !stale && subscription.subscribe(&type_url, &request.resource_names);

        let (node_id, node_cluster) = stream.node.clone();
        let kind = self.kind(&type_url);
        kind.streams_ever += usize::from(first);
        kind.requests.push(Request {
            version: request.version_info,
            nonce: request.response_nonce,
            resource_names: request.resource_names,
            node_id,
            node_cluster,
            error: request.error_detail.map(|status| status.message),
            stream: number,
            at: Instant::now(),
        });
        if more {
            self.respond(number, &type_url);
        }
        true
    }

    fn refuse(&mut self, stream: u64, why: String) -> bool {
        if let Some(stream) = self.streams.remove(&stream) {
            let _ = stream.out.send(Err(Status::invalid_argument(why)));
        }
        false
    }

    /// Responds to a subscription, if there are resources for it.
    fn respond(&mut self, stream: u64, type_url: &str) {
        let (Some(to), Some(kind)) = (self.streams.get(&stream), self.kinds.get(type_url)) else { return };
        let Some(subscription) = to.subscriptions.get(type_url) else { return };
        let known = kind.resources.keys().any(|name| subscription.includes(name));
        // A wildcard subscription also gets an empty response, once there has been a resource.
        if known || (subscription.wildcard && kind.version > 0) {
            self.send_current(stream, type_url);
        }
    }
}

// Calls from the test.

impl State {
    fn kind(&mut self, type_url: &str) -> &mut Kind {
        self.kinds.entry(type_url.to_owned()).or_default()
    }

    /// Sets or removes one resource, and pushes to the streams that subscribed to it.
    pub(super) fn set(&mut self, type_url: &str, name: &str, resource: Option<Vec<u8>>) -> Pushed {
        let kind = self.kind(type_url);
        kind.version += 1;
        let version = kind.version.to_string();
        if let Some(value) = resource {
            kind.resources.insert(name.to_owned(), Any { type_url: type_url.to_owned(), value });
        } else {
            kind.resources.remove(name);
        }
        let at = Instant::now();
        let subscribed =
            |stream: &Stream| stream.subscriptions.get(type_url).is_some_and(|s| s.includes(name));
        let streams = self.numbers(subscribed);
        streams.iter().for_each(|&stream| self.send_current(stream, type_url));
        Pushed { version, at, streams: streams.len() }
    }

    /// Sends the current resources that a stream subscribed to.
    fn send_current(&mut self, stream: u64, type_url: &str) {
        self.last_nonce += 1;
        let (Some(to), Some(kind)) = (self.streams.get_mut(&stream), self.kinds.get(type_url)) else {
            return;
        };
        let Some(subscription) = to.subscriptions.get_mut(type_url) else { return };
        subscription.nonce = self.last_nonce.to_string();
        let wanted = kind.resources.iter().filter(|(name, _)| subscription.includes(name));
        let response = DiscoveryResponse {
            version_info: kind.version.to_string(),
            resources: wanted.map(|(_, resource)| resource.clone()).collect(),
            type_url: type_url.to_owned(),
            nonce: subscription.nonce.clone(),
            ..DiscoveryResponse::default()
        };
        // The channel is closed if the client is about to disconnect.
        let _ = to.out.send(Ok(response.encode_to_vec()));
    }

    /// Sends these bytes as one message to every stream of a type.
    pub(super) fn send(&mut self, type_url: &str, bytes: &[u8], nonce: Option<&str>) -> (Instant, usize) {
        let at = Instant::now();
        let streams = self.numbers(|stream| stream.carries(type_url));
        for number in &streams {
            let Some(stream) = self.streams.get_mut(number) else { continue };
            if let (Some(nonce), Some(to)) = (nonce, stream.subscriptions.get_mut(type_url)) {
                nonce.clone_into(&mut to.nonce);
            }
            let _ = stream.out.send(Ok(bytes.to_vec()));
        }
        (at, streams.len())
    }

    /// Ends every stream of a type.
    pub(super) fn end(&mut self, type_url: &str, status: &Status) -> usize {
        let streams = self.numbers(|stream| stream.carries(type_url));
        for stream in streams.iter().filter_map(|number| self.streams.remove(number)) {
            let _ = stream.out.send(Err(status.clone()));
        }
        streams.len()
    }

    /// From now on, ends each new stream at once, or no longer.
    pub(super) fn end_new(&mut self, status: Option<Status>) {
        self.ended = status;
    }

    fn numbers(&self, which: impl Fn(&Stream) -> bool) -> Vec<u64> {
        self.streams.iter().filter(|(_, stream)| which(stream)).map(|(number, _)| *number).collect()
    }

    pub(super) fn streams(&self, type_url: &str) -> usize {
        self.numbers(|stream| stream.carries(type_url)).len()
    }

    pub(super) fn streams_ever(&self, type_url: &str) -> usize {
        self.kinds.get(type_url).map_or(0, |kind| kind.streams_ever)
    }

    pub(super) fn requests(&self, type_url: &str) -> &[Request] {
        self.kinds.get(type_url).map_or(&[], |kind| &kind.requests)
    }
}
