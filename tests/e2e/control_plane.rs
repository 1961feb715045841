//! The control plane against a real Envoy: in all four forms of the protocol, refused, killed, and in time.

use crate::is_older_than;
use crate::shuffle::answer_directly;
use pinroute_testkit::control_plane::ControlPlane;
use pinroute_testkit::env::TestEnv;
use pinroute_testkit::envoy::{Envoy, EnvoyOptions};
use pinroute_testkit::eventually;
use pinroute_testkit::fake_resolver::{FakeResolver, FakeResponse};
use pinroute_testkit::http::Client;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// An Envoy that has lost its control plane waits for up to 30 s before it connects again.
const SOON: Duration = Duration::from_secs(45);

/// How an Envoy asks for its resources.
#[derive(Clone, Copy, Debug)]
struct Form {
    is_aggregated: bool,
    is_incremental: bool,
}

const FORMS: [Form; 4] = [
    Form { is_aggregated: false, is_incremental: false },
    Form { is_aggregated: false, is_incremental: true },
    Form { is_aggregated: true, is_incremental: false },
    Form { is_aggregated: true, is_incremental: true },
];

impl Form {
    fn api(self) -> Value {
        let api_type = match (self.is_aggregated, self.is_incremental) {
            (false, false) => "GRPC",
            (false, true) => "DELTA_GRPC",
            (true, false) => "GRPC",
            (true, true) => "DELTA_GRPC",
        };
        json!({
            "api_type": api_type, "transport_api_version": "V3",
            "grpc_services": [{ "envoy_grpc": { "cluster_name": "xds_cluster" } }],
        })
    }

    fn source(self) -> Value {
        let mut source = if self.is_aggregated {
            json!({ "ads": {} })
        } else {
            json!({ "api_config_source": self.api() })
        };
        source["resource_api_version"] = json!("V3");
        source
    }

    /// An Envoy whose clusters, endpoints, runtime and filter come from the control plane.
    fn config(self, xds: std::net::SocketAddr) -> Value {
        let wasm = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
        let routes = json!([{ "match": { "prefix": "/" }, "route": { "cluster": "service_backend" } }]);
        let manager = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "ingress",
            "route_config": { "validate_clusters": false, "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": routes }] },
            "http_filters": [
                { "name": "pinroute", "config_discovery": { "config_source": self.source(), "type_urls": [wasm] } },
                { "name": "router", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" } },
            ],
        });
        let http2 = json!({
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": { "http2_protocol_options": {} },
        });
        let address = |address: std::net::SocketAddr| json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } });
        let endpoint = json!({ "endpoint": { "address": address(xds) } });
        let mut config = json!({
            "node": { "id": "envoy-1", "cluster": "test" },
            "admin": { "address": address("127.0.0.1:0".parse().unwrap()) },
            "dynamic_resources": { "cds_config": self.source() },
            "layered_runtime": { "layers": [
                { "name": "rtds", "rtds_layer": { "name": "runtime", "rtds_config": self.source() } },
            ] },
            "static_resources": {
                "listeners": [{
                    "name": "main", "address": address("127.0.0.1:0".parse().unwrap()),
                    "filter_chains": [{ "filters": [{ "name": "hcm", "typed_config": manager }] }],
                }],
                "clusters": [{
                    "name": "xds_cluster", "type": "STATIC", "connect_timeout": "1s",
                    "typed_extension_protocol_options": {
                        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2 },
                    "load_assignment": { "cluster_name": "xds_cluster", "endpoints": [{ "lb_endpoints": [endpoint] }] },
                }],
            },
        });
        if self.is_aggregated {
            config["dynamic_resources"]["ads_config"] = self.api();
        }
        config
    }
}

/// The filter's numbers come by RTDS; without one, by the metadata of its cluster.
fn plugin(shard_size: u32) -> Value {
    json!({
        "key": { "header": "x-customer-id" },
        "shuffle_shard": { "total_hosts": 2, "shard_size": shard_size },
        "runtime": { "prefix": "shuffle_sharding", "rtds": { "cluster": "xds_cluster" } },
        "metadata": "envoy.lb",
        "response_headers": true,
    })
}

fn backends(count: usize) -> Vec<FakeResolver> {
    (0..count).map(|_| FakeResolver::start(|_, _| FakeResponse::ok("served")).unwrap()).collect()
}

