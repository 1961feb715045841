//! Live values without a control plane: Envoy's runtime by its admin interface, metadata, membership.

use crate::is_older_than;
use crate::shuffle::{answer_directly, shown};
use pinroute_testkit::adapter::Adapter;
use pinroute_testkit::config::Shipped;
use pinroute_testkit::env::{TestEnv, TestEnvBuilder};
use pinroute_testkit::eventually;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);

/// A fixed address for the admin interface, for an Envoy that calls itself. No other tests use this host of the loopback
/// network.
pub fn own_admin() -> SocketAddr {
    let host = IpAddr::V4(Ipv4Addr::new(127, 66, 77, 88));
    let free = TcpListener::bind((host, 0)).unwrap();
    free.local_addr().unwrap()
}

/// The values that the filter uses for a customer.
fn config_of(env: &TestEnv, customer: &str) -> String {
    let response = env.request("GET", "/", &[("x-customer-id", customer)], b"").unwrap();
    shown(&response)[1].to_owned()
}

fn wait_for(env: &TestEnv, customer: &str, expected: &str) {
    eventually(SOON, || match config_of(env, customer) {
        config if config == expected => Ok(()),
        config => Err(format!("{customer}: {config}, not yet {expected}")),
    })
    .unwrap();
}

pub fn admin_env(allow_everything: bool) -> TestEnvBuilder {
    TestEnv::builder("shuffle-shard-admin.yaml")
        .replicas(1)
        .concurrency(2)
        .admin(own_admin())
        .edit(answer_directly)
        .edit(move |shipped| {
            shipped.edit(|config| {
                if allow_everything {
                    config["admin"].as_object_mut().unwrap().remove("allow_paths");
                }
            });
            Ok(())
        })
}

/// Removes `allow_paths` where this Envoy does not know it.
pub fn without_unknown_paths(shipped: &mut Shipped) -> anyhow::Result<()> {
    if !has_allow_paths() {
        shipped.edit(|config| _ = config["admin"].as_object_mut().unwrap().remove("allow_paths"));
    }
    Ok(())
}

/// Whether this Envoy has `allow_paths` in its admin section: from 1.37 on.
fn has_allow_paths() -> bool {
    !is_older_than(37)
}

#[test]
fn the_shipped_configuration_follows_its_static_layer_and_locks_the_rest() {
    let env = admin_env(!has_allow_paths()).start().unwrap();
    wait_for(&env, "customer-A", "3/8");
    assert_eq!(config_of(&env, "customer-B"), "2/8");
    if !has_allow_paths() {
        println!("this Envoy has no allow_paths: the admin interface was left open");
        return;
    }
    for path in ["/runtime_modify?shuffle_sharding.total_hosts=4", "/quitquitquit", "/config_dump"] {
        let response = env.envoy.admin_post(path);
        assert!(response.is_err(), "{path}: {response:?}");
    }
}

#[test]
fn runtime_modify_takes_effect_and_bad_values_do_not() {
    let env = admin_env(true).plugin(json!({
        "key": { "header": "x-customer-id" },
        "shuffle_shard": { "total_hosts": 8, "shard_size": 2 },
        "runtime": { "prefix": "shuffle_sharding", "admin": { "cluster": "admin", "refresh": "50ms" } },
        "response_headers": true,
    }));
    let env = env.start().unwrap();
    wait_for(&env, "customer-A", "3/8");
    let modify = |entries: &str| env.envoy.admin_post(&format!("/runtime_modify?{entries}")).unwrap();
    modify("shuffle_sharding.total_hosts=12&shuffle_sharding.customer.customer-B.shard_size=4");
    wait_for(&env, "customer-B", "4/12");
    wait_for(&env, "customer-A", "3/12");
    for bad in ["-1", "2.5", "many", "99999999", "0"] {
        modify(&format!("shuffle_sharding.total_hosts={bad}&shuffle_sharding.customer-C.shard_size=5"));
        modify("shuffle_sharding.customer-C.shard_size=6");
        wait_for(&env, "customer-C", "6/12");
        modify("shuffle_sharding.customer-C.shard_size=");
        wait_for(&env, "customer-C", "2/12");
    }
    modify("shuffle_sharding.customer-B.shard_size=99");
    modify("shuffle_sharding.customer.customer-B.shard_size=&shuffle_sharding.total_hosts=10");
    wait_for(&env, "customer-B", "10/10");
    let stat = |name: &str| env.envoy.stat(&format!("wasmcustom.pinroute_runtime.{name}")).unwrap();
    assert!(stat("updates") >= 5 && stat("connected") == 1);
    assert_eq!(stat("invalid"), 5, "each bad value once");
    modify("shuffle_sharding.enabled=false");
    eventually(SOON, || match shown(&env.request("GET", "/", &[("x-customer-id", "a")], b"").unwrap())[0] {
        "-" => Ok(()),
        other => Err(other.to_owned()),
    })
    .unwrap();
}

