//! Each route with a configuration of its own.

use crate::adapter::is_exception;
use pinroute_core::mode::IndexMode;
use pinroute_testkit::adapter::{Adapter, for_native};
use pinroute_testkit::config::Shipped;
use pinroute_testkit::dns::Dns;
use pinroute_testkit::env::{TestEnv, TestEnvBuilder};
use pinroute_testkit::eventually;
use pinroute_testkit::servers::{Servers, ServersOptions};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;

#[test]
fn the_shipped_configuration_serves_each_route_its_own_way() {
    let env = TestEnv::builder("per-route.yaml").replicas(2).start().unwrap();
    for id in 0..10 {
        let owner = |key: &str| env.servers.hostport(1 + IndexMode::Hash.slot(key.as_bytes(), 2) as u8);
        let id = id.to_string();
        let joined = env.get(&format!("/join?client_id={id}")).unwrap().json().unwrap();
        assert_eq!(joined["assigned"], json!(owner(&id)));
        let room = env.get(&format!("/rooms/{id}/chat")).unwrap().json().unwrap();
        assert_eq!(room["instance"], json!(owner(&id)));
        let order = |path: &str| {
            let response = env.request("GET", path, &[("x-customer-id", &id)], b"").unwrap();
            response.json().unwrap()["instance"].clone()
        };
        assert_eq!(order("/orders/1"), order("/orders/2?x=y"), "one host per customer");
    }
    assert_eq!(env.get("/join").unwrap().text(), "missing client_id");
    assert_eq!(env.get("/orders").unwrap().text(), "missing x-customer-id");
    assert_eq!(env.get("/health").unwrap().text(), "ok");
    // Two VMs' worth of plugins (main thread and worker), and each route's metadata read once in the worker.
    assert_eq!(env.envoy.log().matches("configuration of a route loaded").count(), 2);
}

const HOSTS: &str =
    "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts";

/// Routes that lead to the resolver's cluster, with this metadata on the virtual host and on `/own`.
fn with_metadata(virtual_host: Value, own: Value) -> impl FnOnce(&mut Shipped) -> anyhow::Result<()> {
    move |shipped| {
        let on = enabled();
        let route = |prefix: &str, metadata: &Value| {
            json!({
                "match": { "prefix": prefix },
                "route": { "cluster": "resolver" },
                "typed_per_filter_config": on,
                "metadata": { "filter_metadata": metadata },
            })
        };
        let routes = json!([route("/own", &own), route("/echo", &json!({}))]);
        let host = json!({
            "name": "all", "domains": ["*"], "routes": routes, "metadata": { "filter_metadata": virtual_host },
        });
        shipped.edit(|config| *config.pointer_mut(HOSTS).unwrap() = json!([host]));
        Ok(())
    }
}

#[test]
fn a_virtual_hosts_metadata_applies_to_routes_without_their_own() {
    if is_exception() {
        return;
    }
    let env = TestEnv::builder("per-route.yaml")
        .plugin(json!({ "per_route": "pinroute", "key": { "query": "of_plugin" } }))
        .edit(with_metadata(
            json!({ "pinroute": { "key": { "query": "of_host" } } }),
            json!({ "pinroute": { "json": "{\"key\":{\"query\":\"of_route\"}}" }, "other": { "key": 1 } }),
        ))
        .start()
        .unwrap();
    assert_eq!(env.get("/own").unwrap().text(), "missing of_route");
    assert_eq!(env.get("/echo").unwrap().text(), "missing of_host");
    let env = TestEnv::builder("per-route.yaml")
        .plugin(json!({ "per_route": "pinroute", "key": { "query": "of_plugin" } }))
        .edit(with_metadata(json!({}), json!({ "pinroute": { "key": { "query": "of_route" } } })))
        .start()
        .unwrap();
    assert_eq!(env.get("/own").unwrap().text(), "missing of_route");
    assert_eq!(env.get("/echo").unwrap().text(), "missing of_plugin");
}

#[test]
fn an_invalid_configuration_fails_only_its_own_route() {
    let wrong = [
        (json!({ "key": { "qeury": "x" } }), "key.qeury: unknown field"),
        (json!({ "json": "{" }), "not JSON"),
        (json!({ "per_route": "pinroute" }), "per_route: cannot be set for a route"),
        (json!({ "shuffle_shard": { "shard_size": 1.5 } }), "shuffle_shard.shard_size: got 1.5"),
    ];
    for (config, message) in wrong {
        let env = TestEnv::builder("per-route.yaml")
            .plugin(json!({ "per_route": "pinroute", "key": { "query": "of_plugin" } }))
            .edit(with_metadata(json!({}), json!({ "pinroute": config })))
            .start()
            .unwrap();
        for _ in 0..3 {
            let response = env.get("/own?of_plugin=1").unwrap();
            assert_eq!(
                (response.status, response.text().as_str()),
                (500, "the configuration of this route is wrong")
            );
        }
        assert_eq!(env.get("/echo").unwrap().text(), "missing of_plugin", "the other route still works");
        assert_eq!(env.envoy.stat("wasmcustom.pinroute_rejected.route_config").unwrap(), 3);
        let log = env.envoy.log();
        assert_eq!(log.matches(message).count(), 1, "logged once: {log}");
    }
}

