//! Envoy's memory while routes, their configurations and endpoints change, and while many routes have a configuration of their
//! own.

use crate::assert_no_reload;
use crate::failover::{failover_env, plugin};
use crate::per_route::{RouteFile, enabled};
use crate::shuffle::answer_directly;
use pinroute_testkit::config::Shipped;
use pinroute_testkit::env::TestEnv;
use pinroute_testkit::eventually;
use pinroute_testkit::load::get_all;
use pinroute_testkit::xds::{XDS_CLUSTER, Xds};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// How often a route changes.
const CHANGES: usize = 200;
/// After so many changes Envoy has what it needs.
const WARM: usize = 20;
/// How many keys come after each change.
const KEYS: usize = 700;
/// How much memory Envoy may take beyond what it has when it is warm.
const GROWTH: u64 = 48 << 20;
/// Connections, each with one request after the other.
const CONNECTIONS: usize = 16;
const SOON: Duration = Duration::from_secs(10);

/// The cluster `resolver` is a listener of the same Envoy, which always names one host. It is a socket in `dir`, so it
/// needs no port.
fn resolver_in(dir: &Path) -> impl FnOnce(&mut Shipped) -> anyhow::Result<()> + use<> {
    let address = json!({ "pipe": { "path": dir.join("resolver") } });
    // A long name, so that it takes fewer keys to see growth.
    let host = ["a", "b", "c", "d"].map(|label| label.repeat(60)).join(".");
    let body = json!({ "hostport": format!("{host}:8081") }).to_string();
    move |shipped| {
        let endpoint = json!({ "endpoint": { "address": address } });
        *shipped.cluster("resolver")? = json!({
            "name": "resolver",
            "type": "STATIC",
            "circuit_breakers": { "thresholds": [{ "max_pending_requests": 65536, "max_requests": 65536 }] },
            "load_assignment": { "cluster_name": "resolver", "endpoints": [{ "lb_endpoints": [endpoint] }] },
        });
        shipped.edit(|config| {
            let listeners = config["static_resources"]["listeners"].as_array_mut().unwrap();
            let mut listener = listeners[0].clone();
            listener["name"] = json!("resolver");
            listener["address"] = address;
            let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
            let router = manager["http_filters"].as_array_mut().unwrap().pop().unwrap();
            manager["http_filters"] = json!([router]);
            manager["route_config"]["virtual_hosts"] = json!([{ "name": "all", "domains": ["*"], "routes": [{
                "match": { "prefix": "/" },
                "direct_response": { "status": 200, "body": { "inline_string": body } },
            }]}]);
            listeners.push(listener);
        });
        Ok(())
    }
}

/// A route with a configuration in its metadata, and more metadata beside it. Its responses tell its generation.
fn route(prefix: &str, generation: usize, configuration: &Value, more: &Value) -> Value {
    json!({
        "match": { "prefix": prefix },
        "direct_response": { "status": 200 },
        "response_headers_to_add": [{ "header": { "key": "x-generation", "value": generation.to_string() } }],
        "typed_per_filter_config": enabled(),
        "metadata": { "filter_metadata": { "pinroute": configuration, "envoy.lb": more } },
    })
}

/// An Envoy with routes from a file.
struct Env {
    env: TestEnv,
    file: RouteFile,
    _dir: TempDir,
}

impl Env {
    fn new(routes: &Value) -> Self {
        let dir = TempDir::new().unwrap();
        let file = RouteFile::new(routes);
        // The resolver's listener is made of the first one, before that loses its routes.
        let env = TestEnv::builder("per-route.yaml").replicas(1).plugin(json!({ "per_route": "pinroute" }));
        let env = file.serve(env.component_log_level("wasm:warning").edit(resolver_in(dir.path())));
        let env = env.start().unwrap();
        Self { env, file, _dir: dir }
    }

    fn memory(&self) -> u64 {
        self.env.envoy.resident_memory().unwrap()
    }

    /// Requests these paths. All must be answered.
    fn request(&self, paths: &[String]) {
        let statuses = get_all(self.env.addr(), CONNECTIONS, paths).unwrap();
        assert_eq!(statuses, [(200, paths.len())].into());
    }

    fn check(&self, warm: u64) {
        check(&self.env, warm);
    }
}

/// Fails if Envoy has grown too much, or if a VM was lost.
fn check(env: &TestEnv, warm: u64) {
    let end = env.envoy.resident_memory().unwrap();
    println!("Envoy's memory: {} MiB when warm, {} MiB at the end", warm >> 20, end >> 20);
    assert_no_reload(env);
    assert!(end < warm + GROWTH, "Envoy has grown from {} to {} MiB", warm >> 20, end >> 20);
}

