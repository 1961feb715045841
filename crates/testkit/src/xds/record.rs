//! What clients have done.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;
use pinroute_control_plane::xds::Kind;
use tokio::sync::mpsc::UnboundedSender;
use tonic::Code;

/// A `DiscoveryRequest` from a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `version_info`: the version that the client accepted last; empty if none.
    pub version: String,
    /// `response_nonce`: the response that it acknowledges or rejects; empty in the first of a stream.
    pub nonce: String,
    /// The resources that the client subscribes to.
    pub resource_names: Vec<String>,
    /// The node's id, also if only an earlier request of the stream had it; empty if none had.
    pub node_id: String,
    /// `error_detail`: set in a NACK.
    pub error: Option<String>,
    /// The time of the request.
    pub at: Instant,
}

/// All streams and requests of one server. It outlives restarts.
#[derive(Debug, Default)]
pub(super) struct Record {
    open: BTreeMap<u64, Stream>,
    last_stream: u64,
    /// The kinds of each stream so far.
    kinds: BTreeMap<u64, BTreeSet<Kind>>,
    requests: Vec<(Kind, Request)>,
    /// How each new stream ends at once, if it does.
    pub(super) ended: Option<Code>,
    /// The `:authority` of each stream so far.
    pub(super) authorities: Vec<String>,
}

#[derive(Debug)]
struct Stream {
    node_id: String,
    /// Messages that go to the client beside those of the server.
    injected: UnboundedSender<Vec<u8>>,
}

impl Record {
    /// A new stream of the service of a kind, or of the aggregated service; gives its number.
    pub(super) fn open(
        &mut self,
        kind: Option<Kind>,
        authority: String,
        injected: UnboundedSender<Vec<u8>>,
    ) -> u64 {
        self.last_stream += 1;
        self.authorities.push(authority);
        self.kinds.insert(self.last_stream, kind.into_iter().collect());
        self.open.insert(self.last_stream, Stream { node_id: String::new(), injected });
        self.last_stream
    }

    pub(super) fn close(&mut self, number: u64) {
        self.open.remove(&number);
    }

    pub(super) fn receive(&mut self, number: u64, request: DiscoveryRequest) {
        let Some(kinds) = self.kinds.get_mut(&number) else { return };
        let known = Kind::of_type_url(&request.type_url);
        let Some(kind) = known.or_else(|| kinds.first().copied()) else { return };
        kinds.insert(kind);
        let Some(stream) = self.open.get_mut(&number) else { return };
        if let Some(node) = request.node {
            stream.node_id = node.id;
        }
        let request = Request {
            version: request.version_info,
            nonce: request.response_nonce,
            resource_names: request.resource_names,
            node_id: stream.node_id.clone(),
            error: request.error_detail.map(|status| status.message),
            at: Instant::now(),
        };
        self.requests.push((kind, request));
    }

    /// Sends these bytes as one message on every open stream of a kind.
    pub(super) fn inject(&self, kind: Kind, bytes: &[u8]) {
        for (number, stream) in &self.open {
            if self.carries(*number, kind) {
                // The channel is closed if the client is about to disconnect.
                let _ = stream.injected.send(bytes.to_vec());
            }
        }
    }

    fn carries(&self, number: u64, kind: Kind) -> bool {
        self.kinds.get(&number).is_some_and(|kinds| kinds.contains(&kind))
    }

    pub(super) fn streams(&self, kind: Kind) -> usize {
        self.open.keys().filter(|number| self.carries(**number, kind)).count()
    }

    pub(super) fn streams_ever(&self, kind: Kind) -> usize {
        self.kinds.values().filter(|kinds| kinds.contains(&kind)).count()
    }

    pub(super) fn requests(&self, wanted: Kind) -> impl Iterator<Item = &Request> {
        self.requests.iter().filter(move |(kind, _)| *kind == wanted).map(|(_, request)| request)
    }
}