/// A file of routes that Envoy watches. The routes of the shipped configuration are replaced by them.
pub struct RouteFile {
    dir: TempDir,
    file: PathBuf,
}

impl RouteFile {
    pub fn new(routes: &Value) -> Self {
        let dir = TempDir::new().unwrap();
        let routes_file = Self { file: dir.path().join("routes.json"), dir };
        routes_file.write(routes);
        routes_file
    }

    /// Writes a list of routes. The rename makes the change atomic.
    pub fn write(&self, routes: &Value) {
        let mut table = json!({ "resources": [{
            "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            "name": "live",
            "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": routes }],
        }]});
        if Adapter::current() == Adapter::Native {
            for_native(&mut table);
        }
        let new = self.file.with_extension("new");
        std::fs::write(&new, table.to_string()).unwrap();
        std::fs::rename(&new, &self.file).unwrap();
    }

    /// Lets an Envoy take its routes from here.
    pub fn serve(&self, env: TestEnvBuilder) -> TestEnvBuilder {
        let rds = json!({ "route_config_name": "live", "config_source": { "path_config_source": {
            "path": self.file, "watched_directory": { "path": self.dir.path() },
        }}});
        env.envoy_arguments(&["--service-node", "test", "--service-cluster", "test"]).edit(move |shipped| {
            shipped.edit(|config| {
                let manager = config
                    .pointer_mut("/static_resources/listeners/0/filter_chains/0/filters/0/typed_config");
                let manager = manager.unwrap().as_object_mut().unwrap();
                manager.remove("route_config");
                manager.insert("rds".to_owned(), rds);
            });
            Ok(())
        })
    }
}

/// Enables the filter on a route.
pub fn enabled() -> Value {
    json!({ "pinroute": { "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {} } })
}

/// Routes by which `/a` and `/b` lead to these servers.
fn two_routes(port: u16, a: u8, b: u8) -> Value {
    let route = |prefix: &str, server: u8| {
        json!({
            "match": { "prefix": prefix },
            "route": { "cluster": "dynamic_forward_proxy_cluster", "prefix_rewrite": "/echo" },
            "typed_per_filter_config": enabled(),
            "metadata": { "filter_metadata": { "pinroute": {
                "index": { "hosts": [format!("poc-routing-server-{server}:{port}")] },
            }}},
        })
    };
    json!([route("/a", a), route("/b", b)])
}

#[test]
fn a_changed_route_table_takes_over_without_a_lost_request() {
    let dns = Dns::start().unwrap();
    let servers = Servers::start(3, &ServersOptions::default(), &dns).unwrap();
    let port = servers.port();
    let file = RouteFile::new(&two_routes(port, 1, 2));
    let env = TestEnv::builder("per-route.yaml").concurrency(2).with_servers(dns, servers);
    let env = file.serve(env);
    let env = env.start().unwrap();
    let instance = |path: &str| {
        let response = env.client().get(&format!("{path}?client_id=1")).unwrap();
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        response.json().unwrap()["instance"].as_str().unwrap().to_owned()
    };
    let (done, requests) = (AtomicBool::new(false), AtomicU64::new(0));
    eventually(Duration::from_secs(10), || {
        let response = env.get("/a?client_id=1").unwrap();
        if response.status == 200 { Ok(()) } else { Err(response.text()) }
    })
    .unwrap();
    std::thread::scope(|scope| {
        for path in ["/a", "/b"] {
            let (done, requests, client) = (&done, &requests, env.client());
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let response = client.get(&format!("{path}?client_id=1")).unwrap();
                    assert_eq!(response.status, 200, "{path}: {}", response.text());
                    requests.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for (a, b) in [(2, 3), (3, 1), (1, 2), (2, 1), (1, 3)] {
            file.write(&two_routes(port, a, b));
            let expected = (env.servers.hostport(a), env.servers.hostport(b));
            eventually(Duration::from_secs(10), || {
                let seen = (instance("/a"), instance("/b"));
                if seen == expected { Ok(()) } else { Err(format!("{seen:?}")) }
            })
            .unwrap();
            let so_far = requests.load(Ordering::Relaxed);
            eventually(Duration::from_secs(10), || match requests.load(Ordering::Relaxed) {
                count if count >= so_far + 50 => Ok(()),
                count => Err(format!("{count} requests")),
            })
            .unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(requests.load(Ordering::Relaxed) > 100, "{requests:?}");
}