fn hosts(backends: &[FakeResolver]) -> Value {
    json!({ "hosts": backends.iter().map(|backend| backend.addr().to_string()).collect::<Vec<_>>() })
}

fn start(form: Form, plane: &ControlPlane) -> (Envoy, Client) {
    let envoy = Envoy::start(&form.config(plane.xds()), &EnvoyOptions::default()).unwrap();
    let client = Client::new(envoy.listener_addr("main").unwrap());
    (envoy, client)
}

/// What the filter shows for a customer: shard size and number of hosts.
fn numbers(client: &Client, customer: &str) -> String {
    match client.request("GET", "/", &[("x-customer-id", customer)], b"") {
        Ok(response) => {
            response.header("x-shard-config").map_or(format!("{}", response.status), str::to_owned)
        }
        Err(error) => format!("{error:#}"),
    }
}

fn wait_for(client: &Client, customer: &str, expected: &str) {
    eventually(SOON, || match numbers(client, customer) {
        seen if seen == expected => Ok(()),
        seen => Err(format!("{customer}: {seen}, not {expected}")),
    })
    .unwrap();
}

/// Envoy's own counts of updates that it accepted or refused.
fn updates(envoy: &Envoy, which: &str) -> BTreeMap<String, u64> {
    let stats = [
        "cluster_manager.cds",
        "cluster.service_backend",
        "runtime",
        "http.ingress",
        "extension_config_discovery",
    ];
    let all = stats.into_iter().flat_map(|prefix| envoy.stats(prefix).unwrap());
    all.filter(|(name, _)| name.ends_with(which)).collect()
}

fn sum(updates: &BTreeMap<String, u64>) -> u64 {
    updates.values().sum()
}

#[test]
fn every_form_of_the_protocol_is_accepted_updated_and_resumed() {
    for form in FORMS {
        let module = pinroute_testkit::paths::wasm();
        let mut plane = ControlPlane::start(&["--module", module.to_str().unwrap()]).unwrap();
        let backends = backends(4);
        plane.call("PUT", "/v1/hosts", &hosts(&backends[..3])).unwrap();
        plane.call("PUT", "/v1/configs/pinroute", &plugin(2)).unwrap();
        plane.call("PUT", "/v1/customers/big", &json!({ "shard_size": 3 })).unwrap();
        let (envoy, client) = start(form, &plane);
        wait_for(&client, "a", "2/3");
        wait_for(&client, "big", "3/3");
        let accepted = updates(&envoy, "update_success");
        let kinds = ["cluster_manager.cds.update_success", "cluster.service_backend.update_success"];
        assert!(kinds.iter().all(|kind| accepted.get(*kind) == Some(&1)), "{form:?}: {accepted:?}");
        assert_eq!(sum(&updates(&envoy, "update_rejected")), 0, "{form:?}");

        plane.call("PUT", "/v1/hosts", &hosts(&backends)).unwrap();
        plane.call("PUT", "/v1/customers/big", &json!({ "shard_size": 4 })).unwrap();
        wait_for(&client, "big", "4/4");
        plane.call("PUT", "/v1/configs/pinroute", &plugin(1)).unwrap();
        wait_for(&client, "a", "1/4");

        // Killed under load: nothing fails, and what Envoy has is not sent again.
        let before = sum(&updates(&envoy, "update_success"));
        let is_over = AtomicBool::new(false);
        let failed = thread::scope(|scope| {
            let load = scope.spawn(|| {
                let statuses =
                    std::iter::from_fn(|| (!is_over.load(Ordering::Relaxed)).then(|| numbers(&client, "a")));
                statuses.filter(|seen| seen != "1/4").collect::<Vec<_>>()
            });
            plane.crash().unwrap();
            let nodes = || plane.api().get("/v1/nodes").unwrap().json().unwrap().to_string();
            eventually(SOON, || if nodes().contains("envoy-1") { Ok(()) } else { Err(nodes()) }).unwrap();
            plane.call("PUT", "/v1/customers/big", &json!({ "shard_size": 2 })).unwrap();
            wait_for(&client, "big", "2/4");
            is_over.store(true, Ordering::Relaxed);
            load.join().unwrap()
        });
        assert_eq!(failed, [""; 0], "{form:?}");
        let after = sum(&updates(&envoy, "update_success"));
        // Envoy's own runtime layer has the new size; the filter has a stream of its own.
        assert!(after <= before + 1, "{form:?}: {before} updates before, {after} after");
    }
}

