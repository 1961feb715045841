//! `shuffle_shard` in a real Envoy: `lua_djb2` assigns as the Lua script does, `rendezvous` as native code does, and
//! clients cannot influence either.

use pinroute_core::shard::{Algorithm, Assigner, Hosts, Scratch};
use pinroute_testkit::config::Shipped;
use pinroute_testkit::env::TestEnv;
use pinroute_testkit::http::Response;
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub fn shown(response: &Response) -> [&str; 3] {
    ["x-shard-assignment", "x-shard-config", "x-target-host"].map(|name| response.header(name).unwrap_or("-"))
}

/// A route with a direct response, so that a test can have any number of hosts without running them.
pub fn answer_directly(shipped: &mut Shipped) -> anyhow::Result<()> {
    shipped.edit(|config| {
        let hosts = config.pointer_mut(
            "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts",
        );
        let route = json!({ "match": { "prefix": "/" }, "direct_response": { "status": 200 } });
        *hosts.unwrap() = json!([{ "name": "all", "domains": ["*"], "routes": [route] }]);
    });
    Ok(())
}

/// Varied keys and paths, the same in every run.
fn samples(count: u64) -> impl Iterator<Item = (String, String)> {
    (0..count).map(|number| {
        let [a, b] = [number, number + 1_000_003].map(pinroute_core::hash::mix);
        let key = match number % 4 {
            0 => format!("customer-{number}"),
            1 => format!("{a:016x}-{b:016x}"),
            2 => format!("10.{}.{}.{}:{}", a % 256, a / 256 % 256, b % 256, b / 256 % 65536),
            _ => format!("Ünïcode {a:x}"),
        };
        (key, format!("/{:x}/{}?page={}", b % 4096, a % 7, b % 100))
    })
}

#[test]
fn the_lua_assignment_is_reproduced_bit_for_bit() {
    for (total, size, count) in
        [(8, 2, 800), (12, 3, 400), (20, 4, 400), (3, 3, 100), (1, 1, 100), (50, 13, 200)]
    {
        let script =
            std::fs::read_to_string(pinroute_testkit::paths::shipped_configs().join("lua/shuffle_shard.lua"))
                .unwrap();
        let script = script
            .replace("TOTAL_HOSTS = 8", &format!("TOTAL_HOSTS = {total}"))
            .replace("SHARD_SIZE = 2", &format!("SHARD_SIZE = {size}"));
        // Both run in the same Envoy, on two ports.
        let env = TestEnv::builder("shuffle-shard.yaml")
            .replicas(1)
            .plugin(json!({
                "key": { "header": "x-customer-id" },
                "shuffle_shard": { "total_hosts": total, "shard_size": size, "algorithm": "lua_djb2" },
                "response_headers": true,
            }))
            .edit(answer_directly)
            .edit(move |shipped| {
                shipped.edit(|config| {
                        let listeners = config["static_resources"]["listeners"].as_array_mut().unwrap();
                        let mut twin = listeners[0].clone();
                        twin["name"] = json!("lua");
                        *twin
                            .pointer_mut("/filter_chains/0/filters/0/typed_config/http_filters/0")
                            .unwrap() = json!({
                            "name": "envoy.filters.http.lua",
                            "typed_config": {
                                "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
                                "default_source_code": { "inline_string": script },
                            },
                        });
                        listeners.push(twin);
                    });
                Ok(())
            })
            .start()
            .unwrap();
        let lua = pinroute_testkit::http::Client::new(env.envoy.listener_addr("lua").unwrap());
        for (key, path) in samples(count) {
            let headers = [("x-customer-id", key.as_str())];
            let ours = env.request("GET", &path, &headers, b"").unwrap();
            let theirs = lua.request("GET", &path, &headers, b"").unwrap();
            assert_eq!(shown(&ours), shown(&theirs), "{key} {path} of {size}/{total}");
            assert_eq!(shown(&ours)[1], format!("{size}/{total}"));
        }
    }
}

