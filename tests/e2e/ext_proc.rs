//! External processing in a real Envoy: each strategy, errors, live values, and what happens when something is down.

use crate::live_rtds::SOON;
use crate::shuffle::{answer_directly, shown};
use crate::{hostport, is_older_than, one_route};
use pinroute_testkit::config::Shipped;
use pinroute_testkit::control_plane::ControlPlane;
use pinroute_testkit::dns::Dns;
use pinroute_testkit::env::{TestEnv, TestEnvBuilder};
use pinroute_testkit::eventually;
use pinroute_testkit::ext_proc::ExtProc;
use pinroute_testkit::fake_resolver::{FakeResolver, FakeResponse};
use pinroute_testkit::process::Signal;
use pinroute_testkit::servers::{Servers, ServersOptions, name};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const DFP: &str = "dynamic_forward_proxy_cluster";

/// The configuration of the service beside the shipped one of Envoy.
fn shipped_service() -> Value {
    let file = pinroute_testkit::paths::shipped_configs().join("ext-proc/shuffle-shard.yaml");
    serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// The filter that asks the service, as shipped.
pub fn filter() -> Value {
    let mut shipped = Shipped::load("shuffle-shard-ext-proc.yaml").unwrap();
    shipped.http_filter("envoy.filters.http.ext_proc").unwrap().clone()
}

/// The cluster of the service.
pub fn cluster(endpoint: &Value) -> Value {
    json!({
        "name": "ext_proc", "type": "STATIC", "connect_timeout": "1s",
        "typed_extension_protocol_options": { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            // As in the shipped cluster.
            "explicit_http_config": { "http2_protocol_options": {
                "max_outbound_frames": 100_000, "max_outbound_control_frames": 100_000,
            } },
        } },
        "load_assignment": { "cluster_name": "ext_proc", "endpoints": [
            { "lb_endpoints": [{ "endpoint": { "address": endpoint } }] },
        ] },
    })
}

/// One that notices soon. Envoy's default is no name of a service.
fn health_check(service: &str) -> Value {
    json!([{
        "timeout": "1s", "interval": "0.05s", "no_traffic_interval": "0.05s",
        "unhealthy_threshold": 1, "healthy_threshold": 1,
        "grpc_health_check": { "service_name": service },
    }])
}

/// Waits until Envoy sees this many healthy instances of the service.
fn wait_for_healthy(env: &TestEnv, expected: u64) {
    eventually(SOON, || match env.envoy.stat("cluster.ext_proc.membership_healthy").unwrap() {
        healthy if healthy == expected => Ok(()),
        healthy => Err(format!("{healthy} are healthy")),
    })
    .unwrap();
}

pub fn socket(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}

/// Puts the service in the place of the filter, with a change of what Envoy sends to it.
fn in_place_of_the_filter(
    endpoint: Value,
    change: impl FnOnce(&mut Value) + 'static,
) -> impl FnOnce(&mut Shipped) -> anyhow::Result<()> {
    move |shipped| {
        one_route(DFP)(shipped)?;
        let mut filter = filter();
        change(&mut filter["typed_config"]);
        *shipped.http_filter("pinroute")? = filter;
        shipped.add_cluster(cluster(&endpoint))?;
        Ok(())
    }
}

/// `envoy.yaml` with the service in the place of the filter, and a fake resolver for the service.
fn with_resolver(
    config: &Value,
    response: impl Fn(&str, u16) -> FakeResponse + Send + Sync + 'static,
) -> (TestEnvBuilder, ExtProc, FakeResolver) {
    let dns = Dns::start().unwrap();
    let servers = Servers::start(2, &ServersOptions::default(), &dns).unwrap();
    let port = servers.port();
    let resolver = FakeResolver::start(move |path, _| response(path, port)).unwrap();
    let service = ExtProc::start(config, &[&format!("--resolver=http://{}", resolver.addr())]).unwrap();
    let endpoint = socket(service.address());
    let env = TestEnv::builder("envoy.yaml")
        .with_servers(dns, servers)
        .edit(in_place_of_the_filter(endpoint, |_| ()));
    (env, service, resolver)
}

fn answer(env: &TestEnv, path: &str) -> (u16, String) {
    let response = env.get(path).unwrap();
    (response.status, response.text())
}

