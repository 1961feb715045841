//! The Envoys that are connected, and how far each of them is.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::snapshot::commit_of;
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

impl KindStatus {
    /// Of several streams for one kind, the one with the greatest shows how far the Envoy is: one with a refusal, or one that has not
    /// answered, or else the one with the newest version.
    fn concern(&self) -> (bool, bool, u64) {
        let is_waiting = self.sent.is_some() && self.sent != self.accepted;
        let newest = self.accepted.as_deref().map_or(0, commit_of);
        (self.rejected.is_some(), is_waiting, newest)
    }
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

    /// A client accepted or refused a response.
    pub fn judged(&self, number: u64, verdict: &Verdict) {
        let mut open = self.locked();
        let Some(stream) = open.streams.get_mut(&number) else { return };
        let Verdict { kind, version, refusal, is_clear } = verdict;
        let status = stream.kinds.entry(*kind).or_default();
        if refusal.is_some() {
            (status.rejected, status.reason) = (Some(version.clone()), refusal.clone());
            return;
        }
        status.accepted = Some(version.clone());
        if *is_clear {
            (status.rejected, status.reason) = (None, None);
        }
    }

    /// A client that came back said which version it has.
    pub fn has(&self, number: u64, kind: Kind, version: &str) {
        if let Some(stream) = self.locked().streams.get_mut(&number) {
            let status = stream.kinds.entry(kind).or_default();
            status.accepted = Some(version.to_owned());
        }
    }

    /// How many streams are open.
    pub fn streams(&self) -> usize {
        self.locked().streams.len()
    }

    /// The connected Envoys by their node ids, and by their IP addresses where several have one id.
    pub fn list(&self) -> Vec<NodeStatus> {
        let mut nodes: BTreeMap<(String, Option<IpAddr>), NodeStatus> = BTreeMap::new();
        for stream in self.locked().streams.values() {
            if stream.id.is_empty() && stream.kinds.is_empty() {
                // It has not asked for anything yet.
                continue;
            }
            let envoy = (stream.id.clone(), stream.address.map(|address| address.ip()));
            let node = nodes.entry(envoy).or_insert_with(|| NodeStatus {
                id: stream.id.clone(),
                cluster: stream.cluster.clone(),
                address: stream.address,
                since: stream.since,
                streams: 0,
                kinds: BTreeMap::new(),
            });
            node.streams += 1;
            node.since = node.since.min(stream.since);
            for (kind, status) in &stream.kinds {
                let shown = node.kinds.entry(*kind).or_default();
                if status.concern() >= shown.concern() {
                    shown.clone_from(status);
                }
            }
        }
        nodes.into_values().collect()
    }

    fn locked(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_shown_until_its_own_stream_accepts() {
        let nodes = Nodes::default();
        let streams = [nodes.open(None), nodes.open(None)];
        let judged = |number: u64, version: &str, refusal: Option<&str>| {
            let (version, refusal) = (version.to_owned(), refusal.map(str::to_owned));
            let is_clear = refusal.is_none();
            nodes.judged(number, &Verdict { kind: Kind::Runtime, version, refusal, is_clear });
        };
        let shown = || {
            let KindStatus { accepted, rejected, .. } = nodes.list()[0].kinds[&Kind::Runtime].clone();
            (accepted.unwrap_or_default(), rejected.unwrap_or_default())
        };
        assert_eq!(nodes.list(), [], "they have not asked for anything yet");
        for number in streams {
            nodes.name(number, "envoy", "");
            nodes.sent(number, Kind::Runtime, "8");
            judged(number, "7", None);
        }
        judged(streams[1], "8", None);
        assert_eq!(shown(), ("7".to_owned(), String::new()), "8 is on its way to one of them");
        judged(streams[0], "8", Some("no good"));
        assert_eq!(shown(), ("7".to_owned(), "8".to_owned()));
        nodes.sent(streams[0], Kind::Runtime, "10");
        judged(streams[0], "10", None);
        assert_eq!(shown(), ("10".to_owned(), String::new()));
    }

    #[test]
    fn envoys_with_one_id_are_told_apart_by_their_addresses() {
        let nodes = Nodes::default();
        for address in ["10.0.0.1:1", "10.0.0.1:2", "10.0.0.2:1"] {
            nodes.name(nodes.open(address.parse().ok()), "envoy", "");
        }
        let shown: Vec<_> = nodes.list().into_iter().map(|node| (node.address, node.streams)).collect();
        assert_eq!(shown, [("10.0.0.1:1".parse().ok(), 2), ("10.0.0.2:1".parse().ok(), 1)]);
    }
}
