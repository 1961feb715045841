//! How configurations reach the filter, and how invalid ones are rejected.

use crate::with_resolver;
use pinroute_testkit::env::TestEnv;
use pinroute_testkit::fake_resolver::FakeResponse;
use serde_json::json;

#[test]
fn an_invalid_configuration_is_rejected_when_it_is_loaded() {
    let cases = [
        (r#"{"resolve": {"timeout": "soon"}}"#, "resolve.timeout: got \"soon\"; allowed: a duration"),
        (r#"{"key": {"qeury": "id"}}"#, "key.qeury: unknown field; allowed: query, header"),
        ("{", "the configuration: not JSON"),
    ];
    for (text, message) in cases {
        let error = TestEnv::builder("envoy.yaml").replicas(1).plugin_text(text).start().unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("configuration refused") && error.contains(message), "{text}: {error}");
    }
}

#[test]
fn text_and_struct_mean_the_same() {
    let config = json!({
        "key": { "query": "client_id" },
        "resolve": { "cluster": "resolver", "timeout": "0.25s", "max_in_flight": 5 },
        "allowed_targets": ["poc-routing-server-*:8081"],
    });
    let as_text = TestEnv::builder("envoy.yaml").plugin(config.clone());
    let as_struct = TestEnv::builder("envoy.yaml").plugin_struct(config);
    for env in [as_text, as_struct] {
        assert_eq!(env.start().unwrap().get("/join?client_id=1").unwrap().status, 200);
    }
}

#[test]
fn an_empty_configuration_replaces_the_lua_script() {
    for text in ["", "{}", " \n"] {
        let env = TestEnv::builder("envoy.yaml").plugin_text(text).edit(crate::everywhere).start().unwrap();
        assert_eq!(env.get("/join?client_id=123").unwrap().status, 200);
        assert_eq!(env.get("/join").unwrap().text(), "missing client_id");
        // The Lua script ignored paths outside /join, and the filter does too.
        assert_eq!(env.get("/health").unwrap().text(), "ok");
        assert_eq!(env.envoy.stat("wasmcustom.pinroute_passed").unwrap(), 1);
    }
}

#[test]
fn an_unknown_resolver_cluster_fails_each_request() {
    let (env, _resolver) =
        with_resolver(json!({"resolve": {"cluster": "nobody"}}), |_, _| FakeResponse::ok(""));
    let env = env.start().unwrap();
    for _ in 0..3 {
        let response = env.get("/join?client_id=1").unwrap();
        assert_eq!((response.status, response.text().as_str()), (502, "resolver httpCall failed"));
    }
    assert_eq!(env.envoy.stat("wasmcustom.pinroute_rejected.callout_failed").unwrap(), 3);
}