/// The shipped Envoy with four servers, the control plane and the service: values, and processes that come and go.
#[test]
fn the_shipped_configuration_follows_the_control_plane_and_survives_it() {
    let mut plane = ControlPlane::start(&[]).unwrap();
    let set = |plane: &ControlPlane, total: u32, size: u32| {
        let values = json!({ "values": {
            "shuffle_sharding.total_hosts": total, "shuffle_sharding.default_shard_size": size,
        } });
        plane.call("PATCH", "/v1/runtime", &values).unwrap();
    };
    set(&plane, 4, 2);
    let xds = format!("--xds=http://{}", plane.xds());
    let mut service = ExtProc::start(&shipped_service(), &[&xds]).unwrap();
    let env = TestEnv::builder("shuffle-shard-ext-proc.yaml")
        .replicas(4)
        .concurrency(2)
        .address(("ext-proc", 18002), service.address())
        .start()
        .unwrap();
    let forged = [("x-customer-id", "a"), ("x-target-cluster", "backend_9"), ("x-shard-config", "9/9")];
    let ask = || env.request("GET", "/headers", &forged, b"").unwrap();
    let config = || shown(&ask())[1].to_owned();
    let reaches = |expected: &str| {
        eventually(SOON, || match config() {
            seen if seen == expected => Ok(()),
            seen => Err(format!("{seen}, not {expected}")),
        })
        .unwrap();
    };

    // At once: the service waits for its first values before it serves.
    let response = ask();
    let [assignment, used, host] = shown(&response).map(str::to_owned);
    assert_eq!((response.status, used.as_str()), (200, "2/4"), "{}", response.text());
    let seen = response.json().unwrap();
    let server = host.parse::<u8>().unwrap() + 1;
    assert_eq!(seen["instance"], json!(env.servers.hostport(server)));
    for (name, expected) in [
        ("x-target-cluster", format!("backend_{host}")),
        ("x-shard-config", "2/4".to_owned()),
        ("x-shard-assignment", assignment),
    ] {
        let all = seen["headers"].as_array().unwrap().iter();
        let values: Vec<_> = all.filter(|header| header[0] == name).map(|header| &header[1]).collect();
        assert_eq!(values, [&json!(expected)], "{name}");
    }
    let missing = env.get("/headers").unwrap();
    assert_eq!((missing.status, missing.text().as_str()), (400, "missing x-customer-id"));
    assert_eq!(missing.header("content-type"), Some("text/plain"));

    let start = Instant::now();
    set(&plane, 3, 1);
    reaches("1/3");
    println!("a change took effect after {:?}", start.elapsed());
    plane.call("PUT", "/v1/customers/a", &json!({ "shard_size": 3 })).unwrap();
    reaches("3/3");

    plane.process().kill().unwrap();
    for _ in 0..20 {
        assert_eq!(config(), "3/3", "values stay");
    }
    plane.crash().unwrap();
    plane.call("PUT", "/v1/customers/a", &json!({ "shard_size": 2 })).unwrap();
    reaches("2/3");

    let before = service.metric("pinroute_routed_total").unwrap();
    assert!(before > 20, "{before}");
    assert_eq!(service.metric("pinroute_runtime_connected").unwrap(), 1);
    service.kill().unwrap();
    let down = ask();
    assert_eq!(down.status, 500, "no request passes undecided: {}", down.text());
    service.restart(None).unwrap();
    // Envoy may need a moment to connect again. No answer shows other numbers meanwhile.
    eventually(SOON, || match ask() {
        response if response.status != 200 => Err(format!("{}", response.status)),
        response => {
            assert_eq!(shown(&response)[1], "2/3");
            Ok(())
        }
    })
    .unwrap();
}

#[test]
fn it_serves_on_a_unix_socket_and_stops_in_good_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ext-proc.sock");
    let listen = format!("--listen=unix:{}", path.display());
    let config = json!({
        "index": { "mode": "numeric", "replicas": 2 }, "allowed_targets": ["poc-routing-server-*"],
        "target": { "authority": "poc-routing-server-{index}:8081" },
    });
    let dns = Dns::start().unwrap();
    let servers = Servers::start(2, &ServersOptions::default(), &dns).unwrap();
    let config: Value =
        serde_json::from_str(&config.to_string().replace("8081", &servers.port().to_string())).unwrap();
    let mut service = ExtProc::start(&config, &[&listen]).unwrap();
    let endpoint = json!({ "pipe": { "path": path } });
    let env = TestEnv::builder("envoy.yaml")
        .with_servers(dns, servers)
        .edit(in_place_of_the_filter(endpoint, |_| ()))
        .start()
        .unwrap();
    let landed =
        |id: &str| env.get(&format!("/echo?client_id={id}")).unwrap().json().unwrap()["instance"].clone();
    assert_eq!(landed("0"), json!(env.servers.hostport(1)));
    assert_eq!(landed("1"), json!(env.servers.hostport(2)));
    // A killed process leaves its socket behind.
    service.restart(None).unwrap();
    eventually(SOON, || match env.get("/echo?client_id=1").unwrap().status {
        200 => Ok(()),
        status => Err(status.to_string()),
    })
    .unwrap();
    let start = Instant::now();
    service.process().signal(Signal::TERM).unwrap();
    let status =
        eventually(SOON, || service.process().exited().unwrap().ok_or("it runs".to_owned())).unwrap();
    assert_eq!(status.code(), Some(0), "{}", service.process().log_tail(20));
    assert!(start.elapsed() < Duration::from_secs(3) && !path.exists());
}

