//! The files of `envoy/rivals/`, as they are shipped: what a reader takes from there works.

use pinroute_testkit::dns::Dns;
use pinroute_testkit::env::{TestEnv, TestEnvBuilder};
use pinroute_testkit::fake_resolver::{FakeResolver, FakeResponse};
use pinroute_testkit::servers::{Servers, ServersOptions};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn rival(file: &str) -> (TestEnvBuilder, Vec<String>) {
    let dns = Dns::start().unwrap();
    let servers = Servers::start(4, &ServersOptions::default(), &dns).unwrap();
    let addresses = (1..=4).map(|host| servers.addr(host).to_string()).collect();
    (TestEnv::builder(&format!("rivals/{file}.yaml")).with_servers(dns, servers), addresses)
}

/// The host that answers.
fn landed(env: &TestEnv, headers: &[(&str, &str)]) -> Value {
    let response = env.request("GET", "/headers", headers, b"").unwrap();
    assert_eq!(response.status, 200, "{}", response.text());
    response.json().unwrap()["instance"].clone()
}

#[test]
fn a_hash_ring_keeps_each_key_at_one_host() {
    let env = rival("ring-hash").0.start().unwrap();
    let mut hosts = BTreeSet::new();
    for number in 0..60 {
        let key = format!("customer-{number}");
        let first = landed(&env, &[("x-customer-id", &key)]);
        assert_eq!(landed(&env, &[("x-customer-id", &key)]), first);
        hosts.insert(first.to_string());
    }
    assert_eq!(hosts.len(), 4);
}

#[test]
fn a_cookie_keeps_its_client_at_one_host() {
    let env = rival("stateful-session").0.start().unwrap();
    let mut hosts = BTreeSet::new();
    for _ in 0..12 {
        let response = env.get("/headers").unwrap();
        let first = response.json().unwrap()["instance"].clone();
        let cookie = response.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        for _ in 0..4 {
            assert_eq!(landed(&env, &[("cookie", &cookie)]), first);
        }
        hosts.insert(first.to_string());
    }
    assert!(hosts.len() > 1, "without a cookie any host answers: {hosts:?}");
}

#[test]
fn lua_selects_the_host_that_the_resolver_names() {
    let (builder, addresses) = rival("lua-override-host");
    let resolver = FakeResolver::start(move |path, _| match path.rsplit_once("key-") {
        Some((_, number)) => {
            let host = &addresses[number.parse::<usize>().unwrap()];
            FakeResponse::ok(format!(r#"{{"client_id":"key-{number}","hostport":"{host}"}}"#))
        }
        None => FakeResponse::status(500, ""),
    })
    .unwrap();
    let env = builder.address(("resolver", 8082), resolver.addr()).start().unwrap();
    for host in 1..=4_u8 {
        let key = format!("key-{}", host - 1);
        for _ in 0..3 {
            assert_eq!(landed(&env, &[("x-customer-id", &key)]), json!(env.servers.hostport(host)));
        }
    }
    let status = |key: &str| env.request("GET", "/headers", &[("x-customer-id", key)], b"").unwrap().status;
    assert_eq!((status("nobody"), status("a/../b"), env.get("/headers").unwrap().status), (503, 400, 400));
}
