//! Live values pushed to the filter by the Runtime Discovery Service, in an Envoy with several workers.

use crate::adapter::is_exception;
use crate::crashing_module;
use crate::shuffle::{answer_directly, shown};
use pinroute_testkit::config::Shipped;
use pinroute_testkit::env::{TestEnv, TestEnvBuilder};
use pinroute_testkit::http::Client;
use pinroute_testkit::xds::envoy_types::pb::envoy::service::discovery::v3::DiscoveryResponse;
use pinroute_testkit::xds::envoy_types::pb::google::protobuf::Any;
use pinroute_testkit::xds::{Kind, Xds};
use pinroute_testkit::{eventually, paths};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub const SOON: Duration = Duration::from_secs(20);

/// Enough connections that the kernel gives some to each worker.
const CONNECTIONS: usize = 16;

pub fn rtds_env(xds: &Xds, workers: u32) -> TestEnvBuilder {
    TestEnv::builder("shuffle-shard-rtds.yaml")
        .replicas(1)
        .concurrency(workers)
        .address(("control-plane", 18000), xds.addr())
        // Of what identifies an Envoy, a module knows only this.
        .envoy_arguments(&["--service-node", "pinroute-demo", "--service-cluster", "pinroute"])
        .edit(answer_directly)
}

pub fn clients(env: &TestEnv) -> Vec<Client> {
    (0..CONNECTIONS).map(|_| env.client()).collect()
}

pub fn config_of(client: &Client, customer: &str) -> String {
    let response = client.request("GET", "/", &[("x-customer-id", customer)], b"").unwrap();
    assert_eq!(response.status, 200, "{}", response.text());
    shown(&response)[1].to_owned()
}

/// Waits until all connections, and so all workers, use this for a customer.
pub fn wait_for(clients: &[Client], customer: &str, expected: &str) {
    for client in clients {
        eventually(SOON, || match config_of(client, customer) {
            config if config == expected => Ok(()),
            config => Err(format!("{customer}: {config}, not yet {expected}")),
        })
        .unwrap();
    }
}

fn accepted(xds: &Xds, version: &str) {
    eventually(SOON, || match xds.acked_version(Kind::Runtime) {
        Some(accepted) if accepted == version => Ok(()),
        other => Err(format!("{other:?} accepted")),
    })
    .unwrap();
}

pub fn stat(env: &TestEnv, name: &str) -> u64 {
    env.envoy.stat(&format!("wasmcustom.pinroute_runtime.{name}")).unwrap()
}

pub fn values(total_hosts: u32, sizes: &[(&str, u32)]) -> Value {
    let customers: serde_json::Map<_, _> = sizes
        .iter()
        .map(|(customer, size)| ((*customer).to_owned(), json!({ "shard_size": size })))
        .collect();
    json!({ "shuffle_sharding": { "total_hosts": total_hosts, "default_shard_size": 2, "customer": customers } })
}

#[test]
fn pushed_values_take_effect_in_order() {
    let xds = Xds::start().unwrap();
    let env = rtds_env(&xds, 2).start().unwrap();
    let clients = clients(&env);
    assert_eq!(
        config_of(&clients[0], "customer-A"),
        "2/8",
        "the configured values apply before the first push"
    );
    // A name that nobody has set has an empty layer: the first update.
    accepted(&xds, "0");
    let all_two = [("customer-A", 2), ("customer-B", 2), ("customer-C", 2)];
    let line = [
        (values(8, &all_two), ["2/8", "2/8", "2/8"]),
        (values(12, &[("customer-A", 3), ("customer-B", 2), ("customer-C", 2)]), ["3/12", "2/12", "2/12"]),
        (values(12, &[("customer-A", 3), ("customer-B", 4), ("customer-C", 2)]), ["3/12", "4/12", "2/12"]),
        // Flat names and numbers as text mean the same.
        (
            json!({ "shuffle_sharding.total_hosts": "9", "shuffle_sharding.customer-A.shard_size": "5" }),
            ["5/9", "2/9", "2/9"],
        ),
        (json!({}), ["2/8", "2/8", "2/8"]),
    ];
    for (layer, expected) in line {
        accepted(&xds, &xds.set_runtime("runtime", &layer).version);
        for (customer, expected) in ["customer-A", "customer-B", "customer-C"].iter().zip(expected) {
            wait_for(&clients, customer, expected);
        }
    }
    assert_eq!((stat(&env, "updates"), stat(&env, "connected"), stat(&env, "version")), (6, 1, 5));
    assert_eq!(xds.acked_version(Kind::Runtime).as_deref(), Some("5"));
    assert_eq!(xds.requests(Kind::Runtime)[0].node_id, "pinroute-demo", "the node is Envoy's");
}

