//! Live values in the metadata of a cluster that a control plane pushes.

use crate::live_rtds::{SOON, clients, stat};
use crate::shuffle::shown;
use pinroute_testkit::dns::Dns;
use pinroute_testkit::env::TestEnv;
use pinroute_testkit::eventually;
use pinroute_testkit::servers::{Servers, ServersOptions};
use pinroute_testkit::xds::Xds;
use serde_json::{Value, json};

#[test]
fn values_in_the_metadata_of_a_pushed_cluster_take_effect() {
    let xds = Xds::start().unwrap();
    let dns = Dns::start().unwrap();
    let servers = Servers::start(6, &ServersOptions::default(), &dns).unwrap();
    let push = |metadata: Value, count: u8| {
        xds.set_cluster("service_backend", &metadata);
        let endpoints: Vec<_> = (0..count)
            .map(|number| (servers.addr(number + 1).into(), json!({ "host_id": number })))
            .collect();
        xds.set_endpoints("service_backend", &endpoints);
    };
    push(json!({ "total_hosts": 4, "shard_size": 1 }), 4);
    let hostports: Vec<_> = (1..=6).map(|number| servers.hostport(number)).collect();
    let env = TestEnv::builder("shuffle-shard-cds.yaml")
        .concurrency(2)
        .address(("control-plane", 18000), xds.addr())
        .with_servers(dns, servers)
        .start()
        .unwrap();
    let reaches = |customer: &str, config: &str| {
        for client in clients(&env) {
            eventually(SOON, || {
                let response =
                    client.request("GET", "/headers", &[("x-customer-id", customer)], b"").unwrap();
                let [_, used, host] = shown(&response);
                if response.status != 200 || used != config {
                    return Err(format!("{} {used}", response.status));
                }
                let place: usize = host.parse().unwrap();
                assert_eq!(response.json().unwrap()["instance"], json!(hostports[place]));
                Ok(())
            })
            .unwrap();
        }
    };
    reaches("customer-A", "1/4");
    let servers = &env.servers;
    let endpoints: Vec<_> =
        (0..6).map(|number| (servers.addr(number + 1).into(), json!({ "host_id": number }))).collect();
    xds.set_endpoints("service_backend", &endpoints);
    xds.set_cluster("service_backend", &json!({ "total_hosts": 6, "shard_size": 3 }));
    reaches("customer-A", "3/6");
    // An invalid value leaves the previous value in effect.
    xds.set_cluster("service_backend", &json!({ "total_hosts": -6, "shard_size": 2 }));
    reaches("customer-A", "2/6");
    assert!(stat(&env, "invalid") >= 1);
}
