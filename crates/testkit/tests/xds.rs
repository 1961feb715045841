//! The xDS server as a real Envoy sees it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;
use std::time::Duration;

use pinroute_testkit::envoy::{Envoy, EnvoyOptions};
use pinroute_testkit::eventually;
use pinroute_testkit::fake_resolver::{FakeResolver, FakeResponse};
use pinroute_testkit::xds::envoy_types::pb::envoy::service::discovery::v3::DiscoveryResponse;
use pinroute_testkit::xds::envoy_types::pb::google::protobuf::Any;
use pinroute_testkit::xds::{CLUSTER, ENDPOINTS, EXTENSION_CONFIG, EdsCluster, RUNTIME, WasmFilter, Xds};
use serde_json::{Value, json};

/// Envoy's back-off after a lost stream is up to 30 s, but near 1 s for the first times.
const DEADLINE: Duration = Duration::from_secs(20);

fn source() -> Value {
    json!({"resource_api_version": "V3", "api_config_source": {
        "api_type": "GRPC",
        "transport_api_version": "V3",
        "grpc_services": [{"envoy_grpc": {"cluster_name": "xds_cluster"}}],
    }})
}

/// An Envoy with these top-level fields, and listeners.
fn start(xds: &Xds, fields: &[(&str, Value)], listeners: &[Value]) -> Envoy {
    let mut config = json!({
        "node": {"id": "a-node", "cluster": "a-cluster"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {"clusters": [xds.envoy_cluster()], "listeners": listeners},
    });
    for (name, value) in fields {
        config[*name] = value.clone();
    }
    Envoy::start(&config, &EnvoyOptions::default()).unwrap()
}

/// A layered runtime with the layer `runtime` from this source.
fn layered(source: &Value) -> (&'static str, Value) {
    let layer = json!({"name": "pushed", "rtds_layer": {"name": "runtime", "rtds_config": source}});
    ("layered_runtime", json!({"layers": [layer]}))
}

fn admin(envoy: &Envoy, path: &str) -> Value {
    serde_json::from_str(&envoy.admin_get(path).unwrap()).unwrap()
}

fn shows(envoy: &Envoy, key: &str, wanted: &str) {
    eventually(DEADLINE, || {
        let runtime = admin(envoy, "/runtime");
        let value = &runtime["entries"][key]["final_value"];
        if value == wanted { Ok(()) } else { Err(format!("{key} is {value}, not {wanted}")) }
    })
    .unwrap();
}

fn acked(xds: &Xds, type_url: &str, version: &str) {
    eventually(DEADLINE, || match xds.acked_version(type_url) {
        Some(acked) if acked == version => Ok(()),
        other => Err(format!("{other:?}, NACKs {:?}", xds.nacks(type_url))),
    })
    .unwrap();
}

fn nacked(xds: &Xds, type_url: &str) -> String {
    eventually(DEADLINE, || xds.nacks(type_url).pop().ok_or("no NACK".to_owned())).unwrap()
}

#[test]
fn runtime_is_pushed() {
    let xds = Xds::start().unwrap();
    xds.set_runtime("runtime", &json!({"pinroute": {"shards": 8}, "flat.key": "text"})).unwrap();
    let envoy = start(&xds, &[layered(&source())], &[]);
    shows(&envoy, "pinroute.shards", "8");
    shows(&envoy, "flat.key", "text");
    let pushed = xds.set_runtime("runtime", &json!({"pinroute": {"shards": 9}})).unwrap();
    shows(&envoy, "pinroute.shards", "9");
    acked(&xds, RUNTIME, &pushed.version);
    let first = &xds.requests(RUNTIME)[0];
    assert_eq!((first.node_id.as_str(), first.node_cluster.as_str()), ("a-node", "a-cluster"));
    assert_eq!((first.resource_names.as_slice(), first.version.as_str()), (&["runtime".to_owned()][..], ""));
    assert_eq!((xds.streams(RUNTIME), xds.streams_ever(RUNTIME)), (1, 1));

    // What is wrong is refused, and the last good values stay.
    let wrong = DiscoveryResponse {
        version_info: "wrong".to_owned(),
        nonce: "wrong".to_owned(),
        type_url: RUNTIME.to_owned(),
        resources: vec![Any { type_url: RUNTIME.to_owned(), value: vec![0xff; 10] }],
        ..DiscoveryResponse::default()
    };
    xds.push_raw(RUNTIME, &wrong);
    nacked(&xds, RUNTIME);
    assert_eq!(xds.acked_version(RUNTIME), Some(pushed.version));
    shows(&envoy, "pinroute.shards", "9");
}

#[test]
fn runtime_is_pushed_over_ads() {
    let xds = Xds::start().unwrap();
    xds.set_runtime("runtime", &json!({"key": 1})).unwrap();
    let ads = json!({"ads_config": source()["api_config_source"]});
    let runtime = layered(&json!({"resource_api_version": "V3", "ads": {}}));
    let envoy = start(&xds, &[("dynamic_resources", ads), runtime], &[]);
    shows(&envoy, "key", "1");
    xds.set_runtime("runtime", &json!({"key": 2})).unwrap();
    shows(&envoy, "key", "2");
    assert_eq!((xds.streams(RUNTIME), xds.streams_ever(RUNTIME)), (1, 1));
}

#[test]
fn runtime_survives_the_server() {
    let xds = Xds::start().unwrap();
    xds.set_runtime("runtime", &json!({"key": 1})).unwrap();
    let envoy = start(&xds, &[layered(&source())], &[]);
    shows(&envoy, "key", "1");
    xds.push_garbage(RUNTIME, &[0xff; 20]);
    eventually(DEADLINE, || (xds.streams_ever(RUNTIME) > 1).then_some(()).ok_or("no new stream".to_owned()))
        .unwrap();
    xds.stop();
    shows(&envoy, "key", "1");
    xds.set_runtime("runtime", &json!({"key": 2})).unwrap();
    xds.restart().unwrap();
    shows(&envoy, "key", "2");
}

#[test]
fn clusters_and_endpoints_are_pushed() {
    let upstream = FakeResolver::start(|_, _| FakeResponse::ok("hello")).unwrap();
    let xds = Xds::start().unwrap();
    let cluster = EdsCluster::new("servers").metadata(json!({"shards": 8})).subsets("host_id");
    xds.set_cluster(&cluster).unwrap();
    xds.set_endpoints("servers", &[(upstream.addr(), json!({"host_id": "a"}))]).unwrap();
    let envoy = start(&xds, &[("dynamic_resources", json!({"cds_config": source()}))], &[]);
    acked(&xds, CLUSTER, "1");
    acked(&xds, ENDPOINTS, "1");
    let clusters = envoy.admin_get("/clusters").unwrap();
    assert!(clusters.contains(&format!("servers::{}::", upstream.addr())), "{clusters}");
    let config = admin(&envoy, "/config_dump?resource=dynamic_active_clusters");
    let cluster = &config["configs"][0]["cluster"];
    assert_eq!(cluster["metadata"]["filter_metadata"], json!({"envoy.lb": {"shards": 8}}), "{config}");
    // Each thread counts its own.
    assert!(envoy.stat("cluster.servers.lb_subsets_active").unwrap() > 0);

    let pushed = xds
        .set_endpoints("servers", &[(upstream.addr(), json!({"host_id": "b"})), (xds.addr(), json!(null))])
        .unwrap();
    acked(&xds, ENDPOINTS, &pushed.version);
    assert_eq!(envoy.stat("cluster.servers.membership_total").unwrap(), 2);
}

#[test]
fn extension_configs_are_pushed() {
    let xds = Xds::start().unwrap();
    let filter = WasmFilter { vm_id: "vm", wasm: Path::new("/no/such.wasm"), config: "{}" };
    xds.set_extension_config("pinroute", &filter).unwrap();
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "direct_response": {"status": 204}},
        ]}]},
        "http_filters": [
            {"name": "pinroute", "config_discovery": {
                "config_source": source(),
                "type_urls": ["type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"],
            }},
            {"name": "router", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
            }},
        ],
    });
    let listener = json!({
        "name": "listener_0",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    });
    let _envoy = start(&xds, &[], &[listener]);
    // It got as far as the file, so the rest of the message is what Envoy expects.
    let nack = nacked(&xds, EXTENSION_CONFIG);
    assert!(nack.contains("/no/such.wasm"), "{nack}");
}
