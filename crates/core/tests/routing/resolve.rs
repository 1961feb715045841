//! The `resolve` strategy: calls, single flight, limits, the cache, and the fallback.

use crate::{Bench, Fake, complete, get, shown};
use pinroute_core::decision::{Decision, ReplyVerdict, Verdict};
use pinroute_core::live::compile::Compiler;
use pinroute_core::live::snapshot::Snapshot;
use pinroute_core::live::value::Scalar;
use pinroute_core::metrics::Counter;
use pinroute_core::request::Reply;
use pinroute_core::response::Response;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

const HOST_1: &str = r#"{"hostport":"host-1:80"}"#;
const CACHED: &str = r#"{"resolve":{"cache":{"ttl":"5s","negative_ttl":"1s","stale_if_error":"60s"}}}"#;

fn join(key: &str) -> Fake {
    get(&format!("/join?client_id={key}"))
}

fn replicas(count: f64) -> Option<Arc<Snapshot>> {
    let last = Snapshot::default();
    let mut compiler = Compiler::new("p", &last);
    compiler.add("p.replicas", Scalar::Number(count));
    Some(Arc::new(compiler.finish(1).snapshot))
}

#[test]
fn the_call_carries_the_key_as_it_stood() {
    let config = r#"{"resolve":{"cluster":"owners","path":"/find?v=2","query":"id","timeout":"250ms"}}"#;
    let mut bench = Bench::new(config);
    let call = bench.call(&join("a%20b+c"));
    assert_eq!((call.cluster.as_str(), call.path.as_str()), ("owners", "/find?v=2&id=a%20b+c"));
    assert_eq!(call.timeout, Duration::from_millis(250));
}