#[test]
fn a_refused_update_is_shown_and_not_repeated_until_it_is_mended() {
    if is_older_than(38) {
        println!(
            "not with an Envoy as old as this: it crashes when a filter that it has refused comes mended"
        );
        return;
    }
    for form in FORMS {
        let folder = tempfile::tempdir().unwrap();
        let module = folder.path().join("pinroute.wasm");
        let plane = ControlPlane::start(&["--module", module.to_str().unwrap()]).unwrap();
        let backends = backends(2);
        plane.call("PUT", "/v1/hosts", &hosts(&backends)).unwrap();
        plane.call("PUT", "/v1/configs/pinroute", &plugin(2)).unwrap();
        let (envoy, client) = start(form, &plane);
        let refused = || {
            let nodes = plane.api().get("/v1/nodes").unwrap().json().unwrap();
            let text = nodes.to_string();
            if text.contains("pinroute.wasm") { Ok(text) } else { Err(text) }
        };
        let shown = eventually(SOON, refused).unwrap();
        assert!(shown.contains("envoy-1"), "{shown}");
        let rejected = sum(&updates(&envoy, "update_rejected"));
        let pushes = |kind: &str| {
            let metrics = plane.api().get("/metrics").unwrap().text();
            let label = format!("pushes_total{{type=\"{kind}\"}} ");
            let line = metrics.lines().find_map(|line| line.split_once(&label)).unwrap();
            line.1.parse::<u64>().unwrap()
        };
        let before = [pushes("ecds"), pushes("rtds")];
        // Another kind changes: no reason to send the refused one again.
        plane.call("PUT", "/v1/customers/big", &json!({ "shard_size": 1 })).unwrap();
        eventually(SOON, || if pushes("rtds") > before[1] { Ok(()) } else { Err("not pushed".to_owned()) })
            .unwrap();
        copy(&pinroute_testkit::paths::wasm(), &module);
        plane.call("PUT", "/v1/configs/pinroute", &plugin(1)).unwrap();
        wait_for(&client, "a", "1/2");
        assert_eq!(pushes("ecds"), before[0] + 1, "{form:?}: only what mends it was sent");
        assert_eq!(sum(&updates(&envoy, "update_rejected")), rejected, "{form:?}");
        let nodes = plane.api().get("/v1/nodes").unwrap().text();
        assert!(!nodes.contains("pinroute.wasm"), "{nodes}");
    }
}

#[test]
fn the_demo_shows_its_time_line_with_the_shipped_configuration() {
    // 30 s become 6 s. On a slow machine, Envoy is not there before the first step is over.
    let is_seen = ["5", "1"].into_iter().any(|speed| {
        let begun = Instant::now();
        let plane = ControlPlane::start(&["--demo", "--demo-speed", speed]).unwrap();
        let env = TestEnv::builder("shuffle-shard-rtds.yaml")
            .replicas(1)
            .address(("control-plane", 18000), plane.xds())
            .edit(answer_directly)
            .start()
            .unwrap();
        let first_step = Duration::from_secs(30).div_f64(speed.parse().unwrap());
        let is_in_time = begun.elapsed() + Duration::from_secs(1) < first_step;
        if is_in_time {
            the_time_line_is_seen(&env);
        }
        is_in_time
    });
    assert!(is_seen, "Envoy took more than half a minute to start");
}

fn the_time_line_is_seen(env: &TestEnv) {
    let client = env.client();
    let mut seen = [("customer-A", Vec::new()), ("customer-B", Vec::new())];
    let line = [vec!["2/8", "3/12"], vec!["2/8", "2/12", "4/12"]];
    eventually(2 * SOON, || {
        for (customer, all) in &mut seen {
            let now = numbers(&client, customer);
            if all.last() != Some(&now) {
                all.push(now);
            }
        }
        let is_over = seen
            .iter()
            .zip(&line)
            .all(|((_, all), line)| all.last().map(String::as_str) == line.last().copied());
        if is_over { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .unwrap();
    assert_eq!(seen.map(|(_, all)| all), line);
}

fn copy(from: &Path, to: &Path) {
    std::fs::copy(from, to).unwrap();
}
