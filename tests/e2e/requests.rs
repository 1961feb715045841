//! Keys from each source, tracing headers, bytes that are not text, and requests that cannot be routed.

use crate::adapter::is_exception;
use crate::{assert_no_reload, everywhere, hostport, with_resolver};
use pinroute_testkit::eventually;
use pinroute_testkit::fake_resolver::FakeResponse;
use serde_json::{Value, json};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);

fn first_server(_path: &str, port: u16) -> FakeResponse {
    hostport(&format!("poc-routing-server-1:{port}"))
}

#[test]
fn the_key_is_read_from_each_source_and_encoded_in_the_resolver_call() {
    let cases = [
        (json!({"key": {"query": "room"}}), "/join?room=a%20b+c", "", "/where?room=a%20b+c"),
        (
            json!({"key": {"header": "X-Customer-Id"}}),
            "/join",
            "x-customer-id: a b&c",
            "/where?x-customer-id=a%20b%26c",
        ),
        (json!({"key": {"header": "host"}}), "/join", "", "/where?host=host.example"),
        (json!({"key": {"cookie": "sid"}}), "/join", "cookie: a=1; sid=q+1; b=2", "/where?sid=q%2B1"),
        (json!({"key": {"path_segment": 1}}), "/join/a+b%2Fc/x", "", "/where?client_id=a%2Bb%2Fc"),
        (
            json!({"key": {"path_segment": 1}, "resolve": {"path": "/find?v=2", "query": "id"}}),
            "/join/7?client_id=8",
            "",
            "/find?v=2&id=7",
        ),
    ];
    for (plugin, path, header, asked) in cases {
        let (env, resolver) = with_resolver(plugin.clone(), first_server);
        let env = env.start().unwrap();
        let header = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: host.example\r\n{header}connection: close\r\n\r\n");
        env.raw(request.as_bytes()).unwrap();
        let paths: Vec<_> = resolver.requests().into_iter().map(|request| request.path).collect();
        assert_eq!(paths, [asked], "{plugin}");
        assert_eq!(env.envoy.stat("wasmcustom.pinroute_routed").unwrap(), 1, "{plugin}");
    }
}

#[test]
fn a_missing_key_is_named_as_it_is_configured() {
    let cases = [
        (json!({"key": {"header": "X-Customer-Id"}}), "missing x-customer-id"),
        (json!({"key": {"cookie": "sid"}}), "missing sid"),
        (json!({"key": {"path_segment": 4}}), "missing path segment 4"),
    ];
    for (plugin, message) in cases {
        let (env, _resolver) = with_resolver(plugin, first_server);
        let response = env.start().unwrap().get("/join").unwrap();
        assert_eq!((response.status, response.text().as_str()), (400, message));
    }
}

#[test]
fn invalid_keys_are_rejected() {
    let (env, resolver) = with_resolver(json!({}), first_server);
    let env = env.start().unwrap();
    let longest = "x".repeat(256);
    assert_eq!(env.get(&format!("/join?client_id={longest}")).unwrap().status, 200);
    for id in [format!("{longest}x"), "%00".into(), "a%0d%0ab".into(), "%7f".into(), "%09".into()] {
        let response = env.get(&format!("/join?client_id={id}")).unwrap();
        assert_eq!((response.status, response.text().as_str()), (400, "invalid client_id"), "{id}");
    }
    assert_eq!(resolver.requests().len(), 1, "rejected keys cause no resolver call");
}

#[test]
fn bytes_that_are_not_utf8_cause_no_crash() {
    let (env, resolver) = with_resolver(json!({"key": {"header": "x-id"}}), first_server);
    let env = env.start().unwrap();
    for header in [&b"x-id: \xff\xfe"[..], b"x-id: a\r\ntracestate: \xff\r\nx-request-id: \xfe"] {
        let ask = |target: &[u8]| {
            let end = b"\r\nconnection: close\r\n\r\n";
            let parts: [&[u8]; 5] = [b"GET ", target, b" HTTP/1.1\r\nhost: h\r\n", header, end];
            String::from_utf8_lossy(&env.raw(&parts.concat()).unwrap()).into_owned()
        };
        // Envoy or the server may reject such a path, but the VM must not crash.
        let response = ask(b"/join?client_id=\xff&\xfe=1");
        assert!(response.starts_with("HTTP/1.1 200") || response.starts_with("HTTP/1.1 400"), "{response}");
        let response = ask(b"/join?client_id=1");
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    }
    assert!(resolver.requests().iter().any(|asked| asked.path == "/where?x-id=%FF%FE"));
    assert_no_reload(&env);
}

#[test]
fn tracing_headers_are_passed_on_to_the_resolver() {
    let (env, resolver) = with_resolver(json!({}), first_server);
    let env = env.start().unwrap();
    let traced = [
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "a=1"),
        ("b3", "80f198ee56343ba8-e457b5a2e4d86bd1-1"),
    ];
    env.request("GET", "/join?client_id=1", &traced, b"").unwrap();
    let asked = resolver.requests().remove(0);
    for (name, value) in traced {
        assert_eq!(asked.header(name).as_deref(), Some(value));
    }
    assert!(asked.header("x-request-id").is_some_and(|id| id.len() == 36), "Envoy's own id is passed on");
    env.request("GET", "/join?client_id=1", &[("tracestate", "a=1")], b"").unwrap();
    let asked = resolver.requests().remove(1);
    assert_eq!(
        (asked.header("traceparent"), asked.header("tracestate")),
        (None, None),
        "tracestate alone is not passed on"
    );
}

