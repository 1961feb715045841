//! `preview` counts what moves, and theory agrees; `explain` says who shares hosts.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use pinroute_inspect::explain::{ExplainError, Question, Report, explain};
use pinroute_inspect::preview::{self, PreviewError, preview};
use pinroute_inspect::{Live, SetValue, Subject};
use serde_json::{Value, json};

const KEYS: u64 = 100_000;

fn subject(config: &Value) -> Subject {
    Subject::load(config.to_string().as_bytes(), None, &Live::default()).unwrap()
}

fn shards(total: u32, size: u32) -> Value {
    json!({ "key": { "header": "x-id" }, "shuffle_shard": { "total_hosts": total, "shard_size": size } })
}

fn with(mut config: Value, field: &str, value: Value) -> Value {
    config["shuffle_shard"][field] = value;
    config
}

fn keys(count: u64) -> Vec<u8> {
    (0..count).map(|number| format!("tenant-{number}\n")).collect::<String>().into_bytes()
}

fn compare(from: &Value, to: &Value) -> preview::Report {
    preview(&mut subject(from), &mut subject(to), keys(KEYS).as_slice()).unwrap()
}

/// Whether a count is within five standard deviations of what is expected.
fn is_near(report: &preview::Report) -> bool {
    let share = report.expected_share.unwrap();
    let deviation = (report.keys as f64 * share * (1.0 - share)).sqrt();
    (report.moved as f64 - report.expected.unwrap()).abs() <= 5.0 * deviation + 1e-6
}

#[test]
fn what_moves_is_what_theory_expects() {
    let report = compare(&shards(8, 2), &shards(9, 2));
    assert!((report.expected_share.unwrap() - 2.0 / 9.0).abs() < 1e-9 && is_near(&report), "{report}");
    assert_eq!(report.kept.keys().collect::<Vec<_>>(), [&1, &2], "one replacement at most");
    for (from, to) in [
        (shards(9, 2), shards(8, 2)),
        (shards(8, 2), shards(12, 2)),
        (shards(20, 4), shards(21, 4)),
        (shards(8, 2), with(shards(8, 2), "seed", json!("secret"))),
        (
            json!({ "index": { "replicas": 8 }, "target": { "authority": "s-{index}:1" } }),
            json!({ "index": { "replicas": 9 }, "target": { "authority": "s-{index}:1" } }),
        ),
        (
            json!({ "index": { "hosts": ["a:1", "b:1", "c:1"] } }),
            json!({ "index": { "hosts": ["b:1", "a:1"] } }),
        ),
        (
            json!({ "shuffle_shard": { "hosts": ["a:1", "b:1", "c:1"] } }),
            json!({ "shuffle_shard": { "hosts": ["d:1", "b:1", "c:1", "a:1", "e:1"] } }),
        ),
    ] {
        let report = compare(&from, &to);
        assert!(is_near(&report) && report.moved > 0, "{from} {to}: {report}");
        assert_eq!(report.keys, KEYS);
    }
}

#[test]
fn nothing_moves_if_nothing_changes_and_all_move_if_the_size_does() {
    let same = compare(&shards(8, 2), &shards(8, 2));
    assert_eq!((same.moved, same.expected), (0, Some(0.0)));
    let grown = compare(&shards(8, 2), &shards(8, 3));
    assert_eq!(
        (grown.moved, grown.expected, grown.kept.len()),
        (KEYS, Some(KEYS as f64), 1),
        "the old ones stay"
    );
    let lua = compare(&with(shards(8, 2), "algorithm", json!("lua_djb2")), &shards(8, 2));
    assert_eq!(lua.expected, None);
    assert!(lua.moved > KEYS / 2);
}

