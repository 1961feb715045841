//! Random clients that follow the protocol, against random changes. Messages wait in queues both ways, so that requests and
//! responses cross each other as they do on a network.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::google::rpc::Status;
use proptest::prelude::*;

use super::delta::Delta;
use super::snapshot::{Resource, Resources, Snapshot};
use super::sotw::Sotw;
use super::{Kind, Sent};

const NAMES: [&str; 3] = ["a", "b", "c"];

type Key = (Kind, String);

#[derive(Clone, Debug)]
enum Step {
    /// An operator sets a resource, or changes it.
    Set(Kind, &'static str),
    /// An operator removes one.
    Remove(Kind, &'static str),
    /// The server sees all changes so far.
    Publish,
    Subscribe(Kind, &'static str),
    Unsubscribe(Kind, &'static str),
    Wildcard(Kind, bool),
    /// The oldest request on its way reaches the server.
    Deliver,
    /// The oldest response on its way reaches the client, which accepts or refuses it.
    Judge {
        is_accepted: bool,
    },
    /// The connection breaks, and the client comes back with what it has.
    Reconnect,
}

fn step(kinds: Vec<Kind>) -> impl Strategy<Value = Step> {
    let kind = proptest::sample::select(kinds);
    let name = || proptest::sample::select(&NAMES[..]);
    prop_oneof![
        4 => (kind.clone(), name()).prop_map(|(kind, name)| Step::Set(kind, name)),
        1 => (kind.clone(), name()).prop_map(|(kind, name)| Step::Remove(kind, name)),
        4 => Just(Step::Publish),
        4 => (kind.clone(), name()).prop_map(|(kind, name)| Step::Subscribe(kind, name)),
        2 => (kind.clone(), name()).prop_map(|(kind, name)| Step::Unsubscribe(kind, name)),
        1 => (kind, any::<bool>()).prop_map(|(kind, on)| Step::Wildcard(kind, on)),
        8 => Just(Step::Deliver),
        8 => proptest::bool::weighted(0.8).prop_map(|is_accepted| Step::Judge { is_accepted }),
        1 => Just(Step::Reconnect),
    ]
}

/// A service for one kind, or the aggregated one with some; and what happens.
fn story() -> impl Strategy<Value = (Option<Kind>, Vec<Step>)> {
    let kinds = proptest::sample::subsequence(&Kind::ALL[..], 1..=Kind::ALL.len());
    (kinds, any::<bool>()).prop_flat_map(|(kinds, is_aggregated)| {
        let service = kinds.first().copied().filter(|_| !is_aggregated);
        let kinds = service.map_or(kinds, |kind| vec![kind]);
        (Just(service), proptest::collection::vec(step(kinds), 1..120))
    })
}

/// What operators have set, by revisions.
#[derive(Debug, Default)]
struct World {
    revisions: BTreeMap<Key, u64>,
    changed: BTreeMap<Kind, u64>,
    last: u64,
}

impl World {
    fn set(&mut self, kind: Kind, name: &str, is_there: bool) {
        let key = (kind, name.to_owned());
        if !is_there && self.revisions.remove(&key).is_none() {
            return;
        }
        self.last += 1;
        self.changed.insert(kind, self.last);
        if is_there {
            self.revisions.insert(key, self.last);
        }
    }

    fn snapshot(&self) -> Snapshot {
        let mut kinds: BTreeMap<Kind, Resources> = BTreeMap::new();
        for (kind, changed) in &self.changed {
            kinds.entry(*kind).or_default().changed = *changed;
        }
        for ((kind, name), revision) in &self.revisions {
            let resource = Resource::new(*revision, format!("{name}@{revision}").into_bytes());
            kinds.entry(*kind).or_default().by_name.insert(name.clone(), resource);
        }
        Snapshot::new(kinds, |name| format!("{name}@0").into_bytes())
    }

    /// The revision that a client should have.
    fn revision(&self, kind: Kind, name: &str, interest: &Interest) -> Option<u64> {
        let known = self.revisions.get(&(kind, name.to_owned())).copied();
        // The layer that nobody has set is empty, and is there for whoever names it.
        known.or((kind == Kind::Runtime && interest.names.contains(name)).then_some(0))
    }
}

/// Name and revision of a resource.
fn parsed(body: &[u8]) -> (String, u64) {
    let (name, revision) = std::str::from_utf8(body).unwrap().split_once('@').unwrap();
    (name.to_owned(), revision.parse().unwrap())
}

/// What a client wants of a kind.
#[derive(Clone, Debug, Default)]
struct Interest {
    is_wildcard: bool,
    names: BTreeSet<String>,
}

impl Interest {
    fn includes(&self, name: &str) -> bool {
        self.is_wildcard || self.names.contains(name)
    }

    fn words(&self) -> Vec<String> {
        self.is_wildcard.then(|| "*".to_owned()).into_iter().chain(self.names.iter().cloned()).collect()
    }

    /// Applies a step. Returns whether it changes anything.
    fn apply(&mut self, step: &Step) -> bool {
        match step {
            Step::Subscribe(_, name) => self.names.insert((*name).to_owned()),
            Step::Unsubscribe(_, name) => self.names.remove(*name),
            Step::Wildcard(_, on) => std::mem::replace(&mut self.is_wildcard, *on) != *on,
            _ => false,
        }
    }
}

/// What a client has of a kind.
#[derive(Debug, Default)]
struct Held {
    interest: Interest,
    resources: BTreeMap<String, u64>,
    /// What it refused, and has not accepted since. A removal has no revision.
    refused: BTreeMap<String, Option<u64>>,
    // The rest is for the state-of-the-world protocol.
    version: String,
    nonce: String,
    /// Whether it has everything that the version stands for.
    is_whole: bool,
    is_list_refused: bool,
}

/// How many messages a stream may take to come to rest.
const REST: usize = 500;

/// A client of a state-of-the-world stream, and the server's side of it.
struct SotwModel {
    service: Option<Kind>,
    server: Sotw,
    held: BTreeMap<Kind, Held>,
    requests: VecDeque<(Kind, DiscoveryRequest)>,
    responses: VecDeque<(Kind, DiscoveryResponse)>,
    /// What this stream has sent to a client that still wants it.
    ledger: BTreeMap<Key, u64>,
    /// The last full list of clusters on this stream.
    last_list: Option<BTreeMap<String, u64>>,
    /// Names that the client has given up while messages were on their way. If it takes one up again before they have arrived,
    /// the server cannot know that it was ever given up: the protocol has no message for it.
    limbo: BTreeSet<Key>,
    /// The kinds that this stream has had a request for.
    asked: BTreeSet<Kind>,
    /// The names in the last request that the server has seen.
    named: BTreeMap<Kind, Vec<String>>,
}

impl SotwModel {
    fn new(service: Option<Kind>) -> Self {
        Self {
            service,
            server: Sotw::new(service),
            held: BTreeMap::new(),
            requests: VecDeque::new(),
            responses: VecDeque::new(),
            ledger: BTreeMap::new(),
            last_list: None,
            limbo: BTreeSet::new(),
            asked: BTreeSet::new(),
            named: BTreeMap::new(),
        }
    }

    fn ask(&mut self, kind: Kind, refusal: Option<&str>) {
        let held = self.held.entry(kind).or_default();
        let request = DiscoveryRequest {
            version_info: held.version.clone(),
            resource_names: held.interest.words(),
            type_url: kind.type_url().to_owned(),
            response_nonce: held.nonce.clone(),
            error_detail: refusal.map(|text| Status { message: text.to_owned(), ..Status::default() }),
            ..DiscoveryRequest::default()
        };
        self.requests.push_back((kind, request));
        self.asked.insert(kind);
    }

    fn subscribe(&mut self, kind: Kind, step: &Step) {
        if self.requests.is_empty() && self.responses.is_empty() {
            self.limbo.clear();
        }
        let is_limbo =
            |name: &str| self.limbo.iter().any(|(of, known)| *of == kind && (known == name || name == "*"));
        match step {
            Step::Subscribe(_, name) if is_limbo(name) => return,
            // Layers are always named: there is one for each name, so all of them would be endless.
            Step::Wildcard(kind, true) if *kind == Kind::Runtime || is_limbo("*") => return,
            _ => {}
        }
        let held = self.held.entry(kind).or_default();
        if !held.interest.apply(step) {
            return;
        }
        let Held { interest, resources, refused, .. } = held;
        let gone: Vec<_> = NAMES.iter().filter(|name| !interest.includes(name)).collect();
        if !matches!(step, Step::Subscribe(..)) {
            held.is_whole = false;
            self.limbo.extend(gone.iter().map(|name| (kind, (**name).to_owned())));
        }
        resources.retain(|name, _| interest.includes(name));
        refused.retain(|name, _| interest.includes(name));
        // Nobody begins by asking for nothing: no names would mean all.
        if self.asked.contains(&kind) || !held.interest.words().is_empty() {
            self.ask(kind, None);
        }
    }

    fn deliver(&mut self, snapshot: &Snapshot) {
        let Some((kind, request)) = self.requests.pop_front() else { return };
        let before = self.named.insert(kind, request.resource_names.clone()).unwrap_or_default();
        let (has, had) = (|word: &str| request.resource_names.iter().any(|known| known == word), before);
        // Who names it again wants it again, also if the wildcard included it in between.
        let is_same = |name: &String| has(name) == had.contains(name) && (has(name) || has("*"));
        self.ledger.retain(|(of, name), _| *of != kind || is_same(name));
        if kind == Kind::Cluster {
            self.last_list = None;
        }
        let reaction = self.server.on_request(&request, snapshot).unwrap();
        if let Some(verdict) = reaction.verdict {
            assert_eq!(verdict.refusal.is_some(), request.error_detail.is_some());
        }
        self.take(reaction.responses);
    }

    /// Checks the responses of the server, and sends them on their way.
    fn take(&mut self, responses: Vec<Sent<DiscoveryResponse>>) {
        for Sent { kind, message, .. } in responses {
            let list: BTreeMap<_, _> = message.resources.iter().map(|any| parsed(&any.value)).collect();
            if kind == Kind::Cluster {
                assert_ne!(self.last_list.as_ref(), Some(&list), "the same list again");
                self.last_list = Some(list);
            } else {
                for (name, revision) in list {
                    let before = self.ledger.insert((kind, name.clone()), revision);
                    assert_ne!(before, Some(revision), "{kind:?} {name} again");
                }
            }
            self.responses.push_back((kind, message));
        }
    }

    fn judge(&mut self, is_accepted: bool) {
        let Some((kind, response)) = self.responses.pop_front() else { return };
        let has_limbo = self.limbo.iter().any(|(of, _)| *of == kind);
        let held = self.held.entry(kind).or_default();
        let list: BTreeMap<_, _> = response.resources.iter().map(|any| parsed(&any.value)).collect();
        let wanted = list.into_iter().filter(|(name, _)| held.interest.includes(name));
        if is_accepted {
            if kind == Kind::Cluster {
                held.resources.clear();
            }
            for (name, revision) in wanted {
                held.refused.remove(&name);
                held.resources.insert(name, revision);
            }
            held.version = response.version_info;
            held.is_whole = !has_limbo;
            held.is_list_refused = false;
        } else {
            held.refused.extend(wanted.map(|(name, revision)| (name, Some(revision))));
            held.is_list_refused = true;
        }
        held.nonce = response.nonce;
        self.ask(kind, (!is_accepted).then_some("no"));
    }

    fn reconnect(&mut self) {
        self.server = Sotw::new(self.service);
        self.requests.clear();
        self.responses.clear();
        self.ledger.clear();
        self.last_list = None;
        self.limbo.clear();
        self.asked.clear();
        for kind in Kind::ALL {
            let Some(held) = self.held.get_mut(&kind) else { continue };
            held.nonce.clear();
            if !held.is_whole {
                // The version stands for more than the client has kept.
                held.version.clear();
            }
            if !held.interest.words().is_empty() {
                self.ask(kind, None);
            }
        }
    }

    fn check(&self, world: &World) {
        for (kind, held) in &self.held {
            if *kind == Kind::Cluster && held.is_list_refused {
                continue;
            }
            for name in NAMES {
                let has = held.resources.get(name).copied();
                let wanted = world.revision(*kind, name, &held.interest);
                let wanted = wanted.filter(|_| held.interest.includes(name));
                let is_refused = wanted.is_some() && held.refused.get(name) == Some(&wanted);
                // Of other kinds, what is gone cannot be told.
                let is_kept = wanted.is_none() && *kind != Kind::Cluster && held.interest.includes(name);
                assert!(
                    has == wanted || is_refused || is_kept,
                    "{kind:?} {name}: has {has:?}, not {wanted:?}"
                );
            }
        }
    }
}

/// A client of an incremental stream, and the server's side of it.
struct DeltaModel {
    service: Option<Kind>,
    server: Delta,
    held: BTreeMap<Kind, Held>,
    requests: VecDeque<(Kind, DeltaDiscoveryRequest)>,
    responses: VecDeque<(Kind, DeltaDiscoveryResponse)>,
    ledger: BTreeMap<Key, Option<u64>>,
    asked: BTreeSet<Kind>,
}

impl DeltaModel {
    fn new(service: Option<Kind>) -> Self {
        Self {
            service,
            server: Delta::new(service),
            held: BTreeMap::new(),
            requests: VecDeque::new(),
            responses: VecDeque::new(),
            ledger: BTreeMap::new(),
            asked: BTreeSet::new(),
        }
    }

    /// The first request of a kind names everything; a later one what has changed.
    fn subscribe(&mut self, kind: Kind, step: &Step) {
        let is_at_rest = self.requests.is_empty() && self.responses.is_empty();
        if matches!(step, Step::Wildcard(_, true)) && !is_at_rest {
            // A response to a name that was given up would pass for one to the wildcard.
            return;
        }
        let held = self.held.entry(kind).or_default();
        if !held.interest.apply(step) {
            return;
        }
        let Held { interest, resources, refused, .. } = held;
        resources.retain(|name, _| interest.includes(name));
        refused.retain(|name, _| interest.includes(name));
        if !self.asked.contains(&kind) {
            return self.begin(kind);
        }
        let mut request = DeltaDiscoveryRequest {
            type_url: kind.type_url().to_owned(),
            ..DeltaDiscoveryRequest::default()
        };
        match step {
            Step::Subscribe(_, name) => request.resource_names_subscribe.push((*name).to_owned()),
            Step::Unsubscribe(_, name) => {
                // What the client had by its name is gone, even if the wildcard includes it: the server sends it anew, or removes it.
                held.resources.remove(*name);
                held.refused.remove(*name);
                request.resource_names_unsubscribe.push((*name).to_owned());
            }
            Step::Wildcard(_, true) => request.resource_names_subscribe.push("*".to_owned()),
            _ => request.resource_names_unsubscribe.push("*".to_owned()),
        }
        self.requests.push_back((kind, request));
    }

    fn begin(&mut self, kind: Kind) {
        let held = self.held.entry(kind).or_default();
        if held.interest.words().is_empty() {
            return;
        }
        let versions = held.resources.iter().map(|(name, revision)| (name.clone(), revision.to_string()));
        let request = DeltaDiscoveryRequest {
            type_url: kind.type_url().to_owned(),
            resource_names_subscribe: held.interest.words(),
            initial_resource_versions: versions.collect(),
            ..DeltaDiscoveryRequest::default()
        };
        self.requests.push_back((kind, request));
        self.asked.insert(kind);
    }

    fn deliver(&mut self, snapshot: &Snapshot) {
        let Some((kind, request)) = self.requests.pop_front() else { return };
        for name in request.resource_names_subscribe.iter().chain(&request.resource_names_unsubscribe) {
            self.ledger.retain(|(of, known), _| *of != kind || (known != name && name != "*"));
        }
        for (name, version) in &request.initial_resource_versions {
            self.ledger.insert((kind, name.clone()), Some(version.parse().unwrap()));
        }
        let reaction = self.server.on_request(&request, snapshot).unwrap();
        let is_refused = reaction.verdict.is_some_and(|verdict| verdict.refusal.is_some());
        assert_eq!(is_refused, request.error_detail.is_some(), "every reply counts");
        self.take(reaction.responses);
    }

    fn take(&mut self, responses: Vec<Sent<DeltaDiscoveryResponse>>) {
        for Sent { kind, message, .. } in responses {
            let mut told: Vec<(String, Option<u64>)> =
                message.removed_resources.iter().map(|name| (name.clone(), None)).collect();
            for resource in &message.resources {
                let (name, revision) = parsed(&resource.resource.as_ref().unwrap().value);
                assert_eq!((&resource.name, &resource.version), (&name, &revision.to_string()));
                told.push((name, Some(revision)));
            }
            for (name, revision) in told {
                assert!(kind != Kind::Extension || revision.is_some(), "{name} was removed");
                let before = self.ledger.insert((kind, name.clone()), revision);
                assert_ne!(before, Some(revision), "{kind:?} {name} again");
            }
            self.responses.push_back((kind, message));
        }
    }

    fn judge(&mut self, is_accepted: bool) {
        let Some((kind, response)) = self.responses.pop_front() else { return };
        let held = self.held.entry(kind).or_default();
        let updated =
            response.resources.iter().map(|resource| parsed(&resource.resource.as_ref().unwrap().value));
        let removed = response.removed_resources.iter().map(|name| (name.clone(), None));
        let all = updated.map(|(name, revision)| (name, Some(revision))).chain(removed);
        for (name, revision) in all.filter(|(name, _)| held.interest.includes(name)) {
            if !is_accepted {
                held.refused.insert(name, revision);
                continue;
            }
            held.refused.remove(&name);
            match revision {
                Some(revision) => drop(held.resources.insert(name, revision)),
                None => drop(held.resources.remove(&name)),
            }
        }
        let error_detail = (!is_accepted).then(|| Status { message: "no".to_owned(), ..Status::default() });
        let request = DeltaDiscoveryRequest {
            type_url: kind.type_url().to_owned(),
            response_nonce: response.nonce,
            error_detail,
            ..DeltaDiscoveryRequest::default()
        };
        self.requests.push_back((kind, request));
    }

    fn reconnect(&mut self) {
        self.server = Delta::new(self.service);
        self.requests.clear();
        self.responses.clear();
        self.ledger.clear();
        self.asked.clear();
        for kind in Kind::ALL {
            if let Some(held) = self.held.get_mut(&kind) {
                held.refused.clear();
                self.begin(kind);
            }
        }
    }

    fn check(&self, world: &World) {
        for (kind, held) in &self.held {
            for name in NAMES {
                let has = held.resources.get(name).copied();
                let wanted = world.revision(*kind, name, &held.interest);
                let wanted = wanted.filter(|_| held.interest.includes(name));
                let is_refused = held.refused.get(name) == Some(&wanted);
                // An extension configuration is never removed.
                let is_kept = wanted.is_none() && *kind == Kind::Extension && held.interest.includes(name);
                assert!(
                    has == wanted || is_refused || is_kept,
                    "{kind:?} {name}: has {has:?}, not {wanted:?}"
                );
            }
        }
    }
}

/// Runs a story with a model, lets the stream come to rest, and checks what the client has.
macro_rules! play {
    ($model:ident, $service:expr, $steps:expr) => {{
        let (mut model, mut world) = ($model::new($service), World::default());
        let mut snapshot = world.snapshot();
        for step in $steps {
            match &step {
                Step::Set(kind, name) => world.set(*kind, name, true),
                Step::Remove(kind, name) => world.set(*kind, name, false),
                Step::Publish => {
                    snapshot = world.snapshot();
                    let responses = model.server.on_snapshot(&snapshot);
                    model.take(responses);
                }
                Step::Subscribe(kind, _) | Step::Unsubscribe(kind, _) | Step::Wildcard(kind, _) => {
                    model.subscribe(*kind, &step);
                }
                Step::Deliver => model.deliver(&snapshot),
                Step::Judge { is_accepted } => model.judge(*is_accepted),
                Step::Reconnect => model.reconnect(),
            }
        }
        snapshot = world.snapshot();
        let responses = model.server.on_snapshot(&snapshot);
        model.take(responses);
        let mut messages = 0;
        while !(model.requests.is_empty() && model.responses.is_empty()) {
            model.deliver(&snapshot);
            model.judge(true);
            messages += 1;
            assert!(messages < REST, "it never comes to rest");
        }
        assert!(model.server.on_snapshot(&snapshot).is_empty(), "nothing has changed");
        model.check(&world);
    }};
}

/// Any message of the protocol, however wrong.
fn words() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(prop_oneof!["[ab*]", "\\PC{0,4}", Just(String::new())], 0..4)
}

fn type_url() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => proptest::sample::select(&Kind::ALL[..]).prop_map(|kind| kind.type_url().to_owned()),
        1 => Just(String::new()),
        1 => "\\PC{0,20}",
    ]
}

fn refusal() -> impl Strategy<Value = Option<Status>> {
    proptest::option::of("\\PC{0,8}".prop_map(|message| Status { message, ..Status::default() }))
}

prop_compose! {
    fn sotw_request()(
        type_url in type_url(), version_info in "[0-9]{0,2}|\\PC{0,4}", resource_names in words(),
        response_nonce in "[0-9]?|\\PC{0,4}", error_detail in refusal(),
    ) -> DiscoveryRequest {
        DiscoveryRequest { type_url, version_info, resource_names, response_nonce, error_detail, ..DiscoveryRequest::default() }
    }
}

prop_compose! {
    fn delta_request()(
        type_url in type_url(), resource_names_subscribe in words(), resource_names_unsubscribe in words(),
        versions in words(), response_nonce in "[0-9]?|\\PC{0,4}", error_detail in refusal(),
    ) -> DeltaDiscoveryRequest {
        let initial_resource_versions = versions.into_iter().map(|name| (name, "1".to_owned())).collect();
        DeltaDiscoveryRequest {
            type_url, resource_names_subscribe, resource_names_unsubscribe, initial_resource_versions, response_nonce,
            error_detail, ..DeltaDiscoveryRequest::default()
        }
    }
}

proptest! {
    #[test]
    fn a_sotw_client_ends_up_with_the_snapshot((service, steps) in story()) {
        play!(SotwModel, service, steps);
    }

    #[test]
    fn a_delta_client_ends_up_with_the_snapshot((service, steps) in story()) {
        play!(DeltaModel, service, steps);
    }

    #[test]
    fn no_sequence_of_requests_breaks_a_stream(
        (service, steps) in story(),
        sotw in proptest::collection::vec(sotw_request(), 0..12),
        delta in proptest::collection::vec(delta_request(), 0..12),
    ) {
        let (mut world, mut of_sotw, mut of_delta) = (World::default(), Sotw::new(service), Delta::new(service));
        let (mut sotw, mut delta) = (sotw.into_iter(), delta.into_iter());
        for step in steps {
            match step {
                Step::Set(kind, name) => world.set(kind, name, true),
                Step::Remove(kind, name) => world.set(kind, name, false),
                _ => {}
            }
            let snapshot = world.snapshot();
            of_sotw.on_snapshot(&snapshot);
            of_delta.on_snapshot(&snapshot);
            // A violation ends the stream, which a new one replaces.
            if sotw.next().is_some_and(|request| of_sotw.on_request(&request, &snapshot).is_err()) {
                of_sotw = Sotw::new(service);
            }
            if delta.next().is_some_and(|request| of_delta.on_request(&request, &snapshot).is_err()) {
                of_delta = Delta::new(service);
            }
            prop_assert_eq!(of_sotw.on_snapshot(&snapshot), vec![]);
            prop_assert_eq!(of_delta.on_snapshot(&snapshot), vec![]);
        }
    }
}
