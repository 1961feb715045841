//! The rules of the protocol, one test for each. Most are documented behaviours of go-control-plane and of Envoy's protocol page.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::google::rpc::Status;

use super::delta::Delta;
use super::snapshot::{Resource, Resources, Snapshot};
use super::sotw::Sotw;
use super::{Kind, Sent, Verdict};

/// Resources as `(kind, name, revision)`; `changed` is the last revision of each kind, or a later one.
fn snapshot(resources: &[(Kind, &str, u64)], removed_at: &[(Kind, u64)]) -> Snapshot {
    let mut kinds: BTreeMap<Kind, Resources> = BTreeMap::new();
    for (kind, name, revision) in resources {
        let of_kind = kinds.entry(*kind).or_default();
        of_kind.changed = of_kind.changed.max(*revision);
        let message = format!("{name}@{revision}").into_bytes();
        of_kind.by_name.insert((*name).to_owned(), Resource::new(*revision, message));
    }
    for (kind, revision) in removed_at {
        kinds.entry(*kind).or_default().changed = *revision;
    }
    Snapshot::new(kinds, |name| format!("{name}@empty").into_bytes())
}

fn shown(resources: impl Iterator<Item = Vec<u8>>) -> String {
    let texts: Vec<_> = resources.map(|bytes| String::from_utf8(bytes).unwrap()).collect();
    texts.join(" ")
}

fn accepted(kind: Kind, version: &str) -> Verdict {
    Verdict { kind, version: version.to_owned(), refusal: None, is_clear: true }
}

fn refused(kind: Kind, version: &str) -> Verdict {
    let refusal = Some("no good".to_owned());
    Verdict { kind, version: version.to_owned(), refusal, is_clear: false }
}

/// A client of a state-of-the-world stream.
struct Client {
    stream: Sotw,
    kind: Kind,
    names: Vec<String>,
    version: String,
    nonce: String,
}

impl Client {
    fn new(service: Option<Kind>, kind: Kind) -> Self {
        let (version, nonce) = (String::new(), String::new());
        Self { stream: Sotw::new(service), kind, names: Vec::new(), version, nonce }
    }

    fn request(&mut self, snapshot: &Snapshot, error: Option<&str>) -> (Vec<String>, Option<Verdict>) {
        let request = DiscoveryRequest {
            version_info: self.version.clone(),
            resource_names: self.names.clone(),
            type_url: self.kind.type_url().to_owned(),
            response_nonce: self.nonce.clone(),
            error_detail: error.map(|message| Status { message: message.to_owned(), ..Status::default() }),
            ..DiscoveryRequest::default()
        };
        let reaction = self.stream.on_request(&request, snapshot).unwrap();
        (self.take(reaction.responses), reaction.verdict)
    }

    /// Subscribes, and returns what comes back.
    fn names(&mut self, names: &[&str], snapshot: &Snapshot) -> Vec<String> {
        self.names = names.iter().map(|name| (*name).to_owned()).collect();
        self.request(snapshot, None).0
    }

    fn ack(&mut self, version: &str, snapshot: &Snapshot) -> Vec<String> {
        self.version = version.to_owned();
        let (responses, verdict) = self.request(snapshot, None);
        assert_eq!(verdict, Some(accepted(self.kind, version)));
        responses
    }

    fn pushed(&mut self, snapshot: &Snapshot) -> Vec<String> {
        let responses = self.stream.on_snapshot(snapshot);
        self.take(responses)
    }

    /// Each response as `VERSION: RESOURCES`.
    fn take(&mut self, responses: Vec<Sent<DiscoveryResponse>>) -> Vec<String> {
        let mut texts = Vec::new();
        for Sent { kind, version, message } in responses {
            assert_eq!((message.type_url.as_str(), &message.version_info), (kind.type_url(), &version));
            if kind == self.kind {
                assert_ne!(message.nonce, self.nonce, "each response has a nonce of its own");
                self.nonce = message.nonce;
            }
            texts.push(format!("{version}: {}", shown(message.resources.into_iter().map(|any| any.value))));
        }
        texts
    }
}

