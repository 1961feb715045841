//! A poison tenant: each of its requests ends the host that it reaches. Whom does that harm?

use crate::live_admin::{own_admin, without_unknown_paths};
use crate::live_rtds::SOON;
use pinroute_report::{Bar, Colour, bars};
use pinroute_testkit::config::Shipped;
use pinroute_testkit::env::TestEnv;
use pinroute_testkit::eventually;
use pinroute_testkit::fake_resolver::{FakeResolver, FakeResponse};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const HOSTS: usize = 8;
const TENANTS: usize = 100;
/// The tenant whose requests crash hosts.
const POISON: usize = 0;
/// How long a host is down after a crash.
const RESTART: Duration = Duration::from_secs(2);
/// How long requests run, and how many threads send them.
const RUN: Duration = Duration::from_secs(3);
const THREADS: usize = 6;

/// A server that a request to `/poison` ends. It comes back at its address after a while.
struct Mortal {
    addr: SocketAddr,
    stop: Arc<AtomicBool>,
    keeper: Option<JoinHandle<()>>,
}

impl Mortal {
    fn start() -> Self {
        let (crash, crashed) = channel();
        let mut server = Some(FakeResolver::start(handler(crash.clone())).unwrap());
        let addr = server.as_ref().unwrap().addr();
        let stop = Arc::new(AtomicBool::new(false));
        let is_stopped = Arc::clone(&stop);
        let keeper = thread::spawn(move || {
            while !is_stopped.load(Ordering::Relaxed) {
                if crashed.recv_timeout(Duration::from_millis(20)).is_err() {
                    continue;
                }
                drop(server.take());
                thread::sleep(RESTART);
                // Those that crashed the same life.
                crashed.try_iter().for_each(drop);
                server = (0..50).find_map(|_| {
                    thread::sleep(Duration::from_millis(10));
                    FakeResolver::start_on(addr, handler(crash.clone())).ok()
                });
            }
        });
        Self { addr, stop, keeper: Some(keeper) }
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

fn handler(crash: Sender<()>) -> impl Fn(&str, &[u8]) -> FakeResponse + Send + Sync + 'static {
    move |path, _| {
        if path.starts_with("/poison") {
            let _ = crash.send(());
            return FakeResponse::nothing().reset();
        }
        FakeResponse::ok("")
    }
}

/// A way to choose hosts.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    RoundRobin,
    RingHash,
    Lua,
    Shards,
    Failover,
}

