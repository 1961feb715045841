//! The promises that hold for each single shard: the second half of 3, 4 and 7.

use pinroute_core::shard::{Algorithm, Assigner, Hosts, Scratch};

use crate::checks::host_added;
use crate::families::FAMILIES;
use crate::stats::binomial;
use crate::{assigner, holds};

const KEYS: u64 = 500;

fn names(hosts: u32) -> Vec<String> {
    (0..hosts).map(|number| format!("backend-{number}.internal:8080")).collect()
}

/// Shards of named hosts, as places in the list.
fn named(list: &[String]) -> impl FnMut(&str, u32) -> Vec<u32> {
    let (assigner, mut scratch) =
        (Assigner::new(Algorithm::Rendezvous, &Hosts::Named(list.to_vec()), None), Scratch::default());
    move |key, size| {
        let mut shard = Vec::new();
        assigner.assign(key.as_bytes(), 0, size, &mut scratch, &mut shard);
        shard
    }
}

/// `before` has one member more than the shard had; it moves up if `gone` was in the shard.
#[track_caller]
fn assert_replaced(before: &[u32], after: &[u32], gone: u32) {
    let mut expected: Vec<u32> = before.iter().copied().filter(|host| *host != gone).collect();
    expected.truncate(after.len());
    assert_eq!(after, expected, "{before:?} without {gone}");
}

#[test]
fn promise_3_any_named_host_can_leave() {
    for (hosts, size) in [(8, 2), (20, 4)] {
        let all = names(hosts);
        let mut before = named(&all);
        for gone in 0..hosts {
            let mut rest = all.clone();
            rest.remove(gone as usize);
            let mut after = named(&rest);
            for family in &FAMILIES {
                let mut changed = 0;
                for key in (0..KEYS).map(family.key) {
                    let old = before(&key, size);
                    // Places after the one that is gone have moved up by one.
                    let new: Vec<u32> =
                        after(&key, size).iter().map(|place| place + u32::from(*place >= gone)).collect();
                    assert_eq!(
                        new != old,
                        old.contains(&gone),
                        "{key}: {old:?} became {new:?} without {gone}"
                    );
                    assert_replaced(&before(&key, size + 1), &new, gone);
                    changed += u64::from(new != old);
                }
                let share = f64::from(size) / f64::from(hosts);
                holds(&format!("{gone} of {hosts} leaves, {}", family.name), binomial(changed, KEYS, share));
            }
        }
    }
}

#[test]
fn promise_3_the_last_numbered_host_can_leave() {
    let mut assign = assigner(Algorithm::Rendezvous, None);
    for family in &FAMILIES {
        for (hosts, size) in [(8, 2), (20, 4), (32, 12)] {
            for key in (0..KEYS).map(family.key) {
                let old = assign(&key, hosts, size);
                let new = assign(&key, hosts - 1, size);
                assert_eq!(new != old, old.contains(&(hosts - 1)));
                assert_replaced(&assign(&key, hosts, size + 1), &new, hosts - 1);
            }
        }
    }
}

#[test]
fn promise_3_a_named_host_can_join_anywhere_in_the_list() {
    let old_names = names(12);
    let mut before = named(&old_names);
    for place in 0..=12 {
        let mut all = old_names.clone();
        all.insert(place, "newcomer.internal:8080".to_owned());
        let mut after = named(&all);
        let place = u32::try_from(place).unwrap();
        for family in &FAMILIES {
            for key in (0..KEYS).map(family.key) {
                let old: Vec<u32> =
                    before(&key, 3).iter().map(|host| host + u32::from(*host >= place)).collect();
                host_added(&old, &after(&key, 3), place).unwrap();
            }
        }
    }
}

