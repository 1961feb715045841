//! Recipes: each shipped file does what its header says, and nothing that a client sends changes that.

use crate::{assert_no_reload, hostport, one_route, with_resolver};
use pinroute_core::mode::IndexMode;
use pinroute_testkit::dns::Dns;
use pinroute_testkit::env::{TestEnv, TestEnvBuilder};
use pinroute_testkit::fake_resolver::{FakeResolver, FakeResponse};
use pinroute_testkit::http::Client;
use pinroute_testkit::poll::eventually;
use pinroute_testkit::servers::{Servers, ServersOptions, name};
use serde_json::json;
use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

/// Health checks run once a second, and DNS is asked as often.
const SOON: Duration = Duration::from_secs(15);

/// The status, and the host that answered or the error.
fn ask(client: &Client, headers: &[(&str, &str)]) -> (u16, String) {
    let response = client.request("GET", "/echo?client_id=7", headers, b"").unwrap();
    let text = response.text();
    let instance = response.json().ok().and_then(|seen| Some(seen["instance"].as_str()?.to_owned()));
    (response.status, instance.unwrap_or(text))
}

/// The host that `index` with two hosts selects.
fn owner(env: &TestEnv, key: &str) -> (u16, String) {
    let number = 1 + IndexMode::Hash.slot(key.as_bytes(), 2) as u8;
    (200, env.servers.hostport(number))
}

// === pin-in-cluster.yaml ===

/// Sessions 1 and 2 live on the hosts of these numbers.
fn pinned() -> (TestEnvBuilder, FakeResolver) {
    let dns = Dns::start().unwrap();
    let servers = Servers::start(2, &ServersOptions::default(), &dns).unwrap();
    let [one, two] = [1, 2].map(|number| servers.addr(number));
    let resolver = FakeResolver::start(move |path, _| match path {
        "/sessions/1" => FakeResponse::ok(json!({ "address": one.to_string() }).to_string()),
        "/sessions/2" => FakeResponse::ok(json!({ "address": two.to_string() }).to_string()),
        "/sessions/gone" => FakeResponse::status(404, ""),
        _ => FakeResponse::status(500, ""),
    });
    let resolver = resolver.unwrap();
    let allowed = format!("127.*.*.*:{}", servers.port());
    let env = TestEnv::builder("recipes/pin-in-cluster.yaml")
        .address(("10.0.0.1", 8081), std::net::SocketAddr::V4(one))
        .address(("10.0.0.2", 8081), std::net::SocketAddr::V4(two))
        .with_servers(dns, servers)
        .resolver(resolver.addr())
        .edit(move |shipped| {
            shipped.http_filter("pinroute")?["typed_config"]["config"]["configuration"]["value"]["allowed_targets"] =
                json!([allowed]);
            Ok(())
        });
    (env, resolver)
}

#[test]
fn a_session_is_pinned_inside_a_cluster_while_its_host_is_healthy() {
    let (env, _resolver) = pinned();
    let mut env = env.start().unwrap();
    let client = env.client();
    let [one, two] = [1, 2].map(|number| (200, env.servers.hostport(number)));
    let forged = env.servers.addr(2).to_string();
    for _ in 0..4 {
        assert_eq!(ask(&client, &[("cookie", "sid=1")]), one);
        assert_eq!(ask(&client, &[("cookie", "sid=1"), ("x-pinned-host", &forged)]), one);
        assert_eq!(ask(&client, &[("cookie", "sid=2")]), two);
    }
    // Without a usable answer both hosts get their turn, whatever the client asks for.
    for cookie in ["a=b", "sid=gone", "sid=fails"] {
        let seen = (0..4).map(|_| ask(&client, &[("cookie", cookie), ("x-pinned-host", &forged)]));
        assert_eq!(seen.collect::<BTreeSet<_>>(), BTreeSet::from([one.clone(), two.clone()]), "{cookie}");
    }

    env.servers.kill(1).unwrap();
    // At first by a retry, then because the host is known to be down.
    let retries = || env.envoy.stat("cluster.backends.upstream_rq_retry").unwrap();
    let skipped = eventually(SOON, || {
        // The policy tries this host even if it is unhealthy.
        assert_eq!(ask(&client, &[("cookie", "sid=1")]), two);
        let before = retries();
        assert!(before > 0);
        // The balancer does not, once the worker knows.
        (0..4).for_each(|_| assert_eq!(ask(&client, &[]), two));
        if retries() == before { Ok(()) } else { Err("still retried".to_owned()) }
    });
    skipped.unwrap();
    assert_eq!(env.envoy.stat("cluster.backends.membership_healthy").unwrap(), 1);

    env.servers.restart(1).unwrap();
    let back = eventually(SOON, || match ask(&client, &[("cookie", "sid=1")]) {
        seen if seen == one => Ok(()),
        seen => Err(format!("{seen:?}")),
    });
    back.unwrap();
    assert_no_reload(&env);
}

