//! Hosts that are the endpoints of a cluster, and lists of addresses in the order in which they are to be tried.

use super::*;
use pinroute_core::live::endpoints::{Endpoints, Identity, Reported};
use std::collections::BTreeSet;

const SHUFFLE: &str = r#"{"key":{"header":"x-key"},"shuffle_shard":{"hosts_from":"fleet","shard_size":3},
    "target":{"endpoints":{"header":"X-Endpoints"}},"membership":{"cluster":"fleet"}}"#;

/// Endpoints by the names of their hosts and their addresses; those that end with `!` are unhealthy.
fn endpoints(list: &[(&str, &str)]) -> Option<Arc<Endpoints>> {
    let reported = list.iter().map(|(name, address)| {
        let identity = match (name.parse(), *name) {
            (Ok(number), _) => Some(Identity::Number(number)),
            (Err(_), "") => None,
            (Err(_), name) => Some(Identity::Hostname(name.to_owned())),
        };
        Reported::new(identity, address.trim_end_matches('!'), 80, !address.ends_with('!')).unwrap()
    });
    Endpoints::new(&reported.collect::<Vec<_>>()).map(Arc::new)
}

/// Hosts `a`, `b`, … at 10.0.0.1, 10.0.0.2, …
fn fleet(count: u8) -> Vec<(String, String)> {
    (0..count).map(|at| (char::from(b'a' + at).to_string(), format!("10.0.0.{}", at + 1))).collect()
}

fn set(bench: &mut Bench, fleet: &[(String, String)]) {
    let list: Vec<_> = fleet.iter().map(|(name, address)| (name.as_str(), address.as_str())).collect();
    bench.live.endpoints = endpoints(&list);
}

/// The addresses for a key, or the error.
fn list(bench: &mut Bench, key: &str, path: &str) -> Result<Vec<String>, String> {
    let text = shown(bench.verdict(&with_header(get(path), "x-key", key)));
    let addresses =
        text.strip_prefix("x-endpoints: ").map(|list| list.split(',').map(str::to_owned).collect());
    addresses.ok_or(text)
}

fn set_of(bench: &mut Bench, key: &str) -> BTreeSet<String> {
    list(bench, key, "/").unwrap().into_iter().collect()
}

#[test]
fn the_list_begins_with_the_picked_host_and_has_the_shard_in_its_order() {
    let mut bench = Bench::new(SHUFFLE);
    set(&mut bench, &fleet(8));
    let lists: BTreeSet<Vec<String>> =
        (0..50).map(|number| list(&mut bench, "k", &format!("/{number}")).unwrap()).collect();
    assert_eq!(lists.len(), 3, "one for each host that may be picked: {lists:?}");
    let mut rank = lists.iter().next().unwrap().clone();
    for _ in 0..3 {
        assert!(lists.contains(&rank), "{rank:?} of {lists:?}");
        rank.rotate_left(1);
    }
    let Verdict::Route(route) = bench.verdict(&with_header(get("/"), "x-key", "k")) else { panic!() };
    let shard = route.shard.as_ref().unwrap();
    assert_eq!((shard.config.as_str(), shard.assignment.len()), ("3/8", "a,b,c".len()));
    assert!(shard.assignment.contains(&route.host.name), "{}", route.host.name);
}

