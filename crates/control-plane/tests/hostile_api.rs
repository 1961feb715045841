//! Random calls to every route of the API: none fails in the server, and none that is refused changes anything.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use pinroute_control_plane::Options;
use pinroute_control_plane::api::{App, router};
use pinroute_control_plane::metrics::Metrics;
use pinroute_control_plane::model::State;
use pinroute_control_plane::plane::Plane;
use pinroute_control_plane::store::RedbStore;
use pinroute_control_plane::xds::Nodes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tower::ServiceExt;

/// A call.
#[derive(Clone, Debug)]
struct Call {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0..70_000_i64).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        "(127.0.0.[0-3]|\\[::1\\]|a):[0-9]{1,3}".prop_map(Value::from),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "p\\.(total_hosts|default_shard_size|replicas|customer\\.[ab]\\.shard_size|enabled)",
        "values|shard_size|hosts|cluster|key|header|query|index|shuffle_shard|total_hosts|resolve|target|authority|template",
        "\\PC{0,12}",
        Just("k".repeat(600)),
    ]
}

fn json_value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((name(), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A body of the right form, but for its values.
fn document() -> impl Strategy<Value = Value> {
    let values = proptest::collection::vec((name(), scalar()), 0..4)
        .prop_map(|values| json!({ "values": Value::Object(values.into_iter().collect()) }));
    let hosts = proptest::collection::vec(scalar(), 0..4).prop_map(|hosts| json!({ "hosts": hosts }));
    let config = (name(), json_value()).prop_map(
        |(name, value)| json!({ "key": { "header": "x" }, "index": { "replicas": 3 }, name: value }),
    );
    prop_oneof![values, hosts, scalar().prop_map(|size| json!({ "shard_size": size })), config, json_value()]
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let text = || document().prop_map(|document| document.to_string().into_bytes());
    let change = (any::<proptest::sample::Index>(), any::<u8>());
    let mutated = (text(), proptest::collection::vec(change, 1..4)).prop_map(|(mut bytes, changes)| {
        for (place, byte) in changes {
            let place = place.index(bytes.len().max(1));
            bytes.get_mut(place).into_iter().for_each(|old| *old = byte);
        }
        bytes
    });
    let nested = (0..5_000_usize).prop_map(|depth| "[".repeat(depth).into_bytes());
    let any = proptest::collection::vec(any::<u8>(), 0..64);
    prop_oneof![6 => text(), 3 => mutated, 1 => nested, 2 => any]
}

/// A path, with bytes that a URI may have.
fn path() -> impl Strategy<Value = String> {
    let route = prop_oneof![
        Just("/v1/runtime".to_owned()),
        Just("/v1/hosts".to_owned()),
        "/v1/customers/([ab]|[!-\"$->@-~]{0,6}|%[0-9a-fg]{0,2})",
        "/v1/configs/([ab]|[!-\"$->@-~]{0,6}|%[0-9a-fg]{0,2})",
        "/(v1/nodes|v1/history|v1/preview|healthz|readyz|metrics|openapi.json)",
        "/[!-\"$->@-~]{0,12}",
    ];
    let query = prop_oneof![
        4 => Just(String::new()),
        1 => "\\?(limit|cluster|total_hosts|shard_size|x)=[0-9]{0,4}(&shard_size=[0-9]{0,2})?",
        1 => "\\?[!-\"$-~]{0,12}",
    ];
    (route, query).prop_map(|(route, query)| route + &query)
}

fn call() -> impl Strategy<Value = Call> {
    let method = proptest::sample::select(
        &["GET", "PUT", "PUT", "PUT", "PATCH", "DELETE", "POST", "HEAD", "OPTIONS", "TRACE", "X"][..],
    );
    let name = proptest::sample::select(
        &["if-match", "x-pinroute-actor", "content-type", "content-length", "authorization", "expect"][..],
    );
    let value = prop_oneof![
        "\"?[0-9]{1,3}\"?".prop_map(String::into_bytes),
        proptest::collection::vec(prop_oneof![0x20..=0x7e_u8, 0x80..=0xff_u8], 0..12),
    ];
    let any = (method, path(), proptest::collection::vec((name, value), 0..3), body())
        .prop_map(|(method, path, headers, body)| Call { method, path, headers, body });
    prop_oneof![3 => any, 1 => fitting()]
}

/// A call that may well be accepted.
fn fitting() -> impl Strategy<Value = Call> {
    let call = |method, path: String, document: Value| {
        let headers = vec![("content-type", b"application/json".to_vec())];
        Call { method, path, headers, body: document.to_string().into_bytes() }
    };
    let values =
        |values: Vec<(String, Value)>| json!({ "values": Value::Object(values.into_iter().collect()) });
    let number = || (1..20_u32).prop_map(Value::from);
    let one = proptest::collection::vec(("[ab]|p\\.total_hosts", number()), 0..3);
    let addresses = proptest::collection::btree_set("127.0.0.[0-3]:[1-9]", 0..4);
    prop_oneof![
        (proptest::sample::select(&["PUT", "PATCH"][..]), one)
            .prop_map(move |(method, of)| call(method, "/v1/runtime".to_owned(), values(of))),
        ("[ab]", number()).prop_map(move |(key, size)| {
            call("PUT", format!("/v1/customers/{key}"), json!({ "shard_size": size }))
        }),
        "[ab]".prop_map(move |key| call("DELETE", format!("/v1/customers/{key}"), json!({}))),
        addresses.prop_map(move |hosts| call("PUT", "/v1/hosts".to_owned(), json!({ "hosts": hosts }))),
        ("[ab]", number()).prop_map(move |(name, replicas)| {
            let config = json!({ "key": { "header": "x" }, "index": { "replicas": replicas }, "target": { "authority": "x-{index}:80" } });
            call("PUT", format!("/v1/configs/{name}"), config)
        }),
        "[ab]".prop_map(move |name| call("DELETE", format!("/v1/configs/{name}"), json!({}))),
    ]
}

async fn load(folder: &Path) -> Arc<Plane> {
    let publish = Options::default().publish();
    let store = Arc::new(RedbStore::open(folder).unwrap());
    Arc::new(Plane::load("p".to_owned(), store, publish).await.unwrap())
}

/// The status of a call and its body; `None` if it is no call of HTTP.
async fn send(api: &Router, call: &Call) -> Option<(StatusCode, Vec<u8>)> {
    let mut request = Request::builder().method(call.method).uri(&call.path);
    for (name, value) in &call.headers {
        request = request.header(*name, value.as_slice());
    }
    let request = request.body(Body::from(call.body.clone())).ok()?;
    let response = api.clone().oneshot(request).await.unwrap();
    let status = response.status();
    Some((status, response.into_body().collect().await.unwrap().to_bytes().to_vec()))
}

#[test]
fn no_call_fails_in_the_server_and_a_refused_one_changes_nothing() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), Runtime::new().unwrap());
    let plane = runtime.block_on(load(folder.path()));
    let (nodes, metrics) = (Arc::new(Nodes::default()), Arc::new(Metrics::default()));
    let api = router(Arc::new(App::new(
        Arc::clone(&plane),
        nodes,
        metrics,
        None,
        Some("p.total_hosts".to_owned()),
    )));
    let state = || -> State { plane.state().clone() };
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let accepted = std::cell::Cell::new(0);
    let checked = runner.run(&call(), |call| {
        let before = state();
        let Some((status, body)) = runtime.block_on(send(&api, &call)) else { return Ok(()) };
        let text = String::from_utf8_lossy(&body).into_owned();
        prop_assert!(!status.is_server_error(), "{status} {text}");
        let after = state();
        if status.is_client_error() {
            prop_assert_eq!(&after, &before, "{} {}", status, &text);
            if call.method != "HEAD" {
                let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
                prop_assert!(problem["error"].is_string() && problem["field"].is_string(), "{status} {text}");
            }
        }
        if !matches!(call.method, "PUT" | "PATCH" | "DELETE") {
            prop_assert_eq!(&after, &before);
        } else if status.is_success() {
            accepted.set(accepted.get() + 1);
        }
        prop_assert!(after.revision - before.revision <= 1, "one call is one commit");
        Ok(())
    });
    checked.unwrap_or_else(|error| panic!("{error}"));
    assert!(accepted.get() > 0, "no call changed anything");
    // What was served is what is stored.
    let served = state();
    drop((api, plane));
    assert_eq!(*runtime.block_on(load(folder.path())).state(), served);
}
