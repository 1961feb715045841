//! `explain` finds the key in requests as people write them, and says what an operator needs.
#![allow(clippy::unwrap_used)]

use pinroute_inspect::explain::{ExplainError, Question, Report, explain, list};
use pinroute_inspect::preview;
use pinroute_inspect::{Live, Subject};
use serde_json::{Value, json};

fn subject(config: &Value) -> Subject {
    Subject::load(config.to_string().as_bytes(), None, &Live::default()).unwrap()
}

fn ask(config: &Value, question: &Question) -> Report {
    let report = explain(&mut subject(config), question, None::<&[u8]>).unwrap();
    assert!(report.to_string().lines().all(|line| line.chars().count() <= 80), "{report}");
    report
}

fn of_key(key: &str) -> Question {
    Question { key: Some(key.into()), ..Question::default() }
}

fn shards(total: u32, size: u32) -> Value {
    json!({ "key": { "header": "x-id" }, "shuffle_shard": { "total_hosts": total, "shard_size": size } })
}

/// A recipe, and the path and the headers of its request.
type OfRecipe = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// The requests in the comments at the top of the recipes, as the filter sees them.
const REQUESTS: [OfRecipe; 12] = [
    ("cell-by-cookie", "/echo", &[("Cookie", "force-cell=cell-2")]),
    ("engine-by-name", "/echo", &[("x-engine", "2")]),
    ("key-from-connection", "/echo", &[("x-client-key", "127.0.0.1")]),
    ("key-from-jwt", "/echo", &[("x-jwt-tenant", "acme")]),
    ("key-in-path", "/t/acme/echo?x=1", &[]),
    ("open-keys", "/echo", &[("host", "2.engines.example")]),
    ("owner-in-redis", "/echo", &[("x-tenant", "acme")]),
    ("pin-in-cluster", "/echo", &[("cookie", "sid=7")]),
    ("room-by-path", "/ws/room/42/chat", &[]),
    ("sandbox-by-port-and-id", "/echo", &[("Host", "8081-a1b2.sandbox.example.com")]),
    ("tenant-by-subdomain", "/echo", &[(":authority", "acme.example.com")]),
    ("wait-for-host", "/join?client_id=7", &[]),
];

#[test]
fn every_recipe_finds_the_key_in_its_request() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../envoy/recipes");
    for (recipe, path, headers) in REQUESTS {
        let file = std::fs::read(format!("{folder}/{recipe}.yaml")).unwrap();
        let mut subject = Subject::load(&file, None, &Live::default()).expect(recipe);
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let question = Question { path: Some(path.to_owned()), headers, ..Question::default() };
        let report = explain(&mut subject, &question, None::<&[u8]>).unwrap();
        assert!(matches!(report.outcome.decision, "route" | "call"), "{recipe}:\n{report}");
        assert!(!report.key.is_null() && report.outcome.reason.is_none(), "{recipe}:\n{report}");
        assert!(report.to_string().lines().all(|line| line.chars().count() <= 80), "{recipe}:\n{report}");
    }
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), REQUESTS.len(), "a recipe has no request here");
}

#[test]
fn a_resolver_that_fails_is_described_as_the_log_does() {
    let mut config = json!({
        "key": { "header": "x-id" },
        "resolve": { "timeout": "0.25s", "cache": { "ttl": "30s", "stale_if_error": "600s" } },
        "allowed_targets": ["s-*:8081", "t-*:8081"],
    });
    let report = ask(&config, &of_key("7"));
    let text = report.to_string();
    for line in [
        "\n  timeout      0.25s\n",
        "\n  cache        ttl 30s, stale_if_error 600s\n",
        "\nonly to        s-*:8081, t-*:8081\n",
        "\nif it fails    error response 502: resolver returned 503 (unreachable) or 504",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["on_error"]["status"], 502);
    assert_eq!(json["on_error"]["reason"], "resolver returned 503 (unreachable) or 504 (after 250ms)");
    assert_eq!(json["call"]["timeout_seconds"], 0.25);
    assert_eq!(json["call"]["cache"], json!({ "ttl_seconds": 30.0, "stale_if_error_seconds": 600.0 }));
    assert_eq!(json["allowed_targets"], json!(["s-*:8081", "t-*:8081"]));
    config["on_error"] = json!("continue");
    config["allow_untouched"] = json!(true);
    let report = ask(&config, &of_key("7"));
    assert!(report.to_string().contains("passes on untouched (resolver returned 503 "), "{report}");
}

