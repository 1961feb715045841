//! Resolvers as people have them: what is sent to them, where their responses have the target, and what happens
//! otherwise.

use crate::live_admin::own_admin;
use crate::untouched::own_runtime;
use crate::{assert_no_reload, one_route, with_resolver};
use pinroute_testkit::env::{TestEnv, TestEnvBuilder};
use pinroute_testkit::eventually;
use pinroute_testkit::fake_resolver::{FakeResolver, FakeResponse};
use pinroute_testkit::servers::name;
use serde_json::{Value, json};
use std::time::Duration;

const DFP: &str = "dynamic_forward_proxy_cluster";

fn with(
    plugin: Value,
    response: impl Fn(&str, u16) -> FakeResponse + Send + Sync + 'static,
) -> (TestEnvBuilder, FakeResolver) {
    let (env, resolver) = with_resolver(plugin, response);
    (env.edit(one_route(DFP)), resolver)
}

fn instance(env: &TestEnv, path: &str) -> Value {
    let response = env.get(path).unwrap();
    assert_eq!(response.status, 200, "{path}: {}", response.text());
    response.json().unwrap()["instance"].clone()
}

/// A response with one more header.
fn with_header(header: &str, body: &str) -> FakeResponse {
    FakeResponse::raw(format!("HTTP/1.1 200 OK\r\n{header}\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
}

#[test]
fn the_target_is_found_wherever_the_resolver_puts_it() {
    let second = |port: u16| format!("{}:{port}", name(2));
    type Answer = fn(&str, u16) -> FakeResponse;
    let cases: [(Value, Answer); 4] = [
        (json!({ "hostport": "/proxy/0/address" }), |host, port| {
            FakeResponse::ok(json!({ "proxy": [{ "address": format!("{host}:{port}") }] }).to_string())
        }),
        (json!({ "host": "/server", "port": "/port" }), |host, port| {
            FakeResponse::ok(json!({ "port": port, "server": host }).to_string())
        }),
        (json!({ "hostport": "text" }), |host, port| FakeResponse::ok(format!("{host}:{port}\n"))),
        (json!({ "hostport": { "header": "X-Owner" } }), |host, port| {
            with_header(&format!("x-owner: {host}:{port}"), "")
        }),
    ];
    for (answer, response) in cases {
        let plugin = json!({ "resolve": { "answer": answer, "cache": {} } });
        let (env, resolver) = with(plugin, move |_, port| response(&name(2), port));
        let env = env.start().unwrap();
        for _ in 0..2 {
            assert_eq!(instance(&env, "/echo?client_id=7"), json!(second(env.servers.port())), "{answer}");
        }
        assert_eq!(resolver.requests().len(), 1, "{answer}");
        assert_no_reload(&env);
    }
}

#[test]
fn a_header_that_occurs_twice_is_no_answer() {
    let plugin = json!({ "resolve": { "answer": { "hostport": { "header": "x-owner" } } } });
    let (env, _resolver) = with(plugin, |_, port| {
        with_header(&format!("x-owner: {}:{port}\r\nx-owner: {}:{port}", name(1), name(2)), "")
    });
    let response = env.start().unwrap().get("/echo?client_id=7").unwrap();
    assert_eq!((response.status, response.text().as_str()), (502, "no hostport in resolver body"));
}

#[test]
fn a_target_that_is_not_allowed_is_shown_in_the_debug_log_alone() {
    let (env, _resolver) =
        with(json!({ "allowed_targets": ["a:1"] }), |_, _| FakeResponse::ok(r#"{"hostport":"evil\n:2"}"#));
    let env = env.component_log_level("wasm:debug").start().unwrap();
    let response = env.get("/echo?client_id=7").unwrap();
    assert_eq!((response.status, response.text().as_str()), (502, "target not allowed"));
    let log = env.envoy.log();
    assert!(log.contains(r#"target not allowed: "evil\n:2""#), "{log}");
}

#[test]
fn the_call_carries_what_is_configured_and_no_credential_shares_an_answer() {
    let plugin = json!({
        "resolve": {
            "path": "/tenants/{key}/shard?v=2", "body": { "id": "{key}", "kind": "tenant" },
            "headers": { "x-api-key": "very secret" }, "forward_headers": ["authorization"],
            "set_headers": { "x-tenant": "/tenant" }, "cache": {},
        },
    });
    let (env, resolver) = with(plugin, |_, port| {
        FakeResponse::ok(json!({ "hostport": format!("{}:{port}", name(1)), "tenant": true }).to_string())
    });
    let env = env.component_log_level("wasm:debug").start().unwrap();
    let ask =
        |headers: &[(&str, &str)]| env.request("GET", "/headers?client_id=a%2Fb%22", headers, b"").unwrap();
    for headers in
        [&[("authorization", "Bearer a"), ("x-tenant", "forged")][..], &[("authorization", "Bearer b")], &[]]
    {
        for _ in 0..2 {
            let seen = ask(headers).json().unwrap();
            let tenants: Vec<_> =
                seen["headers"].as_array().unwrap().iter().filter(|header| header[0] == "x-tenant").collect();
            assert_eq!(tenants, [&json!(["x-tenant", "true"])]);
        }
    }
    let calls = resolver.requests();
    let sent: Vec<_> = calls.iter().map(|call| call.header("authorization")).collect();
    assert_eq!(sent, [Some("Bearer a".to_owned()), Some("Bearer b".to_owned()), None]);
    for call in &calls {
        assert!(call.head.starts_with(b"POST /tenants/a%2Fb%22/shard?v=2 "), "{}", call.path);
        assert_eq!(call.header("x-api-key").as_deref(), Some("very secret"));
        assert_eq!(call.header("x-tenant"), None);
        let body: Value = serde_json::from_slice(&call.body).unwrap();
        assert_eq!(body, json!({ "id": "a/b\"", "kind": "tenant" }));
    }
    let log = env.envoy.log();
    assert!(!log.contains("very secret") && !log.contains("Bearer a"), "{log}");
}

#[test]
fn the_call_carries_each_part_of_the_key_in_its_path_headers_and_body() {
    let plugin = json!({
        "key": { "parts": { "id": { "cookie": "id" }, "ns": { "header": "x-ns", "default": "prod" } } },
        "resolve": {
            "path": "/owners/{ns}?of={id}", "headers": { "x-scope": "{ns}/{id}" },
            "body": { "kind": "tenant", "who": ["{id}", { "in": "{ns}-{id}" }] }, "cache": {},
        },
    });
    let (env, resolver) = with(plugin, |path, port| {
        let number = 1 + u8::from(path.starts_with("/owners/prod?"));
        FakeResponse::ok(format!(r#"{{"hostport":"{}:{port}"}}"#, name(number)))
    });
    let env = env.start().unwrap();
    let ask = |headers: &[(&str, &str)]| {
        let response = env.request("GET", "/echo", headers, b"").unwrap();
        let instance = response.json().ok().map(|seen| seen["instance"].clone());
        (response.status, instance.unwrap_or_else(|| json!(response.text())))
    };
    let host = |number| (200, json!(env.servers.hostport(number)));
    // A client's own `x-scope` is not passed on.
    let cases = [
        (&[("cookie", "id=a"), ("x-scope", "forged")][..], "/owners/prod?of=a", "prod/a", "a", "prod-a", 2),
        (&[("cookie", "id=a"), ("x-ns", "te/st")], "/owners/te%2Fst?of=a", "te/st/a", "a", "te/st-a", 1),
        (&[("cookie", "id=a\"&b")], "/owners/prod?of=a%22%26b", "prod/a\"&b", "a\"&b", "prod-a\"&b", 2),
    ];
    for (headers, path, scope, id, within, number) in cases {
        for _ in 0..2 {
            assert_eq!(ask(headers), host(number), "{headers:?}");
        }
        let call = resolver.requests().pop().unwrap();
        assert!(call.head.starts_with(format!("POST {path} ").as_bytes()), "{}", call.path);
        let head = String::from_utf8_lossy(&call.head);
        assert_eq!(head.matches("x-scope: ").count(), 1, "{head}");
        assert_eq!(call.header("x-scope").as_deref(), Some(scope));
        let body: Value = serde_json::from_slice(&call.body).unwrap();
        assert_eq!(body, json!({ "kind": "tenant", "who": [id, { "in": within }] }));
    }
    assert_eq!(resolver.requests().len(), cases.len(), "one call for each key");
    // Fit for the path and the body, but not for a header.
    let unfit = [("cookie", "id=a"), ("x-ns", "a b")];
    assert_eq!(ask(&unfit), (400, json!("invalid id")));
    assert_eq!(ask(&[("x-ns", "test")]), (400, json!("missing id")));
    assert_eq!(resolver.requests().len(), cases.len(), "a wrong key causes no call");
    assert_no_reload(&env);
}

#[test]
fn each_outcome_happens_for_its_reason() {
    let plugin = json!({
        "resolve": { "not_found": [404, 410], "cache": { "negative_ttl": "600s" } },
        "on_missing_key": { "target": { "authority": "poc-routing-server-1:8081" } },
        "on_not_found": { "target": { "authority": "poc-routing-server-2:8081" } },
        "on_error": { "reject": 503 },
    });
    let (env, resolver) = with(plugin, |path, _| match path {
        "/where?client_id=gone" => FakeResponse::status(410, ""),
        _ => FakeResponse::status(500, ""),
    });
    let env = env.start().unwrap();
    assert_eq!(instance(&env, "/echo"), json!(env.servers.hostport(1)));
    for _ in 0..2 {
        assert_eq!(instance(&env, "/echo?client_id=gone"), json!(env.servers.hostport(2)));
    }
    let failed = env.get("/echo?client_id=x").unwrap();
    assert_eq!((failed.status, failed.text().as_str()), (503, "resolver returned 500"));
    assert_eq!(env.get("/echo?client_id=%00").unwrap().status, 400);
    assert_eq!(resolver.requests().len(), 2, "both are cached");
}

#[test]
fn a_template_is_the_fallback_of_a_failed_resolver_only() {
    let plugin = json!({
        "resolve": {}, "fallback": { "template": {}, "target": { "authority": "poc-routing-server-{key}:8081" } },
        "on_not_found": { "reject": 404 },
    });
    let (env, _resolver) = with(plugin, |path, _| match path {
        "/where?client_id=9" => FakeResponse::status(404, ""),
        _ => FakeResponse::status(500, ""),
    });
    let env = env.start().unwrap();
    assert_eq!(instance(&env, "/echo?client_id=2"), json!(env.servers.hostport(2)));
    assert_eq!(env.get("/echo?client_id=9").unwrap().status, 404);
    let unfit = env.get("/echo?client_id=a_b").unwrap();
    assert_eq!((unfit.status, unfit.text().as_str()), (502, "resolver returned 500"));
}

#[test]
fn requests_that_share_a_call_have_fallbacks_of_their_own() {
    let plugin = json!({
        "key": { "parts": { "host": { "header": "x-host" }, "tenant": { "header": "x-tenant" } } },
        "resolve": { "path": "/tenants/{tenant}", "cache": {} },
        "fallback": { "template": {}, "target": { "authority": "poc-routing-server-{host}:8081" } },
    });
    let (env, resolver) =
        with(plugin, |_, _| FakeResponse::status(500, "").delayed(Duration::from_millis(700)));
    let env = env.start().unwrap();
    let ask = |host| {
        let headers = [("x-tenant", "acme"), ("x-host", host)];
        env.client().request("GET", "/echo", &headers, b"").unwrap().json().unwrap()["instance"].clone()
    };
    let answers = std::thread::scope(|scope| {
        let asking = ["1", "2"].map(|host| scope.spawn(move || ask(host)));
        asking.map(|thread| thread.join().unwrap())
    });
    assert_eq!(answers, [1, 2].map(|number| json!(env.servers.hostport(number))));
    assert_eq!(resolver.requests().len(), 1, "the same is sent for both");
    assert_no_reload(&env);
}

#[test]
fn a_call_that_cannot_be_made_leads_to_the_fallback_of_its_request() {
    let plugin = json!({
        "key": { "parts": { "host": { "header": "x-host" }, "tenant": { "query": "tenant" } } },
        "resolve": { "cluster": "nowhere", "path": "/tenants/{tenant}", "cache": {} },
        "fallback": { "template": {}, "target": { "authority": "poc-routing-server-{host}:8081" } },
    });
    let (env, _resolver) = with(plugin, |_, _| FakeResponse::status(500, ""));
    let env = env.start().unwrap();
    for host in [1, 2] {
        let number = host.to_string();
        let response = env.request("GET", "/echo?tenant=acme", &[("x-host", &number)], b"").unwrap();
        assert_eq!(response.json().unwrap()["instance"], json!(env.servers.hostport(host)));
    }
    assert_no_reload(&env);
}

#[test]
fn an_owner_that_moved_is_asked_for_again() {
    let plugin = json!({ "resolve": { "cache": { "ttl": "600s", "drop_on": [421] } } });
    let (env, resolver) =
        with(plugin, |_, port| FakeResponse::ok(format!(r#"{{"hostport":"{}:{port}"}}"#, name(1))));
    // Without Envoy's own retries, which go to the same host.
    let env = env.edit(|shipped| {
        let host = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0";
        shipped.edit(|config| {
            config.pointer_mut(host).unwrap().as_object_mut().unwrap().remove("retry_policy");
        });
        Ok(())
    });
    let env = env.start().unwrap();
    // The name of the first server leads to the second one, which answers 421.
    env.dns.set(&name(1), &[*env.servers.addr(2).ip()]);
    for calls in 1..=3 {
        assert_eq!(env.get("/join?client_id=7").unwrap().status, 421);
        assert_eq!(resolver.requests().len(), calls);
    }
    assert_eq!(env.get("/echo?client_id=7").unwrap().status, 200);
    assert_eq!(env.get("/echo?client_id=7").unwrap().status, 200);
    assert_eq!(resolver.requests().len(), 4, "another status drops nothing");
}

#[test]
fn a_change_of_the_generation_empties_the_cache() {
    let plugin = json!({
        "resolve": { "cache": { "ttl": "600s" } },
        "runtime": { "prefix": "p", "admin": { "refresh": "50ms" } },
    });
    let (env, resolver) =
        with(plugin, |_, port| FakeResponse::ok(format!(r#"{{"hostport":"{}:{port}"}}"#, name(1))));
    let env = env.admin(own_admin()).edit(own_runtime(json!({}))).start().unwrap();
    let calls = || {
        assert_eq!(env.get("/echo?client_id=7").unwrap().status, 200);
        resolver.requests().len()
    };
    assert_eq!((calls(), calls()), (1, 1));
    for generation in [1, 2] {
        env.envoy.admin_post(&format!("/runtime_modify?p.cache_generation={generation}")).unwrap();
        eventually(Duration::from_secs(10), || match calls() {
            seen if seen == 1 + generation => Ok(()),
            seen => Err(format!("{seen} calls")),
        })
        .unwrap();
    }
}