// === key-from-jwt.yaml ===

/// Signed with the key of the recipe, and valid until 2100: `{"iss":"https://issuer.example","tenant":"7"}`.
const TENANT_7: &str = concat!(
    "eyJhbGciOiJFUzI1NiIsImtpZCI6InRlc3QiLCJ0eXAiOiJKV1QifQ.",
    "eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwiZXhwIjo0MTAyNDQ0ODAwLCJ0ZW5hbnQiOiI3In0.",
    "K-iRI-PFfklo7zQCl6EzTDRU8XmEJHOhLtMEt2yx6awEIY_3at1sJeAPE5H7gdbCc9eLuAKYnGBqPHFQxu4RLw",
);
/// The tenant is 4, which has the other host.
const TENANT_4: &str = concat!(
    "eyJhbGciOiJFUzI1NiIsImtpZCI6InRlc3QiLCJ0eXAiOiJKV1QifQ.",
    "eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwiZXhwIjo0MTAyNDQ0ODAwLCJ0ZW5hbnQiOiI0In0.",
    "z-7XeIverhbOC2bxaOMWH4zqE2W1mPfuamOCzIOGyz8GQLYs5McmLhcMnIejM_yBzQGIjjra0IP-cfAWAYmTAg",
);
/// Valid, but without a tenant.
const NO_TENANT: &str = concat!(
    "eyJhbGciOiJFUzI1NiIsImtpZCI6InRlc3QiLCJ0eXAiOiJKV1QifQ.",
    "eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwiZXhwIjo0MTAyNDQ0ODAwfQ.",
    "zxHvPxnP9j4umI4B8KaBW4ffwlBsWTnBeldk-zZU8mYTy9SAQTe-eTR90PeRmYQVsXXOT1KQ1CZ4rPOtYbA7tg",
);
/// The tenant is 7, but the signature is that of another key.
const STRANGER: &str = concat!(
    "eyJhbGciOiJFUzI1NiIsImtpZCI6InRlc3QiLCJ0eXAiOiJKV1QifQ.",
    "eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwiZXhwIjo0MTAyNDQ0ODAwLCJ0ZW5hbnQiOiI3In0.",
    "4uni41KV7E6qj473xTdVtJI_4XY7YbCx1zmgzJUcLgsoBvHkfk7i1Gv_RzUjdEm0BoIz1_bybQX0p8n6ROZXUg",
);

#[test]
fn the_tenant_of_a_verified_token_decides() {
    let env = TestEnv::builder("recipes/key-from-jwt.yaml").replicas(2).start().unwrap();
    let client = env.client();
    let bearer = |token: &str, forged: &str| {
        let token = format!("Bearer {token}");
        ask(&client, &[("authorization", &token), ("x-jwt-tenant", forged)])
    };
    let [seven, four] = ["7", "4"].map(|tenant| owner(&env, tenant));
    assert_ne!(seven, four);
    assert_eq!(ask(&client, &[("authorization", &format!("Bearer {TENANT_7}"))]), seven);
    for forged in ["4", "7"] {
        assert_eq!(bearer(TENANT_7, forged), seven);
        assert_eq!(bearer(TENANT_4, forged), four);
        assert_eq!(bearer(NO_TENANT, forged), (400, "missing x-jwt-tenant".to_owned()));
        assert_eq!(bearer(STRANGER, forged).0, 401);
        assert_eq!(ask(&client, &[("x-jwt-tenant", forged)]).0, 401);
    }
    assert_no_reload(&env);
}