const C: Kind = Kind::Cluster;
const E: Kind = Kind::Endpoints;
const R: Kind = Kind::Runtime;
const X: Kind = Kind::Extension;

#[test]
fn sotw_a_subscription_is_answered_once_and_an_ack_by_nothing() {
    let first = snapshot(&[(E, "a", 3), (E, "b", 5)], &[]);
    let mut client = Client::new(Some(E), E);
    assert_eq!(client.names(&["a"], &first), ["3: a@3"]);
    assert_eq!(client.ack("3", &first), [""; 0]);
    assert_eq!(client.pushed(&first), [""; 0], "nothing has changed");
    let second = snapshot(&[(E, "a", 3), (E, "b", 6)], &[]);
    assert_eq!(client.pushed(&second), [""; 0], "only b has, which it does not want");
    let third = snapshot(&[(E, "a", 7), (E, "b", 6)], &[]);
    assert_eq!(client.pushed(&third), ["7: a@7"]);
}

#[test]
fn sotw_stale_nonces_are_ignored() {
    let first = snapshot(&[(E, "a", 1)], &[]);
    let mut client = Client::new(Some(E), E);
    client.names(&["a"], &first);
    let old = client.nonce.clone();
    client.pushed(&snapshot(&[(E, "a", 2)], &[]));
    let (new, two) = (client.nonce.clone(), snapshot(&[(E, "a", 2), (E, "b", 2)], &[]));
    client.nonce = old;
    client.names = vec!["a".into(), "b".into()];
    let (responses, verdict) = client.request(&two, Some("no good"));
    assert_eq!((responses, verdict), (vec![], Some(refused(E, "1"))), "the names of the last request count");
    client.nonce = new;
    let (responses, verdict) = client.request(&two, None);
    assert_eq!(verdict, Some(accepted(E, "2")));
    assert_eq!(responses.len(), 1);
    assert!(responses[0].starts_with("2-") && responses[0].ends_with(": b@2"), "{responses:?}");
}

#[test]
fn sotw_a_name_that_is_dropped_and_named_again_is_sent_again() {
    let all = snapshot(&[(E, "a", 1), (E, "b", 2)], &[]);
    let mut client = Client::new(Some(E), E);
    client.names(&["a", "b"], &all);
    assert_eq!(client.names(&["a"], &all), [""; 0]);
    let changed = snapshot(&[(E, "a", 1), (E, "b", 3)], &[]);
    assert_eq!(client.pushed(&changed), [""; 0], "b is not wanted any more");
    assert_eq!(client.names(&["a", "b"], &changed).len(), 1);
    assert_eq!(client.names(&["b"], &changed), [""; 0]);
    let again = client.names(&["a", "b"], &changed);
    assert!(again[0].ends_with(": a@1"), "{again:?}");
}

#[test]
fn sotw_what_is_refused_is_not_sent_again_before_it_changes() {
    let bad = snapshot(&[(R, "runtime", 4)], &[]);
    let mut client = Client::new(Some(R), R);
    client.names(&["runtime"], &bad);
    let (responses, verdict) = client.request(&bad, Some("no good"));
    assert_eq!((responses, verdict), (vec![], Some(refused(R, "4"))));
    assert_eq!(client.request(&bad, None), (vec![], None), "it has been judged");
    assert_eq!(client.pushed(&bad), [""; 0], "no loop");
    assert_eq!(client.pushed(&snapshot(&[(R, "runtime", 4), (E, "a", 5)], &[])), [""; 0]);
    assert_eq!(client.pushed(&snapshot(&[(R, "runtime", 6)], &[])), ["6: runtime@6"]);
}

