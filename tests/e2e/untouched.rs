//! Requests that the filter lets pass, where Envoy would go wherever the client's `Host` says.

use crate::live_admin::own_admin;
use crate::{everywhere, one_route};
use pinroute_testkit::config::Shipped;
use pinroute_testkit::env::{TestEnv, TestEnvBuilder};
use pinroute_testkit::eventually;
use serde_json::{Value, json};
use std::time::Duration;

const DFP: &str = "dynamic_forward_proxy_cluster";

/// An Envoy whose static runtime layer disables the filter, with access to its own admin interface.
fn disabled(config: &str, mut plugin: Value) -> TestEnvBuilder {
    plugin["runtime"] = json!({ "prefix": "p", "admin": { "refresh": "50ms" } });
    let builder = TestEnv::builder(config).replicas(2).admin(own_admin()).plugin(plugin);
    builder.edit(own_runtime(json!({ "p": { "enabled": false } })))
}

/// A static runtime layer, one that the admin interface changes, and a cluster that leads to that interface.
pub fn own_runtime(layer: Value) -> impl FnOnce(&mut Shipped) -> anyhow::Result<()> {
    move |shipped| {
        shipped.edit(|config| {
            let admin = config["admin"]["address"].clone();
            config["layered_runtime"] = json!({ "layers": [
                { "name": "static", "static_layer": layer },
                { "name": "admin", "admin_layer": {} },
            ] });
            let cluster = json!({
                "name": "admin", "type": "STATIC",
                "load_assignment": { "cluster_name": "admin", "endpoints": [{ "lb_endpoints": [
                    { "endpoint": { "address": admin } },
                ] }] },
            });
            config["static_resources"]["clusters"].as_array_mut().unwrap().push(cluster);
        });
        Ok(())
    }
}

/// Waits until a client that names Envoy's admin interface as its host gets this.
fn wait_for(env: &TestEnv, status: u16, body: &str) {
    let admin = env.envoy.admin_addr().to_string();
    eventually(Duration::from_secs(10), || {
        let response = env.request("GET", "/server_info?client_id=1", &[("host", &admin)], b"").unwrap();
        let got = (response.status, response.text());
        if got == (status, body.to_owned()) { Ok(()) } else { Err(format!("{got:?}")) }
    })
    .unwrap();
}

#[test]
fn a_disabled_filter_does_not_open_the_dynamic_forward_proxy() {
    for target in [
        json!({ "authority": "poc-routing-server-{index}:8081" }),
        json!({ "dynamic_host": "poc-routing-server-{index}:8081" }),
    ] {
        let plugin = json!({ "index": { "replicas": 2 }, "target": target });
        let env = disabled("preserve-host.yaml", plugin).edit(one_route(DFP)).start().unwrap();
        wait_for(&env, 503, "pinroute disabled");
        assert!(env.envoy.stat("wasmcustom.pinroute_rejected.disabled").unwrap() > 0);
    }
}

#[test]
fn allow_untouched_says_that_the_route_is_safe() {
    let plugin = json!({
        "index": { "replicas": 2 }, "allow_untouched": true,
        "target": { "authority": "poc-routing-server-{index}:8081" },
    });
    let env = disabled("index.yaml", plugin).edit(one_route("resolver")).start().unwrap();
    let passed = || env.envoy.stat("wasmcustom.pinroute_passed").unwrap();
    eventually(Duration::from_secs(10), || {
        wait_for(&env, 404, "not found");
        if passed() > 0 { Ok(()) } else { Err("not disabled yet".to_owned()) }
    })
    .unwrap();
}

#[test]
fn a_disabled_filter_with_a_header_target_lets_requests_pass() {
    let plugin = json!({
        "index": { "replicas": 2 }, "target": { "header": { "name": "x-owner", "value": "{index}" } },
    });
    let env = disabled("index.yaml", plugin).edit(one_route("resolver")).start().unwrap();
    let passed = || env.envoy.stat("wasmcustom.pinroute_passed").unwrap();
    eventually(Duration::from_secs(10), || {
        env.get("/health?client_id=1").unwrap();
        if passed() > 0 { Ok(()) } else { Err("not disabled yet".to_owned()) }
    })
    .unwrap();
    let seen = env.request("GET", "/headers?client_id=1", &[("x-owner", "forged")], b"").unwrap();
    assert!(!seen.text().contains("forged"), "{}", seen.text());
}