// === key-from-connection.yaml ===

#[test]
fn the_address_of_the_connection_decides() {
    let env = TestEnv::builder("recipes/key-from-connection.yaml").replicas(2).start().unwrap();
    let expected = owner(&env, "127.0.0.1");
    let client = env.client();
    assert_eq!(ask(&client, &[]), expected);
    let mut others = 0;
    for forged in (0..20).map(|number| number.to_string()) {
        others += usize::from(owner(&env, &forged) != expected);
        let headers =
            [("x-client-key", forged.as_str()), ("x-client-key", &forged), ("x-forwarded-for", &forged)];
        assert_eq!(ask(&client, &headers), expected, "{forged}");
    }
    assert!(others > 0, "the forged keys would not have changed the host");
    assert_no_reload(&env);
}

#[test]
fn a_connection_without_the_wanted_property_has_no_key() {
    let env = TestEnv::builder("recipes/key-from-connection.yaml").edit(|shipped| {
        let filter = shipped.http_filter("envoy.filters.http.header_mutation")?;
        let append = &mut filter["typed_config"]["mutations"]["request_mutations"][1]["append"];
        assert_eq!(append["header"]["key"], "x-client-key");
        append["header"]["value"] = json!("%REQUESTED_SERVER_NAME%");
        Ok(())
    });
    let env = env.start().unwrap();
    let missing = (400, "missing x-client-key".to_owned());
    assert_eq!(ask(&env.client(), &[]), missing);
    assert_eq!(ask(&env.client(), &[("x-client-key", "forged")]), missing);
}

// === wait-for-host.yaml ===

#[test]
fn requests_wait_for_one_call_while_their_host_wakes() {
    /// Longer than the usual timeout of a call, 1 s.
    const WAKING: Duration = Duration::from_secs(3);
    const REQUESTS: usize = 8;
    let dns = Dns::start().unwrap();
    let servers = Servers::start(2, &ServersOptions::default(), &dns).unwrap();
    let answer = json!({ "hostport": format!("{}:{}", name(2), servers.port()) }).to_string();
    let resolver = FakeResolver::start(move |_, _| FakeResponse::ok(&answer).delayed(WAKING)).unwrap();
    let env = TestEnv::builder("recipes/wait-for-host.yaml")
        .with_servers(dns, servers)
        .resolver(resolver.addr())
        .start()
        .unwrap();
    let expected = (200, env.servers.hostport(2));
    let forged = [("host", &*env.servers.hostport(1))];
    thread::scope(|scope| {
        let asked = Instant::now();
        let requests: Vec<_> = (0..REQUESTS).map(|_| scope.spawn(|| ask(&env.client(), &forged))).collect();
        for request in requests {
            assert_eq!(request.join().unwrap(), expected);
        }
        assert!(asked.elapsed() >= WAKING, "{:?}", asked.elapsed());
    });
    assert_eq!(resolver.requests().len(), 1);
    assert_eq!(env.envoy.stat("wasmcustom.pinroute_coalesced").unwrap() as usize, REQUESTS - 1);
    assert_no_reload(&env);
}

// === open-keys.yaml ===

fn engine_of(client: &Client, id: &str) -> (u16, String) {
    ask(client, &[("host", &format!("{id}.engines.example"))])
}