#[test]
fn envoy_checks_its_health_and_requests_in_flight_are_answered_at_the_end() {
    let config = json!({ "resolve": { "timeout": "10s" }, "allowed_targets": ["poc-routing-server-*"] });
    let (env, service, resolver) = with_resolver(&config, |_, port| {
        hostport(&format!("{}:{port}", name(1))).delayed(Duration::from_secs(1))
    });
    let env = env
        .edit(move |shipped| {
            shipped.cluster("ext_proc")?["health_checks"] =
                health_check("envoy.service.ext_proc.v3.ExternalProcessor");
            Ok(())
        })
        .start()
        .unwrap();
    wait_for_healthy(&env, 1);
    assert!(env.envoy.stat("cluster.ext_proc.health_check.success").unwrap() > 0);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| env.client().get("/echo?client_id=7").unwrap().status);
        eventually(SOON, || if resolver.requests().len() == 1 { Ok(()) } else { Err("no call".to_owned()) })
            .unwrap();
        service.process().signal(Signal::TERM).unwrap();
        wait_for_healthy(&env, 0);
        assert!(!asking.is_finished(), "the request is in flight");
        assert_eq!(asking.join().unwrap(), 200);
    });
    assert!(env.envoy.stat("cluster.ext_proc.health_check.failure").unwrap() > 0);
}

/// Instances that stop one after the other, as in an update, lose no request if each drains for longer than Envoy takes to notice.
#[test]
fn a_drain_keeps_requests_from_an_instance_that_stops() {
    let config = json!({
        "index": { "mode": "numeric", "replicas": 2 }, "allowed_targets": ["poc-routing-server-*"],
        "target": { "authority": "poc-routing-server-{index}:PORT" },
    });
    let dns = Dns::start().unwrap();
    let servers = Servers::start(2, &ServersOptions::default(), &dns).unwrap();
    let config: Value =
        serde_json::from_str(&config.to_string().replace("PORT", &servers.port().to_string())).unwrap();
    let [first, second] =
        ["--drain=3s", "--drain=1h"].map(|drain| ExtProc::start(&config, &[drain]).unwrap());
    let other = socket(second.address());
    let env = TestEnv::builder("envoy.yaml")
        .with_servers(dns, servers)
        .edit(in_place_of_the_filter(socket(first.address()), |_| ()))
        .edit(move |shipped| {
            let cluster = shipped.cluster("ext_proc")?;
            cluster["health_checks"] = health_check("");
            let endpoints = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"].as_array_mut();
            endpoints.unwrap().push(json!({ "endpoint": { "address": other } }));
            Ok(())
        })
        .start()
        .unwrap();
    wait_for_healthy(&env, 2);
    let (stop, start) = (AtomicBool::new(false), Instant::now());
    // It ends also if what it waits for fails.
    let goes_on = || !stop.load(Ordering::Relaxed) && start.elapsed() < 3 * SOON;
    let (decided, left) = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let client = env.client();
            (0..)
                .take_while(|_| goes_on())
                .map(|id| client.get(&format!("/echo?client_id={id}")).unwrap())
                .inspect(|response| assert_eq!(response.status, 200, "{}", response.text()))
                .count()
        });
        let decided = |service: &ExtProc| service.metric("pinroute_routed_total").unwrap();
        let (before, start) = (decided(&first), Instant::now());
        let used = || if decided(&first) > before { Ok(()) } else { Err("it is not used".to_owned()) };
        eventually(SOON, used).unwrap();
        first.process().signal(Signal::TERM).unwrap();
        wait_for_healthy(&env, 1);
        let left = decided(&first);
        let status =
            eventually(SOON, || first.process().exited().unwrap().ok_or("it runs".to_owned())).unwrap();
        assert_eq!(status.code(), Some(0), "{}", first.process().log_tail(20));
        assert!(start.elapsed() > Duration::from_secs(3));
        let before = decided(&second);
        eventually(SOON, || if decided(&second) > before + 20 { Ok(()) } else { Err("no load".to_owned()) })
            .unwrap();
        stop.store(true, Ordering::Relaxed);
        (load.join().unwrap(), left)
    });
    println!("{decided} requests, {left} by the instance that stopped");
    // The second signal does not wait.
    second.process().signal(Signal::TERM).unwrap();
    wait_for_healthy(&env, 0);
    second.process().signal(Signal::TERM).unwrap();
    eventually(SOON, || second.process().exited().unwrap().ok_or("it runs".to_owned())).unwrap();
}

