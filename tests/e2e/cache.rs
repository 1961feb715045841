//! The cache of resolver responses.

use crate::{hostport, with_resolver};
use pinroute_testkit::adapter::Adapter;
use pinroute_testkit::env::TestEnv;
use pinroute_testkit::eventually;
use pinroute_testkit::fake_resolver::{FakeResolver, FakeResponse};
use serde_json::json;
use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(10);

/// A test environment with this cache, and a resolver that responds with a status, 200 at first.
fn env_with_cache(cache: serde_json::Value) -> (TestEnv, FakeResolver, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let current = Arc::clone(&status);
    let (env, resolver) =
        with_resolver(json!({ "resolve": { "cache": cache } }), move |_, port| {
            match current.load(Ordering::Relaxed) {
                200 => hostport(&format!("poc-routing-server-1:{port}")),
                status => FakeResponse::status(status, ""),
            }
        });
    (env.start().unwrap(), resolver, status)
}

fn stat(env: &TestEnv, name: &str) -> u64 {
    env.envoy.stat(&format!("wasmcustom.pinroute_{name}")).unwrap()
}

#[test]
fn a_cached_response_is_used_until_it_expires() {
    let (env, resolver, _) = env_with_cache(json!({ "ttl": "1s" }));
    for _ in 0..20 {
        assert_eq!(env.get("/join?client_id=123").unwrap().status, 200);
    }
    assert_eq!(resolver.requests().len(), 1);
    assert_eq!((stat(&env, "cache.hit"), stat(&env, "cache.miss"), stat(&env, "routed")), (19, 1, 20));
    // The same key in another encoding is another entry: the cache goes by what is sent.
    env.get("/join?client_id=%3123").unwrap();
    assert_eq!(resolver.requests().len(), 2);
    eventually(SOON, || {
        env.get("/join?client_id=123").unwrap();
        if resolver.requests().len() == 3 { Ok(()) } else { Err("no second call".to_owned()) }
    })
    .unwrap();
}

#[test]
fn a_failure_is_cached_for_negative_ttl() {
    let (env, resolver, status) = env_with_cache(json!({ "negative_ttl": "1s" }));
    status.store(404, Ordering::Relaxed);
    for _ in 0..10 {
        assert_eq!(env.get("/join?client_id=1").unwrap().text(), "resolver returned 404");
    }
    assert_eq!(resolver.requests().len(), 1);
    assert_eq!(stat(&env, "cache.negative"), 9);
    status.store(200, Ordering::Relaxed);
    eventually(SOON, || match env.get("/join?client_id=1").unwrap().status {
        200 => Ok(()),
        other => Err(other.to_string()),
    })
    .unwrap();
}

#[test]
fn an_expired_response_is_used_while_the_resolver_fails() {
    let (env, _resolver, status) =
        env_with_cache(json!({ "ttl": "100ms", "negative_ttl": "100ms", "stale_if_error": "3s" }));
    assert_eq!(env.get("/join?client_id=1").unwrap().status, 200);
    status.store(503, Ordering::Relaxed);
    eventually(SOON, || {
        assert_eq!(env.get("/join?client_id=1").unwrap().status, 200);
        if stat(&env, "cache.stale") >= 3 { Ok(()) } else { Err("not stale yet".to_owned()) }
    })
    .unwrap();
    assert_eq!(env.get("/join?client_id=new").unwrap().text(), "resolver returned 503");
    eventually(SOON, || match env.get("/join?client_id=1").unwrap().text().as_str() {
        "resolver returned 503" => Ok(()),
        other => Err(other.to_owned()),
    })
    .unwrap();
}

/// A test environment with a cache, and a resolver that does not respond until the test sets the flag.
fn env_with_gate() -> (TestEnv, FakeResolver, Arc<AtomicBool>) {
    let open = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&open);
    let plugin = json!({ "resolve": { "timeout": "20s", "cache": {} } });
    let (env, resolver) = with_resolver(plugin, move |_, port| {
        while !gate.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        hostport(&format!("poc-routing-server-1:{port}"))
    });
    (env.start().unwrap(), resolver, open)
}