/// Changes a route again and again. After each change many keys come.
fn change(route: impl Fn(usize) -> Value) {
    let env = Env::new(&json!([route(0)]));
    let client = env.env.client();
    let mut warm = 0;
    for generation in 1..=CHANGES {
        env.file.write(&json!([route(generation)]));
        eventually(SOON, || match client.get("/?client_id=a").unwrap().header("x-generation") {
            Some(seen) if seen == generation.to_string() => Ok(()),
            other => Err(format!("generation {other:?}, not yet {generation}")),
        })
        .unwrap();
        let keys: Vec<_> = (0..KEYS).map(|key| format!("/?client_id={generation}-{key}")).collect();
        env.request(&keys);
        if generation == WARM {
            warm = env.memory();
        }
    }
    env.check(warm);
}

#[test]
fn a_number_beside_a_routes_configuration_changes() {
    let configuration = json!({ "resolve": { "timeout": "10s", "cache": { "ttl": "60s" } } });
    change(|generation| route("/", generation, &configuration, &json!({ "generation": generation })));
}

#[test]
fn a_routes_configuration_changes() {
    change(|generation| {
        let timeout = format!("{}ms", 10_000 + generation);
        let configuration = json!({ "resolve": { "timeout": timeout, "cache": { "ttl": "60s" } } });
        route("/", generation, &configuration, &json!({}))
    });
}

/// Many routes, each with a configuration of its own. So many keys come for each.
fn many_routes(keys: usize, configuration: impl Fn(usize) -> Value) {
    let prefix = |number| format!("/{number}/");
    let routes: Vec<_> =
        (0..65).map(|number| route(&prefix(number), 0, &configuration(number), &json!({}))).collect();
    let env = Env::new(&json!(routes));
    let mut warm = 0;
    for number in 0..65 {
        let keys: Vec<_> = (0..keys).map(|key| format!("{}?client_id={key}", prefix(number))).collect();
        env.request(&keys);
        if number == 5 {
            warm = env.memory();
        }
    }
    env.check(warm);
}

#[test]
fn many_routes_have_shards_of_their_own() {
    many_routes(
        6000,
        |number| json!({ "shuffle_shard": { "total_hosts": 1000 + number, "shard_size": 20 } }),
    );
}

#[test]
fn many_routes_have_caches_of_their_own() {
    many_routes(2500, |number| {
        let path = format!("/where/{number}");
        json!({ "resolve": { "path": path, "timeout": "10s", "cache": { "ttl": "60s" } } })
    });
}

/// Each time a thousand hosts come that were never there before.
#[test]
fn all_endpoints_change() {
    let xds = Xds::start().unwrap();
    let push = |generation: usize| {
        let endpoint = |host: usize| {
            let ip = Ipv4Addr::from((10 << 24) + u32::try_from(1_000 * generation + host).unwrap());
            (SocketAddr::from((ip, 80)), json!({ "host_id": format!("host-{generation}-{host}") }))
        };
        xds.set_endpoints("fleet", &(0..1_000).map(endpoint).collect::<Vec<_>>());
    };
    let mut config = plugin();
    config["key"] = json!({ "query": "client_id" });
    config["shuffle_shard"]["hosts_from"] = json!("fleet");
    config["membership"] = json!({ "cluster": "fleet", "eds": { "cluster": XDS_CLUSTER } });
    let server = xds.envoy_cluster();
    let with_server = move |shipped: &mut Shipped| shipped.add_cluster(server).map(drop);
    let env = failover_env(config)
        .concurrency(1)
        .replicas(1)
        .edit(with_server)
        .edit(answer_directly)
        .start()
        .unwrap();
    let client = env.client();
    let mut warm = 0;
    for generation in 0..CHANGES {
        push(generation);
        let name = format!("host-{generation}-");
        eventually(SOON, || match client.get("/?client_id=a").unwrap().header("x-shard-assignment") {
            Some(shard) if shard.starts_with(&name) => Ok(()),
            other => Err(format!("the shard {other:?} has no {name}")),
        })
        .unwrap();
        let keys: Vec<_> = (0..KEYS).map(|key| format!("/?client_id={generation}-{key}")).collect();
        assert_eq!(get_all(env.addr(), CONNECTIONS, &keys).unwrap(), [(200, KEYS)].into());
        if generation == WARM {
            warm = env.envoy.resident_memory().unwrap();
        }
    }
    check(&env, warm);
}
