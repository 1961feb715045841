//! The recipe that asks Redis, by Webdis.
//!
//! Webdis is a fake one here, so that the test needs neither Webdis nor Redis. Its responses are, byte for byte, those that
//! Webdis 0.1.9 of Debian 12 gave in front of Redis 7.0.15, with the access list of the recipe. This test was also run once
//! against these two.

use crate::assert_no_reload;
use pinroute_testkit::dns::Dns;
use pinroute_testkit::env::TestEnv;
use pinroute_testkit::fake_resolver::{FakeResolver, FakeResponse};
use pinroute_testkit::servers::{Servers, ServersOptions, name};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What Webdis sends in each response.
const COMMON: &str = "Server: Webdis\r\nAllow: GET,POST,PUT,OPTIONS\r\nAccess-Control-Allow-Methods: GET,POST,PUT,OPTIONS\r\n\
    Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Headers: X-Requested-With, Content-Type, Authorization\r\n";
const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

fn value(text: &str) -> FakeResponse {
    FakeResponse::raw(format!(
        "HTTP/1.1 200 OK\r\n{COMMON}Content-Type: text/plain\r\nETag: \"110de46b2fe73ecb7e06fda8f409cd6c\"\r\n\
         Connection: Keep-Alive\r\nContent-Length: {}\r\n\r\n{text}",
        text.len()
    ))
}

fn empty(status: &str) -> FakeResponse {
    FakeResponse::raw(format!(
        "HTTP/1.1 {status}\r\n{COMMON}Connection: Keep-Alive\r\nContent-Length: 0\r\n\r\n"
    ))
}

#[test]
fn redis_knows_the_owner() {
    let dns = Dns::start().unwrap();
    let servers = Servers::start(2, &ServersOptions::default(), &dns).unwrap();
    let [one, two] = [1, 2].map(|number| format!("{}:{}", name(number), servers.port()));
    let is_down = Arc::new(AtomicBool::new(false));
    let down = Arc::clone(&is_down);
    let webdis = FakeResolver::start(move |path, _| match path {
        _ if down.load(Ordering::Relaxed) => empty("503 Service Unavailable"),
        "/GET/owner:acme.txt" => value(&one),
        "/GET/owner:a%2Fb.c%20d.txt" => value(&two),
        "/GET/owner:far.txt" => value("elsewhere.example:80"),
        "/GET/owner:list.txt" => value(WRONG_TYPE),
        path if path.starts_with("/GET/owner:") && path.ends_with(".txt") => empty("404 Not found"),
        _ => empty("403 Forbidden"),
    })
    .unwrap();
    let env = TestEnv::builder("recipes/owner-in-redis.yaml")
        .address(("webdis", 7379), webdis.addr())
        .with_servers(dns, servers)
        .start()
        .unwrap();
    // A client that names another host as its own has no effect.
    let ask = |tenant: &str| {
        let headers = [("x-tenant", tenant), ("host", &*env.servers.hostport(2))];
        let response = env.request("GET", "/echo", &headers, b"").unwrap();
        let instance = response.json().ok().map(|seen| seen["instance"].clone());
        (response.status, instance.unwrap_or_else(|| json!(response.text())))
    };
    let host = |number| (200, json!(env.servers.hostport(number)));
    for _ in 0..2 {
        assert_eq!(ask("acme"), host(1));
        assert_eq!(ask("a/b.c d"), host(2));
        for unknown in ["nobody", "acme.txt", "acme/../far", "x.txt?type=text/plain"] {
            assert_eq!(ask(unknown), (404, json!("resolver returned 404")), "{unknown}");
        }
        assert_eq!(ask("far"), (502, json!("target not allowed")));
        assert_eq!(ask("list"), (502, json!("target not allowed")), "an error of Redis is no host");
        assert_eq!(ask(""), (400, json!("missing x-tenant")));
    }
    let calls = webdis.requests();
    assert_eq!(calls.iter().filter(|call| call.path == "/GET/owner:acme.txt").count(), 1);

    is_down.store(true, Ordering::Relaxed);
    assert_eq!(ask("acme"), host(1), "the response is cached");
    assert_eq!(ask("new"), (502, json!("resolver returned 503")));
    assert_no_reload(&env);
}