const WAYS: [Way; 5] = [Way::RoundRobin, Way::RingHash, Way::Lua, Way::Shards, Way::Failover];

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round robin",
            Self::RingHash => "ring hash",
            Self::Lua => "Lua shards of 2",
            Self::Shards => "pinroute, shards of 2",
            Self::Failover => "pinroute, shards of 2 with failover",
        }
    }

    /// One Envoy for each way; health checks and retries are the same.
    fn edit(self, shipped: &mut Shipped, hosts: &[SocketAddr]) -> anyhow::Result<()> {
        let endpoint = |at: usize| {
            json!({ "endpoint": { "hostname": format!("host-{at}"), "address": { "socket_address": {
                "address": hosts[at].ip().to_string(), "port_value": hosts[at].port() } } } })
        };
        let backend = shipped.cluster("service_backend")?;
        backend["type"] = json!("STATIC");
        for field in ["dns_lookup_family", "dns_refresh_rate", "respect_dns_ttl", "typed_dns_resolver_config"]
        {
            backend.as_object_mut().unwrap().remove(field);
        }
        backend["load_assignment"]["endpoints"] =
            json!([{ "lb_endpoints": (0..HOSTS).map(endpoint).collect::<Vec<_>>() }]);
        if self != Self::Failover {
            backend.as_object_mut().unwrap().remove("load_balancing_policy");
            // Without it, a cluster whose hosts are down is used as if they were healthy.
            backend["common_lb_config"] = json!({ "healthy_panic_threshold": { "value": 0 } });
        }
        if self == Self::RingHash {
            backend["lb_policy"] = json!("RING_HASH");
        }
        let backend = backend.clone();
        for at in 0..HOSTS {
            let mut one = backend.clone();
            one["name"] = json!(format!("backend_{at}"));
            one["load_assignment"] =
                json!({ "cluster_name": one["name"], "endpoints": [{ "lb_endpoints": [endpoint(at)] }] });
            one.as_object_mut().unwrap().remove("load_balancing_policy");
            if matches!(self, Self::Lua | Self::Shards) {
                shipped.add_cluster(one)?;
            }
        }
        if self == Self::Lua {
            let file = pinroute_testkit::paths::shipped_configs().join("lua/shuffle_shard.lua");
            *shipped.http_filter("pinroute")? = json!({
                "name": "envoy.filters.http.lua",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
                    "default_source_code": { "filename": file },
                },
            });
        }
        shipped.edit(|config| {
            let manager = config
                .pointer_mut("/static_resources/listeners/0/filter_chains/0/filters/0/typed_config")
                .unwrap();
            if matches!(self, Self::RoundRobin | Self::RingHash) {
                manager["http_filters"].as_array_mut().unwrap().remove(0);
            }
            let route = &mut manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"];
            route["retry_policy"] = json!({ "retry_on": "connect-failure,reset", "num_retries": 1 });
            if self == Self::RingHash {
                route["hash_policy"] = json!([{ "header": { "header_name": "x-customer-id" } }]);
            }
            if matches!(self, Self::Lua | Self::Shards) {
                let route = route.as_object_mut().unwrap();
                route.remove("cluster");
                route.insert("cluster_header".to_owned(), json!("x-target-cluster"));
            }
        });
        Ok(())
    }

    fn plugin(self) -> Value {
        let key = json!({ "header": "x-customer-id" });
        match self {
            Self::Failover => json!({
                "key": key, "shuffle_shard": { "hosts_from": "service_backend", "shard_size": 2 },
                "target": { "endpoints": { "header": "x-shard-endpoints" } },
                "membership": { "cluster": "service_backend", "refresh": "250ms" }, "response_headers": true,
            }),
            _ => json!({
                "key": key, "shuffle_shard": { "total_hosts": HOSTS, "shard_size": 2 },
                "target": { "header": { "name": "x-target-cluster", "value": "backend_{index}" } },
                "response_headers": true,
            }),
        }
    }
}

/// What happened to one tenant.
#[derive(Clone, Debug, Default)]
struct Tenant {
    shard: BTreeSet<String>,
    sent: u64,
    failed: u64,
}

