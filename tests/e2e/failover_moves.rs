//! Hosts leave, come back and change their addresses under load: who moves, what fails, and whether a request leaves its shard.

use crate::failover::{failover_env, instance, numbered, plugin, pushed, shard, wait_for_hosts};
use crate::live_rtds::SOON;
use pinroute_testkit::control_plane::ControlPlane;
use pinroute_testkit::env::TestEnv;
use pinroute_testkit::eventually;
use pinroute_testkit::fake_resolver::{FakeResolver, FakeResponse};
use pinroute_testkit::http::{Client, Response};
use pinroute_testkit::http2;
use pinroute_testkit::servers::name;
use pinroute_testkit::xds::Xds;
use serde_json::json;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const HOSTS: u8 = 8;
const CUSTOMERS: usize = 120;
/// How many threads send requests, one at a time each.
const THREADS: usize = 4;
/// Until Envoy has noticed that the connections of a host are closed. Requests that are sent later do not count as in flight.
const NOTICED: Duration = Duration::from_millis(100);

/// Whether a shard is as it has to be after a change.
type Theory = fn(before: &[String], after: &[String], host: &str) -> bool;

/// What is wrong with all shards, if anything is.
type Holds<'a> = &'a dyn Fn(&[Vec<String>]) -> Result<(), String>;

/// A request under load.
struct Sent {
    at: Instant,
    customer: usize,
    response: Response,
}

fn send(client: &Client, customer: usize, round: usize) -> Response {
    let (path, id) = (format!("/headers?{round}"), format!("customer-{customer}"));
    client.request("GET", &path, &[("x-customer-id", id.as_str())], b"").unwrap()
}

/// Each customer's shard.
fn shards(env: &TestEnv) -> Vec<Vec<String>> {
    let client = env.client();
    (0..CUSTOMERS).map(|customer| shard(&send(&client, customer, 0))).collect()
}

/// A host leaves: its place goes to another, and the rest of the shard stays.
fn is_replaced(before: &[String], after: &[String], host: &str) -> bool {
    let stay = before.iter().filter(|name| *name != host).all(|name| after.contains(name));
    let changed = before != after;
    stay && changed == before.iter().any(|name| name == host) && !after.iter().any(|name| name == host)
}

/// A host joins: it takes a place in some shards, and all others stay as they are.
fn is_joined(before: &[String], after: &[String], host: &str) -> bool {
    let stay = after.iter().filter(|name| *name != host).all(|name| before.contains(name));
    stay && (before != after) == after.iter().any(|name| name == host)
}

fn is_unchanged(before: &[String], after: &[String], _: &str) -> bool {
    before == after
}

/// Makes a change under load. `kill` ends a host; then `publish` says so, and starts what has to be started. The rest is what has
/// to come of it: which host is reached again, and who moves.
struct Change<'a> {
    what: &'a str,
    host: &'a str,
    kill: &'a mut dyn FnMut(),
    publish: &'a mut dyn FnMut(),
    is_reached: bool,
    theory: Theory,
    /// The share of customers who move, in theory.
    share: f64,
}