#[test]
fn sotw_what_is_refused_stays_refused_while_others_are_accepted() {
    let mut client = Client::new(Some(E), E);
    client.names(&["a"], &snapshot(&[(E, "a", 1)], &[]));
    assert_eq!(client.request(&snapshot(&[], &[]), Some("no good")).1, Some(refused(E, "1")));
    let two = snapshot(&[(E, "a", 1), (E, "b", 2)], &[]);
    client.names(&["a", "b"], &two);
    let (_, verdict) = client.request(&two, None);
    assert!(!verdict.unwrap().is_clear, "a is still refused");
    client.pushed(&snapshot(&[(E, "a", 3), (E, "b", 2)], &[]));
    let (_, verdict) = client.request(&two, None);
    assert!(verdict.unwrap().is_clear);
}

#[test]
fn sotw_a_client_that_has_everything_is_sent_nothing() {
    let all = snapshot(&[(C, "a", 1), (C, "b", 9), (E, "a", 1), (E, "b", 2), (R, "runtime", 3)], &[]);
    for (kind, names) in [(C, &[][..]), (E, &["a"]), (E, &["a", "b"]), (R, &["runtime"]), (R, &["unknown"])] {
        let mut client = Client::new(Some(kind), kind);
        let response = client.names(names, &all);
        let (version, _) = response[0].split_once(": ").unwrap();
        // The stream breaks, and both sides begin anew; the nonce may be that of the earlier stream.
        for nonce in ["", "77"] {
            let mut back = Client::new(Some(kind), kind);
            (back.version, back.nonce) = (version.to_owned(), nonce.to_owned());
            assert_eq!(back.names(names, &all), [""; 0], "{kind:?} {names:?}");
        }
        let mut outdated = Client::new(Some(kind), kind);
        outdated.version = "0x".to_owned();
        assert_eq!(outdated.names(names, &all), response);
    }
}

#[test]
fn sotw_different_subsets_have_different_versions() {
    let all = snapshot(&[(E, "a", 7), (E, "b", 3), (E, "c", 4)], &[]);
    let version =
        |names: &[&str]| Client::new(Some(E), E).names(names, &all)[0].split(':').next().unwrap().to_owned();
    assert_ne!(version(&["a", "b"]), version(&["a", "c"]));
    assert_eq!(version(&["a", "b"]), version(&["b", "a"]));
}

#[test]
fn sotw_clusters_come_in_full_and_no_names_mean_all() {
    let mut client = Client::new(Some(C), C);
    assert_eq!(client.names(&[], &snapshot(&[], &[])), ["0: "], "the client waits for an answer");
    client.ack("0", &snapshot(&[], &[]));
    assert_eq!(client.pushed(&snapshot(&[(C, "a", 1), (C, "b", 2)], &[])), ["2: a@1 b@2"]);
    assert_eq!(client.pushed(&snapshot(&[(C, "a", 1), (C, "b", 3)], &[])), ["3: a@1 b@3"]);
    assert_eq!(client.pushed(&snapshot(&[(C, "a", 1)], &[(C, 4)])), ["4: a@1"], "b is gone");
    assert_eq!(client.names(&["a"], &snapshot(&[(C, "a", 1)], &[(C, 4)])), [""; 0]);
    assert_eq!(client.names(&[], &snapshot(&[(C, "a", 5)], &[])), [""; 0], "after a name, none means none");
    assert_eq!(client.names(&["*"], &snapshot(&[(C, "a", 5)], &[])), ["5: a@5"]);
}

