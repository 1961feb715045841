//! `pinroute explain` says what a real Envoy does.

use crate::live_admin::admin_env;
use crate::shuffle::answer_directly;
use crate::{everywhere, with_resolver};
use pinroute_inspect::explain::{Outcome, Question, Report, explain};
use pinroute_inspect::{Live, Subject};
use pinroute_testkit::config::Shipped;
use pinroute_testkit::env::TestEnv;
use pinroute_testkit::eventually;
use pinroute_testkit::fake_resolver::FakeResponse;
use pinroute_testkit::http::Response;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

const KEYS: u64 = 1_000;

/// Responses show what the filter set, as the router would see it.
fn show_targets(shipped: &mut Shipped) -> anyhow::Result<()> {
    everywhere(shipped)?;
    answer_directly(shipped)?;
    shipped.edit(|config| {
        let route = config.pointer_mut(
            "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/routes/0",
        );
        let shown = [
            ("seen-authority", "%REQ(:authority)%"),
            ("seen-header", "%REQ(x-target)%"),
            ("seen-dynamic-host", "%FILTER_STATE(envoy.upstream.dynamic_host:PLAIN)%"),
            ("seen-dynamic-port", "%FILTER_STATE(envoy.upstream.dynamic_port:PLAIN)%"),
            ("seen-assignment", "%REQ(x-shard-assignment)%"),
            ("seen-config", "%REQ(x-shard-config)%"),
            ("seen-host", "%REQ(x-target-host)%"),
        ];
        let header = |(name, value): (&str, &str)| json!({ "header": { "key": name, "value": value } });
        route.unwrap()["response_headers_to_add"] = shown.into_iter().map(header).collect();
    });
    Ok(())
}

/// The target that Envoy's router would use.
fn target(response: &Response, kind: &str) -> String {
    let seen = |name| response.header(name).unwrap_or("-").trim_matches('"').to_owned();
    match kind {
        "authority" => seen("seen-authority"),
        "header" => seen("seen-header"),
        _ => format!("{}:{}", seen("seen-dynamic-host"), seen("seen-dynamic-port")),
    }
}

fn subject(config: &Value, runtime: Option<String>) -> Subject {
    let live = Live { runtime: runtime.map(String::into_bytes), set: Vec::new(), endpoints: None };
    Subject::load(config.to_string().as_bytes(), None, &live).unwrap()
}

fn ask(subject: &mut Subject, key: &str, path: &str) -> Report {
    let question = Question {
        key: Some(key.into()),
        path: Some(path.to_owned()),
        headers: vec![("x-pick".to_owned(), path.to_owned())],
        ..Question::default()
    };
    explain(subject, &question, None::<&[u8]>).unwrap()
}

/// Keys that any strategy takes, with paths; every sixteenth does not fit into a host's name.
fn samples() -> impl Iterator<Item = (String, String)> {
    (0..KEYS).map(|number| {
        let hash = pinroute_core::hash::mix(number);
        let key = match number % 16 {
            0 => format!("Tenant {number}"),
            1..=4 => number.to_string(),
            5..=8 => format!("-{hash}"),
            _ => format!("t-{hash:x}"),
        };
        (key, format!("/{:x}?page={}", hash % 4096, number % 7))
    })
}

#[test]
fn every_strategy_and_algorithm() {
    let header = json!({ "header": { "name": "x-target", "value": "backend_{index}" } });
    let host = |template: &str| json!({ "authority": template });
    let names: Vec<String> = (0..30).map(|number| format!("pool-{number}")).collect();
    let hosts: Vec<String> = (0..30).map(|number| format!("host-{number}.svc:8{number:02}")).collect();
    let cases = [
        json!({ "shuffle_shard": { "total_hosts": 20, "shard_size": 4, "base": 100 }, "target": header }),
        json!({
            "shuffle_shard": { "names": names, "shard_size": 3, "pick": { "header": "x-pick" } },
            "target": { "header": { "name": "x-target", "value": "{name}" } },
        }),
        json!({ "shuffle_shard": { "hosts": hosts, "shard_size": 5, "seed": "hush" }, "target": host("{hostport}") }),
        json!({ "shuffle_shard": { "total_hosts": 12, "shard_size": 3, "algorithm": "lua_djb2" }, "target": header }),
        json!({ "shuffle_shard": { "total_hosts": 9, "shard_size": 2 }, "target": { "dynamic_host": "h-{index}:81" } }),
        json!({ "index": { "replicas": 7 }, "target": host("s-{index}:9081") }),
        json!({ "index": { "mode": "numeric", "replicas": 5, "base": 0 }, "target": { "dynamic_host": "s-{index}:81" } }),
        json!({ "index": { "hosts": hosts }, "target": host("{host}:9{port}"), "allowed_targets": ["host-1*.svc"] }),
        json!({ "template": {}, "target": host("engine-{key}.svc:9081") }),
        json!({ "template": {}, "target": header_of_key(), "on_error": { "reject": 503 } }),
    ];
    for mut config in cases {
        config["key"] = json!({ "header": "x-customer-id" });
        let env =
            TestEnv::builder("shuffle-shard.yaml").replicas(1).plugin(config.clone()).edit(show_targets);
        let env = env.start().unwrap();
        let mut subject = subject(&config, None);
        let mut decisions = BTreeSet::new();
        for (key, path) in samples() {
            let response =
                env.request("GET", &path, &[("x-customer-id", &key), ("x-pick", &path)], b"").unwrap();
            let report = ask(&mut subject, &key, &path);
            let Outcome { target: said, target_kind, status, reason, .. } = &report.outcome;
            if let Some(status) = status {
                assert_eq!(
                    (response.status, Some(response.text())),
                    (*status, reason.clone()),
                    "{config} {key}"
                );
            } else {
                let seen = target(&response, target_kind.unwrap());
                assert_eq!((response.status, Some(&seen)), (200, said.as_ref()), "{config} {key} {path}");
            }
            if let (Some(shard), None) = (&report.shard, status) {
                let seen = ["seen-assignment", "seen-config", "seen-host"].map(|name| response.header(name));
                let size = report.shard_size.unwrap().value.min(report.total_hosts.unwrap().value);
                let numbers = format!("{size}/{}", report.total_hosts.unwrap().value);
                let said = [Some(shard.join(",")), Some(numbers), report.outcome.host.clone()];
                assert_eq!(seen.map(|text| text.map(str::to_owned)), said, "{config} {key} {path}");
            }
            decisions.insert(said.clone().or_else(|| reason.clone()));
        }
        assert!(decisions.len() >= 5, "{config}: {decisions:?}");
    }
}