impl Change<'_> {
    fn make(self, env: &TestEnv) {
        let Change { what, host, kill, publish, is_reached, theory, share } = self;
        let updates = || env.envoy.stat("wasmcustom.pinroute_endpoints.updates").unwrap();
        let (sent, stop) = (Mutex::new(Vec::new()), AtomicBool::new(false));
        let count = || sent.lock().unwrap().len();
        let more = |number: usize| {
            let least = count() + number;
            eventually(SOON, || match count() {
                now if now >= least => Ok(()),
                now => Err(format!("{now} of {least} requests")),
            })
            .unwrap();
        };
        // Each worker hears of a change in its own time. All of them have when a new connection and those of the load agree.
        let settled = |holds: Holds<'_>| {
            eventually(SOON, || {
                let all = shards(env);
                holds(&all)?;
                let mut last = vec![None; CUSTOMERS];
                for Sent { customer, response, .. } in sent.lock().unwrap().iter() {
                    last[*customer] = Some(shard(response));
                }
                match (0..CUSTOMERS).find(|at| last[*at].as_ref() != Some(&all[*at])) {
                    None => Ok(all),
                    Some(late) => Err(format!("{what}: {:?} and {:?}", all[late], last[late])),
                }
            })
            .unwrap()
        };
        let (before, killed, after) = thread::scope(|scope| {
            for thread in 0..THREADS {
                let (sent, stop) = (&sent, &stop);
                scope.spawn(move || {
                    let client = env.client();
                    for round in (0..).take_while(|_| !stop.load(Ordering::Relaxed)) {
                        let customer = (round * THREADS + thread) % CUSTOMERS;
                        let at = Instant::now();
                        let response = send(&client, customer, round);
                        sent.lock().unwrap().push(Sent { at, customer, response });
                    }
                });
            }
            // The threads end in every case, so that a failure is reported.
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let before = settled(&|before| match before.iter().flatten().find(|host| *host == "-") {
                    None => Ok(()),
                    Some(_) => Err("requests without a shard".to_owned()),
                });
                sent.lock().unwrap().clear();
                let updated = updates();
                kill();
                let killed = Instant::now();
                more(CUSTOMERS);
                publish();
                let published = Instant::now();
                eventually(SOON, || {
                    let sent = sent.lock().unwrap();
                    let seen = |one: &&Sent| {
                        one.at > published && one.response.status == 200 && instance(&one.response) == host
                    };
                    let reached = sent.iter().rev().take_while(|one| one.at > published).find(seen);
                    match updates() {
                        now if now == updated => Err("no new endpoints".to_owned()),
                        _ if reached.is_some() != is_reached => {
                            Err(format!("{host} reached: {}", !is_reached))
                        }
                        _ => Ok(()),
                    }
                })
                .unwrap();
                let after = settled(&|after| match (0..CUSTOMERS)
                    .find(|at| !theory(&before[*at], &after[*at], host))
                {
                    None => Ok(()),
                    Some(wrong) => Err(format!("{what}: {:?} became {:?}", before[wrong], after[wrong])),
                });
                (before, killed, after)
            }));
            stop.store(true, Ordering::Relaxed);
            ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        let sent = sent.into_inner().unwrap();
        let mut failed = 0;
        for Sent { at, customer, response } in &sent {
            let own = shard(response);
            assert!(own == before[*customer] || own == after[*customer], "customer {customer} used {own:?}");
            if response.status == 200 {
                let reached = instance(response);
                assert!(own.contains(&reached), "{reached} is outside of {own:?}");
            } else {
                failed += 1;
                assert!(
                    *at < killed + NOTICED,
                    "{what}: {} {}, not in flight",
                    response.status,
                    response.text()
                );
            }
        }
        let moved = (0..CUSTOMERS).filter(|at| before[*at] != after[*at]).count();
        println!(
            "| {what} | {moved} of {CUSTOMERS} | {:.0} | {} | 0 | {failed} |",
            share * CUSTOMERS as f64,
            sent.len()
        );
        // Within four standard deviations of theory.
        let spread = 4.0 * (share * (1.0 - share) * CUSTOMERS as f64).sqrt();
        assert!((moved as f64 - share * CUSTOMERS as f64).abs() <= spread, "{moved} moved");
    }
}

/// The share of customers who have a host, out of 8.
const HELD: f64 = 2.0 / HOSTS as f64;

#[test]
fn polled_endpoints_come_and_go_under_load() {
    let mut env = failover_env(plugin()).start().unwrap();
    wait_for_hosts(&env, usize::from(HOSTS));
    let addresses: Vec<_> = (1..=HOSTS).map(|number| env.servers.addr(number)).collect();
    let dns_address = |number: u8| *addresses[usize::from(number) - 1].ip();
    let kill = |env: &TestEnv, number: u8| env.servers.kill(number).unwrap();
    Change {
        what: "poll, names: a host leaves",
        host: &name(3),
        kill: &mut || kill(&env, 3),
        publish: &mut || env.dns.remove(&name(3)),
        is_reached: false,
        theory: is_replaced,
        share: HELD,
    }
    .make(&env);
    env.servers.restart(3).unwrap();
    Change {
        what: "poll, names: it comes back",
        host: &name(3),
        kill: &mut || {},
        publish: &mut || env.dns.set(&name(3), &[dns_address(3)]),
        is_reached: true,
        theory: is_joined,
        share: HELD,
    }
    .make(&env);
    let ip = Ipv4Addr::new(127, 66, 79, 5);
    let address = SocketAddr::from((ip, env.servers.port()));
    let mut moved = None;
    Change {
        what: "poll, names: a host restarts at another address",
        host: &name(5),
        kill: &mut || kill(&env, 5),
        publish: &mut || {
            let body = json!({ "instance": format!("{}:0", name(5)) }).to_string();
            moved = Some(FakeResolver::start_on(address, move |_, _| FakeResponse::ok(&body)).unwrap());
            env.dns.set(&name(5), &[ip]);
        },
        is_reached: true,
        theory: is_unchanged,
        share: 0.0,
    }
    .make(&env);
}

