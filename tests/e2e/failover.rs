//! Failover inside the shard: the filter lists the shard's addresses, and Envoy tries these and no others.

use crate::live_admin::{own_admin, without_unknown_paths};
use crate::live_rtds::SOON;
use crate::shuffle::shown;
use pinroute_testkit::config::Shipped;
use pinroute_testkit::env::{TestEnv, TestEnvBuilder};
use pinroute_testkit::eventually;
use pinroute_testkit::fake_resolver::{FakeResolver, FakeResponse};
use pinroute_testkit::http::Response;
use pinroute_testkit::process::Signal;
use pinroute_testkit::servers::name;
use pinroute_testkit::xds::{Kind, Xds};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

const CUSTOMERS: usize = 60;

/// The shipped configuration, for another plugin.
pub fn failover_env(plugin: Value) -> TestEnvBuilder {
    let env = TestEnv::builder("failover.yaml").replicas(8).concurrency(2).admin(own_admin());
    env.edit(without_unknown_paths).plugin(plugin)
}

pub fn plugin() -> Value {
    json!({
        "key": { "header": "x-customer-id" },
        "shuffle_shard": { "hosts_from": "service_backend", "shard_size": 2 },
        "target": { "endpoints": { "header": "x-shard-endpoints" } },
        "membership": { "cluster": "service_backend", "refresh": "50ms" },
        "response_headers": true,
    })
}

fn ask(env: &TestEnv, customer: &str, path: &str) -> Response {
    env.request("GET", path, &[("x-customer-id", customer)], b"").unwrap()
}

/// The first response that is not of a connection which its host has just closed, while Envoy has yet to notice it: such a
/// request counts as in flight.
fn not_in_flight(ask: impl Fn() -> Response) -> Response {
    eventually(SOON, || match ask() {
        response if response.status == 503 && response.text().contains("connection termination") => {
            Err(response.text())
        }
        response => Ok(response),
    })
    .unwrap()
}

fn customers() -> impl Iterator<Item = String> {
    (0..CUSTOMERS).map(|number| format!("customer-{number}"))
}

/// Envoy keeps an address that a name has left, for as long as whoever has it now passes the health check.
#[test]
fn a_host_has_no_address_that_another_has_taken() {
    let env = failover_env(plugin()).start().unwrap();
    wait_for_hosts(&env, 8);
    let [first, second] = [1, 2].map(|number| *env.servers.addr(number).ip());
    env.dns.set(&name(1), &[second]);
    env.dns.set(&name(2), &[first]);
    let address = |host: &str| match host.rsplit_once('-').unwrap().1.parse().unwrap() {
        1 => env.servers.addr(2).to_string(),
        2 => env.servers.addr(1).to_string(),
        other => env.servers.addr(other).to_string(),
    };
    eventually(SOON, || {
        for customer in customers() {
            let response = ask(&env, &customer, "/headers");
            let expected: BTreeSet<_> = shard(&response).iter().map(|host| address(host)).collect();
            let listed: BTreeSet<_> = listed(&response).split(',').map(str::to_owned).collect();
            if listed != expected {
                return Err(format!("{customer}: {listed:?}, expected {expected:?}"));
            }
        }
        Ok(())
    })
    .unwrap();
}

/// A paused host accepts connections, so there is nothing to retry. Envoy's policy does not look at health: only the order
/// that the filter sets keeps requests away from it.
#[test]
fn a_host_that_hangs_is_tried_last_and_a_shard_that_hangs_is_rejected() {
    let mut config = plugin();
    config["on_shard_down"] = json!("reject");
    let patient = |shipped: &mut Shipped| {
        shipped.edit(|config| {
            let listener = &mut config["static_resources"]["listeners"][0];
            let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
            manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"]["timeout"] = json!("0.5s");
        });
        Ok(())
    };
    let env = failover_env(config).edit(patient).start().unwrap();
    wait_for_hosts(&env, 8);
    let own = shard(&ask(&env, "customer-0", "/headers"));
    let signal = |host: &str, signal| {
        let number = host.rsplit_once('-').unwrap().1.parse().unwrap();
        env.servers.signal(number, signal).unwrap();
    };
    let paths = (0..8).map(|path| format!("/headers?{path}")).collect::<Vec<_>>();
    let wait = |what: &str, is_expected: &dyn Fn(&Response) -> bool| {
        eventually(SOON, || {
            let mut responses = paths.iter().map(|path| ask(&env, "customer-0", path));
            match responses.find(|response| !is_expected(response)) {
                None => Ok(()),
                Some(odd) => Err(format!("{what}: {} {}", odd.status, odd.text())),
            }
        })
        .unwrap();
    };
    signal(&own[0], Signal::STOP);
    wait("the other one answers", &|response| response.status == 200 && instance(response) == own[1]);
    signal(&own[1], Signal::STOP);
    wait("nobody answers", &|response| {
        (response.status, response.text().as_str()) == (503, "no healthy host in the shard")
    });
    signal(&own[0], Signal::CONT);
    wait("the first one answers", &|response| response.status == 200 && instance(response) == own[0]);
}