fn header_of_key() -> Value {
    json!({ "header": { "name": "x-target", "value": "cell-{key}" } })
}

#[test]
fn a_call_and_what_follows_its_failure() {
    let config = json!({
        "key": { "header": "x-customer-id" },
        "resolve": { "path": "/owners/{key}?v=1", "cache": {} },
        "fallback": { "index": { "replicas": 5 }, "target": { "authority": "s-{index}:9081" } },
        "on_not_found": { "reject": 404 },
        "allowed_targets": ["s-*:9081"],
    });
    let (env, resolver) = with_resolver(config.clone(), |path, _| {
        if path.contains("t-") { FakeResponse::status(404, "") } else { FakeResponse::status(500, "") }
    });
    let env = env.edit(show_targets).start().unwrap();
    let mut subject = subject(&config, None);
    let mut statuses = BTreeSet::new();
    for (key, path) in samples().take(200) {
        let response = env.request("GET", &path, &[("x-customer-id", &key)], b"").unwrap();
        let report = ask(&mut subject, &key, &path);
        let call = report.call.unwrap();
        let sent = resolver.requests().pop().unwrap();
        assert_eq!((&sent.path, sent.header("host")), (&call.path, Some(call.authority)), "{key}");
        let [not_found, failed] = [report.on_not_found.unwrap(), report.on_error.unwrap()];
        if key.starts_with("t-") {
            assert_eq!(Some(response.status), not_found.status, "{key}");
        } else {
            assert_eq!(Some(target(&response, "authority")), failed.target, "{key}");
        }
        statuses.insert(response.status);
    }
    assert_eq!(statuses, [200, 404].into());
}

#[test]
fn runtime_values_that_envoy_shows_are_those_that_it_uses() {
    let env = admin_env(true).edit(show_targets).start().unwrap();
    let set = "shuffle_sharding.total_hosts=11&shuffle_sharding.customer.customer-B.shard_size=4";
    env.envoy.admin_post(&format!("/runtime_modify?{set}")).unwrap();
    let seen = |customer: &str, name: &str| {
        let response = env.request("GET", "/x", &[("x-customer-id", customer)], b"").unwrap();
        response.header(name).unwrap_or("-").to_owned()
    };
    eventually(Duration::from_secs(10), || match seen("customer-B", "seen-config") {
        config if config == "4/11" => Ok(()),
        config => Err(config),
    })
    .unwrap();
    let file = pinroute_testkit::paths::shipped_configs().join("shuffle-shard-admin.yaml");
    let runtime = env.envoy.admin_get("/runtime").unwrap();
    let live = Live { runtime: Some(runtime.into_bytes()), set: Vec::new(), endpoints: None };
    let mut subject = Subject::load(&std::fs::read(file).unwrap(), None, &live).unwrap();
    for (customer, source) in [("customer-A", "runtime_key"), ("customer-B", "runtime_key"), ("z", "runtime")]
    {
        let report = ask(&mut subject, customer, "/x");
        assert_eq!(report.shard_size.unwrap().source, source, "{customer}");
        let numbers = format!("{}/{}", report.shard_size.unwrap().value, report.total_hosts.unwrap().value);
        assert_eq!(seen(customer, "seen-config"), numbers, "{customer}");
        assert_eq!(seen(customer, "seen-assignment"), report.shard.unwrap().join(","), "{customer}");
    }
}