#[test]
fn continue_passes_a_request_unchanged() {
    let plugin = json!({"on_missing_key": "continue", "on_error": "continue", "allow_untouched": true});
    let (env, resolver) = with_resolver(plugin, |path, port| match path {
        "/where?client_id=good" => hostport(&format!("poc-routing-server-2:{port}")),
        "/headers" => FakeResponse::ok("untouched"),
        _ => FakeResponse::status(500, ""),
    });
    // Both routes lead to the resolver's cluster, which responds to an unchanged request.
    let env = env
        .edit(everywhere)
        .edit(|shipped| {
            shipped.edit(|config| {
                let text = config
                    .to_string()
                    .replace("\"cluster\":\"dynamic_forward_proxy_cluster\"", "\"cluster\":\"resolver\"");
                *config = serde_json::from_str(&text).unwrap();
            });
            Ok(())
        })
        .start()
        .unwrap();
    for path in ["/headers", "/headers?client_id=bad", "/headers?client_id=%00"] {
        env.get(path).unwrap();
    }
    let seen: Vec<_> = resolver.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(
        seen,
        ["/headers", "/where?client_id=bad", "/headers?client_id=bad"],
        "an invalid key is refused whatever the outcomes say"
    );
    let stats = env.envoy.stats("wasmcustom.pinroute_").unwrap();
    let stat = |name: &str| stats.get(&format!("wasmcustom.pinroute_{name}")).copied().unwrap_or(0);
    assert_eq!((stat("requests"), stat("passed"), stat("routed")), (3, 2, 0));
    let continued =
        ["missing_key", "invalid_key", "resolver_status"].map(|reason| stat(&format!("continued.{reason}")));
    assert_eq!(continued, [1, 0, 1]);
}

#[test]
fn the_filter_applies_only_below_its_path_prefix() {
    let (env, resolver) = with_resolver(json!({"path_prefix": "/join/rooms"}), first_server);
    let env = env.edit(everywhere).start().unwrap();
    env.get("/health?client_id=1").unwrap();
    env.get("/join/rooms/7?client_id=1").unwrap();
    let paths: Vec<_> = resolver.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["/health?client_id=1", "/where?client_id=1"]);
}

#[test]
fn max_in_flight_limits_the_pending_calls() {
    let plugin = json!({"resolve": {"max_in_flight": 3, "timeout": "1s"}});
    let (env, resolver) = with_resolver(plugin, |path, port| match path {
        "/where?client_id=slow" => FakeResponse::nothing().hang(),
        _ => first_server(path, port),
    });
    let env = env.start().unwrap();
    std::thread::scope(|scope| {
        let slow: Vec<_> =
            (0..3).map(|_| scope.spawn(|| env.client().get("/join?client_id=slow").unwrap())).collect();
        eventually(SOON, || match resolver.requests().len() {
            3 => Ok(()),
            other => Err(format!("{other} calls")),
        })
        .unwrap();
        let refused = env.get("/join?client_id=quick").unwrap();
        assert_eq!((refused.status, refused.text().as_str()), (503, "resolver overloaded"));
        for response in slow {
            assert_eq!(response.join().unwrap().text(), "resolver returned 504");
        }
    });
    assert_eq!(env.get("/join?client_id=quick").unwrap().status, 200, "the pending calls have ended");
    let stats = env.envoy.stats("wasmcustom.pinroute_").unwrap();
    assert_eq!(stats["wasmcustom.pinroute_rejected.overloaded"], 1);
    assert_eq!(stats["wasmcustom.pinroute_resolver.timeout"], 3);
}

#[test]
fn pending_calls_of_closed_connections_end() {
    if is_exception() {
        return;
    }
    let plugin = json!({"resolve": {"max_in_flight": 2, "timeout": "0.3s"}});
    let (env, resolver) = with_resolver(plugin, |path, port| match path {
        "/where?client_id=slow" => FakeResponse::nothing().hang(),
        _ => first_server(path, port),
    });
    let env = env.start().unwrap();
    for round in 1..=3 {
        for _ in 0..2 {
            let mut stream = std::net::TcpStream::connect(env.addr()).unwrap();
            std::io::Write::write_all(&mut stream, b"GET /join?client_id=slow HTTP/1.1\r\nhost: h\r\n\r\n")
                .unwrap();
        }
        // The clients have disconnected; their calls stay pending, and count, until they time out.
        eventually(SOON, || match env.get("/join?client_id=quick").unwrap().status {
            200 if resolver.requests().iter().filter(|r| r.path.ends_with("slow")).count() >= round => Ok(()),
            other => Err(format!("still {other}")),
        })
        .unwrap();
    }
    assert_no_reload(&env);
    eventually(SOON, || {
        let stat = |name: &str| env.envoy.stat(&format!("wasmcustom.pinroute_{name}")).unwrap();
        let rejected: u64 = env.envoy.stats("wasmcustom.pinroute_rejected.").unwrap().values().sum();
        let accounted = stat("routed") + stat("passed") + stat("abandoned") + rejected;
        if stat("requests") == accounted && stat("abandoned") >= 2 {
            Ok(())
        } else {
            Err(format!("{} requests, {accounted} accounted for", stat("requests")))
        }
    })
    .unwrap();
}

#[test]
fn each_request_is_logged_in_one_line_at_debug_level() {
    let loaded = |log: &str| log.matches("configuration loaded").count();
    for (levels, count) in [("wasm:info", 0), ("wasm:debug", 1)] {
        let (env, _resolver) = with_resolver(Value::Object(Default::default()), first_server);
        let env = env.component_log_level(levels).start().unwrap();
        env.get("/join?client_id=123").unwrap();
        let log = env.envoy.log();
        assert_eq!(log.matches("routed to poc-routing-server-1").count(), count, "{log}");
        assert!(loaded(&log) >= 1, "{log}");
    }
}