#[test]
fn sotw_no_names_mean_all_of_every_kind_until_one_is_named() {
    for kind in [E, R, X] {
        let first = snapshot(&[(kind, "a", 1), (kind, "b", 2)], &[]);
        let mut client = Client::new(Some(kind), kind);
        assert_eq!(client.names(&[], &first), ["2*: a@1 b@2"]);
        assert_eq!(client.ack("2*", &first), [""; 0]);
        assert_eq!(client.pushed(&snapshot(&[(kind, "a", 3), (kind, "b", 2)], &[])), ["3*: a@3"]);
        client.names(&["b"], &first);
        assert_eq!(client.names(&[], &first), [""; 0]);
        assert_eq!(client.pushed(&snapshot(&[(kind, "a", 4), (kind, "b", 5)], &[])), [""; 0]);
        let mut early = Client::new(None, kind);
        assert_eq!(early.names(&[], &snapshot(&[], &[])).len(), 1, "the client waits for an answer");
    }
}

#[test]
fn sotw_a_cluster_that_has_gone_while_a_client_was_away_is_missing_in_a_list() {
    let mut client = Client::new(Some(C), C);
    client.version = "5".to_owned();
    assert_eq!(client.names(&["a"], &snapshot(&[], &[(C, 7)])).len(), 1);
    let mut back = Client::new(Some(C), C);
    back.version = "5".to_owned();
    assert_eq!(back.names(&[], &snapshot(&[], &[(C, 7)])), ["7: "]);
}

#[test]
fn sotw_all_resources_and_one_of_them_have_different_versions() {
    let all = snapshot(&[(C, "a", 1), (C, "b", 5), (E, "a", 1), (E, "b", 5)], &[]);
    for kind in [C, E] {
        let one = Client::new(Some(kind), kind).names(&["b"], &all);
        let mut client = Client::new(Some(kind), kind);
        one[0].split(':').next().unwrap().clone_into(&mut client.version);
        let response = client.names(&["*"], &all);
        assert!(response[0].ends_with(": a@1 b@5"), "{kind:?}: {response:?}");
    }
}

#[test]
fn sotw_a_missing_resource_is_waited_for_except_a_runtime_layer() {
    let empty = snapshot(&[], &[]);
    for kind in [E, X] {
        let mut client = Client::new(Some(kind), kind);
        assert_eq!(client.names(&["a"], &empty), [""; 0]);
        assert_eq!(client.pushed(&snapshot(&[(kind, "a", 1)], &[])), ["1: a@1"]);
        assert_eq!(client.pushed(&snapshot(&[], &[(kind, 2)])), [""; 0], "{kind:?} cannot be removed");
    }
    let mut client = Client::new(Some(R), R);
    assert_eq!(client.names(&["other"], &empty), ["0: other@empty"]);
    assert_eq!(client.names(&["other", "runtime"], &snapshot(&[(R, "runtime", 8)], &[])).len(), 1);
}

#[test]
fn sotw_an_aggregated_stream_sends_what_others_refer_to_first_and_removes_clusters_last() {
    let before = snapshot(&[(C, "old", 1), (E, "old", 1), (R, "runtime", 1), (X, "x", 1)], &[]);
    let mut stream = Sotw::new(None);
    for (kind, name) in [(X, Some("x")), (R, Some("runtime")), (E, Some("old")), (E, Some("new")), (C, None)]
    {
        let names: Vec<String> = match (kind, name) {
            (E, Some("new")) => vec!["old".into(), "new".into()],
            (_, name) => name.map(str::to_owned).into_iter().collect(),
        };
        let response_nonce = if name == Some("new") { "3".to_owned() } else { String::new() };
        let request = DiscoveryRequest {
            type_url: kind.type_url().to_owned(),
            resource_names: names,
            response_nonce,
            ..DiscoveryRequest::default()
        };
        stream.on_request(&request, &before).unwrap();
    }
    let after = snapshot(&[(C, "new", 2), (E, "new", 2), (R, "runtime", 2), (X, "x", 2)], &[]);
    let responses = stream.on_snapshot(&after);
    let text = |sent: &Sent<DiscoveryResponse>| {
        let values = sent.message.resources.iter().map(|any| any.value.clone());
        format!("{} {}", sent.kind.name(), shown(values))
    };
    let texts: Vec<_> = responses.iter().map(text).collect();
    assert_eq!(texts, ["cds new@2 old@1", "eds new@2", "rtds runtime@2", "ecds x@2", "cds new@2"]);
    assert_eq!(responses[4].version, "2");
    assert_ne!(responses[0].version, "2", "whoever has only this version is sent the last one");
    assert_eq!(stream.on_snapshot(&after), []);
}