#[test]
fn every_response_has_its_verdict() {
    let cases = [
        (Response::Failed, "502 resolver httpCall failed"),
        (complete(503, ""), "502 resolver returned 503"),
        (complete(404, HOST_1), "502 resolver returned 404"),
        (complete(200, "{}"), "502 no hostport in resolver body"),
        (complete(200, r#"{"hostport":"a b:1"}"#), "502 target not allowed"),
        (complete(200, r#"{"hostport":"other:80"}"#), "502 target not allowed"),
        (complete(200, HOST_1), "host-1:80"),
    ];
    for (token, (response, expected)) in (1..).zip(cases) {
        let mut bench = Bench::new(r#"{"allowed_targets":["host-*:80"]}"#);
        bench.send(&join("1"), token);
        assert_eq!(bench.respond_by(token, response), [(1, expected.to_owned())]);
    }
}

#[test]
fn resolver_calls_are_counted_by_how_they_end() {
    let mut bench = Bench::new("{}");
    for (token, status, expected) in
        [(1, 200, Counter::ResolverOk), (2, 504, Counter::ResolverTimeout), (3, 500, Counter::ResolverError)]
    {
        bench.send(&join("1"), token);
        bench.respond(token, status, HOST_1);
        assert_eq!(bench.counted(), [expected]);
    }
    bench.send(&join("1"), 4);
    bench.respond_by(4, Response::Failed);
    assert_eq!(bench.counted(), [Counter::ResolverError]);
    assert!(bench.worker.on_response(4, Response::Failed, bench.now).is_none(), "a token counts once");
}

#[test]
fn without_a_cache_every_request_makes_its_own_call() {
    let mut bench = Bench::new("{}");
    bench.send(&join("1"), 7);
    bench.send(&join("1"), 8);
    assert_eq!(bench.respond(8, 200, HOST_1), [(2, "host-1:80".to_owned())]);
    assert_eq!(bench.respond(7, 200, HOST_1), [(1, "host-1:80".to_owned())]);
}

#[test]
fn with_a_cache_requests_for_one_key_share_a_call() {
    let mut bench = Bench::new(CACHED);
    bench.send(&join("1"), 7);
    assert!(matches!(bench.decide(&join("1")), Decision::Wait));
    bench.send(&join("2"), 8);
    assert!(matches!(bench.decide(&join("1")), Decision::Wait));
    let shared = bench.respond(7, 200, HOST_1);
    assert_eq!(shared.iter().map(|(waiting, _)| *waiting).collect::<Vec<_>>(), [1, 2, 4]);
    assert!(shared.iter().all(|(_, verdict)| verdict == "host-1:80"));
    let counted = bench.counted();
    assert_eq!(counted.iter().filter(|counter| **counter == Counter::Coalesced).count(), 2);
    assert_eq!(shown(bench.verdict(&join("1"))), "host-1:80", "answered from the cache");
    assert_eq!(bench.counted(), [Counter::CacheHit]);
    assert!(matches!(bench.decide(&join("2")), Decision::Wait), "the other call is still in flight");
}

#[test]
fn a_call_that_is_cancelled_is_forgotten() {
    let mut bench = Bench::new(CACHED);
    bench.send(&join("1"), 7);
    assert!(matches!(bench.decide(&join("1")), Decision::Wait));
    assert_eq!((bench.worker.waiting(7), bench.worker.waiting(8)), (&[1, 2][..], &[][..]));
    bench.counted();
    bench.worker.on_cancelled(7);
    assert_eq!(bench.counted(), [Counter::Abandoned; 2], "no failure is counted, and none is cached");
    assert!(bench.worker.on_response(7, Response::Failed, bench.now).is_none());
    bench.send(&join("1"), 8);
    assert_eq!(bench.respond(8, 200, HOST_1), [(3, "host-1:80".to_owned())]);
}

#[test]
fn a_call_that_ended_is_not_joined() {
    let mut bench = Bench::new(r#"{"resolve":{"cache":{"ttl":"1ms","negative_ttl":"0s"}}}"#);
    bench.send(&join("1"), 7);
    bench.respond(7, 500, "");
    bench.advance(10);
    bench.send(&join("1"), 8);
    assert_eq!(bench.respond(8, 200, HOST_1), [(2, "host-1:80".to_owned())]);
}

#[test]
fn a_token_that_is_used_again_belongs_to_the_new_call_alone() {
    let mut bench = Bench::new(r#"{"resolve":{"cache":{"ttl":"1ms","negative_ttl":"0s"}}}"#);
    bench.send(&join("1"), 7);
    bench.respond(7, 500, "");
    bench.send(&join("2"), 7);
    bench.send(&join("1"), 8);
    assert_eq!(bench.respond(7, 200, HOST_1), [(2, "host-1:80".to_owned())]);
}

#[test]
fn a_worker_has_a_limited_number_of_calls_in_flight() {
    let mut bench = Bench::new(r#"{"resolve":{"max_in_flight":2,"cache":{}}}"#);
    bench.send(&join("1"), 1);
    bench.send(&join("2"), 2);
    assert_eq!(shown(bench.verdict(&join("3"))), "503 resolver overloaded");
    assert!(matches!(bench.decide(&join("2")), Decision::Wait), "to join costs no call");
    bench.respond(1, 200, HOST_1);
    bench.send(&join("3"), 3);
}

#[test]
fn a_limited_number_of_requests_wait() {
    let mut bench = Bench::new(r#"{"resolve":{"max_in_flight":1,"cache":{}}}"#);
    bench.send(&join("1"), 1);
    for _ in 1..16 {
        assert!(matches!(bench.decide(&join("1")), Decision::Wait));
    }
    assert_eq!(shown(bench.verdict(&join("1"))), "503 resolver overloaded");
    assert_eq!(bench.respond(1, 200, HOST_1).len(), 16);
    bench.advance(60_000);
    bench.send(&join("1"), 2);
}

#[test]
fn a_call_that_cannot_be_made_is_a_failure() {
    let mut bench = Bench::new("{}");
    let call = bench.call(&join("1"));
    let router = Arc::clone(&bench.router);
    let verdict = router.on_refused(&mut bench.worker, call, &join("1"), &bench.live, bench.now);
    assert_eq!(shown(verdict), "502 resolver httpCall failed");
    assert_eq!(bench.counted(), [Counter::ResolverError]);
}

#[test]
fn an_expired_answer_is_used_while_the_resolver_fails() {
    let mut bench = Bench::new(CACHED);
    bench.send(&join("1"), 1);
    bench.respond(1, 200, HOST_1);
    bench.advance(5_000);
    bench.counted();
    bench.send(&join("1"), 2);
    assert_eq!(bench.respond(2, 503, ""), [(2, "host-1:80".to_owned())]);
    assert_eq!(bench.counted(), [Counter::CacheMiss, Counter::ResolverError, Counter::CacheStale]);
    bench.advance(999);
    assert_eq!(shown(bench.verdict(&join("1"))), "host-1:80");
    bench.advance(1);
    bench.send(&join("1"), 3);
    assert_eq!(
        bench.respond(3, 404, ""),
        [(4, "502 resolver returned 404".to_owned())],
        "a 404 is an answer"
    );
}

#[test]
fn an_answer_belongs_to_the_live_number_of_hosts() {
    let mut bench = Bench::new(CACHED);
    bench.live.runtime = replicas(2.0);
    bench.send(&join("1"), 1);
    bench.live.runtime = replicas(3.0);
    bench.respond(1, 200, HOST_1);
    bench.send(&join("1"), 2);
    bench.respond(2, 200, r#"{"hostport":"host-2:80"}"#);
    assert_eq!(shown(bench.verdict(&join("1"))), "host-2:80");
    bench.live.runtime = replicas(2.0);
    assert_eq!(shown(bench.verdict(&join("1"))), "host-1:80");
}

#[test]
fn the_fallback_is_used_only_when_the_resolver_fails() {
    let mut bench = Bench::new(
        r#"{"resolve":{},"fallback":{"index":{"replicas":2,"base":1},"target":{"authority":"host-{index}:80"}},
            "allowed_targets":["host-*:80","other:80"]}"#,
    );
    let mut answered = |status, body| {
        bench.send(&join("123"), 1);
        bench.respond(1, status, body).remove(0).1
    };
    assert_eq!(answered(200, r#"{"hostport":"other:80"}"#), "other:80");
    // FNV-1a of 123 is odd: the second of two hosts.
    assert_eq!(answered(404, ""), "502 resolver returned 404", "nobody owns the key");
    for (status, body) in [(503, ""), (403, ""), (200, "{}"), (200, r#"{"hostport":"evil:80"}"#)] {
        assert_eq!(answered(status, body), "host-2:80");
    }
    assert_eq!(shown(bench.verdict(&get("/join"))), "400 missing client_id");
    let mut refusing = Bench::new(
        r#"{"fallback":{"index":{"replicas":2},"target":{"authority":"host-{index}:80"}},"allowed_targets":["host-1"]}"#,
    );
    refusing.send(&join("123"), 1);
    assert_eq!(refusing.respond(1, 503, ""), [(1, "502 resolver returned 503".to_owned())]);
}

#[test]
fn the_fallback_is_used_when_the_worker_is_overloaded() {
    let mut bench = Bench::new(
        r#"{"resolve":{"max_in_flight":1},"fallback":{"index":{},"target":{"authority":"host-{index}:80"}}}"#,
    );
    bench.send(&join("1"), 1);
    assert_eq!(shown(bench.verdict(&join("2"))), "host-1:80");
}

#[test]
fn each_configuration_has_its_own_limit() {
    let mut bench = Bench::new(r#"{"resolve":{"max_in_flight":1}}"#);
    bench.send(&join("1"), 1);
    assert_eq!(shown(bench.verdict(&join("2"))), "503 resolver overloaded");
    let same = Arc::clone(&bench.router);
    bench.router = Bench::new(r#"{"resolve":{"max_in_flight":1,"timeout":"2s"}}"#).router;
    bench.send(&join("2"), 2);
    assert_eq!(shown(bench.verdict(&join("3"))), "503 resolver overloaded");
    bench.router = same;
    bench.respond(1, 200, HOST_1);
    bench.send(&join("3"), 3);
}

#[test]
fn plugins_share_answers_but_no_calls() {
    let mut bench = Bench::new(CACHED);
    let first = Arc::clone(&bench.router);
    bench.send(&join("1"), 1);
    let config = pinroute_core::config::parse(CACHED.as_bytes()).unwrap().config;
    bench.router = pinroute_core::router::Router::new(config, 2);
    bench.send(&join("1"), 2);
    bench.worker.on_plugin_gone(1);
    assert!(bench.worker.on_response(1, Response::Failed, bench.now).is_none(), "forgotten with its plugin");
    assert_eq!(bench.respond(2, 200, HOST_1), [(2, "host-1:80".to_owned())]);
    bench.router = first;
    assert_eq!(shown(bench.verdict(&join("1"))), "host-1:80", "answered from the cache");
}

/// A response with the name that its host gives itself.
struct Answer(Option<&'static str>, bool);

impl Reply for Answer {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.0.filter(|_| name == "x-host").map(|name| Cow::Borrowed(name.as_bytes()))
    }

    fn is_from_upstream(&self) -> bool {
        self.1
    }
}

#[test]
fn a_response_of_another_host_is_not_passed_on_and_its_answer_is_forgotten() {
    let mut bench = Bench::new(r#"{"resolve":{"cache":{}},"verify":{"response_header":"X-Host"}}"#);
    assert!(bench.router.needs_reply());
    bench.send(&join("1"), 1);
    let resolved = bench.worker.on_response(1, complete(200, HOST_1), bench.now);
    let resolved = resolved.unwrap();
    let verdict = bench.router.on_resolved(&mut bench.worker, &resolved.answer, &join("1"), &bench.live);
    let Verdict::Route(route) = verdict else { panic!("{verdict:?}") };
    bench.counted();
    let mut reply = |answer| {
        let verdict = bench.router.on_reply(&mut bench.worker, &route, &answer);
        (verdict, bench.counted())
    };
    assert_eq!(reply(Answer(Some("HOST-1"), true)), (ReplyVerdict::Pass, vec![]));
    assert_eq!(reply(Answer(None, true)), (ReplyVerdict::Pass, vec![Counter::Unverified]));
    for of_envoy in [Answer(None, false), Answer(Some("envoy"), false)] {
        assert_eq!(reply(of_envoy), (ReplyVerdict::Pass, vec![]), "Envoy's own replies are not compared");
    }
    assert_eq!(reply(Answer(Some("host-2"), true)), (ReplyVerdict::WrongHost, vec![Counter::Misrouted]));
    assert!(matches!(bench.decide(&join("1")), Decision::Call(_)), "the answer is gone");
}