/// The addresses that a host was shown.
fn listed(response: &Response) -> String {
    let headers = response.json().unwrap()["headers"].clone();
    let mut headers = headers.as_array().unwrap().iter();
    let list = headers.find(|header| header[0] == "x-shard-endpoints").unwrap();
    list[1].as_str().unwrap().to_owned()
}

/// The hosts of a customer, best first.
pub fn shard(response: &Response) -> Vec<String> {
    shown(response)[0].split(',').map(str::to_owned).collect()
}

/// The server that a response comes from.
pub fn instance(response: &Response) -> String {
    let body = response.json().unwrap_or_else(|error| panic!("{error}: {}", response.text()));
    body["instance"].as_str().unwrap().rsplit_once(':').unwrap().0.to_owned()
}

/// Waits until requests are routed, among this many hosts. Each worker hears of them in its own time, and each request is a
/// connection, which the kernel gives to one of two.
pub fn wait_for_hosts(env: &TestEnv, count: usize) {
    let expected = format!("2/{count}");
    eventually(SOON, || {
        (0..16).try_for_each(|_| {
            let response = ask(env, "x", "/headers");
            match shown(&response)[1] {
                config if config == expected && response.status == 200 => Ok(()),
                config => Err(format!("{config} {} {}", response.status, response.text())),
            }
        })
    })
    .unwrap();
}