fn run(way: Way) -> Vec<Tenant> {
    let hosts: Vec<Mortal> = (0..HOSTS).map(|_| Mortal::start()).collect();
    let addresses: Vec<_> = hosts.iter().map(|host| host.addr).collect();
    let mut env =
        TestEnv::builder("failover.yaml").replicas(1).admin(own_admin()).edit(without_unknown_paths);
    if !matches!(way, Way::RoundRobin | Way::RingHash | Way::Lua) {
        env = env.plugin(way.plugin());
    }
    let env = env.edit(move |shipped| way.edit(shipped, &addresses)).start().unwrap();
    let id = |tenant: usize| format!("tenant-{tenant}");
    eventually(SOON, || match env.request("GET", "/", &[("x-customer-id", "x")], b"").unwrap() {
        response if response.status == 200 => Ok(()),
        response => Err(response.text()),
    })
    .unwrap();
    let shard = |tenant: usize| {
        let response = env.request("GET", "/", &[("x-customer-id", &id(tenant))], b"").unwrap();
        let header = response.header("x-shard-assignment").unwrap_or_default();
        header.split(',').filter(|host| !host.is_empty()).map(str::to_owned).collect::<BTreeSet<String>>()
    };
    let tenants: Vec<Tenant> =
        (0..TENANTS).map(|tenant| Tenant { shard: shard(tenant), ..Tenant::default() }).collect();
    let end = Instant::now() + RUN;
    let chunks: Vec<Vec<usize>> = (0..THREADS)
        .map(|thread| (0..TENANTS).filter(|tenant| tenant % THREADS == thread).collect())
        .collect();
    let env = &env;
    thread::scope(|scope| {
        let running: Vec<_> = chunks
            .into_iter()
            .map(|chunk| {
                let mut own: Vec<(usize, Tenant)> =
                    chunk.iter().map(|tenant| (*tenant, tenants[*tenant].clone())).collect();
                scope.spawn(move || {
                    let client = env.client();
                    for round in 0.. {
                        for (number, tenant) in &mut own {
                            if Instant::now() >= end {
                                return own;
                            }
                            // It sends a tenth of what others do.
                            if *number == POISON && round % 10 != 0 {
                                continue;
                            }
                            let folder = if *number == POISON { "poison" } else { "ok" };
                            let headers = [("x-customer-id", format!("tenant-{number}"))];
                            let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
                            let response =
                                client.request("GET", &format!("/{folder}/{round}"), &headers, b"");
                            tenant.sent += 1;
                            tenant.failed +=
                                u64::from(!response.is_ok_and(|response| response.status == 200));
                        }
                        thread::sleep(Duration::from_millis(20));
                    }
                    own
                })
            })
            .collect();
        let mut all: Vec<(usize, Tenant)> = running.into_iter().flat_map(|one| one.join().unwrap()).collect();
        all.sort_by_key(|(number, _)| *number);
        all.into_iter().map(|(_, tenant)| tenant).collect()
    })
}

#[test]
fn a_poison_tenant_harms_those_who_share_its_whole_shard() {
    println!(
        "| way | other customers harmed, of 99 | their requests that failed | most of one customer |\n|---|---:|---:|---:|"
    );
    let mut harmed = Vec::new();
    for way in WAYS {
        let all = run(way);
        let (poison, others) = all.split_first().unwrap();
        assert!(poison.failed > 0, "{way:?}");
        let failed: u64 = others.iter().map(|tenant| tenant.failed).sum();
        let sent: u64 = others.iter().map(|tenant| tenant.sent).sum();
        let share = |tenant: &Tenant| tenant.failed as f64 / tenant.sent.max(1) as f64;
        let most = others.iter().map(share).fold(0.0, f64::max);
        let count = others.iter().filter(|tenant| tenant.failed > 0).count();
        println!(
            "| {} | {count} | {failed} of {sent} ({:.1} %) | {:.0} % |",
            way.name(),
            100.0 * failed as f64 / sent as f64,
            100.0 * most
        );
        if way == Way::Failover {
            let same = |tenant: &Tenant| tenant.shard == poison.shard;
            let bystanders: Vec<_> =
                others.iter().filter(|tenant| tenant.failed > 0 && !same(tenant)).collect();
            assert!(bystanders.is_empty(), "harmed without sharing {:?}: {bystanders:?}", poison.shard);
            println!("same shard: {} tenants", others.iter().filter(|tenant| same(tenant)).count());
        }
        harmed.push(count);
    }
    assert!(harmed[4] < harmed[3], "{harmed:?}");
    // The plot of docs/failover.md.
    if let Some(folder) = std::env::var_os("PINROUTE_FIGURES") {
        let bar = |(way, count): (&Way, &usize)| {
            let colour = if *way == Way::Failover { Colour::Blue } else { Colour::Grey };
            let value = *count as f64;
            Bar { name: way.name(), colour, value, range: (value, value) }
        };
        let all: Vec<_> = WAYS.iter().zip(&harmed).map(bar).collect();
        let plot = bars("Tenants with failed requests, of 99 beside a poison tenant", &all).unwrap();
        std::fs::write(std::path::Path::new(&folder).join("failover-poison.svg"), plot).unwrap();
    }
}