#[test]
fn names_that_do_not_exist_do_not_block_the_others_for_long() {
    const UNKNOWN: usize = 2000;
    const CONNECTIONS: usize = 8;
    const FREE_AGAIN: Duration = Duration::from_secs(15);
    let env = TestEnv::builder("recipes/open-keys.yaml").replicas(2).start().unwrap();
    let client = env.client();
    let engine = |id: &str| engine_of(&client, id);
    let [one, two] = [1, 2].map(|number| (200, env.servers.hostport(number)));
    assert_eq!(engine("1"), one);
    assert_eq!(ask(&client, &[("host", &env.servers.hostport(1))]).1, "missing host");

    // Fast enough that the table fills up before the first names go.
    let refused = &|first: usize| {
        let client = env.client();
        let names = (first..UNKNOWN).step_by(CONNECTIONS);
        let texts = names.map(|number| match engine_of(&client, &format!("x{number}")) {
            (503, text) => text,
            other => panic!("{other:?}"),
        });
        texts.filter(|text| text == "Sub cluster overflow").count()
    };
    let refused: usize = thread::scope(|scope| {
        let floods: Vec<_> = (0..CONNECTIONS).map(|first| scope.spawn(move || refused(first))).collect();
        while floods.iter().any(|flood| !flood.is_finished()) {
            assert_eq!(engine("1"), one, "a name that is in use stays");
        }
        floods.into_iter().map(|flood| flood.join().unwrap()).sum()
    });
    assert!(refused > 0, "the table did not fill up");
    let flooded = Instant::now();
    let reached = eventually(FREE_AGAIN, || match engine("2") {
        (503, text) => Err(text),
        seen => Ok(seen),
    });
    assert_eq!(reached.unwrap(), two);
    assert!(flooded.elapsed() <= FREE_AGAIN, "{:?}", flooded.elapsed());
    assert_no_reload(&env);
}

#[test]
fn a_response_that_takes_longer_than_its_name_is_kept_ends_normally() {
    // A name goes after `sub_cluster_ttl`, 5 s, or at most twice that.
    const LONG: Duration = Duration::from_secs(12);
    let dns = Dns::start().unwrap();
    let servers = Servers::start(1, &ServersOptions::default(), &dns).unwrap();
    let mut slow = std::net::SocketAddr::V4(servers.addr(1));
    slow.set_ip("127.0.0.1".parse().unwrap());
    dns.set("poc-routing-server-slow", &["127.0.0.1".parse().unwrap()]);
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nlong";
    let _slow =
        FakeResolver::start_on(slow, move |_, _| FakeResponse::raw(head).pause(LONG).send(" one")).unwrap();
    let env = TestEnv::builder("recipes/open-keys.yaml").with_servers(dns, servers).start().unwrap();
    let removed = || env.envoy.stat("cluster_manager.cluster_removed").unwrap();
    assert_eq!(removed(), 0);
    let response = ask(&env.client(), &[("host", "slow.engines.example")]);
    assert_eq!(response, (200, "long one".to_owned()));
    assert_eq!(removed(), 1, "the name was still there");
}

#[test]
fn a_resolver_keeps_unknown_keys_away_from_the_proxy() {
    const UNKNOWN: usize = 2000;
    let (env, resolver) = with_resolver(
        json!({
            "key": { "host": "{id}.engines.example" },
            "resolve": { "path": "/engines/{id}", "cache": { "ttl": "5s", "negative_ttl": "600s" } },
            "on_not_found": { "reject": 404 },
            "allowed_targets": ["poc-routing-server-*:8081"],
        }),
        |path, port| match path {
            "/engines/2" => hostport(&format!("{}:{port}", name(2))),
            _ => FakeResponse::status(404, ""),
        },
    );
    let env = env.edit(one_route("dynamic_forward_proxy_cluster")).start().unwrap();
    let client = env.client();
    let engine = |id: &str| engine_of(&client, id);
    let added = || env.envoy.stat("cluster_manager.cluster_added").unwrap();
    let before = added();
    for round in 1..=2 {
        for number in 0..UNKNOWN {
            assert_eq!(engine(&format!("x{number}")).0, 404, "{round}");
        }
        assert_eq!(resolver.requests().len(), UNKNOWN, "{round}");
    }
    assert_eq!(added(), before);
    assert_eq!(engine("2"), (200, env.servers.hostport(2)));
    assert_eq!(added(), before + 1);
    assert_no_reload(&env);
}
