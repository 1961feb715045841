//! Keys by pattern, and targets of the key alone.

use crate::shuffle::shown;
use crate::{assert_no_reload, everywhere, one_route};
use pinroute_testkit::env::{TestEnv, TestEnvBuilder};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const DFP: &str = "dynamic_forward_proxy_cluster";

fn with(plugin: Value) -> TestEnvBuilder {
    TestEnv::builder("index.yaml").replicas(2).plugin(plugin).edit(one_route(DFP))
}

/// The status, and the instance that answered or the error.
fn ask(env: &TestEnv, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let response = env.request("GET", path, headers, b"").unwrap();
    let text = response.text();
    let instance = response.json().ok().and_then(|seen| Some(seen["instance"].as_str()?.to_owned()));
    (response.status, instance.unwrap_or(text))
}

#[test]
fn a_label_of_the_host_is_the_target() {
    let env = with(json!({
        "key": { "host": "{name}--*.tenants.test" }, "template": {},
        "target": { "authority": "poc-routing-{name}:8081" },
        "allowed_targets": ["poc-routing-server-*:8081"],
    }));
    let env = env.start().unwrap();
    let host = |host: &str| ask(&env, "/echo", &[("host", host)]);
    for number in [1, 2] {
        let instance = env.servers.hostport(number);
        assert_eq!(host(&format!("Server-{number}--x.tenants.test:80")), (200, instance));
    }
    assert_eq!(host("server-1.tenants.test").1, "missing host");
    assert_eq!(host("server_1--x.tenants.test").1, "invalid host");
    assert_eq!(host("other--x.tenants.test").1, "target not allowed");
    assert_no_reload(&env);
}

#[test]
fn parts_come_from_a_path_a_cookie_or_a_default() {
    let env = with(json!({
        "key": { "parts": {
            "kind": { "path": "/echo/{kind}/**" },
            "number": { "first": [{ "cookie": "cell", "match": "cell-{n}.*" }, { "header": "x-cell", "match": "{n}" }], "default": "1" },
        } },
        "template": {},
        "target": { "authority": "poc-routing-{kind}-{number}:8081" },
        "allowed_targets": ["poc-routing-server-*:8081"],
    }));
    let env = env.start().unwrap();
    let [one, two] = [1, 2].map(|number| (200, env.servers.hostport(number)));
    assert_eq!(ask(&env, "/echo/server/x", &[]), one);
    assert_eq!(ask(&env, "/echo/server/x", &[("x-cell", "2")]), two);
    assert_eq!(ask(&env, "/echo/server/x", &[("x-cell", "1"), ("cookie", "a=b; cell=cell-2.x")]), two);
    assert_eq!(ask(&env, "/echo/server", &[]).1, "missing path");
    assert_eq!(ask(&env, "/echo/se%2Frver/x", &[]).1, "invalid path");
}

#[test]
fn names_lead_to_clusters_by_a_header() {
    let env = TestEnv::builder("shuffle-shard.yaml").replicas(8).plugin(json!({
        "key": { "header": "x-customer-id" },
        "index": { "names": ["backend_0", "backend_5"] },
        "target": { "header": { "name": "x-target-cluster", "value": "{name}" } },
        "allowed_targets": ["backend_*"],
    }));
    let env = env.edit(everywhere).start().unwrap();
    for (key, number) in [("124", 1), ("123", 6)] {
        let headers = [("x-customer-id", key), ("x-target-cluster", "backend_3")];
        assert_eq!(ask(&env, "/echo", &headers), (200, env.servers.hostport(number)), "{key}");
    }
}

/// The shard of each customer by these names of clusters, after every request has reached the cluster that its headers
/// name.
fn shards(names: [&str; 4]) -> BTreeMap<String, String> {
    let env = TestEnv::builder("shuffle-shard.yaml").replicas(8).plugin(json!({
        "key": { "header": "x-customer-id" },
        "shuffle_shard": { "names": names, "shard_size": 2, "pick": "round_robin" },
        "target": { "header": { "name": "x-target-cluster", "value": "{name}" } },
        "allowed_targets": ["backend_*"],
        "response_headers": true,
    }));
    let env = env.edit(everywhere).start().unwrap();
    let shard_of = |customer: String| {
        let mut reached = BTreeSet::new();
        let mut assignments = BTreeSet::new();
        for _ in 0..4 {
            let headers = [("x-customer-id", &*customer), ("x-target-cluster", "backend_3")];
            let response = env.request("GET", "/echo", &headers, b"").unwrap();
            let [assignment, config, name] = shown(&response);
            assert_eq!((response.status, config), (200, "2/4"), "{customer}: {}", response.text());
            let number: u8 = name.strip_prefix("backend_").unwrap().parse().unwrap();
            let seen = response.json().unwrap();
            assert_eq!(seen["instance"], json!(env.servers.hostport(number + 1)), "{customer}");
            assignments.insert(assignment.to_owned());
            reached.insert(name.to_owned());
        }
        let assignment = assignments.pop_first().unwrap();
        assert!(assignments.is_empty(), "{customer} has two shards: {assignment} and {assignments:?}");
        assert_eq!(reached, assignment.split(',').map(str::to_owned).collect(), "{customer}");
        (customer, assignment)
    };
    let shards = (0..24).map(|number| shard_of(format!("customer-{number}"))).collect();
    assert_no_reload(&env);
    shards
}

#[test]
fn a_shard_of_names_leads_to_clusters_by_a_header() {
    let by_name = shards(["backend_0", "backend_2", "backend_5", "backend_7"]);
    let names: BTreeSet<_> = by_name.values().flat_map(|shard| shard.split(',')).collect();
    assert_eq!(names, BTreeSet::from(["backend_0", "backend_2", "backend_5", "backend_7"]));
    assert_eq!(by_name, shards(["backend_7", "backend_0", "backend_5", "backend_2"]), "another order");
    // With another name, only the shards that have it are others.
    let other = shards(["backend_0", "backend_2", "backend_5", "backend_6"]);
    for (customer, shard) in &by_name {
        assert_eq!(
            *shard != other[customer],
            shard.contains("backend_7") || other[customer].contains("backend_6")
        );
    }
}