#[test]
fn failover_stays_inside_the_shard() {
    let mut env = failover_env(plugin()).start().unwrap();
    wait_for_hosts(&env, 8);
    let mut shards = BTreeMap::new();
    for customer in customers() {
        for path in 0..4 {
            let response = ask(&env, &customer, &format!("/headers?{path}"));
            let own = shard(&response);
            assert!(own.contains(&instance(&response)), "{customer}: {} of {own:?}", instance(&response));
            shards.insert(customer.clone(), own);
        }
    }
    let number = |host: &str| host.rsplit_once('-').unwrap().1.parse::<u8>().unwrap();
    let [first, second] = [0, 1].map(|at| shards["customer-0"][at].clone());
    env.servers.kill(number(&first)).unwrap();
    // From the first request on: a refused connection is retried at the next address of the list.
    for (customer, own) in &shards {
        for path in 0..4 {
            let response = not_in_flight(|| ask(&env, customer, &format!("/headers?{path}")));
            assert_eq!(response.status, 200, "{customer} {own:?}: {}", response.text());
            let reached = instance(&response);
            assert!(own.contains(&reached) && reached != first, "{customer}: {reached} of {own:?}");
        }
    }
    let [first_address, second_address] =
        [&first, &second].map(|host| env.servers.addr(number(host)).to_string());
    eventually(SOON, || match listed(&ask(&env, "customer-0", "/headers")) {
        list if list == format!("{second_address},{first_address}") => Ok(()),
        list => Err(format!("{list}: the unhealthy host is not last")),
    })
    .unwrap();
    // All hosts of the shard are down: 503, and nothing outside is tried.
    env.servers.kill(number(&second)).unwrap();
    let dead = BTreeSet::from([first.clone(), second.clone()]);
    for (customer, own) in &shards {
        let response = not_in_flight(|| ask(&env, customer, "/headers"));
        let is_down = own.iter().all(|host| dead.contains(host));
        assert_eq!(
            response.status,
            if is_down { 503 } else { 200 },
            "{customer} {own:?}: {}",
            response.text()
        );
        assert_eq!(shard(&response), *own, "the shard stays the same");
    }
    env.servers.restart(number(&first)).unwrap();
    let back = eventually(SOON, || match ask(&env, "customer-0", "/headers") {
        response if response.status == 200 => Ok(response),
        response => Err(response.text()),
    });
    assert_eq!(instance(&back.unwrap()), first);
    // A third one comes back at another address, under its name: nobody moves.
    let moved = shards.values().flatten().find(|host| !dead.contains(*host)).unwrap().clone();
    env.servers.kill(number(&moved)).unwrap();
    let ip = Ipv4Addr::new(127, 66, 77, number(&moved) + 1);
    let address = SocketAddr::from((ip, env.servers.port()));
    let body = json!({ "instance": format!("{moved}:0"), "new": true }).to_string();
    let fake = FakeResolver::start_on(address, move |_, _| FakeResponse::ok(&body)).unwrap();
    env.dns.set(&name(number(&moved)), &[ip]);
    let (customer, own) = shards
        .iter()
        .find(|(_, own)| own.contains(&moved) && own.iter().any(|host| dead.contains(host)))
        .unwrap();
    let reached = eventually(SOON, || {
        let response = (0..4).map(|path| ask(&env, customer, &format!("/headers?{path}")));
        match response.into_iter().find(|response| response.json().is_ok_and(|body| body["new"] == true)) {
            Some(response) => Ok(shard(&response)),
            None => Err(format!("{moved} is not reached at {address}")),
        }
    });
    assert_eq!(reached.unwrap(), *own);
    wait_for_hosts(&env, 8);
    for (customer, own) in &shards {
        assert_eq!(shard(&ask(&env, customer, "/headers")), *own, "{customer}");
    }
    drop(fake);
    let stat = |name: &str| env.envoy.stat(&format!("wasmcustom.pinroute_endpoints.{name}")).unwrap();
    assert!(stat("updates") >= 4, "{}", stat("updates"));
}

#[test]
fn no_header_of_a_client_reaches_an_endpoint_of_choice() {
    let mut config = plugin();
    config["path_prefix"] = json!("/headers");
    let env = failover_env(config).start().unwrap();
    wait_for_hosts(&env, 8);
    let own = shard(&ask(&env, "customer-A", "/headers"));
    let outside = (1..=8).find(|number| !own.contains(&name(*number))).unwrap();
    let address = env.servers.addr(outside).to_string();
    let forged = [
        ("x-customer-id", "customer-A"),
        ("x-shard-endpoints", address.as_str()),
        ("X-Shard-Endpoints", address.as_str()),
        ("x-target-host", "poc-routing-server-1"),
        ("x-shard-assignment", "poc-routing-server-1"),
        ("x-envoy-original-dst-host", address.as_str()),
        ("x-envoy-retry-on", "5xx"),
    ];
    for path in 0..10 {
        let response = env.request("GET", &format!("/headers?{path}"), &forged, b"").unwrap();
        let reached = instance(&response);
        assert!(own.contains(&reached), "{reached} of {own:?}");
        let headers = response.json().unwrap()["headers"].as_array().unwrap().clone();
        let values: Vec<_> = headers.iter().filter(|header| header[0] == "x-shard-endpoints").collect();
        assert!(values.len() == 1 && !values[0][1].as_str().unwrap().contains(&address), "{values:?}");
    }
    // Where the filter does not act, the header is removed, and no host is selected.
    let passed = env.request("GET", "/echo", &forged, b"").unwrap();
    assert_eq!((passed.status, passed.text().as_str()), (503, "no healthy upstream"));
    let missing = env.request("GET", "/headers", &forged[1..], b"").unwrap();
    assert_eq!(missing.status, 400, "{}", missing.text());
}