#[test]
fn native_code_and_wasm_assign_alike() {
    for (total, size, count) in [(20_u32, 4_u32, 9000_u64), (1000, 8, 1000)] {
        let env = TestEnv::builder("shuffle-shard.yaml").replicas(1).edit(answer_directly).plugin(json!({
            "key": { "header": "x-customer-id" },
            "shuffle_shard": { "total_hosts": total, "shard_size": size, "base": 100 },
            "response_headers": true,
        }));
        let env = env.start().unwrap();
        let assigner = Assigner::new(Algorithm::Rendezvous, &Hosts::Numbered, None);
        let mut scratch = Scratch::default();
        let mut shard = Vec::new();
        for (key, path) in samples(count) {
            assigner.assign(key.as_bytes(), total, size, &mut scratch, &mut shard);
            let picked = 100 + shard[assigner.pick(path.as_bytes(), shard.len())];
            let assignment = shard.iter().map(|host| (host + 100).to_string()).collect::<Vec<_>>().join(",");
            let response = env.request("GET", &path, &[("x-customer-id", &key)], b"").unwrap();
            assert_eq!(
                shown(&response),
                [assignment, format!("{size}/{total}"), picked.to_string()],
                "{key} {path}"
            );
        }
    }
}

#[test]
fn the_shipped_configuration_reaches_the_backends() {
    let env = TestEnv::builder("shuffle-shard.yaml").replicas(8).start().unwrap();
    let mut reached = BTreeSet::new();
    for customer in 0..40 {
        let mut own = BTreeSet::new();
        for request in 0..10 {
            let key = format!("customer-{customer}");
            let response =
                env.request("GET", &format!("/{request}"), &[("x-customer-id", &key)], b"").unwrap();
            let [assignment, config, host] = shown(&response);
            assert_eq!(config, "2/8");
            let instance = response.status;
            assert_eq!(instance, 404, "a backend responded that it has no such path");
            assert!(assignment.split(',').any(|member| member == host), "{host} of {assignment}");
            own.insert(host.to_owned());
        }
        assert!(own.len() <= 2);
        reached.extend(own);
    }
    assert_eq!(reached.len(), 8, "{reached:?}");
    let seen = env.request("GET", "/headers", &[("x-customer-id", "customer-A")], b"").unwrap();
    let host: u8 = seen.header("x-target-host").unwrap().parse().unwrap();
    let body = seen.json().unwrap();
    assert_eq!(body["instance"], json!(env.servers.hostport(host + 1)));
    assert_eq!(received(&body, "x-shard-config"), ["2/8"]);
    assert_eq!(received(&body, "x-target-cluster"), [format!("backend_{host}")]);
}

/// The values of a header as a backend received them.
fn received(body: &Value, name: &str) -> Vec<String> {
    let headers = body["headers"].as_array().unwrap().iter();
    headers.filter(|header| header[0] == name).map(|header| header[1].as_str().unwrap().to_owned()).collect()
}

#[test]
fn each_pick_stays_in_the_shard() {
    for pick in [json!("path"), json!("random"), json!("round_robin"), json!({ "header": "x-session" })] {
        let env = TestEnv::builder("shuffle-shard.yaml").replicas(1).edit(answer_directly).plugin(json!({
            "key": { "header": "x-customer-id" },
            "shuffle_shard": { "total_hosts": 10, "shard_size": 3, "pick": pick },
            "response_headers": true,
        }));
        let env = env.start().unwrap();
        let ask = |path: &str, session: &str| {
            let headers = [("x-customer-id", "customer-A"), ("x-session", session)];
            let response = env.request("GET", path, &headers, b"").unwrap();
            let [assignment, _, host] = shown(&response);
            assert!(assignment.split(',').any(|member| member == host), "{pick}: {host} of {assignment}");
            host.to_owned()
        };
        let same: Vec<_> = (0..30).map(|_| ask("/same", "same")).collect();
        let paths: BTreeSet<_> = (0..30).map(|number| ask(&format!("/{number}"), "same")).collect();
        let sessions: BTreeSet<_> = (0..30).map(|number| ask("/same", &number.to_string())).collect();
        let distinct = same.iter().collect::<BTreeSet<_>>().len();
        match pick.as_str() {
            Some("path") => assert_eq!((distinct, paths.len()), (1, 3)),
            Some("random") => assert_eq!((distinct, paths.len()), (3, 3)),
            Some(_) => {
                assert_eq!(distinct, 3);
                assert!(same.windows(4).all(|turn| turn[0] == turn[3] && turn[0] != turn[1]), "{same:?}");
            }
            None => assert_eq!((distinct, paths.len(), sessions.len()), (1, 1, 3)),
        }
    }
}

