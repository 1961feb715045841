//! The `:authority` of the filter's own calls. HTTP/2 servers refuse names of clusters that are no valid authority.

use crate::live_rtds::{clients, rtds_env, wait_for};
use pinroute_testkit::dns::Dns;
use pinroute_testkit::env::TestEnv;
use pinroute_testkit::http2::{self, Http2Server};
use pinroute_testkit::servers::{Servers, ServersOptions};
use pinroute_testkit::xds::Xds;
use serde_json::{Value, json};

/// Names of clusters as users, Istio and Envoy Gateway give them, and the authority that the filter sends by default.
const CLUSTERS: [(&str, &str); 3] = [
    ("resolver.example", "resolver.example"),
    ("outbound|8081||svc.ns.svc.cluster.local", "pinroute"),
    ("httproute/ns/name/rule/0", "pinroute"),
];

/// The part of a configuration that names a cluster to call, and the authority if it is not the default one.
fn call_to(cluster: &str, authority: Option<&str>) -> Value {
    match authority {
        Some(authority) => json!({ "cluster": cluster, "authority": authority }),
        None => json!({ "cluster": cluster }),
    }
}

/// Checks that a resolver in this cluster is called with this authority.
fn check_resolver(cluster: &'static str, option: Option<&str>, expected: &str) {
    let dns = Dns::start().unwrap();
    let servers = Servers::start(1, &ServersOptions::default(), &dns).unwrap();
    let body = json!({ "hostport": servers.hostport(1) });
    let resolver = Http2Server::start(body.to_string()).unwrap();
    let addr = resolver.addr();
    let env = TestEnv::builder("envoy.yaml")
        .with_servers(dns, servers)
        .plugin(json!({ "resolve": call_to(cluster, option) }))
        .edit(move |shipped| shipped.add_cluster(http2::cluster(cluster, addr)).map(drop))
        .start()
        .unwrap();
    let response = env.get("/join?client_id=1").unwrap();
    assert_eq!(response.status, 200, "{cluster}: {}", response.text());
    assert_eq!(resolver.authorities(), [expected], "{cluster}");
}

#[test]
fn a_resolver_gets_the_clusters_name_where_that_is_a_valid_authority() {
    for (cluster, expected) in CLUSTERS {
        check_resolver(cluster, None, expected);
    }
}

#[test]
fn a_resolver_gets_the_configured_authority() {
    for (cluster, _) in CLUSTERS {
        check_resolver(cluster, Some("resolver.internal:8443"), "resolver.internal:8443");
    }
}

/// Checks that an RTDS server in this cluster is called with this authority, and heard.
fn check_rtds(cluster: &'static str, option: Option<&str>, expected: &str) {
    let xds = Xds::start().unwrap();
    xds.set_runtime("runtime", &json!({ "shuffle_sharding": { "total_hosts": 10 } }));
    let addr = xds.addr();
    let env = rtds_env(&xds, 1)
        .plugin(json!({
            "key": { "header": "x-customer-id" },
            "shuffle_shard": { "total_hosts": 8, "shard_size": 2 },
            "runtime": { "rtds": call_to(cluster, option) },
            "response_headers": true,
        }))
        .edit(move |shipped| shipped.add_cluster(http2::cluster(cluster, addr)).map(drop))
        .start()
        .unwrap();
    wait_for(&clients(&env), "a", "2/10");
    assert_eq!(xds.authorities(), [expected], "{cluster}");
}

#[test]
fn an_rtds_server_gets_the_clusters_name_where_that_is_a_valid_authority() {
    for (cluster, expected) in CLUSTERS {
        check_rtds(cluster, None, expected);
    }
}

#[test]
fn an_rtds_server_gets_the_configured_authority() {
    for (cluster, _) in CLUSTERS {
        check_rtds(cluster, Some("xds.internal:18000"), "xds.internal:18000");
    }
}