#[test]
fn promise_4_a_shard_is_a_prefix_of_the_next_larger_one() {
    for seed in [None, Some("a secret")] {
        let mut assign = assigner(Algorithm::Rendezvous, seed);
        for family in &FAMILIES {
            for key in (0..KEYS).map(family.key) {
                for hosts in [1, 8, 33] {
                    let all = assign(&key, hosts, hosts);
                    for size in 0..hosts {
                        assert_eq!(assign(&key, hosts, size), all[..size as usize]);
                    }
                }
            }
        }
    }
}

#[test]
fn promise_7_the_order_of_the_list_does_not_matter() {
    let list = names(20);
    let mut orders = vec![list.clone(); 4];
    orders[0].reverse();
    orders[1].rotate_left(7);
    orders[2].sort();
    orders[3].sort_by_key(|name| pinroute_core::hash::fnv1a_64(name.as_bytes()));
    let mut listed = named(&list);
    for order in orders {
        assert_ne!(order, list);
        let mut reordered = named(&order);
        for family in &FAMILIES {
            for key in (0..KEYS).map(family.key) {
                for size in [1, 4, 20] {
                    let by_name = |shard: Vec<u32>, list: &[String]| {
                        shard.into_iter().map(|place| list[place as usize].clone()).collect::<Vec<_>>()
                    };
                    assert_eq!(
                        by_name(reordered(&key, size), &order),
                        by_name(listed(&key, size), &list),
                        "{key}"
                    );
                }
            }
        }
    }
}

#[test]
fn promise_7_hosts_named_by_their_numbers_are_the_numbered_hosts() {
    let names: Vec<String> = (0..20).map(|number: u32| number.to_string()).collect();
    let mut by_name = named(&names);
    let mut by_number = assigner(Algorithm::Rendezvous, None);
    for key in (0..KEYS).map(FAMILIES[0].key) {
        assert_eq!(by_name(&key, 4), by_number(&key, 20, 4));
    }
}

#[test]
fn promise_7_the_edges_of_the_range() {
    let edges = [(0, 0), (0, 3), (1, 0), (1, 1), (1, 2), (5, 0), (5, 5), (5, 6), (5, u32::MAX)];
    for algorithm in [Algorithm::Rendezvous, Algorithm::LuaDjb2] {
        let mut assign = assigner(algorithm, None);
        for key in ["", "customer-A", "\0", "ключ"] {
            for (hosts, size) in edges {
                let mut shard = assign(key, hosts, size);
                assert_eq!(shard, assign(key, hosts, size));
                assert_eq!(shard.len() as u32, size.min(hosts), "{algorithm:?} {key:?} {hosts} {size}");
                if size >= hosts {
                    shard.sort_unstable();
                    assert_eq!(shard, (0..hosts).collect::<Vec<_>>(), "all hosts, each once");
                }
            }
        }
    }
}

#[test]
fn promise_7_nobody_named_and_a_name_given_twice() {
    assert_eq!(named(&[])("customer-A", 3), Vec::<u32>::new());
    // The configuration refuses duplicates. Here they are two hosts side by side, the first one better.
    let twice = ["a", "b", "a", "c"].map(str::to_owned);
    let mut assign = named(&twice);
    for key in (0..KEYS).map(FAMILIES[0].key) {
        let all = assign(&key, 9);
        assert_eq!(all.len(), 4);
        let first = all.iter().position(|place| *place == 0).unwrap();
        assert_eq!(all[first + 1], 2, "{all:?}");
    }
}

#[test]
fn promise_7_what_was_assigned_before_does_not_matter() {
    let mut reused = assigner(Algorithm::Rendezvous, None);
    for family in &FAMILIES {
        for (number, key) in (0..KEYS).map(|number| (number, (family.key)(number))) {
            for (hosts, size) in [(20, 4), (1000, 8), (3, 3), (0, 0), (8, 2), (1, 1), (100, 70)] {
                let shard = reused(&key, hosts, size);
                if number % 10 == 0 {
                    assert_eq!(shard, assigner(Algorithm::Rendezvous, None)(&key, hosts, size));
                }
                assert_eq!(shard, reused(&key, hosts, size));
            }
        }
    }
}