/// Requests over HTTP/2 that are reset as soon as they are sent, several in one go. Ends when Envoy has had enough of it.
fn reset_at_once(address: SocketAddr) -> std::io::Result<()> {
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    let (headers, settings, reset) = (1, 4, 3);
    // RFC 7541: GET, http, / from the static table, and an authority.
    let request = b"\x82\x86\x84\x41\x01a";
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")?;
    stream.write_all(&frame(settings, 0, 0, &[]))?;
    for round in 0..4 {
        let ids = (0..25).map(|number| 2 * (25 * round + number) + 1);
        let each = ids.flat_map(|id| {
            [frame(headers, 0x5, id, request), frame(reset, 0, id, &8_u32.to_be_bytes())].concat()
        });
        stream.write_all(&each.collect::<Vec<_>>())?;
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

#[test]
fn a_client_that_resets_its_requests_costs_the_others_nothing() {
    let config = json!({ "resolve": { "cache": {} }, "allowed_targets": ["poc-routing-server-*"] });
    let (env, _service, _resolver) =
        with_resolver(&config, |_, port| hostport(&format!("{}:{port}", name(1))));
    let env = env.start().unwrap();
    let stop = AtomicBool::new(false);
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let asking = || {
            let client = env.client();
            let status = || client.get("/echo?client_id=7").unwrap().status;
            std::iter::repeat_with(status).take_while(|_| !stop.load(Ordering::Relaxed)).collect::<Vec<_>>()
        };
        let others = [(); 4].map(|()| scope.spawn(asking));
        // An error is Envoy's own limit on such clients.
        let resets = [(); 2].map(|()| scope.spawn(|| (0..30).for_each(|_| drop(reset_at_once(env.addr())))));
        for thread in resets {
            thread.join().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        others.map(|thread| thread.join().unwrap()).concat()
    });
    assert!(env.envoy.stat("http.ingress_http.downstream_rq_rx_reset").unwrap() > 1000);
    let failed = answers.iter().filter(|status| **status != 200).count();
    assert_eq!(failed, 0, "of {}", answers.len());
    println!("{} requests beside", answers.len());
}

#[test]
fn a_failing_resolver_has_the_errors_of_the_filter() {
    let config = json!({ "resolve": { "timeout": "0.3s" }, "allowed_targets": ["poc-routing-server-*"] });
    let (env, service, resolver) = with_resolver(&config, |path, port| match path {
        "/where?client_id=ok" => hostport(&format!("{}:{port}", name(2))),
        "/where?client_id=500" => FakeResponse::status(500, "x"),
        "/where?client_id=404" => FakeResponse::status(404, "x"),
        "/where?client_id=empty" => FakeResponse::ok("{}"),
        "/where?client_id=evil" => hostport("127.0.0.1:9901"),
        "/where?client_id=slow" => FakeResponse::nothing().hang(),
        "/where?client_id=close" => FakeResponse::nothing().close(),
        "/where?client_id=noise" => FakeResponse::raw("this is no HTTP at all\r\n\r\n").close(),
        "/where?client_id=cut" => FakeResponse::raw("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{").close(),
        other => panic!("{other}"),
    });
    let env = env.start().unwrap();
    let failure = |text: &str| (502, text.to_owned());
    for (id, expected) in [
        ("500", failure("resolver returned 500")),
        ("404", failure("resolver returned 404")),
        ("empty", failure("no hostport in resolver body")),
        ("evil", failure("target not allowed")),
        ("slow", failure("resolver returned 504")),
        ("close", failure("resolver returned 503")),
        ("noise", failure("resolver returned 502")),
        ("cut", failure("resolver httpCall failed")),
    ] {
        assert_eq!(answer(&env, &format!("/echo?client_id={id}")), expected, "{id}");
    }
    assert_eq!(
        env.get("/echo?client_id=ok").unwrap().json().unwrap()["instance"],
        json!(env.servers.hostport(2))
    );
    assert_eq!(service.metric("pinroute_resolver_timeout_total").unwrap(), 1);
    assert_eq!(service.metric("pinroute_routed_total").unwrap(), 1);
    drop(resolver);
    assert_eq!(answer(&env, "/echo?client_id=ok"), failure("resolver returned 503"));
}

#[test]
fn requests_for_the_same_key_share_a_call_and_its_answer() {
    let config = json!({ "resolve": { "cache": {} }, "allowed_targets": ["poc-routing-server-*"] });
    let (env, service, resolver) = with_resolver(&config, |_, port| {
        hostport(&format!("{}:{port}", name(1))).delayed(Duration::from_millis(500))
    });
    let env = env.start().unwrap();
    std::thread::scope(|scope| {
        let asking = [(); 8].map(|()| scope.spawn(|| env.client().get("/echo?client_id=7").unwrap().status));
        assert_eq!(asking.map(|thread| thread.join().unwrap()), [200; 8]);
    });
    assert_eq!(env.get("/echo?client_id=7").unwrap().status, 200);
    assert_eq!(resolver.requests().len(), 1);
    assert_eq!(service.metric("pinroute_coalesced_total").unwrap(), 7);
    assert_eq!(service.metric("pinroute_cache_hit_total").unwrap(), 1);
    // A client that leaves does not take the call with it.
    let client = env.client();
    drop(TcpStream::connect(env.addr()).map(|mut stream| {
        stream.write_all(b"GET /echo?client_id=8 HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        std::thread::sleep(Duration::from_millis(200));
    }));
    eventually(SOON, || match service.metric("pinroute_abandoned_total").unwrap() {
        1 => Ok(()),
        count => Err(count.to_string()),
    })
    .unwrap();
    assert_eq!(client.get("/echo?client_id=8").unwrap().status, 200);
    assert_eq!(resolver.requests().len(), 2);
}

#[test]
fn responses_are_verified_and_drop_answers() {
    let config = json!({
        "resolve": { "cache": { "ttl": "600s" } }, "allowed_targets": ["poc-routing-server-*"],
        "verify": { "response_header": "x-served-by" },
    });
    let (env, service, resolver) = with_resolver(&config, |_, port| hostport(&format!("{}:{port}", name(1))));
    let env = env.start().unwrap();
    assert_eq!(answer(&env, "/echo?client_id=7").0, 200);
    // The name of the first server leads to the second one.
    env.dns.set(&name(1), &[*env.servers.addr(2).ip()]);
    eventually(SOON, || match answer(&env, "/echo?client_id=7") {
        (502, text) if text == "wrong host" => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .unwrap();
    assert_eq!(answer(&env, "/echo?client_id=7").1, "wrong host");
    assert!(service.metric("pinroute_misrouted_total").unwrap() >= 2);
    assert!(resolver.requests().len() >= 2, "the answer was dropped");
    // Envoy's own reply is nobody's response.
    env.servers.kill(2).unwrap();
    let misrouted = service.metric("pinroute_misrouted_total").unwrap();
    assert_eq!(answer(&env, "/echo?client_id=7").0, 503);
    assert_eq!(service.metric("pinroute_misrouted_total").unwrap(), misrouted);
    assert_eq!(service.metric("pinroute_unverified_total").unwrap(), 0);
    // Envoy 1.36 does not show its own replies.
    let unseen = u64::from(is_older_than(37));
    assert_eq!(service.metric("pinroute_ext_proc_unseen_responses_total").unwrap(), unseen);
}

#[test]
fn an_envoy_that_shows_no_responses_is_reported() {
    let config = json!({
        "shuffle_shard": { "total_hosts": 2, "shard_size": 1 }, "key": { "query": "client_id" },
        "target": { "authority": "poc-routing-server-{index}:8081" }, "response_headers": true,
    });
    let service = ExtProc::start(&config, &[]).unwrap();
    let endpoint = socket(service.address());
    let skip = |config: &mut Value| config["processing_mode"]["response_header_mode"] = json!("SKIP");
    let env = TestEnv::builder("envoy.yaml").edit(in_place_of_the_filter(endpoint, skip)).start().unwrap();
    for _ in 0..10 {
        let _ = env.get("/echo?client_id=7").unwrap();
    }
    eventually(SOON, || match service.metric("pinroute_ext_proc_unseen_responses_total").unwrap() {
        10 => Ok(()),
        count => Err(count.to_string()),
    })
    .unwrap();
    assert!(service.process().log().contains("response_header_mode: SEND"), "{}", service.process().log());
}

#[test]
fn what_cannot_be_done_is_refused_at_the_start() {
    let config = json!({ "target": { "dynamic_host": "{hostport}" } });
    let error = ExtProc::start(&config, &["--resolver=http://127.0.0.1:1"]).unwrap_err().to_string();
    let expected = "configuration refused: target.dynamic_host: external processing cannot set Envoy's filter state; allowed: ";
    assert!(error.contains("exit status: 1") && error.contains(expected), "{error}");
}

/// Without an answer, Envoy would let the request go on undecided.
#[test]
fn a_message_that_the_service_cannot_read_fails_the_request() {
    let config =
        json!({ "index": { "replicas": 1 }, "target": { "authority": "poc-routing-server-{index}:8081" } });
    let service = ExtProc::start(&config, &[]).unwrap();
    let endpoint = socket(service.address());
    // Attributes are texts, and Envoy puts bytes into them that are none.
    let attributes = |config: &mut Value| config["request_attributes"] = json!(["request.useragent"]);
    let env = TestEnv::builder("envoy.yaml").edit(in_place_of_the_filter(endpoint, attributes));
    let env = env.edit(answer_directly).start().unwrap();
    let ask = |agent: &[u8]| {
        let mut stream = TcpStream::connect(env.addr()).unwrap();
        let head = b"GET /echo?client_id=7 HTTP/1.1\r\nhost: h\r\nconnection: close\r\nuser-agent: ";
        stream.write_all(&[head, agent, b"\r\n\r\n"].concat()).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    assert_eq!(ask(b"a"), "200");
    assert_eq!(ask(b"\xff"), "500");
}

#[test]
fn requests_that_wait_for_their_host_go_on_when_the_service_stops() {
    let dns = Dns::start().unwrap();
    let servers = Servers::start(1, &ServersOptions::default(), &dns).unwrap();
    let config = json!({
        "index": { "replicas": 1, "base": 1 },
        "target": { "authority": format!("poc-routing-server-{{index}}:{}", servers.port()) },
    });
    let service = ExtProc::start(&config, &[]).unwrap();
    let endpoint = socket(service.address());
    let env = TestEnv::builder("envoy.yaml").with_servers(dns, servers);
    let env = env.edit(in_place_of_the_filter(endpoint, |_| ())).start().unwrap();
    assert_eq!(env.get("/echo?client_id=7").unwrap().status, 200);
    env.servers.signal(1, Signal::STOP).unwrap();
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| env.client().get("/echo?client_id=7").unwrap().status);
        eventually(SOON, || match service.metric("pinroute_routed_total").unwrap() {
            2 => Ok(()),
            routed => Err(format!("{routed} are routed")),
        })
        .unwrap();
        service.process().signal(Signal::TERM).unwrap();
        eventually(SOON, || service.process().exited().unwrap().ok_or("it runs".to_owned())).unwrap();
        env.servers.signal(1, Signal::CONT).unwrap();
        assert_eq!(asking.join().unwrap(), 200);
    });
}

#[test]
fn a_socket_that_another_process_has_replaced_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ext-proc.sock");
    let config =
        json!({ "index": { "replicas": 1 }, "target": { "authority": "poc-routing-server-{index}:8081" } });
    let service = ExtProc::start(&config, &[&format!("--listen=unix:{}", path.display())]).unwrap();
    std::fs::remove_file(&path).unwrap();
    let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    service.process().signal(Signal::TERM).unwrap();
    eventually(SOON, || service.process().exited().unwrap().ok_or("it runs".to_owned())).unwrap();
    assert!(path.exists());
}

#[test]
fn a_mutation_that_envoy_does_not_allow_fails_the_request() {
    let config =
        json!({ "index": { "replicas": 1 }, "target": { "authority": "poc-routing-server-{index}:8081" } });
    let service = ExtProc::start(&config, &[]).unwrap();
    let endpoint = socket(service.address());
    let strict = |config: &mut Value| config["mutation_rules"] = json!({ "disallow_is_error": true });
    let env = TestEnv::builder("envoy.yaml").edit(in_place_of_the_filter(endpoint, strict)).start().unwrap();
    assert_eq!(env.get("/echo?client_id=7").unwrap().status, 500);
}
