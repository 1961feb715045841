//! Names whose addresses change while requests flow, as those of containers that restart do.

use pinroute_core::mode::IndexMode;
use pinroute_testkit::config::Shipped;
use pinroute_testkit::dns::Dns;
use pinroute_testkit::env::TestEnv;
use pinroute_testkit::eventually;
use pinroute_testkit::fake_resolver::{FakeResolver, FakeResponse, Recorded};
use pinroute_testkit::http::{Client, Response};
use pinroute_testkit::servers::{Servers, ServersOptions, name};
use serde_json::json;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Docker's DNS server says this, far more than the tests wait.
const TTL: u32 = 600;
/// A swap needs about a second; the plain dynamic forward proxy needs its TTL, or a minute.
const SOON: Duration = Duration::from_secs(15);
const SWAPS: usize = 4;
const CLIENTS: usize = 6;
/// Requests before each swap, so that Envoy has connections to both addresses.
const REQUESTS: usize = 300;
const PROXY: &str = "cluster.dynamic_forward_proxy_cluster";

/// Two addresses, and the number of the server that has each of them now.
///
/// Behind an address is a proxy that leads to this server. So a swap breaks no connection and stops no server: all that
/// can go wrong is where Envoy sends a request.
struct Addresses {
    state: Arc<Mutex<State>>,
    fronts: Vec<FakeResolver>,
}

struct State {
    owner: [u8; 2],
    /// Addresses, counted from 0, at which the right server has answered since the last swap.
    reached: BTreeSet<usize>,
}

impl Addresses {
    fn start(dns: &Dns, servers: &Servers) -> Self {
        let state = Arc::new(Mutex::new(State { owner: [1, 2], reached: BTreeSet::new() }));
        let servers_by_number = [1, 2].map(|number| (number, Client::new(servers.addr(number).into())));
        let fronts = (0..2).map(|front| {
            let (state, clients) = (Arc::clone(&state), servers_by_number.clone());
            // On the servers' port, far from their own addresses.
            let address = servers.addr(101 + u8::try_from(front).unwrap());
            let serve = move |path: &str, head: &[u8]| {
                let owner = state.lock().unwrap().owner[front];
                let (_, client) = clients.iter().find(|(number, _)| *number == owner).unwrap();
                let host = Recorded { path: path.to_owned(), head: head.to_vec(), body: Vec::new() }
                    .header("host")
                    .unwrap();
                let response = client.request("GET", path, &[("host", &host)], b"").unwrap();
                let mut state = state.lock().unwrap();
                if response.status == 200 && host.starts_with(&name(owner)) && state.owner[front] == owner {
                    state.reached.insert(front);
                }
                FakeResponse::status(response.status, response.body)
            };
            FakeResolver::start_on(address.into(), serve).unwrap()
        });
        let addresses = Self { fronts: fronts.collect(), state };
        addresses.tell(dns);
        addresses
    }

    fn tell(&self, dns: &Dns) {
        let owner = self.state.lock().unwrap().owner;
        for (front, number) in self.fronts.iter().zip(owner) {
            let SocketAddr::V4(address) = front.addr() else { panic!("{front:?}") };
            dns.set(&name(number), &[*address.ip()]);
        }
    }

    fn swap(&self, dns: &Dns) {
        {
            let mut state = self.state.lock().unwrap();
            state.owner.reverse();
            state.reached.clear();
        }
        self.tell(dns);
    }

    fn wait_until_both_are_reached(&self) -> anyhow::Result<()> {
        eventually(SOON, || match self.state.lock().unwrap().reached.len() {
            2 => Ok(()),
            count => Err(format!("{count} of 2 addresses reached")),
        })
    }
}

fn start(
    config: &str,
    edit: impl FnOnce(&mut Shipped) -> anyhow::Result<()> + 'static,
) -> (TestEnv, Addresses) {
    let dns = Dns::start().unwrap();
    dns.set_ttl(TTL);
    let servers = Servers::start(2, &ServersOptions::default(), &dns).unwrap();
    let addresses = Addresses::start(&dns, &servers);
    let env = TestEnv::builder(config).concurrency(2).with_servers(dns, servers).edit(edit).start().unwrap();
    (env, addresses)
}

/// Computed here, not read from `/where`, so that an error of the resolver fails the test.
fn owner(env: &TestEnv, id: &str) -> String {
    env.servers.hostport(1 + u8::try_from(IndexMode::Hash.slot(id.as_bytes(), 2)).unwrap())
}

#[derive(Debug, Default)]
struct Figures {
    sent: usize,
    misrouted: usize,
    failed: usize,
    /// The last one that failed.
    failure: Option<String>,
    slowest: Duration,
}

impl Figures {
    fn count(&mut self, response: anyhow::Result<Response>, owner: &str, took: Duration) {
        self.sent += 1;
        self.slowest = self.slowest.max(took);
        match response {
            Ok(response) if response.status == 200 => {
                self.misrouted += usize::from(response.json().unwrap()["assigned"] != json!(owner));
            }
            other => {
                self.failed += 1;
                self.failure = Some(format!("{other:?}"));
            }
        }
    }

    fn add(self, other: Self) -> Self {
        Self {
            sent: self.sent + other.sent,
            misrouted: self.misrouted + other.misrouted,
            failed: self.failed + other.failed,
            failure: self.failure.or(other.failure),
            slowest: self.slowest.max(other.slowest),
        }
    }
}

