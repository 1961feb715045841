//! What all strategies share, `index`, and `shuffle_shard`.

use crate::{Bench, get, shown, with_header};
use pinroute_core::decision::Verdict;
use pinroute_core::live::compile::Compiler;
use pinroute_core::live::snapshot::Snapshot;
use pinroute_core::live::value::{Scalar, Source};
use pinroute_core::metrics::Counter;
use std::sync::Arc;

const SHUFFLE: &str = r#"{"key":{"header":"x-customer-id"},"shuffle_shard":{"total_hosts":8,"shard_size":2},
    "target":{"header":{"name":"X-Target-Cluster","value":"backend_{index}"}},"response_headers":true}"#;

#[test]
fn the_filter_applies_under_its_path_prefix_and_while_it_is_enabled() {
    let mut bench = Bench::new("{}");
    assert_eq!(shown(bench.verdict(&get("/health?client_id=1"))), "pass");
    assert_eq!(shown(bench.verdict(&get("/join"))), "400 missing client_id");
    assert_eq!(shown(bench.verdict(&get("/join?client_id=%00"))), "400 invalid client_id");
    let empty = Snapshot::default();
    let mut compiler = Compiler::new("p", &empty);
    compiler.add("p.enabled", Scalar::Bool(false));
    bench.live.runtime = Some(Arc::new(compiler.finish(1).snapshot));
    assert_eq!(shown(bench.verdict(&get("/join"))), "503 pinroute disabled");
    assert_eq!(shown(bench.verdict(&get("/health"))), "pass", "there the route decides");
    let may_pass = [
        r#"{"allow_untouched":true}"#,
        r#"{"index":{},"target":{"header":{"name":"x-owner","value":"{index}"}}}"#,
        r#"{"shuffle_shard":{}}"#,
    ];
    for config in may_pass {
        bench = Bench { live: bench.live, ..Bench::new(config) };
        assert_eq!(shown(bench.verdict(&get("/join"))), "pass", "{config}");
    }
    let with_fallback = r#"{"target":{"header":{"name":"x-owner","value":"{hostport}"}},
            "fallback":{"index":{},"target":{"authority":"s-{index}:1"}}}"#;
    bench = Bench { live: bench.live, ..Bench::new(with_fallback) };
    assert_eq!(shown(bench.verdict(&get("/join"))), "503 pinroute disabled");
}