#[test]
fn other_keys_need_a_key_to_be_compared_with() {
    let mut subject = subject(&shards(8, 2));
    let error = explain(&mut subject, &Question::default(), Some(&b"a\n"[..])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no key to compare the others with; give --key, --part, or a request with `x-id`: --path, --header"
    );
    let long = of_key(&"a".repeat(300));
    let error = explain(&mut subject, &long, Some(&b"a\n"[..])).unwrap_err();
    assert!(matches!(error, ExplainError::InvalidKey(_)), "{error}");
    let mut out = Vec::new();
    assert!(list(&mut subject, &Question::default(), &b"a\n"[..], &mut out).is_err() && out.is_empty());
}

#[test]
fn a_list_has_every_key_and_agrees_with_the_summary() {
    let keys: String = (0..1000).map(|number| format!("tenant-{number}\n")).collect();
    let keys = format!("{keys}\x01\n");
    let mut subject = subject(&shards(8, 2));
    let mut out = Vec::new();
    let refused = list(&mut subject, &of_key("tenant-7"), keys.as_bytes(), &mut out).unwrap();
    let out = String::from_utf8(out).unwrap();
    let count = |word: &str| out.lines().filter(|line| line.ends_with(&format!("\t{word}"))).count() as u64;
    let report = explain(&mut subject, &of_key("tenant-7"), Some(keys.as_bytes())).unwrap();
    let sharing = report.sharing.as_ref().unwrap();
    let groups = [&sharing.all, &sharing.part, &sharing.none].map(|group| group.keys);
    assert_eq!(["all", "some", "none"].map(count), groups);
    assert_eq!((out.lines().count(), refused, sharing.refused), (999, 1, 1));
    let text = report.to_string();
    let more = format!("… and {} more", sharing.all.keys - 10);
    assert!(text.split_whitespace().collect::<Vec<_>>().join(" ").contains(&more), "{more}\n{text}");
    for part in ["Of 999 other keys\n  same shard   ", "\n  overlapping  ", "\n  disjoint     "] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(text.contains("for the path / (no --path given)"), "{text}");
    assert!(text.contains("skipped 1 lines that are no key or not routed"), "{text}");
}

#[test]
fn a_list_of_a_preview_has_the_keys_that_move() {
    let index = |replicas: u32| {
        subject(&json!({
            "key": { "header": "x-id" }, "index": { "replicas": replicas }, "target": { "authority": "s-{index}:1" },
        }))
    };
    let keys: String = (0..100).map(|number| format!("{number}\n")).collect();
    let mut out = Vec::new();
    let refused = preview::list(&mut index(2), &mut index(4), keys.as_bytes(), &mut out).unwrap();
    let report = preview::preview(&mut index(2), &mut index(4), keys.as_bytes()).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert_eq!((out.lines().count() as u64, refused), (report.moved, 0));
    assert_eq!(out.lines().next(), Some("0\ts-2:1\ts-4:1"));
    assert!(report.to_string().contains(&format!("\n  … and {} more\n", report.moved - 10)), "{report}");
}

#[test]
fn shards_of_all_hosts_are_not_isolated_whatever_the_source() {
    let isolated = ask(&shards(8, 2), &of_key("a"));
    assert_eq!(isolated.warnings, [""; 0]);
    let config = json!({
        "key": { "header": "x-id" }, "shuffle_shard": { "total_hosts": 8, "shard_size": 2 },
        "runtime": { "prefix": "p", "rtds": {} },
    });
    let with = |runtime: &str| {
        let live = Live { runtime: Some(runtime.into()), set: Vec::new(), endpoints: None };
        let mut subject = Subject::load(config.to_string().as_bytes(), None, &live).unwrap();
        explain(&mut subject, &of_key("a"), None::<&[u8]>).unwrap()
    };
    let report = with("p.customer.a.shard_size: 9");
    assert_eq!(report.warnings, ["not isolated: shards of 9 out of 8 hosts"]);
    assert!(
        report.to_string().contains("9 from runtime, for this key: p.customer.a.shard_size\n"),
        "{report}"
    );
    let report = with("p.total_hosts: 2");
    assert_eq!(report.warnings, ["not isolated: shards of 2 out of 2 hosts"]);
    assert!(report.to_string().contains("2 from runtime: p.total_hosts\n"), "{report}");
    assert_eq!(with("q.total_hosts: 2").warnings, ["no value begins with p."]);
}