#[test]
fn unhealthy_addresses_come_last_and_are_never_replaced() {
    let mut bench = Bench::new(SHUFFLE);
    let mut all = fleet(8);
    set(&mut bench, &all);
    let healthy = list(&mut bench, "k", "/").unwrap();
    let place = |address: &str| {
        address.trim_end_matches(":80").rsplit('.').next().unwrap().parse::<usize>().unwrap() - 1
    };
    all[place(&healthy[0])].1.push('!');
    set(&mut bench, &all);
    let expected = [healthy[1].clone(), healthy[2].clone(), healthy[0].clone()];
    assert_eq!(list(&mut bench, "k", "/").unwrap(), expected);
    for address in &healthy[1..] {
        all[place(address)].1.push('!');
    }
    set(&mut bench, &all);
    assert_eq!(list(&mut bench, "k", "/").unwrap(), healthy, "all are tried in their order");
    let mut rejecting = Bench::new(&SHUFFLE.replacen('{', r#"{"on_shard_down":"reject","#, 1));
    set(&mut rejecting, &all);
    assert_eq!(list(&mut rejecting, "k", "/").unwrap_err(), "503 no healthy host in the shard");
    all[place(&healthy[2])].1.pop();
    set(&mut rejecting, &all);
    assert_eq!(list(&mut rejecting, "k", "/").unwrap()[0], healthy[2], "one healthy host is enough");
}

#[test]
fn without_endpoints_nobody_knows_where_to_go() {
    let mut bench = Bench::new(SHUFFLE);
    assert_eq!(list(&mut bench, "k", "/").unwrap_err(), "503 no endpoints known");
    let mut index = Bench::new(&SHUFFLE.replace(
        r#""shuffle_shard":{"hosts_from":"fleet","shard_size":3}"#,
        r#""index":{"hosts_from":"fleet"}"#,
    ));
    assert_eq!(list(&mut index, "k", "/").unwrap_err(), "503 no endpoints known");
    set(&mut index, &fleet(4));
    let all: BTreeSet<_> = (0..100).map(|key| list(&mut index, &key.to_string(), "/").unwrap()).collect();
    assert!(all.len() == 4 && all.iter().all(|list| list.len() == 1), "{all:?}");
}

#[test]
fn a_host_at_a_new_address_moves_nobody_and_one_that_comes_back_moves_them_back() {
    let mut bench = Bench::new(SHUFFLE);
    let all = fleet(8);
    let keys: Vec<String> = (0..400).map(|key| format!("customer-{key}")).collect();
    let shards = |bench: &mut Bench, fleet: &[(String, String)]| {
        set(bench, fleet);
        keys.iter().map(|key| set_of(bench, key)).collect::<Vec<_>>()
    };
    let before = shards(&mut bench, &all);
    let mut moved = all.clone();
    moved[2].1 = "10.0.9.9".to_owned();
    let renamed = |shard: &BTreeSet<String>| {
        shard.iter().map(|one| one.replace("10.0.0.3:", "10.0.9.9:")).collect::<BTreeSet<_>>()
    };
    assert_eq!(shards(&mut bench, &moved), before.iter().map(renamed).collect::<Vec<_>>());
    let mut without = all.clone();
    without.remove(2);
    let after = shards(&mut bench, &without);
    let changed = before.iter().zip(&after).filter(|(before, after)| before != after).count();
    let held = before.iter().filter(|shard| shard.contains("10.0.0.3:80")).count();
    assert_eq!(changed, held, "exactly the shards that held it");
    assert!(before.iter().zip(&after).all(|(before, after)| before.intersection(after).count() >= 2));
    assert_eq!(shards(&mut bench, &all), before);
}

#[test]
fn a_numbered_host_keeps_its_place_while_it_is_down() {
    let mut bench = Bench::new(SHUFFLE);
    let all: Vec<(String, String)> =
        (0..8).map(|number| (number.to_string(), format!("10.0.0.{}", number + 1))).collect();
    set(&mut bench, &all);
    let keys: Vec<String> = (0..200).map(|key| format!("customer-{key}")).collect();
    let before: Vec<_> = keys.iter().map(|key| set_of(&mut bench, key)).collect();
    let assigner = pinroute_core::shard::Assigner::new(
        pinroute_core::shard::Algorithm::Rendezvous,
        &pinroute_core::shard::Hosts::Numbered,
        None,
    );
    let (mut scratch, mut shard) = (pinroute_core::shard::Scratch::default(), Vec::new());
    for (key, before) in keys.iter().zip(&before) {
        assigner.assign(key.as_bytes(), 8, 3, &mut scratch, &mut shard);
        let expected: BTreeSet<_> = shard.iter().map(|number| format!("10.0.0.{}:80", number + 1)).collect();
        assert_eq!(*before, expected, "the same hosts as by number");
    }
    let mut without = all.clone();
    without.remove(2);
    set(&mut bench, &without);
    for (key, before) in keys.iter().zip(&before) {
        let mut expected = before.clone();
        expected.remove("10.0.0.3:80");
        assert_eq!(set_of(&mut bench, key), expected);
    }
}

#[test]
fn listed_addresses_need_no_source() {
    let mut bench = Bench::new(
        r#"{"key":{"header":"x-key"},"shuffle_shard":{"hosts":["10.0.0.1:80","[2001:DB8::1]:80","10.0.0.3:80"],"shard_size":3},
            "target":{"endpoints":{"header":"x-endpoints"}}}"#,
    );
    let expected: BTreeSet<_> = ["10.0.0.1:80", "10.0.0.3:80", "[2001:db8::1]:80"].map(str::to_owned).into();
    assert_eq!(set_of(&mut bench, "k"), expected);
}

#[test]
fn the_list_of_allowed_targets_holds_for_every_address() {
    let mut bench = Bench::new(&SHUFFLE.replacen('{', r#"{"allowed_targets":["10.0.0.*:80"],"#, 1));
    set(&mut bench, &fleet(3));
    assert_eq!(set_of(&mut bench, "k").len(), 3);
    bench.live.endpoints = endpoints(&[("a", "10.0.0.1"), ("b", "10.0.1.1"), ("c", "10.0.0.3")]);
    assert_eq!(list(&mut bench, "k", "/").unwrap_err(), "502 target not allowed");
}

#[test]
fn a_resolver_may_answer_with_a_list_or_one_address() {
    let config = |answer: &str| {
        format!(
            r#"{{"resolve":{{"answer":{answer},"cache":{{"ttl":"5s"}}}},"target":{{"endpoints":{{"header":"x-endpoints"}}}}}}"#
        )
    };
    let ask = |bench: &mut Bench, body: &str| {
        bench.send(&get("/?client_id=1"), 7);
        bench.respond(7, 200, body).remove(0).1
    };
    let mut bench = Bench::new(&config(r#"{"hostports":"/owners"}"#));
    let body = r#"{"owners":["10.0.0.2:80","10.0.0.1:80"]}"#;
    assert_eq!(ask(&mut bench, body), "x-endpoints: 10.0.0.2:80,10.0.0.1:80");
    assert_eq!(shown(bench.verdict(&get("/?client_id=1"))), "x-endpoints: 10.0.0.2:80,10.0.0.1:80", "cached");
    for (body, expected) in [
        (r#"{"owners":[]}"#, "502 no hostports in resolver body"),
        (r#"{"owners":["10.0.0.1:80","127.0.0.1:80"]}"#, "502 target not allowed"),
        (r#"{"owners":["10.0.0.1:80","a:80"]}"#, "502 target not allowed"),
        (r#"{"owners":["10.0.0.1:80,10.0.0.2:80"]}"#, "502 target not allowed"),
        (r#"{"owners":["10.0.0.1"]}"#, "502 target not allowed"),
    ] {
        assert_eq!(ask(&mut Bench::new(&config(r#"{"hostports":"/owners"}"#)), body), expected, "{body}");
    }
    let mut one = Bench::new(&config(r#"{"hostport":"/owner"}"#));
    assert_eq!(ask(&mut one, r#"{"owner":"10.0.0.2:80"}"#), "x-endpoints: 10.0.0.2:80");
    let mut name = Bench::new(&config(r#"{"hostport":"/owner"}"#));
    assert_eq!(ask(&mut name, r#"{"owner":"a:80"}"#), "502 target not allowed");
}

#[test]
fn the_header_is_owned() {
    let bench = Bench::new(SHUFFLE);
    assert!(bench.router.owned_headers().iter().any(|name| &**name == "x-endpoints"));
}