#[test]
fn on_error_continue_passes_a_request_on() {
    let mut bench = Bench::new(r#"{"on_missing_key":"continue","allow_untouched":true}"#);
    let verdict = bench.verdict(&get("/"));
    assert_eq!(verdict.counters().last(), Some(Counter::Passed));
    assert_eq!(shown(verdict), "continue: missing client_id");
}

#[test]
fn index_numbers_hosts_from_its_base() {
    let config =
        r#"{"index":{"mode":"numeric","replicas":3,"base":10},"target":{"dynamic_host":"h-{index}:81"}}"#;
    let mut bench = Bench::new(config);
    for (key, host) in [("0", "h-10 81"), ("4", "h-11 81"), ("-5", "h-12 81")] {
        assert_eq!(shown(bench.verdict(&get(&format!("/?client_id={key}")))), host);
    }
}

#[test]
fn index_names_hosts_by_their_place_in_the_list() {
    let mut bench = Bench::new(r#"{"index":{"hosts":["a:1","b:1"]},"allowed_targets":["b"]}"#);
    assert_eq!(shown(bench.verdict(&get("/?client_id=123"))), "b:1");
    assert_eq!(shown(bench.verdict(&get("/?client_id=124"))), "502 target not allowed");
}

#[test]
fn owned_headers_are_the_targets_and_the_shards() {
    let bench = Bench::new(SHUFFLE);
    let owned: Vec<&str> = bench.router.owned_headers().iter().map(|name| &**name).collect();
    assert_eq!(owned, ["x-shard-assignment", "x-shard-config", "x-target-host", "x-target-cluster"]);
    assert!(bench.router.response_headers());
    let resolve =
        Bench::new(r#"{"fallback":{"index":{},"target":{"header":{"name":"x-owner","value":"{index}"}}}}"#);
    assert_eq!(resolve.router.owned_headers().len(), 1, "the fallback's target counts too");
}

#[test]
fn a_shard_is_computed_again_when_its_numbers_change() {
    let mut bench = Bench::new(SHUFFLE);
    let request = with_header(get("/"), "x-customer-id", "customer-A");
    let routed = |bench: &mut Bench| match bench.verdict(&request) {
        Verdict::Route(route) => route,
        other => panic!("{other:?}"),
    };
    let route = routed(&mut bench);
    let headers: Vec<_> = route.shard_headers().map(|(name, value)| format!("{name}: {value}")).collect();
    assert_eq!(headers[1], "x-shard-config: 2/8");
    assert_eq!(route.total.unwrap().source, Source::Plugin);
    let shard = route.shard.unwrap();
    assert!(shard.hosts.contains(&route.host.name.parse().unwrap()));
    assert!(Arc::ptr_eq(&shard, &routed(&mut bench).shard.unwrap()), "remembered");

    let empty = Snapshot::default();
    let mut compiler = Compiler::new("p", &empty);
    compiler.add("p.total_hosts", Scalar::Number(12.0));
    compiler.add("p.customer.customer-A.shard_size", Scalar::Number(3.0));
    bench.live.runtime = Some(Arc::new(compiler.finish(1).snapshot));
    let route = routed(&mut bench);
    assert_eq!(route.shard.as_ref().unwrap().config, "3/12");
    assert_eq!(route.shard_size.unwrap().source, Source::RuntimeKey);
    assert_eq!(
        route.to_string(),
        format!("{} (hosts: 12 from runtime; shard size: 3 from runtime_key)", route.host.name)
    );
}

#[test]
fn keys_take_turns_separately_for_each_number_of_hosts() {
    let mut bench = Bench::new(r#"{"shuffle_shard":{"total_hosts":4,"shard_size":2,"pick":"round_robin"}}"#);
    let empty = Snapshot::default();
    let mut compiler = Compiler::new("p", &empty);
    compiler.add("p.total_hosts", Scalar::Number(9.0));
    let other = Some(Arc::new(compiler.finish(1).snapshot));
    let mut picked = |runtime| {
        bench.live.runtime = runtime;
        shown(bench.verdict(&get("/?client_id=1")))
    };
    // As two routes with different numbers in their metadata do.
    let turns: Vec<_> = (0..8).map(|_| (picked(None), picked(other.clone()))).collect();
    for pair in turns.windows(2) {
        assert!(pair[0].0 != pair[1].0 && pair[0].1 != pair[1].1, "{turns:?}");
    }
}

#[test]
fn each_way_to_pick_stays_in_the_shard() {
    for (pick, expected) in
        [(r#""path""#, 1), (r#"{"header":"x-session"}"#, 1), (r#""random""#, 3), (r#""round_robin""#, 3)]
    {
        let config = format!(
            r#"{{"key":{{"header":"x-customer-id"}},"shuffle_shard":{{"total_hosts":20,"shard_size":3,"pick":{pick}}}}}"#
        );
        let mut bench = Bench::new(&config);
        let request = with_header(with_header(get("/a"), "x-customer-id", "c"), "x-session", "s");
        let mut counts = std::collections::BTreeMap::<String, u32>::new();
        for _ in 0..300 {
            let Verdict::Route(route) = bench.verdict(&request) else { panic!("routed") };
            assert!(route.shard.unwrap().hosts.contains(&route.host.name.parse().unwrap()));
            *counts.entry(route.host.name.clone()).or_default() += 1;
        }
        assert_eq!(counts.len(), expected, "{pick}: {counts:?}");
        if pick.contains("robin") {
            assert!(counts.values().all(|count| *count == 100), "{counts:?}");
        }
    }
}

#[test]
fn the_order_of_named_hosts_does_not_matter() {
    let hosts = |list: &str| {
        let config = format!(r#"{{"shuffle_shard":{{"hosts":{list},"shard_size":2}}}}"#);
        let mut bench = Bench::new(&config);
        (0..50).map(|key| shown(bench.verdict(&get(&format!("/?client_id={key}"))))).collect::<Vec<_>>()
    };
    assert_eq!(hosts(r#"["a:1","b:1","c:1"]"#), hosts(r#"["c:1","a:1","b:1"]"#));
}