#[test]
fn the_debug_log_shows_the_source_of_each_value() {
    let env = admin_env(true).start().unwrap();
    wait_for(&env, "customer-A", "3/8");
    assert!(!env.envoy.log().contains("routed to"));
    let component = Adapter::current().log_component();
    env.envoy.admin_post(&format!("/logging?{component}=debug")).unwrap();
    eventually(SOON, || {
        config_of(&env, "customer-A");
        let log = env.envoy.log();
        let line = "(hosts: 8 from runtime; shard size: 3 from runtime_key)";
        if log.contains(line) { Ok(()) } else { Err("no such line".to_owned()) }
    })
    .unwrap();
}

/// A route to a cluster, both with metadata.
fn with_metadata(route: Value, cluster: Value) -> impl FnOnce(&mut Shipped) -> anyhow::Result<()> {
    move |shipped| {
        shipped.edit(|config| {
            let hosts = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts";
            *config.pointer_mut(hosts).unwrap() = json!([{ "name": "all", "domains": ["*"], "routes": [{
                "match": { "prefix": "/" },
                "route": { "cluster": "backend_0" },
                "metadata": { "filter_metadata": { "envoy.lb": route } },
            }]}]);
        });
        shipped.cluster("backend_0")?["metadata"] = json!({ "filter_metadata": { "envoy.lb": cluster } });
        Ok(())
    }
}

#[test]
fn metadata_comes_before_the_configuration_and_bad_values_are_skipped() {
    let cases = [
        (json!({}), json!({ "total_hosts": 6, "shard_size": 3 }), "3/6", 0),
        (json!({ "shard_size": 4 }), json!({ "total_hosts": 6, "shard_size": 3 }), "4/6", 0),
        (json!({ "total_hosts": 5 }), json!({ "total_hosts": "6" }), "2/5", 0),
        (json!({ "total_hosts": -5 }), json!({ "total_hosts": 2.5, "shard_size": true }), "2/8", 3),
        (json!({ "total_hosts": {} }), json!({}), "2/8", 1),
    ];
    for (route, cluster, expected, invalid) in cases {
        let env = TestEnv::builder("shuffle-shard.yaml").replicas(1).plugin(json!({
            "key": { "header": "x-customer-id" },
            "shuffle_shard": { "total_hosts": 8, "shard_size": 2 },
            "metadata": "envoy.lb",
            "response_headers": true,
        }));
        let env = env.edit(with_metadata(route.clone(), cluster.clone())).start().unwrap();
        for _ in 0..3 {
            assert_eq!(config_of(&env, "customer-A"), expected, "{route} {cluster}");
        }
        assert_eq!(
            env.envoy.stat("wasmcustom.pinroute_runtime.invalid").unwrap(),
            invalid,
            "{route} {cluster}"
        );
    }
}

#[test]
fn a_clusters_endpoints_are_counted_as_they_come_and_go() {
    let env = admin_env(true).plugin(json!({
        "key": { "header": "x-customer-id" },
        "shuffle_shard": { "total_hosts": 3, "shard_size": 2 },
        "membership": { "cluster": "fleet.a", "admin": "admin", "refresh": "50ms" },
        "response_headers": true,
    }));
    let env = env.edit(|shipped| {
        let mut cluster = shipped.cluster("backend_0")?.clone();
        cluster["name"] = json!("fleet.a");
        cluster["dns_refresh_rate"] = json!("0.1s");
        cluster["load_assignment"] = json!({ "cluster_name": "fleet.a", "endpoints": [{ "lb_endpoints": [
            { "endpoint": { "address": { "socket_address": { "address": "fleet", "port_value": 8081 } } } },
        ]}]});
        shipped.add_cluster(cluster)?;
        Ok(())
    });
    let env = env.start().unwrap();
    for count in [5_u8, 9, 4] {
        let addresses: Vec<_> = (1..=count).map(|number| Ipv4Addr::new(127, 9, 9, number)).collect();
        env.dns.set("fleet", &addresses);
        wait_for(&env, "customer-A", &format!("2/{count}"));
    }
}