#[test]
fn a_seed_changes_every_assignment_and_names_replace_numbers() {
    let assignments = |shuffle: Value| {
        let env = TestEnv::builder("shuffle-shard.yaml").replicas(1).edit(answer_directly).plugin(json!({
            "key": { "header": "x-customer-id" }, "shuffle_shard": shuffle, "response_headers": true,
        }));
        let env = env.start().unwrap();
        (0..50)
            .map(|number| {
                let key = format!("customer-{number}");
                shown(&env.request("GET", "/", &[("x-customer-id", &key)], b"").unwrap())[0].to_owned()
            })
            .collect::<Vec<_>>()
    };
    let plain = assignments(json!({ "total_hosts": 20, "shard_size": 4 }));
    let seeded = assignments(json!({ "total_hosts": 20, "shard_size": 4, "seed": "a secret" }));
    assert!(plain.iter().zip(&seeded).all(|(plain, seeded)| plain != seeded));
    assert_eq!(seeded, assignments(json!({ "total_hosts": 20, "shard_size": 4, "seed": "a secret" })));
    let named = assignments(json!({ "hosts": ["c:1", "a:1", "b:1"], "shard_size": 2 }));
    assert_eq!(named, assignments(json!({ "hosts": ["b:1", "c:1", "a:1"], "shard_size": 2 })));
    assert!(named.contains(&"a:1,c:1".to_owned()), "{named:?}");
}

#[test]
fn forged_headers_are_replaced_or_removed() {
    let forged = [
        ("x-customer-id", "customer-A"),
        ("x-target-cluster", "backend_7"),
        ("x-target-cluster", "backend_6"),
        ("X-Shard-Assignment", "6,7"),
        ("x-shard-config", "2/2"),
        ("x-shard-config", "1/1"),
        ("x-target-host", "7"),
    ];
    let targets = [
        json!({ "header": { "name": "x-target-cluster", "value": "backend_{index}" } }),
        json!({ "authority": "poc-routing-server-{index}:8081" }),
        json!({ "dynamic_host": "poc-routing-server-{index}:8081" }),
    ];
    for target in targets {
        let by_header = target.get("header").is_some();
        let env = TestEnv::builder("shuffle-shard.yaml").replicas(8).plugin(json!({
            "key": { "header": "x-customer-id" },
            "path_prefix": "/headers",
            "shuffle_shard": { "total_hosts": 8, "shard_size": 2 },
            "target": target,
            "response_headers": true,
        }));
        let env = env
            .edit(move |shipped| if by_header { Ok(()) } else { route_to_the_first(shipped) })
            .start()
            .unwrap();
        let response = env.request("GET", "/headers", &forged, b"").unwrap();
        assert_eq!(response.status, 200, "{}", response.text());
        let [assignment, config, host] = shown(&response);
        let body = response.json().unwrap();
        assert_eq!(received(&body, "x-shard-assignment"), [assignment]);
        assert_eq!(received(&body, "x-shard-config"), [config]);
        assert_eq!(received(&body, "x-target-host"), [host]);
        assert_eq!(config, "2/8");
        if by_header {
            assert_eq!(received(&body, "x-target-cluster"), [format!("backend_{host}")]);
            assert_eq!(body["instance"], json!(env.servers.hostport(host.parse::<u8>().unwrap() + 1)));
        }
        // The filter does not apply outside the prefix, and headers of clients have no effect there.
        let passed = env.request("GET", "/echo", &forged, b"").unwrap();
        if by_header {
            assert_eq!(passed.status, 503, "without the header the route leads nowhere: {}", passed.text());
        } else {
            let body = passed.json().unwrap();
            for name in ["x-shard-assignment", "x-shard-config", "x-target-host"] {
                assert_eq!(received(&body, name), [""; 0], "{name}");
            }
        }
        assert_eq!(shown(&passed), ["-"; 3]);
    }
}

/// One fixed cluster for every request, whose server shows the headers that it received.
fn route_to_the_first(shipped: &mut Shipped) -> anyhow::Result<()> {
    shipped.edit(|config| {
        let hosts = config.pointer_mut(
            "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts",
        );
        let route = json!({ "match": { "prefix": "/" }, "route": { "cluster": "backend_0" } });
        *hosts.unwrap() = json!([{ "name": "all", "domains": ["*"], "routes": [route] }]);
    });
    Ok(())
}