/// The filter three times, under names of its own, with the same source of values.
fn three_plugins(shipped: &mut Shipped) -> anyhow::Result<()> {
    let filter = shipped.http_filter("pinroute")?.clone();
    shipped.edit(|config| {
        let filters = config
            .pointer_mut("/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters")
            .and_then(Value::as_array_mut)
            .unwrap();
        for name in ["pinroute-2", "pinroute-3"] {
            let mut twin = filter.clone();
            twin["name"] = json!(name);
            twin["typed_config"]["config"]["name"] = json!(name);
            filters.insert(0, twin);
        }
    });
    Ok(())
}

#[test]
fn one_stream_per_process_however_many_workers_and_plugins() {
    for workers in [1, 2, 4] {
        let xds = Xds::start().unwrap();
        xds.set_runtime("runtime", &values(10, &[]));
        let env = rtds_env(&xds, workers).edit(three_plugins).start().unwrap();
        let clients = clients(&env);
        wait_for(&clients, "a", "2/10");
        xds.set_runtime("runtime", &values(11, &[]));
        wait_for(&clients, "a", "2/11");
        assert_eq!(
            (xds.streams(Kind::Runtime), xds.streams_ever(Kind::Runtime)),
            (1, 1),
            "{workers} workers"
        );
    }
}

/// The filter gets its configuration from the xDS server.
pub fn discovered(shipped: &mut Shipped) -> anyhow::Result<()> {
    *shipped.http_filter("pinroute")? = json!({ "name": "pinroute", "config_discovery": {
        "config_source": { "resource_api_version": "V3", "api_config_source": {
            "api_type": "GRPC", "transport_api_version": "V3",
            "grpc_services": [{ "envoy_grpc": { "cluster_name": "xds_cluster" } }],
        }},
        "type_urls": ["type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"],
    }});
    Ok(())
}

/// Requests the values for the customer `a` until `done`, counts the requests, and fails on a value that is not allowed.
pub fn request_until(env: &TestEnv, done: &AtomicBool, requests: &AtomicU64, allowed: impl Fn(&str) -> bool) {
    let client = env.client();
    while !done.load(Ordering::Relaxed) {
        let config = config_of(&client, "a");
        assert!(allowed(&config), "{config}");
        requests.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn an_outage_of_the_control_plane_keeps_the_last_values() {
    let xds = Xds::start().unwrap();
    xds.set_runtime("runtime", &values(10, &[("a", 3)]));
    let env = rtds_env(&xds, 2).start().unwrap();
    let clients = clients(&env);
    wait_for(&clients, "a", "3/10");
    let (done, requests) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                request_until(&env, &done, &requests, |config| config == "3/10" || config == "4/12")
            });
        }
        xds.stop();
        eventually(SOON, || if stat(&env, "connected") == 0 { Ok(()) } else { Err("connected".into()) })
            .unwrap();
        xds.close_at_once().unwrap();
        // One second by default, to keep the tests quick; this variable sets a longer outage.
        let seconds = std::env::var("PINROUTE_TEST_OUTAGE").map_or(1, |seconds| seconds.parse().unwrap());
        let outage = Duration::from_secs(seconds);
        let (before, start) = (requests.load(Ordering::Relaxed), Instant::now());
        eventually(outage + SOON, || match requests.load(Ordering::Relaxed) - before {
            count if count > 500 && start.elapsed() >= outage => Ok(()),
            count => Err(format!("{count} requests")),
        })
        .unwrap();
        println!("{} requests during an outage of {outage:?}", requests.load(Ordering::Relaxed) - before);
        xds.restart().unwrap();
        eventually(SOON, || if stat(&env, "connected") == 1 { Ok(()) } else { Err("not connected".into()) })
            .unwrap();
        xds.set_runtime("runtime", &values(12, &[("a", 4)]));
        wait_for(&clients, "a", "4/12");
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(xds.streams(Kind::Runtime), 1);
    let reported = |text: &str| env.envoy.log().matches(text).count();
    assert_eq!(reported("the runtime stream to the cluster"), 1, "once for each outage");
    assert_eq!(reported("connected to the runtime server"), 2, "only when it is");
}