#[test]
fn a_request_of_another_type_ends_a_stream_and_is_ignored_on_an_aggregated_one() {
    let all = snapshot(&[], &[]);
    let request = |url: &str| DiscoveryRequest { type_url: url.to_owned(), ..DiscoveryRequest::default() };
    assert!(Sotw::new(Some(E)).on_request(&request(C.type_url()), &all).is_err());
    assert!(Sotw::new(Some(R)).on_request(&request(""), &all).is_ok(), "the service says which");
    assert!(Sotw::new(None).on_request(&request(""), &all).is_err());
    let secret = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
    assert_eq!(Sotw::new(None).on_request(&request(secret), &all).unwrap().responses, []);
    let delta =
        DeltaDiscoveryRequest { type_url: C.type_url().to_owned(), ..DeltaDiscoveryRequest::default() };
    assert!(Delta::new(Some(E)).on_request(&delta, &all).is_err());
}

/// A request of an incremental stream: `+a` subscribes, `-a` unsubscribes, `a=7` says what the client has.
fn delta_request(kind: Kind, words: &str) -> DeltaDiscoveryRequest {
    let mut request =
        DeltaDiscoveryRequest { type_url: kind.type_url().to_owned(), ..DeltaDiscoveryRequest::default() };
    for word in words.split_whitespace() {
        if let Some(name) = word.strip_prefix('+') {
            request.resource_names_subscribe.push(name.to_owned());
        } else if let Some(name) = word.strip_prefix('-') {
            request.resource_names_unsubscribe.push(name.to_owned());
        } else if let Some((name, version)) = word.split_once('=') {
            request.initial_resource_versions.insert(name.to_owned(), version.to_owned());
        }
    }
    request
}

/// Each response as `RESOURCES -REMOVED`.
fn delta_shown(responses: &[Sent<DeltaDiscoveryResponse>]) -> Vec<String> {
    let text = |sent: &Sent<DeltaDiscoveryResponse>| {
        let resource = |resource: &envoy_types::pb::envoy::service::discovery::v3::Resource| {
            let value = resource.resource.as_ref().unwrap().value.clone();
            assert!(String::from_utf8(value.clone()).unwrap().starts_with(&resource.name));
            value
        };
        let mut text = shown(sent.message.resources.iter().map(resource));
        for name in &sent.message.removed_resources {
            text += &format!(" -{name}");
        }
        text.trim().to_owned()
    };
    responses.iter().map(text).collect()
}

fn ask(stream: &mut Delta, kind: Kind, words: &str, snapshot: &Snapshot) -> Vec<String> {
    delta_shown(&stream.on_request(&delta_request(kind, words), snapshot).unwrap().responses)
}

#[test]
fn delta_only_changes_are_sent() {
    let mut stream = Delta::new(Some(E));
    let first = snapshot(&[(E, "a", 1), (E, "b", 2)], &[]);
    assert_eq!(ask(&mut stream, E, "+a +b", &first), ["a@1 b@2"]);
    assert_eq!(ask(&mut stream, E, "", &first), [""; 0]);
    let second = snapshot(&[(E, "a", 1), (E, "b", 3), (E, "c", 3)], &[]);
    assert_eq!(delta_shown(&stream.on_snapshot(&second)), ["b@3"]);
    assert_eq!(ask(&mut stream, E, "+c -b", &second), ["c@3"]);
    let third = snapshot(&[(E, "a", 1), (E, "b", 4), (E, "c", 4)], &[]);
    assert_eq!(delta_shown(&stream.on_snapshot(&third)), ["c@4"], "b is not wanted any more");
    assert_eq!(ask(&mut stream, E, "+b", &third), ["b@4"]);
    assert_eq!(ask(&mut stream, E, "+b", &third), ["b@4"], "who asks again wants it again");
}

