//! One stream of the state-of-the-world protocol, as a state machine without I/O.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol>. Clusters come as a full list, so that a missing one is removed;
//! of the other kinds only what has changed is sent.

use std::collections::{BTreeMap, BTreeSet};

use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use pinroute_core::hash::fnv1a_64;

use super::snapshot::{Resource, Snapshot, Transport};
use super::subscription::{Subscription, WILDCARD};
use super::verdict::Verdicts;
use super::{Kind, Reaction, Sent, Violation, kind_of};

/// A stream.
#[derive(Debug)]
pub struct Sotw {
    service: Option<Kind>,
    kinds: BTreeMap<Kind, State>,
    last_nonce: u64,
}

/// What a stream has of a kind.
#[derive(Debug, Default)]
struct State {
    subscription: Subscription,
    /// Whether the client has ever named a resource: no names mean all before, and none after, whatever the kind.
    is_explicit: bool,
    /// The nonce of the last response; empty if there was none.
    nonce: String,
    /// What the client was sent, whether it accepted it or not: what it refused is not sent again.
    sent: BTreeMap<String, Resource>,
    verdicts: Verdicts,
}

impl State {
    /// Takes over the names of a request. Returns whether there are new ones.
    fn subscribe(&mut self, names: &[String]) -> bool {
        self.is_explicit |= !names.is_empty();
        let wildcard = !self.is_explicit || names.iter().any(|name| name == WILDCARD);
        let wanted: BTreeSet<_> = names.iter().filter(|name| *name != WILDCARD).cloned().collect();
        let is_more = wildcard && !self.subscription.wildcard || !wanted.is_subset(&self.subscription.names);
        self.subscription = Subscription { wildcard, names: wanted };
        // A client that names it again later wants it again.
        let subscription = &self.subscription;
        self.sent.retain(|name, _| subscription.includes(name));
        self.verdicts.retain(|name| subscription.includes(name));
        is_more
    }

    /// The version of what the subscription includes. The usual subscriptions, all clusters or one resource of another kind, have the
    /// version of a commit. Others must not share it, as a client may come back with another subscription.
    fn version(&self, kind: Kind, snapshot: &Snapshot, resources: &BTreeMap<String, Resource>) -> String {
        if self.subscription.wildcard {
            let changed = snapshot.version(snapshot.changed(kind));
            return if kind == Kind::Cluster { changed } else { format!("{changed}*") };
        }
        let last = resources.values().map(|resource| resource.revision).max().unwrap_or_default();
        let last = snapshot.version(last);
        if resources.len() < 2 && kind != Kind::Cluster {
            return last;
        }
        // Another subset may have the same last commit.
        let all: Vec<_> =
            resources.iter().map(|(name, resource)| format!("{name:?}{}", resource.revision)).collect();
        format!("{last}-{:x}", fnv1a_64(all.concat().as_bytes()))
    }
}

impl Sotw {
    /// A new stream of the service of one kind, or of the aggregated service.
    pub fn new(service: Option<Kind>) -> Self {
        Self { service, kinds: BTreeMap::new(), last_nonce: 0 }
    }

    fn transport(&self) -> Transport {
        if self.service.is_some() { Transport::StateOfTheWorld } else { Transport::Aggregated }
    }

    /// A request came.
    ///
    /// # Errors
    /// [`Violation`]
    pub fn on_request(
        &mut self,
        request: &DiscoveryRequest,
        snapshot: &Snapshot,
    ) -> Result<Reaction<DiscoveryResponse>, Violation> {
        let Some(kind) = kind_of(self.service, &request.type_url)? else { return Ok(Reaction::default()) };
        let is_first = !self.kinds.contains_key(&kind);
        let state = self.kinds.entry(kind).or_default();
        let verdict = state.verdicts.judge(kind, &request.response_nonce, request.error_detail.as_ref());
        let is_reply = !request.response_nonce.is_empty() && !state.nonce.is_empty();
        if is_reply && request.response_nonce != state.nonce {
            // Its names are older than the last response: the request about that one is still to come.
            return Ok(Reaction { verdict, ..Reaction::default() });
        }
        let known =
            (is_first && !request.version_info.is_empty()).then(|| (kind, request.version_info.clone()));
        let is_more = state.subscribe(&request.resource_names);
        let mut responses = Vec::new();
        if is_first || is_more {
            let resources = state.subscription.resources(kind, snapshot);
            let version = state.version(kind, snapshot, &resources);
            if is_first && request.version_info == version {
                // The client has all of it from an earlier stream.
                state.sent = resources;
            } else {
                // A cluster that a client has from an earlier stream may be gone, which only a list without it can say.
                let is_awaited = is_first && (state.subscription.wildcard || kind == Kind::Cluster);
                responses.extend(self.respond(kind, resources, version, is_awaited));
            }
        }
        Ok(Reaction { responses, verdict, known })
    }

    /// The resources have changed.
    pub fn on_snapshot(&mut self, snapshot: &Snapshot) -> Vec<Sent<DiscoveryResponse>> {
        let mut responses = Vec::new();
        let mut removal = None;
        for kind in Kind::ALL {
            let Some(state) = self.kinds.get(&kind) else { continue };
            let resources = state.subscription.resources(kind, snapshot);
            let version = state.version(kind, snapshot, &resources);
            let gone = state.sent.iter().filter(|(name, _)| !resources.contains_key(*name));
            let gone: Vec<_> = gone.map(|(name, resource)| (name.clone(), resource.clone())).collect();
            if kind == Kind::Cluster && self.service.is_none() && !gone.is_empty() {
                // Traffic may still go to them, until the others have followed.
                let mut both = resources.clone();
                both.extend(gone);
                responses.extend(self.respond(kind, both, format!("{version}+"), false));
                removal = Some((resources, version));
            } else {
                responses.extend(self.respond(kind, resources, version, false));
            }
        }
        if let Some((resources, version)) = removal {
            responses.extend(self.respond(Kind::Cluster, resources, version, false));
        }
        responses
    }

    /// The response that brings a client to these resources, if one is needed. `is_awaited`: the client waits for one, also if
    /// there is nothing.
    fn respond(
        &mut self,
        kind: Kind,
        resources: BTreeMap<String, Resource>,
        version: String,
        is_awaited: bool,
    ) -> Option<Sent<DiscoveryResponse>> {
        let transport = self.transport();
        let state = self.kinds.get_mut(&kind)?;
        let is_new = |name: &String, resource: &Resource| {
            state.sent.get(name).is_none_or(|sent| sent.revision != resource.revision)
        };
        let is_full = kind == Kind::Cluster;
        let has_gone = is_full && state.sent.keys().any(|name| !resources.contains_key(name));
        let has_new = resources.iter().any(|(name, resource)| is_new(name, resource));
        if !(has_new || has_gone || is_awaited) {
            return None;
        }
        let wanted = resources.iter().filter(|(name, resource)| is_full || is_new(name, resource));
        let (names, messages) =
            wanted.map(|(name, resource)| (name.clone(), resource.message(kind, transport))).unzip();
        self.last_nonce += 1;
        state.nonce = self.last_nonce.to_string();
        state.verdicts.sent(&state.nonce, &version, names);
        state.sent = resources;
        let message = DiscoveryResponse {
            version_info: version.clone(),
            resources: messages,
            type_url: kind.type_url().to_owned(),
            nonce: state.nonce.clone(),
            ..DiscoveryResponse::default()
        };
        Some(Sent { kind, version, message })
    }
}
