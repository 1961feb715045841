//! The checks catch hashes that break the promises, also those that a test of the hosts' load lets pass.

use std::cmp::Reverse;

use pinroute_core::hash::fnv1a_64;
use pinroute_core::hash::mix;
use pinroute_core::shard::Algorithm;

use crate::checks::{all_sets, covered, load, one_host_more, overlap, uniform};
use crate::families::FAMILIES;
use crate::stats::{Verdict, chi_square_bounds};
use crate::{assigner, holds};

/// The hosts with the highest scores.
fn ranked(hosts: u32, size: u32, score: impl Fn(u32) -> u64) -> Vec<u32> {
    let mut all: Vec<u32> = (0..hosts).collect();
    all.sort_by_cached_key(|host| Reverse(score(*host)));
    all.truncate(size as usize);
    all
}

/// Rendezvous by FNV-1a of `customer|host` as it is.
fn raw_fnv(key: &str, hosts: u32, size: u32) -> Vec<u32> {
    ranked(hosts, size, |host| fnv1a_64(format!("{key}|{host}").as_bytes()))
}

/// The formula of the default without its outer finalizer: hosts on a ring, shards of neighbours.
fn sum_only(key: &str, hosts: u32, size: u32) -> Vec<u32> {
    let key_mix = mix(fnv1a_64(key.as_bytes()));
    ranked(hosts, size, |host| {
        key_mix.wrapping_add(mix(fnv1a_64(host.to_string().as_bytes())).rotate_left(1))
    })
}

fn lua_djb2() -> impl FnMut(&str, u32, u32) -> Vec<u32> {
    assigner(Algorithm::LuaDjb2, None)
}

/// Fails unless the verdict is bad, and shows it.
#[track_caller]
fn caught(what: &str, verdict: Verdict) {
    match verdict {
        Ok(measured) => panic!("{what} was let pass: {measured}"),
        Err(measured) => println!("{what}, caught: {measured}"),
    }
}

#[test]
fn raw_fnv_is_caught() {
    for (hosts, size, sets) in [(8, 2, 4), (20, 4, 12)] {
        for family in &FAMILIES {
            let counts = uniform(&mut raw_fnv, family, hosts, size, 1);
            assert_eq!(counts.occupied(), sets, "{}", family.name);
            caught("raw FNV, sets", counts.verdict());
            caught("raw FNV, overlap", overlap(&mut raw_fnv, family, hosts, size, 5));
            caught("raw FNV, cover", covered(&mut raw_fnv, family, (hosts, size), 4, 5_000));
        }
    }
}

/// Why the load is no test of isolation: at 8 hosts all are equally busy, with 4 of the 28 shards in use.
#[test]
fn raw_fnv_passes_a_test_of_load() {
    for family in &FAMILIES {
        let counts = load(&mut raw_fnv, family, 8, 2, 10);
        let (statistic, df) = counts.whole();
        println!("raw FNV, load, {}: χ² {statistic:.3} with df {df}", family.name);
        assert!(statistic < chi_square_bounds(df).1);
    }
    // Random keys pass on both sides. Sequential ones are too even, which one-sided tests welcome.
    holds("raw FNV, load, UUID", load(&mut raw_fnv, &FAMILIES[1], 8, 2, 10).verdict());
    caught("raw FNV, load, sequential", load(&mut raw_fnv, &FAMILIES[0], 8, 2, 10).verdict());
    // At 20 hosts, 8, 9, 18 and 19 are a third busier than the others, which the load shows too.
    caught("raw FNV, load at 20 hosts", load(&mut raw_fnv, &FAMILIES[1], 20, 4, 10).verdict());
}

#[test]
fn lua_djb2_is_caught() {
    for (hosts, size, sets) in [(8, 2, 8), (20, 4, 20)] {
        for family in &FAMILIES {
            let counts = uniform(&mut lua_djb2(), family, hosts, size, 2);
            assert_eq!(counts.occupied(), sets, "{}", family.name);
            caught("lua_djb2, sets", counts.verdict());
            caught("lua_djb2, overlap", overlap(&mut lua_djb2(), family, hosts, size, 5));
            caught("lua_djb2, one host more", one_host_more(&mut lua_djb2(), family, hosts, size, 1_000));
        }
    }
    holds("lua_djb2, load, UUID", load(&mut lua_djb2(), &FAMILIES[1], 20, 4, 10).verdict());
}

/// A ring of 20 hosts has 20 runs of 4 neighbours.
#[test]
fn a_sum_without_the_outer_finalizer_is_caught() {
    for family in &FAMILIES {
        let counts = uniform(&mut sum_only, family, 20, 4, 1);
        assert_eq!(counts.occupied(), 20);
        caught("sum only, sets", counts.verdict());
        caught("sum only, overlap", overlap(&mut sum_only, family, 20, 4, 5));
    }
}

/// The other side: keys dealt out to all sets in turn are more even than chance, and as foreseeable.
#[test]
fn what_is_too_even_is_caught() {
    let sets = all_sets(8, 2);
    let mut turn = 0;
    let mut in_turn = |_: &str, hosts: u32, _: u32| {
        turn += 1;
        let set = sets[turn % sets.len()];
        (0..hosts).filter(|host| set >> host & 1 == 1).collect::<Vec<_>>()
    };
    let counts = uniform(&mut in_turn, &FAMILIES[0], 8, 2, 10);
    assert_eq!((counts.occupied(), counts.whole().0), (28, 0.0));
    caught("in turn, sets", counts.verdict());
    caught("in turn, load", load(&mut in_turn, &FAMILIES[0], 8, 2, 20).verdict());
}
