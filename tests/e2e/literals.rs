//! IP addresses as targets: with sub-clusters and without, for each family.

use pinroute_testkit::config::Shipped;
use pinroute_testkit::env::TestEnv;
use pinroute_testkit::fake_resolver::{FakeResolver, FakeResponse};
use serde_json::json;
use std::net::{Ipv6Addr, SocketAddr};

/// Sends a request for `host` through preserve-host.yaml, and returns its status.
fn status_of(
    host: &FakeResolver,
    target: &str,
    family: &str,
    edit: impl FnOnce(&mut Shipped) -> anyhow::Result<()> + 'static,
) -> u16 {
    let (literal, family) = (host.addr().to_string(), json!(family));
    let env = TestEnv::builder("preserve-host.yaml")
        .plugin(json!({
            "index": { "hosts": [literal] },
            "target": { target: "{hostport}" },
            "allowed_targets": [literal],
        }))
        .edit(move |shipped| {
            shipped.cluster("dynamic_forward_proxy_cluster")?["dns_lookup_family"] = family;
            edit(shipped)
        });
    env.start().unwrap().get("/join?client_id=1").unwrap().status
}

/// Takes the sub-clusters out: the plain dynamic forward proxy.
fn plain(family: &'static str) -> impl FnOnce(&mut Shipped) -> anyhow::Result<()> {
    move |shipped| {
        let cache = json!({ "name": "cache", "dns_lookup_family": family });
        let filter = &mut shipped.http_filter("envoy.filters.http.dynamic_forward_proxy")?["typed_config"];
        filter["dns_cache_config"] = cache.clone();
        filter.as_object_mut().unwrap().remove("sub_cluster_config").unwrap();
        let cluster = &mut shipped.cluster("dynamic_forward_proxy_cluster")?["cluster_type"]["typed_config"];
        cluster["dns_cache_config"] = cache;
        cluster.as_object_mut().unwrap().remove("sub_clusters_config").unwrap();
        Ok(())
    }
}

#[test]
fn ip_addresses_as_targets() {
    let answer = |_: &str, _: &[u8]| FakeResponse::ok("here");
    let v4 = FakeResolver::start(answer).unwrap();
    let v6 = FakeResolver::start_on(SocketAddr::from((Ipv6Addr::LOCALHOST, 0)), answer)
        .expect("this test needs the address ::1");
    let with_sub_clusters = |host, target, family| status_of(host, target, family, |_| Ok(()));
    assert_eq!(with_sub_clusters(&v4, "dynamic_host", "V4_ONLY"), 200);
    assert_eq!(with_sub_clusters(&v6, "authority", "V4_PREFERRED"), 200);
    assert_eq!(with_sub_clusters(&v6, "authority", "V4_ONLY"), 503);
    // Envoy's filter keeps the brackets in the sub-cluster's name, and its cluster looks for the name without them.
    assert_eq!(with_sub_clusters(&v6, "dynamic_host", "V4_PREFERRED"), 503);

    assert_eq!(status_of(&v6, "dynamic_host", "V4_PREFERRED", plain("V4_PREFERRED")), 200);
    assert_eq!(status_of(&v6, "dynamic_host", "V4_ONLY", plain("V4_ONLY")), 503);
}