#[test]
fn delta_a_name_that_is_given_up_is_told_again_if_the_wildcard_includes_it() {
    let mut stream = Delta::new(Some(C));
    let all = snapshot(&[(C, "a", 1), (C, "b", 2)], &[]);
    assert_eq!(ask(&mut stream, C, "+* +a +gone", &all), ["a@1 b@2", "-gone"]);
    assert_eq!(ask(&mut stream, C, "-a", &all), ["a@1"]);
    assert_eq!(ask(&mut stream, C, "-gone", &all), ["-gone"]);
    assert_eq!(ask(&mut stream, C, "-b", &all), [""; 0], "it was never named");
    assert_eq!(ask(&mut stream, C, "+a -*", &all), ["a@1"]);
    assert_eq!(ask(&mut stream, C, "-a", &all), [""; 0]);
}

#[test]
fn delta_initial_versions_are_honoured() {
    let all = snapshot(&[(E, "a", 1), (E, "b", 2), (C, "x", 4), (C, "y", 5)], &[]);
    let everything = delta_request(E, "+a +b a=1 b=2");
    let reaction = Delta::new(Some(E)).on_request(&everything, &all).unwrap();
    assert_eq!((reaction.responses, reaction.known), (vec![], Some((E, "2".to_owned()))));
    let reaction = Delta::new(Some(C)).on_request(&delta_request(C, "x=4 y=3"), &all).unwrap();
    assert_eq!(reaction.known, Some((C, "4".to_owned())), "y is sent");
    assert_eq!(ask(&mut Delta::new(Some(E)), E, "+a +b a=1 b=1", &all), ["b@2"]);
    assert_eq!(ask(&mut Delta::new(Some(C)), C, "x=4 y=5", &all), [""; 0]);
    assert_eq!(ask(&mut Delta::new(Some(C)), C, "x=4 gone=3", &all), ["y@5", "-gone"]);
    assert_eq!(ask(&mut Delta::new(Some(C)), C, "+* x=4 y=5", &all), [""; 0]);
}

#[test]
fn delta_a_wildcard_is_answered_also_if_there_is_nothing() {
    let mut stream = Delta::new(Some(C));
    let empty = snapshot(&[], &[]);
    assert_eq!(ask(&mut stream, C, "", &empty), [""], "the client waits for an answer");
    assert_eq!(ask(&mut stream, C, "", &empty), [""; 0]);
    assert_eq!(delta_shown(&stream.on_snapshot(&snapshot(&[(C, "a", 1)], &[]))), ["a@1"]);
    assert_eq!(delta_shown(&stream.on_snapshot(&snapshot(&[], &[(C, 2)]))), ["-a"]);
    assert_eq!(ask(&mut stream, C, "-*", &snapshot(&[(C, "b", 3)], &[])), [""; 0]);
    assert_eq!(delta_shown(&stream.on_snapshot(&snapshot(&[(C, "b", 4)], &[]))), [""; 0]);
}

