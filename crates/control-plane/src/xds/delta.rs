//! One stream of the incremental protocol, as a state machine without I/O.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#incremental-xds>

use std::collections::{BTreeMap, BTreeSet};

use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource as Message,
};

use super::snapshot::{Resource, Snapshot, Transport, commit_of};
use super::subscription::{Subscription, WILDCARD};
use super::verdict::Verdicts;
use super::{Kind, Reaction, Sent, Violation, kind_of};

/// A stream.
#[derive(Debug)]
pub struct Delta {
    service: Option<Kind>,
    kinds: BTreeMap<Kind, State>,
    last_nonce: u64,
}

/// What a stream has of a kind.
#[derive(Debug, Default)]
struct State {
    subscription: Subscription,
    /// The versions that the client has or was sent, whether it accepted them or not: what it refused is not sent again.
    known: BTreeMap<String, String>,
    /// Names of which the client knows that nothing is there.
    absent: BTreeSet<String>,
    verdicts: Verdicts,
}

impl Delta {
    /// A new stream of the service of one kind, or of the aggregated service.
    pub fn new(service: Option<Kind>) -> Self {
        Self { service, kinds: BTreeMap::new(), last_nonce: 0 }
    }

    fn transport(&self) -> Transport {
        if self.service.is_some() { Transport::Incremental } else { Transport::Aggregated }
    }

    /// A request came.
    ///
    /// # Errors
    /// [`Violation`]
    pub fn on_request(
        &mut self,
        request: &DeltaDiscoveryRequest,
        snapshot: &Snapshot,
    ) -> Result<Reaction<DeltaDiscoveryResponse>, Violation> {
        let Some(kind) = kind_of(self.service, &request.type_url)? else { return Ok(Reaction::default()) };
        let is_first = !self.kinds.contains_key(&kind);
        let state = self.kinds.entry(kind).or_default();
        let State { subscription, known, absent, verdicts } = state;
        let verdict = verdicts.judge(kind, &request.response_nonce, request.error_detail.as_ref());
        if is_first && request.resource_names_subscribe.is_empty() {
            subscription.wildcard = true;
        }
        // Changes of the subscription count whatever else a request is about: they are not repeated.
        for name in &request.resource_names_subscribe {
            if name == WILDCARD {
                subscription.wildcard = true;
                continue;
            }
            // Who asks again wants it again.
            known.remove(name);
            absent.remove(name);
            subscription.names.insert(name.clone());
        }
        for name in &request.resource_names_unsubscribe {
            if name == WILDCARD {
                subscription.wildcard = false;
            } else if subscription.names.remove(name) {
                absent.remove(name);
                // The client has dropped what it had by this name. If the wildcard includes it, it has to be told again.
                known.insert(name.clone(), String::new());
            }
        }
        if is_first {
            let versions = request.initial_resource_versions.iter();
            known.extend(versions.map(|(name, version)| (name.clone(), version.clone())));
        }
        known.retain(|name, _| subscription.includes(name));
        verdicts.retain(|name| subscription.includes(name));
        let is_awaited = is_first && subscription.wildcard && known.is_empty();
        let (update, removal) = self.respond(kind, snapshot, is_awaited);
        let responses: Vec<_> = update.into_iter().chain(removal).collect();
        let newest = request.initial_resource_versions.values().max_by_key(|version| commit_of(version));
        let known = newest.filter(|_| is_first).map(|newest| {
            // Who is sent nothing has what there is.
            let has_all = responses.is_empty();
            (kind, if has_all { snapshot.version(snapshot.changed(kind)) } else { newest.clone() })
        });
        Ok(Reaction { responses, verdict, known })
    }

    /// The resources have changed.
    pub fn on_snapshot(&mut self, snapshot: &Snapshot) -> Vec<Sent<DeltaDiscoveryResponse>> {
        let (mut responses, mut removals) = (Vec::new(), Vec::new());
        for kind in Kind::ALL {
            let (update, removal) = self.respond(kind, snapshot, false);
            responses.extend(update);
            // Traffic may still go to what is removed, until the others have followed.
            removals.extend(removal);
        }
        // What refers to others goes first.
        removals.reverse();
        responses.extend(removals);
        responses
    }

    /// What brings a client to the present resources: an update, and a removal, if they are needed. `is_awaited`: the client waits
    /// for a response, also if there is nothing.
    fn respond(
        &mut self,
        kind: Kind,
        snapshot: &Snapshot,
        is_awaited: bool,
    ) -> (Option<Sent<DeltaDiscoveryResponse>>, Option<Sent<DeltaDiscoveryResponse>>) {
        let transport = self.transport();
        let Some(State { subscription, known, absent, .. }) = self.kinds.get_mut(&kind) else {
            return (None, None);
        };
        let resources = subscription.resources(kind, snapshot);
        let version = |resource: &Resource| snapshot.version(resource.revision);
        let is_new = |(name, resource): &(&String, &Resource)| known.get(*name) != Some(&version(resource));
        let updated: Vec<_> = resources
            .iter()
            .filter(is_new)
            .map(|(name, resource)| Message {
                name: name.clone(),
                version: version(resource),
                resource: Some(resource.message(kind, transport)),
                ..Message::default()
            })
            .collect();
        let gone = known.keys().filter(|name| !resources.contains_key(*name));
        let missing = subscription.names.iter().filter(|name| {
            !resources.contains_key(*name) && !known.contains_key(*name) && !absent.contains(*name)
        });
        // An Envoy without the configuration of a filter refuses requests: it keeps the last one.
        let removed: BTreeSet<String> = match kind {
            Kind::Extension => BTreeSet::new(),
            Kind::Cluster | Kind::Endpoints | Kind::Runtime => gone.chain(missing).cloned().collect(),
        };
        for Message { name, version, .. } in &updated {
            known.insert(name.clone(), version.clone());
            absent.remove(name);
        }
        for name in &removed {
            known.remove(name);
            if subscription.names.contains(name) {
                absent.insert(name.clone());
            }
        }
        let version = snapshot.version(snapshot.changed(kind));
        let update = (!updated.is_empty() || is_awaited && removed.is_empty())
            .then(|| self.response(kind, version.clone(), updated, Vec::new()))
            .flatten();
        let removal = (!removed.is_empty())
            .then(|| self.response(kind, version, Vec::new(), removed.into_iter().collect()))
            .flatten();
        (update, removal)
    }

    fn response(
        &mut self,
        kind: Kind,
        version: String,
        resources: Vec<Message>,
        removed_resources: Vec<String>,
    ) -> Option<Sent<DeltaDiscoveryResponse>> {
        self.last_nonce += 1;
        let nonce = self.last_nonce.to_string();
        let names = resources.iter().map(|resource| resource.name.clone());
        let names = names.chain(removed_resources.iter().cloned()).collect();
        self.kinds.get_mut(&kind)?.verdicts.sent(&nonce, &version, names);
        let message = DeltaDiscoveryResponse {
            system_version_info: version.clone(),
            resources,
            type_url: kind.type_url().to_owned(),
            removed_resources,
            nonce,
            ..DeltaDiscoveryResponse::default()
        };
        Some(Sent { kind, version, message })
    }
}
