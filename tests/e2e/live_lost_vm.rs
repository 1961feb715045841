//! Live values right after a VM was lost, and right after a plugin has joined: they decide each request, never the
//! plugin's own numbers.

use crate::adapter::is_exception;
use crate::crashing_module;
use crate::live_admin::admin_env;
use crate::live_rtds::{SOON, clients, discovered, request_until, rtds_env, wait_for};
use pinroute_testkit::config::Shipped;
use pinroute_testkit::env::TestEnv;
use pinroute_testkit::http::Client;
use pinroute_testkit::xds::Xds;
use pinroute_testkit::{eventually, paths};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How many VMs each test loses.
const LOSSES: u64 = 30;

/// A lost VM is replaced soon. By default Envoy waits for a second, with 503 for every request. An interval of 1 ms ends
/// Envoy 1.40 by a division by zero.
fn reload_at_once(shipped: &mut Shipped) -> anyhow::Result<()> {
    shipped.http_filter("pinroute")?["typed_config"]["config"]["reload_config"] =
        json!({ "backoff": { "base_interval": "0.01s", "max_interval": "0.01s" } });
    Ok(())
}

/// Shows the target of a request on its response.
fn show_target(shipped: &mut Shipped) -> anyhow::Result<()> {
    shipped.edit(|config| {
        let manager = &mut config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0];
        manager["typed_config"]["route_config"]["response_headers_to_add"] =
            json!([{ "header": { "key": "x-target", "value": "%REQ(x-target-cluster)%" } }]);
    });
    Ok(())
}

/// What the filter decided for the key 6: size and total of its shard, and the target. `None` if the request was lost.
fn decided(client: &Client, path: &str) -> Option<String> {
    let response = client.request("GET", path, &[("x-customer-id", "6")], b"").unwrap();
    let shown = |name| response.header(name).unwrap_or("-");
    match response.status {
        503 => None,
        200 => Some(format!("{} {}", shown("x-shard-config"), shown("x-target"))),
        status => panic!("{status} {}", response.text()),
    }
}

/// Waits until all workers decide so.
fn wait_until_decided(clients: &[Client], path: &str, expected: &str) {
    for client in clients {
        eventually(SOON, || match decided(client, path) {
            Some(seen) if seen == expected => Ok(()),
            other => Err(format!("{other:?}, not yet {expected}")),
        })
        .unwrap();
    }
}

fn reloads(env: &TestEnv) -> u64 {
    env.envoy.stat("wasm.pinroute.vm_reload_success").unwrap()
}

/// Ends VMs while other requests come. Each request that is not lost with its VM must be decided as expected.
fn lose_vms(env: &TestEnv, cases: &[(&str, &str)]) {
    let clients = clients(env);
    for (path, expected) in cases {
        wait_until_decided(&clients, path, expected);
    }
    let (done, requests, wrong) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let lost = std::thread::scope(|scope| {
        for (path, expected) in cases.iter().cycle().take(4) {
            let (client, done, requests, wrong) = (env.client(), &done, &requests, &wrong);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    if let Some(seen) = decided(&client, path) {
                        requests.fetch_add(1, Ordering::Relaxed);
                        wrong.fetch_add(u64::from(seen != *expected), Ordering::Relaxed);
                    }
                }
            });
        }
        let (before, mut turns) = (reloads(env), clients.iter().cycle());
        let lost = eventually(SOON, || {
            let headers = [("x-customer-id", "6"), ("x-provoke-trap", "1")];
            let response = turns.next().unwrap().request("GET", cases[0].0, &headers, b"").unwrap();
            assert_eq!(response.status, 503);
            match reloads(env) - before {
                count if count >= LOSSES => Ok(count),
                count => Err(format!("{count} VMs lost")),
            }
        });
        done.store(true, Ordering::Relaxed);
        lost.unwrap()
    });
    let (requests, wrong) = (requests.into_inner(), wrong.into_inner());
    println!("{cases:?}: {wrong} of {requests} requests decided otherwise, {lost} VMs lost");
    assert_eq!(wrong, 0, "{cases:?}: of {requests} requests, {lost} VMs lost");
    assert!(requests > 500, "{requests}");
}

