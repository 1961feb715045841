//! Counts the calls between Envoy and the filter for a request, by Envoy's own trace. A call costs more than most of the
//! filter's own work, so the documentation lists the calls, and this test compares the list.

use crate::adapter::is_exception;
use crate::{everywhere, hostport, with_resolver};
use pinroute_testkit::env::{TestEnv, TestEnvBuilder};
use pinroute_testkit::fake_resolver::FakeResolver;
use pinroute_testkit::paths::project_root;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How Envoy's Wasm logger marks a call, before the name of the function.
const INTO_THE_MODULE: &str = "[host->vm] ";
const OUT_OF_THE_MODULE: &str = "[vm->host] env.proxy_";

/// Sends a request three times, so that caches are warm, and returns the calls for the last one as a row of a table.
fn row(name: &str, builder: TestEnvBuilder, path: impl Fn(u32) -> String) -> String {
    let env = builder.component_log_level("wasm:trace").start().unwrap();
    for number in 0..3 {
        let headers = [("x-customer-id", "customer-1")];
        assert_eq!(env.request("GET", &path(number), &headers, b"").unwrap().status, 200);
    }
    let log = env.envoy.log();
    // [TIME][THREAD][trace][wasm] [FILE] [host->vm] proxy_on_context_create(ID, ROOT), and ROOT is 0 for a root.
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("[wasm]")).collect();
    let begins = |line: &&str| line.contains("] proxy_on_context_create(") && !line.ends_with(", 0)");
    let begin = lines.iter().rposition(begins).unwrap();
    let thread = lines[begin].split(']').nth(1).unwrap();
    let id = lines[begin].split_once("create(").unwrap().1.split_once(',').unwrap().0;
    let last = format!("proxy_on_delete({id})");

    let (mut callbacks, mut calls, mut in_tick) = (0, BTreeMap::<_, u32>::new(), false);
    for line in lines[begin..].iter().filter(|line| line.split(']').nth(1) == Some(thread)) {
        // Calls of the periodic tick do not belong to the request.
        in_tick = (in_tick || line.contains("[host->vm] proxy_on_tick"))
            && !line.contains("[host<-vm] proxy_on_tick");
        if in_tick {
            continue;
        }
        callbacks += u32::from(line.contains(INTO_THE_MODULE));
        if let Some((_, call)) = line.split_once(OUT_OF_THE_MODULE) {
            *calls.entry(call.split('(').next().unwrap()).or_default() += 1;
        }
        if line.contains(&last) {
            break;
        }
    }
    // Only the trace makes the filter call this.
    calls.remove("log");
    let total: u32 = calls.values().sum();
    let list: Vec<String> = calls.iter().map(|(call, count)| format!("`{call}` {count}")).collect();
    format!("| {name} | {callbacks} | {total} | {} |", list.join(", "))
}

fn resolved(resolve: Value) -> (TestEnvBuilder, FakeResolver) {
    with_resolver(json!({ "resolve": resolve }), |_, port| hostport(&format!("poc-routing-server-1:{port}")))
}

fn indexed(extra: Value) -> TestEnvBuilder {
    let mut plugin = json!({
        "index": { "replicas": 2, "base": 1 },
        "target": { "authority": "poc-routing-server-{index}:8081" },
    });
    plugin.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    TestEnv::builder("envoy.yaml").plugin(plugin).edit(everywhere)
}

fn shuffled(response_headers: bool) -> TestEnvBuilder {
    TestEnv::builder("envoy.yaml").edit(everywhere).plugin(json!({
        "key": { "header": "x-customer-id" },
        "shuffle_shard": { "hosts": ["poc-routing-server-1:8081", "poc-routing-server-2:8081"], "shard_size": 1 },
        "response_headers": response_headers,
    }))
}

#[test]
fn the_documentation_lists_the_calls_for_a_request() {
    if is_exception() {
        return;
    }
    let same = |_| "/join?client_id=1".to_owned();
    let (cached, _resolver) = resolved(json!({ "cache": { "ttl": "60s" } }));
    let (new_keys, _resolver_of_new) = resolved(json!({ "cache": { "ttl": "60s" } }));
    let (plain, _resolver_without_cache) = resolved(json!({}));
    let rows = [
        row("`index`", indexed(json!({})), same),
        row("`index` with `metadata`", indexed(json!({ "metadata": "pinroute" })), same),
        row("`index` with `per_route`", indexed(json!({ "per_route": "pinroute" })), same),
        row("`resolve`, answer remembered", cached, same),
        row("`resolve` with `cache`, key new", new_keys, |number| format!("/join?client_id={number}")),
        row("`resolve` without `cache`", plain, same),
        row("`shuffle_shard`", shuffled(false), same),
        row("`shuffle_shard` with `response_headers`", shuffled(true), same),
    ];
    let page = std::fs::read_to_string(project_root().join("docs/performance.md")).unwrap_or_default();
    let missing: Vec<&String> = rows.iter().filter(|row| !page.lines().any(|line| line == *row)).collect();
    assert!(missing.is_empty(), "docs/performance.md lacks these:\n{}", rows.join("\n"));
}