#[test]
fn a_thousand_requests_for_one_cold_key_make_one_call() {
    let (env, resolver, open) = env_with_gate();
    std::thread::scope(|scope| {
        let one = || env.client().get("/join?client_id=cold").unwrap().status;
        let requests: Vec<_> = (0..1000).map(|_| scope.spawn(one)).collect();
        eventually(Duration::from_secs(30), || match stat(&env, "coalesced") {
            999 => Ok(()),
            other => Err(format!("{other} wait")),
        })
        .unwrap();
        open.store(true, Ordering::Relaxed);
        for request in requests {
            assert_eq!(request.join().unwrap(), 200);
        }
    });
    assert_eq!(resolver.requests().len(), 1);
    assert_eq!(stat(&env, "routed"), 1000);
}

/// A client that has asked for the key `a`, and leaves when it is dropped.
fn ask(env: &TestEnv) -> TcpStream {
    let mut stream = TcpStream::connect(env.addr()).unwrap();
    stream.write_all(b"GET /join?client_id=a HTTP/1.1\r\nhost: h\r\n\r\n").unwrap();
    stream
}

/// Waits until Envoy knows that all but one have left.
fn one_client_is_left(env: &TestEnv) {
    eventually(SOON, || match env.envoy.stat("http.ingress_http.downstream_cx_active").unwrap() {
        1 => Ok(()),
        other => Err(format!("{other} connections")),
    })
    .unwrap();
}

#[test]
fn waiting_requests_get_the_response_after_the_first_has_left() {
    let (env, resolver, open) = env_with_gate();
    let first = ask(&env);
    eventually(SOON, || if stat(&env, "requests") == 1 { Ok(()) } else { Err("none".to_owned()) }).unwrap();
    std::thread::scope(|scope| {
        let second = scope.spawn(|| env.client().get("/join?client_id=a").unwrap());
        eventually(SOON, || if stat(&env, "coalesced") == 1 { Ok(()) } else { Err("none".to_owned()) })
            .unwrap();
        drop(first);
        one_client_is_left(&env);
        open.store(true, Ordering::Relaxed);
        assert_eq!(second.join().unwrap().status, 200);
    });
    // A module's call ends with the request that it was made for, so the one that waits makes it again.
    let calls = if Adapter::current() == Adapter::Native { 2 } else { 1 };
    assert_eq!((resolver.requests().len(), stat(&env, "abandoned")), (calls, 1));
}

#[test]
fn clients_that_leave_together_cost_the_others_nothing() {
    let (env, _resolver, open) = env_with_gate();
    let leaving: Vec<_> = (0..5).map(|_| ask(&env)).collect();
    eventually(SOON, || if stat(&env, "requests") == 5 { Ok(()) } else { Err("fewer".to_owned()) }).unwrap();
    std::thread::scope(|scope| {
        let stays = scope.spawn(|| env.client().get("/join?client_id=a").unwrap());
        eventually(SOON, || if stat(&env, "coalesced") == 5 { Ok(()) } else { Err("fewer".to_owned()) })
            .unwrap();
        drop(leaving);
        one_client_is_left(&env);
        open.store(true, Ordering::Relaxed);
        let response = stays.join().unwrap();
        assert_eq!(response.status, 200, "{}", response.text());
    });
    assert_eq!(env.get("/join?client_id=a").unwrap().status, 200, "no failure is remembered");
    assert_eq!((stat(&env, "abandoned"), stat(&env, "routed"), stat(&env, "cache.hit")), (5, 2, 1));
}

#[test]
fn clients_that_leave_one_by_one_do_not_prolong_the_wait() {
    let plugin = json!({ "resolve": { "timeout": "2s", "cache": {} } });
    let (env, _resolver) = with_resolver(plugin, |_, _| FakeResponse::status(200, "").delayed(SOON));
    let env = env.start().unwrap();
    let leaving: Vec<_> = (0..4).map(|_| ask(&env)).collect();
    eventually(SOON, || if stat(&env, "requests") == 4 { Ok(()) } else { Err("fewer".to_owned()) }).unwrap();
    std::thread::scope(|scope| {
        let stays = scope.spawn(|| {
            let start = Instant::now();
            (env.client().get("/join?client_id=a").unwrap(), start.elapsed())
        });
        for client in leaving {
            std::thread::sleep(Duration::from_millis(900));
            drop(client);
        }
        let (response, waited) = stays.join().unwrap();
        assert_eq!(response.text(), "resolver returned 504");
        // A timeout that began anew with each of them would end after 5.6 s.
        assert!(waited < Duration::from_secs(4), "{waited:?}");
    });
}
