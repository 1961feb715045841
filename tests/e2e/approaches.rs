//! The other approaches end to end, with the real control plane: endpoints by EDS, and clusters by CDS. Hosts come and go, and
//! keep their numbers.

use crate::live_admin::{own_admin, without_unknown_paths};
use crate::live_rtds::SOON;
use crate::shuffle::shown;
use pinroute_testkit::control_plane::ControlPlane;
use pinroute_testkit::dns::Dns;
use pinroute_testkit::env::TestEnv;
use pinroute_testkit::eventually;
use pinroute_testkit::servers::{Servers, ServersOptions};
use serde_json::{Value, json};
use std::net::SocketAddrV4;

/// A control plane, and an Envoy that gets its hosts from there.
struct Stage {
    plane: ControlPlane,
    env: TestEnv,
    addresses: Vec<SocketAddrV4>,
    names: Vec<String>,
}

impl Stage {
    /// Six servers, of which the first four are hosts.
    fn new(config: &str, options: &[&str]) -> Self {
        let plane = ControlPlane::start(options).unwrap();
        let dns = Dns::start().unwrap();
        let servers = Servers::start(6, &ServersOptions::default(), &dns).unwrap();
        let addresses: Vec<_> = (1..=6).map(|server| servers.addr(server)).collect();
        let names = (1..=6).map(|server| servers.hostport(server)).collect();
        let size = json!({ "values": { "shuffle_sharding.default_shard_size": 2 } });
        plane.call("PATCH", "/v1/runtime", &size).unwrap();
        put(&plane, &addresses, &[1, 2, 3, 4]);
        let env = TestEnv::builder(config)
            .concurrency(2)
            .admin(own_admin())
            .edit(without_unknown_paths)
            .address(("control-plane", 18000), plane.xds())
            .with_servers(dns, servers)
            .start()
            .unwrap();
        Self { plane, env, addresses, names }
    }

    fn put(&self, servers: &[u8]) {
        put(&self.plane, &self.addresses, servers);
    }

    /// Waits until customers use these numbers, and each request reaches the server that has the number of its host. A number
    /// that nobody has is answered with 503.
    fn reaches(&self, config: &str, by_id: &[Option<u8>]) {
        eventually(SOON, || {
            let mut seen = vec![false; by_id.len()];
            for customer in 0..60 {
                let id = format!("customer-{customer}");
                // A client's own number does not count.
                let headers = [("x-customer-id", id.as_str()), ("x-host-id", "0"), ("x-target-host", "0")];
                let path = format!("/headers?n={customer}");
                let response = self.env.request("GET", &path, &headers, b"").unwrap();
                let [_, used, host] = shown(&response);
                if used != config {
                    return Err(format!("{} {used}, not {config}", response.status));
                }
                let host: usize = host.parse().map_err(|_| format!("{host:?} is no number"))?;
                let expected = by_id.get(host).ok_or(format!("host {host}"))?;
                let reached: Option<Value> = response
                    .json()
                    .ok()
                    .map(|seen| seen["instance"].clone())
                    .filter(|_| response.status == 200);
                let expected = expected.map(|server| json!(self.names[usize::from(server) - 1]));
                if reached != expected || (reached.is_none() && response.status != 503) {
                    return Err(format!("host {host}: {reached:?} {}, not {expected:?}", response.status));
                }
                seen[host] = true;
            }
            if seen.iter().all(|seen| *seen) { Ok(()) } else { Err(format!("hosts seen: {seen:?}")) }
        })
        .unwrap();
    }

    fn set_size(&self, customer: &str, size: u32) {
        let path = format!("/v1/customers/{customer}");
        self.plane.call("PUT", &path, &json!({ "shard_size": size })).unwrap();
        let expected = format!("{size}/");
        eventually(SOON, || {
            let response = self.env.request("GET", "/headers", &[("x-customer-id", customer)], b"").unwrap();
            let [_, used, _] = shown(&response);
            if used.starts_with(&expected) { Ok(()) } else { Err(used.to_owned()) }
        })
        .unwrap();
    }
}

fn put(plane: &ControlPlane, addresses: &[SocketAddrV4], servers: &[u8]) {
    let hosts: Vec<_> =
        servers.iter().map(|server| addresses[usize::from(*server) - 1].to_string()).collect();
    plane.call("PUT", "/v1/hosts", &json!({ "hosts": hosts })).unwrap();
}

/// A gap is answered with 503 until another host fills it; nobody else gets its requests.
fn hosts_come_and_go(stage: &Stage) {
    stage.reaches("2/4", &[Some(1), Some(2), Some(3), Some(4)]);
    stage.put(&[1, 2, 4]);
    stage.reaches("2/4", &[Some(1), Some(2), None, Some(4)]);
    stage.put(&[1, 2, 4, 5]);
    stage.reaches("2/4", &[Some(1), Some(2), Some(5), Some(4)]);
    stage.put(&[1, 2, 4, 5, 6, 3]);
    stage.reaches("2/6", &[Some(1), Some(2), Some(5), Some(4), Some(6), Some(3)]);
    stage.set_size("big", 5);
    stage.put(&[1, 2]);
    stage.reaches("2/2", &[Some(1), Some(2)]);
}

#[test]
fn cds_carries_the_number_of_hosts_and_eds_the_hosts() {
    let stage = Stage::new("shuffle-shard-cds.yaml", &["--numbers=cds"]);
    hosts_come_and_go(&stage);
}

#[test]
fn endpoints_by_eds_may_have_gaps_if_the_number_comes_by_rtds() {
    let stage = Stage::new("shuffle-shard-eds.yaml", &[]);
    hosts_come_and_go(&stage);
}

#[test]
fn endpoints_by_eds_are_counted() {
    let stage = Stage::new("shuffle-shard-eds.yaml", &["--numbers=eds"]);
    stage.reaches("2/4", &[Some(1), Some(2), Some(3), Some(4)]);
    stage.put(&[1, 2, 3, 4, 5, 6]);
    stage.reaches("2/6", &[Some(1), Some(2), Some(3), Some(4), Some(5), Some(6)]);
    stage.set_size("big", 3);
    stage.put(&[1, 2, 3]);
    stage.reaches("2/3", &[Some(1), Some(2), Some(3)]);
    let missing = stage.env.get("/headers").unwrap();
    assert_eq!((missing.status, missing.text().as_str()), (400, "missing x-customer-id"));
}