#[test]
fn runtime_values_count_for_each_key() {
    let config = json!({
        "key": { "header": "x-id" }, "shuffle_shard": { "total_hosts": 8, "shard_size": 2 },
        "runtime": { "prefix": "p", "rtds": {} },
    });
    let live = Live {
        runtime: Some(br#"{"p.customer.tenant-7.shard_size": 3}"#.to_vec()),
        set: Vec::new(),
        endpoints: None,
    };
    let mut to = Subject::load(config.to_string().as_bytes(), None, &live).unwrap();
    let report = preview(&mut subject(&config), &mut to, keys(100).as_slice()).unwrap();
    assert_eq!((report.moved, report.expected), (1, Some(1.0)));
    assert_eq!(report.examples[0].key, "tenant-7");
    assert_eq!(report.to.shard_size, Some([2, 3]));
}

#[test]
fn the_overlap_of_two_keys_is_that_of_random_shards() {
    let report = compare(&shards(8, 2), &shards(9, 2));
    for (total, shares) in [(8.0, &report.overlap.before), (9.0, &report.overlap.after)] {
        let pairs = total * (total - 1.0) / 2.0;
        let none = (total - 2.0) * (total - 3.0) / 2.0 / pairs;
        let expected = [none, 1.0 - none - 1.0 / pairs, 1.0 / pairs];
        for (shared, expected) in expected.into_iter().enumerate() {
            assert!((shares[&shared] - expected).abs() < 0.02, "{shared} of {total}: {shares:?}");
        }
    }
}

#[test]
fn a_preview_needs_keys_and_owners() {
    let resolve = json!({ "resolve": {} });
    let compare = |to: &Value, keys: &[u8]| preview(&mut subject(&shards(8, 2)), &mut subject(to), keys);
    assert!(matches!(compare(&resolve, b"a\n"), Err(PreviewError::Resolver("--to"))));
    assert!(matches!(compare(&shards(8, 2), b"\n\r\n"), Err(PreviewError::NoKeys)));
    let report = compare(&shards(8, 2), b"a\r\nb\n\x01\n").unwrap();
    assert_eq!((report.keys, report.refused), (2, 1));
}

fn ask(config: &Value, question: &Question, live: Live) -> Report {
    let mut subject = Subject::load(config.to_string().as_bytes(), None, &live).unwrap();
    explain(&mut subject, question, None::<&[u8]>).unwrap()
}

fn of_key(key: &str) -> Question {
    Question { key: Some(key.into()), ..Question::default() }
}

#[test]
fn each_number_has_its_source() {
    let config = json!({
        "key": { "header": "x-id" }, "shuffle_shard": { "total_hosts": 8, "shard_size": 2 },
        "runtime": { "prefix": "p", "rtds": {} }, "metadata": "envoy.lb", "membership": { "cluster": "c" },
    });
    let set = |text: &str| text.parse::<SetValue>().unwrap();
    let sources = |runtime: &str, set: Vec<SetValue>| {
        let live = Live { runtime: (!runtime.is_empty()).then(|| runtime.into()), set, endpoints: None };
        let report = ask(&config, &of_key("a"), live);
        let [total, size] = [report.total_hosts, report.shard_size].map(Option::unwrap);
        assert!(report.to_string().lines().all(|line| line.chars().count() <= 80), "{report}");
        format!("{} {}, {} {}", total.value, total.source, size.value, size.source)
    };
    assert_eq!(sources("", vec![]), "8 plugin, 2 plugin");
    let all = || vec![set("membership.total_hosts=9"), set("cluster_metadata.total_hosts=10")];
    assert_eq!(sources("", all()[..1].to_vec()), "9 membership, 2 plugin");
    assert_eq!(sources("", all()), "10 cluster_metadata, 2 plugin");
    let mut route = all();
    route.push(set("route_metadata.shard_size=3"));
    assert_eq!(sources("", route), "10 cluster_metadata, 3 route_metadata");
    assert_eq!(sources(r#"{"p.total_hosts":12,"p.a.shard_size":4}"#, all()), "12 runtime, 4 runtime_key");
}

#[test]
fn a_number_that_the_filter_would_not_read_is_refused() {
    let live =
        Live { runtime: None, set: vec!["membership.total_hosts=9".parse().unwrap()], endpoints: None };
    let error = Subject::load(shards(8, 2).to_string().as_bytes(), None, &live).unwrap_err();
    assert!(error.to_string().contains("no `membership`"), "{error}");
    let live = Live {
        runtime: Some(b"{\"shuffle_sharding.total_hosts\": 3}".to_vec()),
        set: Vec::new(),
        endpoints: None,
    };
    let report = ask(&shards(8, 2), &of_key("a"), live);
    assert_eq!(report.total_hosts.unwrap().value, 3);
    assert!(report.warnings[0].contains("no `runtime`"));
}

#[test]
fn sharing_counts_all_keys_once() {
    let mut subject = subject(&shards(8, 2));
    let report = explain(&mut subject, &of_key("tenant-7"), Some(keys(10_000).as_slice())).unwrap();
    let sharing = report.sharing.as_ref().unwrap();
    assert_eq!(sharing.keys, 9_999, "without the key itself");
    assert_eq!(sharing.all.keys + sharing.part.keys + sharing.none.keys, sharing.keys);
    let near = |keys: u64, expected: Option<f64>| (keys as f64 - expected.unwrap()).abs() < 5.0 * 50.0;
    for group in [&sharing.all, &sharing.part, &sharing.none] {
        assert!(near(group.keys, group.expected) && group.keys > 100, "{report}");
    }
    assert!(report.to_string().lines().all(|line| line.chars().count() <= 80), "{report}");
    let mut resolve = self::subject(&json!({ "resolve": {} }));
    let error = explain(&mut resolve, &of_key("a"), Some(keys(1).as_slice())).unwrap_err();
    assert!(matches!(error, ExplainError::Resolver));
}

#[test]
fn a_resolver_call_is_described_without_its_secrets() {
    let config = json!({
        "key": { "parts": { "id": { "header": "x-id" }, "ns": { "header": "x-ns", "default": "prod" } } },
        "resolve": {
            "path": "/{ns}/{id}", "headers": { "x-api-key": "hush" }, "body": { "id": "{id}" }, "answer": { "name": "text" },
        },
        "target": { "header": { "name": "x-shard", "value": "{name}" } },
        "on_not_found": { "target": { "header": { "name": "x-shard", "value": "default" } } },
        "on_error": { "reject": 503 },
    });
    let question = Question { parts: vec![("id".into(), "a/b".into())], ..Question::default() };
    let report = ask(&config, &question, Live::default());
    let call = report.call.as_ref().unwrap();
    assert_eq!(
        (call.method, call.path.as_str(), call.body.as_deref()),
        ("POST", "/prod/a%2Fb", Some(r#"{"id":"a/b"}"#))
    );
    assert_eq!(report.on_not_found.as_ref().unwrap().target.as_deref(), Some("default"));
    assert_eq!(report.on_error.as_ref().unwrap().status, Some(503));
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!((&json["decision"], &json["key"]), (&json!("call"), &json!({ "id": "a/b", "ns": "prod" })));
    assert!(!json.to_string().contains("hush") && !report.to_string().contains("hush"));
}

#[test]
fn a_request_has_its_key_by_itself() {
    let config = json!({
        "key": { "host": "{key}.example.com" }, "template": {}, "target": { "authority": "e-{key}.svc:80" },
    });
    let question =
        |host: &str| Question { headers: vec![(":authority".into(), host.into())], ..Question::default() };
    let report = ask(&config, &question("Acme.example.com:443"), Live::default());
    assert_eq!(
        (report.key.as_str(), report.outcome.target.as_deref()),
        (Some("acme"), Some("e-acme.svc:80"))
    );
    let missing = ask(&config, &question("example.org"), Live::default());
    assert_eq!(
        (missing.outcome.status, missing.outcome.reason.as_deref()),
        (Some(400), Some("missing host"))
    );
    assert_eq!(ask(&config, &of_key("ACME"), Live::default()).key, "acme");
    assert_eq!(ask(&config, &of_key("a b"), Live::default()).outcome.status, Some(400));
    let outside = json!({ "index": {}, "path_prefix": "/join", "target": { "authority": "s-{index}:1" } });
    let at = |path: &str| Question { path: Some(path.into()), ..of_key("a") };
    assert_eq!(ask(&outside, &at("/other"), Live::default()).outcome.decision, "pass");
    assert_eq!(ask(&outside, &of_key("a"), Live::default()).outcome.decision, "route");
}

#[test]
fn hosts_that_vary_are_not_named() {
    let report = ask(&with(shards(8, 2), "pick", json!("random")), &of_key("a"), Live::default());
    assert_eq!((report.outcome.decision, report.outcome.host.as_ref()), ("any_host", None));
    assert_eq!(report.shard.as_ref().map(Vec::len), Some(2));
}