/// Sends requests until `stop`, and counts them in `sent`; one of five has a body.
fn send(env: &TestEnv, sent: &AtomicUsize, stop: &AtomicBool) -> Figures {
    let (client, body) = (env.client(), vec![b'x'; 300_000]);
    let mut figures = Figures::default();
    while !stop.load(Ordering::Relaxed) {
        let number = sent.fetch_add(1, Ordering::Relaxed);
        let id = (number % 200).to_string();
        let (method, body) = if number.is_multiple_of(5) { ("POST", &body[..]) } else { ("GET", &[][..]) };
        let start = Instant::now();
        let response = client.request(method, &format!("/join?client_id={id}"), &[], body);
        figures.count(response, &owner(env, &id), start.elapsed());
    }
    figures
}

#[test]
fn two_hosts_that_swap_their_addresses_get_only_their_own_requests() {
    for config in ["envoy.yaml", "index.yaml"] {
        let (env, addresses) = start(config, |_| Ok(()));
        let (sent, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let (figures, swapped) = thread::scope(|scope| {
            let clients = [(); CLIENTS].map(|()| scope.spawn(|| send(&env, &sent, &stop)));
            let swapped: Result<Vec<()>, _> = (1..=SWAPS)
                .map(|_| {
                    let until = sent.load(Ordering::Relaxed) + REQUESTS;
                    eventually(SOON, || match sent.load(Ordering::Relaxed) {
                        count if count >= until => Ok(()),
                        count => Err(format!("{count} of {until} requests")),
                    })?;
                    addresses.swap(&env.dns);
                    addresses.wait_until_both_are_reached()
                })
                .collect();
            stop.store(true, Ordering::Relaxed);
            let figures = clients.map(|client| client.join().unwrap());
            (figures.into_iter().fold(Figures::default(), Figures::add), swapped)
        });
        let retries = env.envoy.stat(&format!("{PROXY}.upstream_rq_retry")).unwrap();
        assert_eq!((figures.misrouted, figures.failed), (0, 0), "{config}: {figures:?}");
        swapped.unwrap();
        assert!(
            retries > 0,
            "{config}: no request reached the wrong address, so this proves nothing: {figures:?}"
        );
    }
}

#[test]
fn a_request_with_a_long_body_is_not_retried() {
    let (env, addresses) = start("envoy.yaml", |_| Ok(()));
    let post = |length| env.client().request("POST", "/join?client_id=1", &[], &vec![b'x'; length]).unwrap();
    let stat = |name: &str| env.envoy.stat(&format!("{PROXY}.{name}")).unwrap();
    assert_eq!(post(3 << 20).status, 200);
    // The hosts swap their addresses, and DNS does not know it yet.
    addresses.state.lock().unwrap().owner.reverse();
    let refused = post(3 << 20);
    assert_eq!(refused.status, 421, "{}", refused.text());
    assert_eq!((stat("upstream_rq_retry"), stat("retry_or_shadow_abandoned")), (0, 2));
    thread::scope(|scope| {
        // Envoy 1.36 and 1.37 count the body of a request that waited for the resolver twice.
        let short = scope.spawn(|| post(500_000));
        eventually(SOON, || if stat("upstream_rq_retry") > 0 { Ok(()) } else { Err("no retry".to_owned()) })
            .unwrap();
        addresses.tell(&env.dns);
        assert_eq!(short.join().unwrap().status, 200);
    });
}

#[test]
fn with_dynamic_host_requests_are_right_again_soon_after_a_swap() {
    let (env, addresses) = start("preserve-host.yaml", |_| Ok(()));
    let wrong = || {
        let ids = (0..20).map(|id| id.to_string());
        let landed = ids.filter(|id| {
            let response =
                env.request("GET", &format!("/join?client_id={id}"), &[("host", "shop.example")], b"");
            response.unwrap().json().unwrap()["assigned"] != json!(owner(&env, id))
        });
        landed.count()
    };
    assert_eq!(wrong(), 0);
    for _ in 0..SWAPS {
        addresses.swap(&env.dns);
        eventually(SOON, || match wrong() {
            0 => Ok(()),
            count => Err(format!("{count} of 20 at the wrong host")),
        })
        .unwrap();
    }
    let clusters = env.envoy.admin_get("/clusters").unwrap();
    assert!(clusters.contains(&name(1)) && !clusters.contains("shop.example"), "{clusters}");
}

#[test]
fn a_name_that_was_unknown_is_found_soon_after_it_is_known() {
    let (env, addresses) = start("envoy.yaml", |_| Ok(()));
    env.dns.remove(&name(1));
    let id = (0..).map(|id| id.to_string()).find(|id| owner(&env, id) == env.servers.hostport(1)).unwrap();
    let path = format!("/join?client_id={id}");
    let response = env.get(&path).unwrap();
    assert_eq!(response.status, 503, "{}", response.text());
    addresses.tell(&env.dns);
    let back = eventually(SOON, || match env.get(&path).unwrap() {
        response if response.status == 200 => Ok(response),
        other => Err(other.text()),
    });
    assert_eq!(back.unwrap().json().unwrap()["assigned"], json!(env.servers.hostport(1)));
}

#[test]
fn names_beyond_max_sub_clusters_are_refused() {
    let (env, _addresses) = start("index.yaml", |shipped| {
        let proxy = shipped.cluster("dynamic_forward_proxy_cluster")?;
        proxy["cluster_type"]["typed_config"]["sub_clusters_config"]["max_sub_clusters"] = json!(1);
        Ok(())
    });
    let first = owner(&env, "0");
    for id in (0..20).map(|id| id.to_string()) {
        let response = env.get(&format!("/join?client_id={id}")).unwrap();
        let expected = if owner(&env, &id) == first { 200 } else { 503 };
        assert_eq!(response.status, expected, "{id}: {}", response.text());
        assert_eq!(response.text() == "Sub cluster overflow", expected == 503, "{}", response.text());
    }
}
