//! The Envoys that are connected, and how far each of them is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::{Kind, Verdict};

/// A connected Envoy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// The id of its node.
    pub id: String,
    /// The cluster of its node.
    pub cluster: String,
    /// The address of one of its connections.
    pub address: Option<SocketAddr>,
    /// When its first stream was opened that is still open.
    pub since: SystemTime,
    /// How many streams it has open.
    pub streams: usize,
    /// How far it is with each kind that it subscribed to.
    pub kinds: BTreeMap<Kind, KindStatus>,
}

/// How far an Envoy is with a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KindStatus {
    /// The version that was sent last.
    pub sent: Option<String>,
    /// The version that it accepted last.
    pub accepted: Option<String>,
    /// The version that it refused last, and has not replaced since.
    pub rejected: Option<String>,
    /// Why it refused it.
    pub reason: Option<String>,
}

/// All connected Envoys.
#[derive(Debug, Default)]
pub struct Nodes(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    last: u64,
    streams: BTreeMap<u64, Stream>,
}

#[derive(Debug)]
struct Stream {
    id: String,
    cluster: String,
    address: Option<SocketAddr>,
    since: SystemTime,
    kinds: BTreeMap<Kind, KindStatus>,
}

impl Nodes {
    /// A stream was opened; returns its number.
    pub fn open(&self, address: Option<SocketAddr>) -> u64 {
        let mut open = self.locked();
        open.last += 1;
        let number = open.last;
        let (id, cluster) = (String::new(), String::new());
        let stream = Stream { id, cluster, address, since: SystemTime::now(), kinds: BTreeMap::new() };
        open.streams.insert(number, stream);
        number
    }

    /// A stream has ended.
    pub fn close(&self, number: u64) {
        self.locked().streams.remove(&number);
    }

    /// A client named its node, which it may do in its first request only.
    pub fn name(&self, number: u64, id: &str, cluster: &str) {
        if let Some(stream) = self.locked().streams.get_mut(&number) {
            (stream.id, stream.cluster) = (id.to_owned(), cluster.to_owned());
        }
    }

    /// A response was sent.
    pub fn sent(&self, number: u64, kind: Kind, version: &str) {
        if let Some(stream) = self.locked().streams.get_mut(&number) {
            stream.kinds.entry(kind).or_default().sent = Some(version.to_owned());
        }
    }

    /// A client accepted or refused the last response.
    pub fn judged(&self, number: u64, verdict: &Verdict) {
        let mut open = self.locked();
        let Some(stream) = open.streams.get_mut(&number) else { return };
        match verdict {
            Verdict::Accepted(kind) => {
                let status = stream.kinds.entry(*kind).or_default();
                (status.rejected, status.reason) = (None, None);
                status.accepted.clone_from(&status.sent);
            }
            Verdict::Rejected(kind, reason) => {
                let status = stream.kinds.entry(*kind).or_default();
                status.rejected.clone_from(&status.sent);
                status.reason = Some(reason.clone());
            }
        }
    }

    /// A client that came back said which version it has.
    pub fn has(&self, number: u64, kind: Kind, version: &str) {
        if let Some(stream) = self.locked().streams.get_mut(&number) {
            let status = stream.kinds.entry(kind).or_default();
            status.accepted = Some(version.to_owned()).filter(|version| !version.is_empty());
        }
    }

    /// How many streams are open.
    pub fn streams(&self) -> usize {
        self.locked().streams.len()
    }

    /// The connected Envoys by their node ids.
    pub fn list(&self) -> Vec<NodeStatus> {
        let mut nodes: BTreeMap<String, NodeStatus> = BTreeMap::new();
        for stream in self.locked().streams.values() {
            let node = nodes.entry(stream.id.clone()).or_insert_with(|| NodeStatus {
                id: stream.id.clone(),
                cluster: stream.cluster.clone(),
                address: stream.address,
                since: stream.since,
                streams: 0,
                kinds: BTreeMap::new(),
            });
            node.streams += 1;
            node.since = node.since.min(stream.since);
            // Of two streams for one kind, the later one shows how far the Envoy is.
            node.kinds.extend(stream.kinds.iter().map(|(kind, status)| (*kind, status.clone())));
        }
        nodes.into_values().collect()
    }

    fn locked(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