#[test]
fn pushed_values_decide_the_first_request_of_a_new_vm() {
    if is_exception() {
        return;
    }
    let shuffle = json!({ "shuffle_shard": { "total_hosts": 8, "shard_size": 2 }, "response_headers": true });
    let index = json!({ "index": { "mode": "numeric", "replicas": 2, "base": 1 } });
    let cases = [
        (&shuffle, json!({ "total_hosts": 10, "default_shard_size": 3 }), "3/10"),
        (&shuffle, json!({ "enabled": false }), "- -"),
        (&index, json!({ "replicas": 5 }), "- backend_2"),
        (&index, json!({ "enabled": false }), "- -"),
    ];
    for (strategy, layer, expected) in cases {
        let xds = Xds::start().unwrap();
        xds.set_runtime("runtime", &json!({ "shuffle_sharding": layer }));
        let mut plugin = strategy.clone();
        plugin["key"] = json!({ "header": "x-customer-id" });
        plugin["runtime"] = json!({ "rtds": { "cluster": "xds_cluster" } });
        plugin["target"] = json!({ "header": { "name": "x-target-cluster", "value": "backend_{index}" } });
        let env = rtds_env(&xds, 2).edit(crashing_module).edit(reload_at_once).edit(show_target);
        let env = env.plugin(plugin).start().unwrap();
        let first = env.client();
        // The host of a shard depends on the algorithm: it is read, not expected.
        let expected = if expected.contains(' ') {
            expected.to_owned()
        } else {
            eventually(SOON, || match decided(&first, "/") {
                Some(seen) if seen.starts_with(expected) => Ok(seen),
                other => Err(format!("{other:?}")),
            })
            .unwrap()
        };
        lose_vms(&env, &[("/", &expected)]);
    }
}

/// Two plugins in one VM, each for its own path. They poll the same source, each in its own interval.
fn two_plugins(shipped: &mut Shipped) -> anyhow::Result<()> {
    let plugin = |path: &str, strategy: Value, refresh: &str| {
        let mut plugin = strategy;
        plugin["path_prefix"] = json!(path);
        plugin["key"] = json!({ "header": "x-customer-id" });
        plugin["runtime"] = json!({ "admin": { "cluster": "admin", "refresh": refresh } });
        plugin["response_headers"] = json!(true);
        plugin
    };
    let first = plugin("/one", json!({ "shuffle_shard": { "total_hosts": 4, "shard_size": 1 } }), "0.05s");
    let second = plugin("/two", json!({ "shuffle_shard": { "total_hosts": 5, "shard_size": 4 } }), "2s");
    shipped.plugin_config("pinroute", &first)?;
    let mut twin = shipped.http_filter("pinroute")?.clone();
    twin["name"] = json!("pinroute-2");
    twin["typed_config"]["config"]["name"] = json!("pinroute-2");
    shipped.edit(|config| {
        let manager = &mut config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0];
        manager["typed_config"]["http_filters"].as_array_mut().unwrap().insert(0, twin);
    });
    shipped.plugin_config("pinroute-2", &second)?;
    Ok(())
}

#[test]
fn polled_values_decide_the_first_request_of_each_plugin_of_a_new_vm() {
    if is_exception() {
        return;
    }
    let env = admin_env(true).edit(crashing_module).edit(reload_at_once).edit(two_plugins).start().unwrap();
    // The configuration's static layer has 8 hosts.
    lose_vms(&env, &[("/one", "2/8 -"), ("/two", "2/8 -")]);
}

#[test]
fn a_plugin_that_joins_with_another_refresh_begins_with_the_polled_values() {
    if is_exception() {
        return;
    }
    let xds = Xds::start().unwrap();
    let push = |size: u32, refresh: &str| {
        let config = json!({
            "key": { "header": "x-customer-id" },
            "shuffle_shard": { "total_hosts": 5, "shard_size": size },
            "runtime": { "admin": { "cluster": "admin", "refresh": refresh } },
            "response_headers": true,
        });
        xds.set_extension_config("pinroute", &paths::wasm(), &config);
    };
    push(1, "0.05s");
    let cluster = xds.envoy_cluster();
    let env = admin_env(true)
        .envoy_arguments(&["--service-node", "test", "--service-cluster", "test"])
        .edit(discovered)
        .edit(|shipped| shipped.add_cluster(cluster).map(drop));
    let env = env.start().unwrap();
    let clients = clients(&env);
    wait_for(&clients, "a", "2/8");
    let (done, requests) = (AtomicBool::new(false), AtomicU64::new(0));
    let loaded = |env: &TestEnv| env.envoy.log().matches("configuration loaded").count();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| request_until(&env, &done, &requests, |config| config == "2/8"));
        }
        for (number, refresh) in ["1s", "0.3s", "5s", "0.05s", "60s"].iter().enumerate() {
            let before = loaded(&env);
            push(2 + number as u32, refresh);
            // The main thread's plugin, and each worker's.
            let all = eventually(SOON, || match loaded(&env) - before {
                count if count >= 3 => Ok(()),
                count => Err(format!("{count} plugins with {refresh}")),
            });
            let so_far = requests.load(Ordering::Relaxed);
            let used = eventually(SOON, || match requests.load(Ordering::Relaxed) - so_far {
                count if count >= 100 => Ok(()),
                count => Err(format!("{count} requests")),
            });
            if let Err(error) = all.and(used) {
                done.store(true, Ordering::Relaxed);
                panic!("{error}");
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}