#[test]
fn bad_values_change_nothing_and_are_reported_once() {
    if is_exception() {
        return;
    }
    let xds = Xds::start().unwrap();
    let good = json!({ "shuffle_sharding": { "total_hosts": 10, "customer": { "a": { "shard_size": 3 } } } });
    xds.set_runtime("runtime", &good);
    let env = rtds_env(&xds, 2).start().unwrap();
    let clients = clients(&env);
    wait_for(&clients, "a", "3/10");
    let bad = [
        json!(-1),
        json!(2.5),
        json!("many"),
        json!(1e18),
        json!([8]),
        json!(true),
        json!({ "x": 1 }),
        json!(0),
    ];
    for (count, bad) in (1..).zip(&bad) {
        let layer = json!({ "shuffle_sharding": {
            "total_hosts": bad, "customer": { "a": { "shard_size": 3 } }, "default_shard_size": count,
        }});
        xds.set_runtime("runtime", &layer);
        // The valid values of the same update apply; a shard size above the number of hosts is clamped.
        wait_for(&clients, "b", &format!("{}/10", u64::min(count, 10)));
        assert_eq!(config_of(&clients[0], "a"), "3/10", "{bad}");
        // The same values again: the filter does not report them again.
        xds.set_runtime("runtime", &layer);
        eventually(SOON, || match stat(&env, "updates") {
            updates if updates == 1 + 2 * count => Ok(()),
            updates => Err(format!("{updates} updates")),
        })
        .unwrap();
    }
    assert_eq!(stat(&env, "invalid"), bad.len() as u64);
    assert_eq!(env.envoy.log().matches("shuffle_sharding.total_hosts = -1.").count(), 0);
    assert_eq!(env.envoy.log().matches("total_hosts = -1 is invalid").count(), 1);
    xds.set_runtime("runtime", &values(4, &[("a", 99)]));
    wait_for(&clients, "a", "4/4");
    assert_eq!(xds.nacks(Kind::Runtime), [""; 0], "a message with a valid encoding is accepted");
}