/// The cluster, with endpoints that the server behind this cluster pushes to Envoy and to the filter.
pub fn pushed(server: Value) -> impl FnOnce(&mut Shipped) -> anyhow::Result<()> {
    move |shipped| {
        let cluster = shipped.cluster("service_backend")?.as_object_mut().unwrap();
        cluster.retain(|name, _| {
            ![
                "dns_lookup_family",
                "dns_refresh_rate",
                "respect_dns_ttl",
                "typed_dns_resolver_config",
                "load_assignment",
            ]
            .contains(&name.as_str())
        });
        cluster.insert("type".to_owned(), json!("EDS"));
        let source = json!({ "api_type": "GRPC", "transport_api_version": "V3",
            "grpc_services": [{ "envoy_grpc": { "cluster_name": "xds_cluster" } }] });
        let config = json!({ "eds_config": { "resource_api_version": "V3", "api_config_source": source } });
        cluster.insert("eds_cluster_config".to_owned(), config);
        shipped
            .add_cluster(server)?
            .edit(|config| config["node"] = json!({ "id": "test", "cluster": "test" }));
        Ok(())
    }
}

/// A server that says its number.
pub fn numbered(number: usize) -> FakeResolver {
    FakeResolver::start(move |_, _| {
        FakeResponse::ok(json!({ "instance": format!("{number}:0") }).to_string())
    })
    .unwrap()
}

#[test]
fn pushed_endpoints_move_who_theory_says() {
    let xds = Xds::start().unwrap();
    let mut servers: BTreeMap<usize, FakeResolver> =
        (0..8).map(|number| (number, numbered(number))).collect();
    let push = |servers: &BTreeMap<usize, FakeResolver>, text: bool| {
        let id = |number: &usize| if text { json!(format!("host-{number}")) } else { json!(number) };
        let endpoints: Vec<_> = servers
            .iter()
            .map(|(number, server)| (server.addr(), json!({ "host_id": id(number) })))
            .collect();
        xds.set_endpoints("service_backend", &endpoints);
    };
    push(&servers, false);
    let mut config = plugin();
    config["membership"] = json!({ "cluster": "service_backend", "eds": { "cluster": "xds_cluster" } });
    let env = failover_env(config).replicas(1).edit(pushed(xds.envoy_cluster())).start().unwrap();
    wait_for_hosts(&env, 8);
    let shards = |env: &TestEnv| -> Vec<Vec<String>> {
        customers().map(|customer| shard(&ask(env, &customer, "/headers"))).collect()
    };
    let all_served = |env: &TestEnv, prefix: &str| {
        for customer in customers() {
            let response = ask(env, &customer, "/headers");
            let own = shard(&response);
            assert_eq!(response.status, 200, "{customer} {own:?}: {}", response.text());
            let reached = format!("{prefix}{}", instance(&response));
            assert!(own.contains(&reached), "{reached} of {own:?}");
        }
    };
    let before = shards(&env);
    all_served(&env, "");
    // A numbered host that is gone keeps its place: nobody moves, and the rest of its shards serves.
    let gone = servers.remove(&3).unwrap();
    push(&servers, false);
    // Until the filter knows, it sends requests there.
    eventually(SOON, || {
        let reached = customers().any(|customer| instance(&ask(&env, &customer, "/headers")) == "3");
        if reached { Err("host 3 is still reached".to_owned()) } else { Ok(()) }
    })
    .unwrap();
    drop(gone);
    all_served(&env, "");
    assert_eq!(shards(&env), before);
    // It comes back at another address.
    servers.insert(3, numbered(3));
    push(&servers, false);
    eventually(SOON, || {
        let reached = customers().any(|customer| instance(&ask(&env, &customer, "/headers")) == "3");
        if reached { Ok(()) } else { Err("host 3 is not reached".to_owned()) }
    })
    .unwrap();
    assert_eq!(shards(&env), before);
    // One more host: only shards that it enters change.
    servers.insert(8, numbered(8));
    push(&servers, false);
    wait_for_hosts(&env, 9);
    let after = shards(&env);
    let changed = before.iter().zip(&after).filter(|(before, after)| before != after).count();
    let entered = after.iter().filter(|own| own.contains(&"8".to_owned())).count();
    assert!(changed == entered && (4..=26).contains(&changed), "{changed} of {CUSTOMERS}, expected 2/9");
    all_served(&env, "");
    // Names in place of numbers: a host that is gone is replaced, and only in the shards that held it.
    push(&servers, true);
    let named = eventually(SOON, || match shards(&env) {
        named if named.iter().flatten().all(|host| host.starts_with("host-")) => Ok(named),
        _ => Err("not named yet".to_owned()),
    })
    .unwrap();
    let gone = servers.remove(&5).unwrap();
    push(&servers, true);
    wait_for_hosts(&env, 8);
    for (before, after) in named.iter().zip(shards(&env)) {
        assert_eq!(*before == after, !before.contains(&"host-5".to_owned()), "{before:?} {after:?}");
    }
    all_served(&env, "host-");
    servers.insert(5, gone);
    push(&servers, true);
    wait_for_hosts(&env, 9);
    assert_eq!(shards(&env), named, "and back");
    // The server is gone: the last endpoints stay in use. It is refused what it cannot mean.
    xds.push_garbage(Kind::Endpoints, b"\xff");
    eventually(SOON, || match xds.nacks(Kind::Endpoints).is_empty() {
        true => Err("no NACK".to_owned()),
        false => Ok(()),
    })
    .unwrap();
    xds.stop();
    assert_eq!(shards(&env), named);
    all_served(&env, "host-");
    eventually(SOON, || match env.envoy.stat("wasmcustom.pinroute_endpoints.failures").unwrap() {
        0 => Err("no failure was counted".to_owned()),
        _ => Ok(()),
    })
    .unwrap();
}

