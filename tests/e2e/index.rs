//! `index`: the same host that the resolver would return, without a resolver call; and each kind of target.

use crate::client::assert_right;
use crate::{hostport, one_route, with_resolver};
use pinroute_core::key::percent::decode_form;
use pinroute_core::mode::IndexMode;
use pinroute_testkit::env::TestEnv;
use pinroute_testkit::fake_resolver::{FakeResolver, FakeResponse};
use serde_json::{Value, json};

const IDS: &[&str] =
    &["123", "0", "-7", "+5", "%2B5", "alice", "a%20b", "a+b", "caf%C3%A9", "%ff", "12345678901234567890"];

#[test]
fn the_filter_and_the_resolver_agree() {
    for mode in ["hash", "numeric"] {
        let env = TestEnv::builder("index.yaml").replicas(3).index_mode(mode).plugin(json!({
            "index": { "mode": mode, "replicas": 3, "base": 1 },
            "target": { "authority": "poc-routing-server-{index}:8081" },
        }));
        let env = env.start().unwrap();
        assert_right(&env, IDS);
        assert_eq!(env.envoy.stat("wasmcustom.pinroute_resolver.ok").unwrap(), 0, "no resolver call");
    }
}

#[test]
fn the_shipped_configuration_lands_everybody() {
    let env = TestEnv::builder("index.yaml").replicas(2).start().unwrap();
    for id in IDS {
        let owner = 1 + IndexMode::Hash.slot(&decode_form(id.as_bytes()), 2) as u8;
        let response = env.get(&format!("/join?client_id={id}")).unwrap();
        assert_eq!(response.json().unwrap()["assigned"], env.servers.hostport(owner), "{id}");
    }
}

#[test]
fn a_list_of_hosts_is_indexed_in_its_order() {
    let hosts = ["poc-routing-server-2:8081", "poc-routing-server-1:8081", "poc-routing-server-2:8081"];
    let env = TestEnv::builder("index.yaml")
        .replicas(2)
        .plugin(json!({ "index": { "hosts": hosts } }))
        .start()
        .unwrap();
    for id in IDS {
        let place = IndexMode::Hash.slot(&decode_form(id.as_bytes()), 3);
        let owner = if place == 1 { 1 } else { 2 };
        let response = env.get(&format!("/join?client_id={id}")).unwrap();
        assert_eq!(response.json().unwrap()["assigned"], env.servers.hostport(owner), "{id}");
    }
}

#[test]
fn preserve_host_reaches_the_host_and_keeps_the_clients_host_header() {
    let env = TestEnv::builder("preserve-host.yaml")
        .replicas(3)
        .plugin(json!({
            "index": { "replicas": 3 },
            "target": { "dynamic_host": "poc-routing-server-{index}:8081" },
        }))
        .edit(one_route("dynamic_forward_proxy_cluster"))
        .start()
        .unwrap();
    for id in IDS {
        let owner = 1 + IndexMode::Hash.slot(&decode_form(id.as_bytes()), 3) as u8;
        let headers = [("host", "shop.example"), ("x-target-host", "poc-routing-server-9:1")];
        let seen =
            env.request("GET", &format!("/headers?client_id={id}"), &headers, b"").unwrap().json().unwrap();
        assert_eq!(seen["instance"], json!(env.servers.hostport(owner)), "{id}");
        let host = seen["headers"].as_array().unwrap().iter().find(|header| header[0] == "host").unwrap();
        assert_eq!(host[1], "shop.example");
    }
}

/// A resolver that fails for all keys but one, and a fallback.
fn with_fallback(fallback: Value) -> (TestEnv, FakeResolver, Vec<String>) {
    let plugin = json!({ "resolve": { "timeout": "0.3s" }, "fallback": fallback });
    let (env, resolver) =
        with_resolver(plugin, |path, port| match path.rsplit('=').next().unwrap_or_default() {
            "silent" => FakeResponse::nothing().hang(),
            "reset" => FakeResponse::raw("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{").reset(),
            "evil" => hostport("169.254.169.254:80"),
            "empty" => FakeResponse::ok("{}"),
            "fine" => hostport(&format!("poc-routing-server-1:{port}")),
            _ => FakeResponse::status(500, ""),
        });
    let ids = ["silent", "reset", "evil", "empty", "status"].map(str::to_owned).to_vec();
    (env.start().unwrap(), resolver, ids)
}

#[test]
fn the_fallback_applies_when_the_resolver_fails() {
    let (env, _resolver, ids) = with_fallback(json!({
        "index": { "replicas": 2, "base": 1 },
        "target": { "authority": "poc-routing-server-{index}:8081" },
    }));
    for id in ids {
        let owner = 1 + IndexMode::Hash.slot(id.as_bytes(), 2) as u8;
        let response = env.get(&format!("/join?client_id={id}")).unwrap();
        assert_eq!(response.status, 200, "{id}: {}", response.text());
        assert_eq!(response.json().unwrap()["assigned"], env.servers.hostport(owner), "{id}");
    }
    assert_eq!(env.get("/join?client_id=fine").unwrap().json().unwrap()["assigned"], env.servers.hostport(1));
    assert_eq!(env.get("/join").unwrap().text(), "missing client_id", "no key, no fallback");
    assert_eq!(env.envoy.stat("wasmcustom.pinroute_routed").unwrap(), 6);
}

#[test]
fn allowed_targets_apply_to_index_too() {
    let env = TestEnv::builder("index.yaml").replicas(2).plugin(json!({
        "index": { "replicas": 2, "base": 1 },
        "target": { "authority": "poc-routing-server-{index}:8081" },
        "allowed_targets": ["poc-routing-server-1:8081"],
    }));
    let env = env.start().unwrap();
    let responses: Vec<_> = (0..20).map(|id| env.get(&format!("/join?client_id={id}")).unwrap()).collect();
    for (id, response) in responses.iter().enumerate() {
        let allowed = IndexMode::Hash.slot(id.to_string().as_bytes(), 2) == 0;
        assert_eq!(response.status, if allowed { 200 } else { 502 }, "{id}: {}", response.text());
    }
}