#[test]
fn continue_beside_a_target_that_is_a_host_is_refused_when_the_configuration_is_loaded() {
    let error = TestEnv::builder("envoy.yaml")
        .replicas(1)
        .plugin(json!({ "on_error": "continue" }))
        .edit(everywhere)
        .start()
        .unwrap_err();
    assert!(format!("{error:#}").contains("continue with `allow_untouched: true`"), "{error:#}");
}

/// The headers that the server received.
fn seen(env: &TestEnv, path: &str, headers: &[(&str, &str)]) -> Vec<(String, String)> {
    let seen = env.request("GET", path, headers, b"").unwrap().json().unwrap();
    let pair =
        |header: &Value| (header[0].as_str().unwrap().to_owned(), header[1].as_str().unwrap().to_owned());
    seen["headers"].as_array().unwrap().iter().map(pair).collect()
}

#[test]
fn request_headers_false_leaves_the_shard_headers_alone() {
    let plugin = json!({
        "key": { "query": "client_id" }, "shuffle_shard": {}, "request_headers": false, "response_headers": true,
        "target": { "header": { "name": "x-owner", "value": "{index}" } },
    });
    let env = TestEnv::builder("index.yaml").replicas(1).plugin(plugin).edit(one_route("resolver"));
    let env = env.start().unwrap();
    let headers = [("x-shard-config", "of the client"), ("x-owner", "forged")];
    let seen = seen(&env, "/headers?client_id=1", &headers);
    let value = |name: &str| seen.iter().find(|(seen, _)| seen == name).map(|(_, value)| value.as_str());
    assert_eq!((value("x-shard-config"), value("x-shard-assignment")), (Some("of the client"), None));
    assert!(
        value("x-owner").is_some_and(|owner| owner.parse::<u32>().is_ok_and(|owner| owner < 8)),
        "{seen:?}"
    );
    let response = env.request("GET", "/headers?client_id=1", &[], b"").unwrap();
    assert_eq!(response.header("x-shard-config"), Some("2/8"));
}

#[test]
fn a_routes_configuration_keeps_no_header_that_the_plugin_owns() {
    let own = r#"{"index":{"replicas":2},"target":{"header":{"name":"x-owner","value":"{index}"}}}"#;
    let env = TestEnv::builder("per-route.yaml")
        .replicas(1)
        .plugin(json!({
            "per_route": "pinroute", "shuffle_shard": {},
            "target": { "header": { "name": "x-target-cluster", "value": "b_{index}" } },
        }))
        .edit(one_route("resolver"))
        .edit(move |shipped| {
            shipped.edit(|config| {
                let route = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/routes/0";
                config.pointer_mut(route).unwrap()["metadata"] =
                    json!({ "filter_metadata": { "pinroute": { "json": own } } });
            });
            Ok(())
        })
        .start()
        .unwrap();
    let forged =
        ["x-target-cluster", "x-shard-config", "x-target-host", "x-owner"].map(|name| (name, "forged"));
    let seen = seen(&env, "/headers?client_id=1", &forged);
    assert!(!seen.iter().any(|(_, value)| value == "forged"), "{seen:?}");
    assert!(
        seen.iter().any(|(name, value)| name == "x-owner" && ["1", "2"].contains(&value.as_str())),
        "{seen:?}"
    );
}

#[test]
fn runtime_disables_the_filter_also_on_a_route_whose_configuration_is_wrong() {
    let plugin = json!({
        "per_route": "pinroute", "index": { "replicas": 2 },
        "target": { "header": { "name": "x-owner", "value": "{index}" } },
    });
    let env = disabled("per-route.yaml", plugin).edit(one_route("resolver")).edit(|shipped| {
        let route = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/routes/0";
        shipped.edit(|config| {
            config.pointer_mut(route).unwrap()["metadata"] =
                json!({ "filter_metadata": { "pinroute": { "nope": 1 } } });
        });
        Ok(())
    });
    let env = env.start().unwrap();
    eventually(Duration::from_secs(10), || {
        let response = env.get("/health").unwrap();
        if response.text() == "ok" { Ok(()) } else { Err(response.text()) }
    })
    .unwrap();
}