#[test]
fn a_configuration_is_named_by_its_line_too() {
    let file = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../envoy/per-route.yaml")).unwrap();
    let checked = pinroute_inspect::check::check("f", &file).unwrap();
    for found in checked.configurations {
        let by_name = Subject::load(&file, Some(&found.name), &Live::default()).unwrap();
        let line = found.line.unwrap().to_string();
        let by_line = Subject::load(&file, Some(&line), &Live::default()).unwrap();
        assert_eq!(by_name.config, by_line.config, "{}", found.name);
    }
    let error = Subject::load(&file, Some("1"), &Live::default()).unwrap_err();
    assert!(error.to_string().starts_with("no configuration `1`; "), "{error}");
}

/// The answer of `/clusters?format=json`: hosts by name, with the last bytes of their addresses; those below 0 are unhealthy.
fn endpoints(hosts: &[(&str, i32)]) -> Live {
    let status = |(name, last): &(&str, i32)| {
        json!({ "hostname": name, "health_status": { "failed_active_health_check": *last < 0 },
            "address": { "socket_address": { "address": format!("10.0.0.{}", last.abs()), "port_value": 80 } } })
    };
    let statuses: Vec<_> = hosts.iter().map(status).collect();
    let body = json!({ "cluster_statuses": [{ "name": "fleet", "host_statuses": statuses }] });
    Live { endpoints: Some(body.to_string().into_bytes()), ..Live::default() }
}

#[test]
fn endpoints_are_assumed_and_the_order_is_shown() {
    let config = json!({
        "key": { "header": "x-id" }, "shuffle_shard": { "hosts_from": "fleet", "shard_size": 2 },
        "target": { "endpoints": { "header": "x-list" } }, "membership": { "cluster": "fleet" },
    });
    let bytes = config.to_string();
    let explained = |live: &Live| {
        let mut subject = Subject::load(bytes.as_bytes(), None, live).unwrap();
        explain(&mut subject, &of_key("a"), None::<&[u8]>).unwrap()
    };
    let report = explained(&Live::default());
    assert_eq!(report.outcome.status, Some(503), "{report}");
    assert!(report.to_string().contains("no endpoints given"), "{report}");
    let report = explained(&endpoints(&[("x", 1), ("y", -2)]));
    assert_eq!(
        report.outcome.target.as_deref(),
        Some("10.0.0.1:80,10.0.0.2:80"),
        "the unhealthy one is last"
    );
    assert_eq!(report.outcome.host.as_deref(), Some("x"));
    let mut shard = report.shard.clone().unwrap();
    shard.sort();
    assert_eq!(shard, ["x", "y"]);
    assert_eq!(report.total_hosts.map(|number| (number.value, number.source)), Some((2, "membership")));
    let other = Live { endpoints: Some(b"{}".to_vec()), ..Live::default() };
    let error = Subject::load(bytes.as_bytes(), None, &other).unwrap_err().to_string();
    assert!(error.starts_with("endpoints: none of the cluster fleet; allowed: "), "{error}");

    let side = |hosts: &[(&str, i32)]| Subject::load(bytes.as_bytes(), None, &endpoints(hosts)).unwrap();
    let keys: String = (0..300).map(|number| format!("tenant-{number}\n")).collect();
    let all = [("a", 1), ("b", 2), ("c", 3), ("d", 4)];
    let moved = preview::preview(
        &mut side(&all),
        &mut side(&[("a", 9), ("b", -2), ("c", 3), ("d", 4)]),
        keys.as_bytes(),
    );
    assert_eq!(moved.unwrap().moved, 0, "a new address and health move nobody");
    let gone = preview::preview(&mut side(&all), &mut side(&all[..3]), keys.as_bytes()).unwrap();
    assert!((120..180).contains(&gone.moved), "{} of 300, expected one half", gone.moved);
}