#[test]
fn invalid_messages_get_a_nack_with_the_reason() {
    let xds = Xds::start().unwrap();
    xds.set_runtime("runtime", &values(10, &[]));
    let env = rtds_env(&xds, 2).start().unwrap();
    let clients = clients(&env);
    wait_for(&clients, "a", "2/10");
    const RUNTIME: &str = Kind::Runtime.type_url();
    let any = |type_url: &str, value: &[u8]| Any { type_url: type_url.to_owned(), value: value.to_vec() };
    let response = |type_url: &str, resources: Vec<Any>| DiscoveryResponse {
        version_info: "bad".to_owned(),
        type_url: type_url.to_owned(),
        nonce: "n".to_owned(),
        resources,
        ..DiscoveryResponse::default()
    };
    let runtime = |bytes: &[u8]| any(RUNTIME, bytes);
    let cases = [
        (response("type.googleapis.com/x.Y", vec![]), "the type type.googleapis.com/x.Y is not"),
        (
            response(RUNTIME, vec![any("type.googleapis.com/x.Y", b"")]),
            "a resource has the type type.googleapis.com/x.Y",
        ),
        (response(RUNTIME, vec![runtime(b"\xff\xff\xff")]), "a resource cannot be decoded"),
        (
            response(RUNTIME, vec![runtime(b"\x0a\x07runtime\x12\x02\xff\xff")]),
            "a resource cannot be decoded",
        ),
        (
            response(RUNTIME, vec![runtime(b"\x0a\x07runtime"), runtime(b"\x0a\x07runtime")]),
            "the resource runtime occurs twice",
        ),
        (response(RUNTIME, vec![runtime(&vec![0xff; 10 << 20])]), "a resource cannot be decoded"),
    ];
    for (count, (message, reason)) in (1..).zip(cases) {
        xds.push_raw(Kind::Runtime, &message);
        eventually(SOON, || match xds.nacks(Kind::Runtime) {
            nacks if nacks.len() == count => Ok(()),
            nacks => Err(format!("{nacks:?}")),
        })
        .unwrap();
        assert!(xds.nacks(Kind::Runtime)[count - 1].contains(reason), "{:?}", xds.nacks(Kind::Runtime));
        let last = xds.requests(Kind::Runtime).pop().unwrap();
        assert_eq!(last.version, "1", "the version in use, not the rejected one");
    }
    xds.push_garbage(Kind::Runtime, b"\xff\xff garbage");
    eventually(SOON, || match xds.nacks(Kind::Runtime).last() {
        Some(reason) if reason.contains("is not a DiscoveryResponse") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .unwrap();
    // An empty response is valid, and changes nothing.
    xds.push_raw(Kind::Runtime, &response(RUNTIME, vec![]));
    xds.push_raw(Kind::Runtime, &response(RUNTIME, vec![runtime(b"\x0a\x05other")]));
    assert_eq!(config_of(&clients[0], "a"), "2/10");
    xds.set_runtime("runtime", &values(11, &[]));
    wait_for(&clients, "a", "2/11");
    assert_eq!(xds.streams_ever(Kind::Runtime), 1, "the stream survived all of it");
    assert_eq!(stat(&env, "invalid"), 7);
}

/// The longest of many requests, one after the other on each of a few connections, while `meanwhile` runs.
fn longest_request(env: &TestEnv, meanwhile: impl FnOnce()) -> Duration {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let loops: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let client = env.client();
                    let mut longest = Duration::ZERO;
                    while !done.load(Ordering::Relaxed) {
                        let start = Instant::now();
                        config_of(&client, "customer-1");
                        longest = longest.max(start.elapsed());
                    }
                    longest
                })
            })
            .collect();
        // The loops end in every case, so that a failure is reported.
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(meanwhile));
        done.store(true, Ordering::Relaxed);
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        loops.into_iter().map(|one| one.join().unwrap()).max().unwrap()
    })
}

#[test]
fn a_hundred_thousand_overrides_and_a_hundred_pushes() {
    let xds = Xds::start().unwrap();
    let overrides: serde_json::Map<_, _> = (0..100_000)
        .map(|number| {
            (format!("shuffle_sharding.customer.customer-{number}.shard_size"), json!(1 + number % 7))
        })
        .collect();
    let mut layer = overrides;
    layer.insert("shuffle_sharding.total_hosts".to_owned(), json!(20));
    let env = rtds_env(&xds, 2).start().unwrap();
    let clients = clients(&env);
    wait_for(&clients, "customer-0", "2/8");
    let memory = env.envoy.resident_memory().unwrap();
    let quiet = longest_request(&env, || std::thread::sleep(Duration::from_millis(500)));
    let mut taken = Duration::ZERO;
    let stalled = longest_request(&env, || {
        let pushed = xds.set_runtime("runtime", &Value::Object(layer));
        for number in [0_usize, 1, 5, 6, 7, 50_000, 99_999] {
            wait_for(&clients, &format!("customer-{number}"), &format!("{}/20", 1 + number % 7));
        }
        taken = pushed.at.elapsed();
    });
    println!("100,000 overrides in effect on {CONNECTIONS} connections after {taken:?}");
    println!("longest request while they are applied {stalled:?}, while all is quiet {quiet:?}");
    println!(
        "Envoy's memory grew from {} to {} KiB, two workers and the main thread",
        memory >> 10,
        env.envoy.resident_memory().unwrap() >> 10
    );
    wait_for(&clients, "customer-100000", "2/20");
    // The time until a push takes effect in every worker: printed, not asserted.
    let mut times: Vec<Duration> = (0..100)
        .map(|number| {
            let total = 9 + number % 2;
            let pushed = xds.set_runtime("runtime", &values(total, &[]));
            wait_for(&clients, "a", &format!("2/{total}"));
            pushed.at.elapsed()
        })
        .collect();
    times.sort();
    println!("a push is in effect everywhere after {:?} (median), {:?} (maximum)", times[50], times[99]);
}