/// Hosts that say their number.
struct Pushed {
    hosts: Mutex<BTreeMap<usize, FakeResolver>>,
}

impl Pushed {
    fn start() -> Self {
        Self { hosts: Mutex::new((0..usize::from(HOSTS)).map(|number| (number, numbered(number))).collect()) }
    }

    fn kill(&self, number: usize) {
        self.hosts.lock().unwrap().remove(&number);
    }

    fn start_again(&self, number: usize) {
        self.hosts.lock().unwrap().insert(number, numbered(number));
    }

    /// Their addresses, in the order of their numbers.
    fn addresses(&self) -> Vec<(usize, SocketAddr)> {
        self.hosts.lock().unwrap().iter().map(|(number, host)| (*number, host.addr())).collect()
    }

    /// The same changes, whoever publishes them. `name` is what the filter calls a host, and what it says.
    fn come_and_go(&self, env: &TestEnv, source: &str, theory: [(Theory, f64); 2], publish: &dyn Fn(&Self)) {
        let [(leaves, left), (joins, joined)] = theory;
        Change {
            what: &format!("{source}: a host leaves"),
            host: "3",
            kill: &mut || self.kill(3),
            publish: &mut || publish(self),
            is_reached: false,
            theory: leaves,
            share: left,
        }
        .make(env);
        Change {
            what: &format!("{source}: it comes back at another address"),
            host: "3",
            kill: &mut || {},
            publish: &mut || {
                self.start_again(3);
                publish(self);
            },
            is_reached: true,
            theory: joins,
            share: joined,
        }
        .make(env);
        Change {
            what: &format!("{source}: a host restarts at another address"),
            host: "5",
            kill: &mut || self.kill(5),
            publish: &mut || {
                self.start_again(5);
                publish(self);
            },
            is_reached: true,
            theory: is_unchanged,
            share: 0.0,
        }
        .make(env);
        Change {
            what: &format!("{source}: a ninth host joins"),
            host: "8",
            kill: &mut || {},
            publish: &mut || {
                self.start_again(8);
                publish(self);
            },
            is_reached: true,
            theory: is_joined,
            share: 2.0 / 9.0,
        }
        .make(env);
    }
}

fn by_eds() -> serde_json::Value {
    let mut config = plugin();
    config["membership"] = json!({ "cluster": "service_backend", "eds": { "cluster": "xds_cluster" } });
    config
}

#[test]
fn pushed_endpoints_with_names_come_and_go_under_load() {
    let (xds, hosts) = (Xds::start().unwrap(), Pushed::start());
    // A text, although it is a number.
    let publish = |hosts: &Pushed| {
        let endpoints: Vec<_> = hosts
            .addresses()
            .into_iter()
            .map(|(number, address)| (address, json!({ "host_id": number.to_string() })))
            .collect();
        xds.set_endpoints("service_backend", &endpoints);
    };
    publish(&hosts);
    let env = failover_env(by_eds()).replicas(1).edit(pushed(xds.envoy_cluster())).start().unwrap();
    wait_for_hosts(&env, usize::from(HOSTS));
    hosts.come_and_go(&env, "EDS, names", [(is_replaced, HELD), (is_joined, HELD)], &publish);
}

#[test]
fn hosts_of_the_control_plane_come_and_go_under_load() {
    let (plane, hosts) = (ControlPlane::start(&[]).unwrap(), Pushed::start());
    // It gives each host a number, which a host at a new address takes over.
    let publish = |hosts: &Pushed| {
        let all: Vec<_> = hosts.addresses().iter().map(|(_, address)| address.to_string()).collect();
        plane.call("PUT", "/v1/hosts", &json!({ "hosts": all })).unwrap();
    };
    publish(&hosts);
    let server = http2::cluster("xds_cluster", plane.xds());
    let env = failover_env(by_eds()).replicas(1).edit(pushed(server)).start().unwrap();
    wait_for_hosts(&env, usize::from(HOSTS));
    let stay: (Theory, f64) = (is_unchanged, 0.0);
    hosts.come_and_go(&env, "control plane, numbers", [stay, stay], &publish);
}