#[test]
fn a_resolver_that_answers_with_a_list_names_the_owner_first() {
    let [owner, next, other] = [0, 1, 2].map(numbered);
    let addresses = [owner.addr(), next.addr()].map(|address| address.to_string());
    let all = [owner.addr(), next.addr(), other.addr()];
    let config = json!({
        "resolve": { "answer": { "hostports": "/owners" } },
        "target": { "endpoints": { "header": "x-shard-endpoints" } },
        "allowed_targets": ["127.0.0.1:*"],
    });
    let owners = json!({ "owners": addresses }).to_string();
    let resolver = FakeResolver::start(move |path, _| match path {
        path if path.contains("elsewhere") => FakeResponse::ok(r#"{"owners":["10.9.9.9:80"]}"#),
        path if path.contains("unknown") => FakeResponse::ok(r#"{"owners":["127.0.0.1:1"]}"#),
        _ => FakeResponse::ok(&owners),
    })
    .unwrap();
    let resolver_addr = resolver.addr();
    let env = failover_env(config).replicas(1).edit(move |shipped| {
        let cluster = shipped.cluster("service_backend")?;
        cluster["type"] = json!("STATIC");
        let endpoint = |address: &SocketAddr| {
            json!({ "endpoint": { "address": { "socket_address": {
                "address": address.ip().to_string(), "port_value": address.port() } } } })
        };
        cluster["load_assignment"]["endpoints"] =
            json!([{ "lb_endpoints": all.iter().map(endpoint).collect::<Vec<_>>() }]);
        let mut called = shipped.cluster("admin")?.clone();
        called["name"] = json!("resolver");
        called["load_assignment"] =
            json!({ "cluster_name": "resolver", "endpoints": [{ "lb_endpoints": [endpoint(&resolver_addr)] }] });
        shipped.add_cluster(called)?;
        Ok(())
    });
    let env = env.start().unwrap();
    for _ in 0..4 {
        assert_eq!(instance(&env.get("/?client_id=1").unwrap()), "0");
    }
    drop(owner);
    for _ in 0..4 {
        let response = not_in_flight(|| env.get("/?client_id=1").unwrap());
        assert_eq!(instance(&response), "1", "the next of the list");
    }
    drop(next);
    let response = not_in_flight(|| env.get("/?client_id=1").unwrap());
    assert_eq!(response.status, 503, "never the other one");
    let refused = env.get("/?client_id=elsewhere").unwrap();
    assert_eq!((refused.status, refused.text().as_str()), (502, "target not allowed"));
    assert_eq!(env.get("/?client_id=unknown").unwrap().status, 503);
    assert!(other.requests().iter().all(|request| request.path == "/health"), "{:?}", other.requests());
}