#[test]
fn a_crashed_vm_restarts_and_subscribes_again() {
    if is_exception() {
        return;
    }
    let xds = Xds::start().unwrap();
    xds.set_runtime("runtime", &values(10, &[]));
    let env = rtds_env(&xds, 2).edit(crashing_module).start().unwrap();
    let clients = clients(&env);
    wait_for(&clients, "a", "2/10");
    for total in [11, 12, 13] {
        // The VM of every worker crashes, and one of them may hold the lease.
        for client in &clients {
            let headers = [("x-customer-id", "a"), ("x-provoke-trap", "1")];
            assert_eq!(client.request("GET", "/", &headers, b"").unwrap().status, 503);
        }
        xds.set_runtime("runtime", &values(total, &[]));
        for client in &clients {
            eventually(SOON, || {
                let response = client.request("GET", "/", &[("x-customer-id", "a")], b"").unwrap();
                let config = shown(&response)[1];
                if config == format!("2/{total}") {
                    Ok(())
                } else {
                    Err(format!("{} {config}", response.status))
                }
            })
            .unwrap();
        }
    }
    eventually(SOON, || match xds.streams(Kind::Runtime) {
        1 => Ok(()),
        other => Err(format!("{other} streams")),
    })
    .unwrap();
}

#[test]
fn a_new_configuration_takes_over_and_the_old_one_stops_its_calls() {
    if is_exception() {
        return;
    }
    let xds = Xds::start().unwrap();
    xds.set_runtime("runtime", &values(10, &[]));
    let wasm = paths::wasm();
    let push = |size: u32| {
        let config = json!({
            "key": { "header": "x-customer-id" },
            "shuffle_shard": { "total_hosts": 8, "shard_size": size },
            "runtime": { "rtds": { "cluster": "xds_cluster" } },
            "response_headers": true,
        });
        xds.set_extension_config("pinroute", &wasm, &config);
    };
    push(1);
    let env = rtds_env(&xds, 2).edit(discovered).start().unwrap();
    let clients = clients(&env);
    let sized = json!({ "shuffle_sharding": { "total_hosts": 10 } });
    xds.set_runtime("runtime", &sized);
    wait_for(&clients, "a", "1/10");
    let (done, requests) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            // Never the configured 8: a new plugin has the live values of the old one from the start.
            scope.spawn(|| request_until(&env, &done, &requests, |config| config.ends_with("/10")));
        }
        for size in 2..=9 {
            push(size);
            wait_for(&clients, "a", &format!("{size}/10"));
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(requests.load(Ordering::Relaxed) > 50);
    assert!(xds.acked_version(Kind::Extension).is_some());
    eventually(SOON, || match xds.streams(Kind::Runtime) {
        1 => Ok(()),
        other => Err(format!("{other} streams")),
    })
    .unwrap();
    // The contexts of old configurations have stopped their ticks and calls. The main thread may still use the last one.
    let (mut before, mut quiet) = (0, Instant::now());
    eventually(SOON, || {
        let asked = xds.requests(Kind::Runtime).len();
        if asked != before {
            (before, quiet) = (asked, Instant::now());
        }
        if quiet.elapsed() > Duration::from_secs(2) { Ok(()) } else { Err(format!("{asked} requests")) }
    })
    .unwrap();
    let alive = env.envoy.stat("wasm.envoy.wasm.runtime.v8.active").unwrap();
    assert!(alive <= 4, "{alive} VMs: one each for the base, the main thread and the workers");
}