#[test]
fn delta_what_does_not_exist_is_said_once_except_of_extensions_and_layers() {
    let empty = snapshot(&[], &[]);
    let mut stream = Delta::new(Some(E));
    assert_eq!(ask(&mut stream, E, "+a", &empty), ["-a"]);
    assert_eq!(delta_shown(&stream.on_snapshot(&empty)), [""; 0]);
    assert_eq!(delta_shown(&stream.on_snapshot(&snapshot(&[(E, "a", 1)], &[]))), ["a@1"]);
    assert_eq!(delta_shown(&stream.on_snapshot(&snapshot(&[], &[(E, 2)]))), ["-a"]);

    let mut stream = Delta::new(Some(X));
    assert_eq!(ask(&mut stream, X, "+x", &empty), [""; 0]);
    assert_eq!(delta_shown(&stream.on_snapshot(&snapshot(&[(X, "x", 1)], &[]))), ["x@1"]);
    assert_eq!(
        delta_shown(&stream.on_snapshot(&snapshot(&[], &[(X, 2)]))),
        [""; 0],
        "an Envoy keeps its filter"
    );
    assert_eq!(delta_shown(&stream.on_snapshot(&snapshot(&[(X, "x", 3)], &[]))), ["x@3"]);

    assert_eq!(ask(&mut Delta::new(Some(R)), R, "+other", &empty), ["other@empty"]);
    assert_eq!(ask(&mut Delta::new(Some(R)), R, "+other other=0", &empty), [""; 0]);
}

#[test]
fn delta_what_is_refused_is_not_sent_again_before_it_changes() {
    let mut stream = Delta::new(Some(R));
    let bad = snapshot(&[(R, "runtime", 4)], &[]);
    let first = stream.on_request(&delta_request(R, "+runtime"), &bad).unwrap().responses;
    let nack = DeltaDiscoveryRequest {
        response_nonce: first[0].message.nonce.clone(),
        error_detail: Some(Status { message: "no good".to_owned(), ..Status::default() }),
        ..delta_request(R, "")
    };
    let reaction = stream.on_request(&nack, &bad).unwrap();
    assert_eq!(reaction.verdict, Some(refused(R, "4")));
    assert_eq!(reaction.responses, []);
    assert_eq!(stream.on_request(&nack, &bad).unwrap().verdict, None, "it was about one response");
    assert_eq!(delta_shown(&stream.on_snapshot(&bad)), [""; 0], "no loop");
    assert_eq!(delta_shown(&stream.on_snapshot(&snapshot(&[(R, "runtime", 5)], &[]))), ["runtime@5"]);
}

#[test]
fn delta_every_response_has_its_verdict_in_whatever_order() {
    let mut stream = Delta::new(Some(R));
    let nonce = |responses: Vec<Sent<DeltaDiscoveryResponse>>| responses[0].message.nonce.clone();
    let first = nonce(
        stream
            .on_request(&delta_request(R, "+runtime"), &snapshot(&[(R, "runtime", 1)], &[]))
            .unwrap()
            .responses,
    );
    let second = nonce(stream.on_snapshot(&snapshot(&[(R, "runtime", 2)], &[])));
    for (nonce, version) in [(second, "2"), (first, "1")] {
        let ack = DeltaDiscoveryRequest { response_nonce: nonce, ..delta_request(R, "") };
        let reaction = stream.on_request(&ack, &snapshot(&[(R, "runtime", 2)], &[])).unwrap();
        assert_eq!(reaction.verdict, Some(accepted(R, version)));
    }
}

#[test]
fn delta_an_aggregated_stream_keeps_the_order_and_removes_last() {
    let mut stream = Delta::new(None);
    let before = snapshot(&[(C, "old", 1), (E, "old", 1), (R, "runtime", 1), (X, "x", 1)], &[]);
    for (kind, words) in [(X, "+x"), (R, "+runtime"), (E, "+old +new"), (C, "")] {
        ask(&mut stream, kind, words, &before);
    }
    let after = snapshot(&[(C, "new", 2), (E, "new", 2), (R, "runtime", 2), (X, "x", 2)], &[]);
    let responses = stream.on_snapshot(&after);
    let texts: Vec<_> = responses.iter().map(|sent| sent.kind.name()).zip(delta_shown(&responses)).collect();
    let texts: Vec<_> = texts.iter().map(|(kind, text)| format!("{kind} {text}")).collect();
    assert_eq!(texts, ["cds new@2", "eds new@2", "rtds runtime@2", "ecds x@2", "eds -old", "cds -old"]);
}
