//! The same cases through the Lua script and through the filter, with the same results.

use pinroute_core::key::percent::decode_form;
use pinroute_core::mode::IndexMode;
use pinroute_testkit::env::TestEnv;
use serde_json::json;

/// Path, status and body.
const ERRORS: &[(&str, u16, &str)] = &[
    ("/join", 400, "missing client_id"),
    ("/join?", 400, "missing client_id"),
    ("/join?client_id", 400, "missing client_id"),
    ("/join?client_id=", 400, "missing client_id"),
    ("/join?my_client_id=1", 400, "missing client_id"),
    ("/join/deeper?x=client_id", 400, "missing client_id"),
];

/// Ids that are hard to parse, sent without further encoding.
const IDS: &[&str] = &[
    "123",
    "0",
    "-7",
    "+5",
    "alice",
    "a%20b",
    "a+b",
    "caf%C3%A9",
    "%ff",
    "a=b",
    "a%26b",
    "%3Fx",
    "a?b",
    "x%zz",
    "12345678901234567890",
    "a;b",
    "%22%7D",
];

fn every_case_of(config: &str) {
    let env = TestEnv::builder(config).replicas(3).start().unwrap();
    for (path, status, body) in ERRORS {
        let response = env.get(path).unwrap();
        assert_eq!((response.status, response.text().as_str()), (*status, *body), "{path}");
        assert_eq!(response.header_all("content-type"), ["text/plain"], "{path}");
    }
    let sequential: Vec<String> = (0..60).map(|number| format!("client-{number}")).collect();
    let mut landed = std::collections::BTreeSet::new();
    for id in IDS.iter().copied().chain(sequential.iter().map(String::as_str)) {
        // Computed here, not read from `/where`, so that an error of the resolver fails the test.
        let owner = 1 + IndexMode::Hash.slot(&decode_form(id.as_bytes()), 3);
        let expected = format!("poc-routing-server-{owner}:{}", env.servers.port());
        for path in [format!("/join?client_id={id}"), format!("/join?a=1&client_id={id}&b=2")] {
            let response = env.get(&path).unwrap();
            assert_eq!(response.status, 200, "{path}: {}", response.text());
            assert_eq!(response.json().unwrap()["assigned"], json!(expected), "{path}");
        }
        let resolved = env.get(&format!("/where?client_id={id}")).unwrap().json().unwrap();
        assert_eq!(resolved["hostport"], json!(expected), "{id}");
        landed.insert(owner);
    }
    assert_eq!(landed.len(), 3, "all instances are used");
    // The filter does not apply outside /join.
    assert_eq!(env.get("/health").unwrap().text(), "ok");
    assert_eq!(env.get("/nowhere").unwrap().status, 404);
}

#[test]
fn the_lua_script_passes_every_case() {
    every_case_of("envoy-lua.yaml");
}

#[test]
fn the_filter_passes_every_case() {
    every_case_of("envoy.yaml");
}

#[test]
fn bodies_and_methods_go_through() {
    for config in ["envoy-lua.yaml", "envoy.yaml"] {
        let env = TestEnv::builder(config).replicas(2).start().unwrap();
        let body = vec![b'x'; 300_000];
        for method in ["POST", "PUT", "PATCH"] {
            let response = env.request(method, "/join?client_id=123", &[], &body).unwrap();
            assert_eq!(response.status, 200, "{config} {method}: {}", response.text());
            assert_eq!(response.json().unwrap()["client_id"], json!("123"), "{config} {method}");
        }
    }
}

#[test]
fn the_filter_counts_what_it_does() {
    let env = TestEnv::builder("envoy.yaml").replicas(2).start().unwrap();
    for id in 0..7 {
        env.get(&format!("/join?client_id={id}")).unwrap();
    }
    env.get("/join").unwrap();
    env.get("/join?client_id=%00").unwrap();
    let stat = |name: &str| env.envoy.stat(&format!("wasmcustom.pinroute_{name}")).unwrap();
    assert_eq!((stat("requests"), stat("routed"), stat("passed")), (9, 7, 0));
    assert_eq!((stat("rejected.missing_key"), stat("rejected.invalid_key")), (1, 1));
    assert_eq!((stat("resolver.ok"), stat("resolver.error"), stat("resolver.timeout")), (7, 0, 0));
    // Envoy itself keeps how long calls take.
    let times = env.envoy.admin_get("/stats?filter=cluster.resolver.upstream_rq_time").unwrap();
    assert!(times.contains("cluster.resolver.upstream_rq_time"), "{times}");
}
