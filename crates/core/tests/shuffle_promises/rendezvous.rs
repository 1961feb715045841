//! The promises of rendezvous hashing that are a matter of statistics: 1, 2, 3, 5 and 6, without a seed
//! and with one.

use pinroute_core::shard::Algorithm;

use crate::checks::{all_sets, covered, load, one_host_more, overlap, pairs_overlap, uniform};
use crate::families::FAMILIES;
use crate::{assigner, holds, theory};

/// No seed, and one.
const SEEDS: [Option<&str>; 2] = [None, Some("a secret")];

fn rendezvous(seed: Option<&str>) -> impl FnMut(&str, u32, u32) -> Vec<u32> {
    assigner(Algorithm::Rendezvous, seed)
}

#[test]
fn promise_1_two_customers_share_as_many_hosts_as_chance_has_it() {
    for family in &FAMILIES {
        for (hosts, size) in [(8, 2), (20, 4), (32, 12), (100, 10)] {
            let what = format!("overlap, {}, {hosts}, {size}", family.name);
            holds(&what, overlap(&mut rendezvous(None), family, hosts, size, 10));
        }
    }
}

#[test]
fn promise_1_the_exact_values() {
    // N=8, k=2: 15, 12 and 1 of the 28 shards share 0, 1 and 2 hosts with a given one.
    let exact = |hosts, size| (0..=size).map(|j| theory::overlap(hosts, size, j)).collect::<Vec<_>>();
    assert_eq!(exact(8, 2), [15.0 / 28.0, 12.0 / 28.0, 1.0 / 28.0]);
    assert_eq!(exact(20, 4), [1820.0, 2240.0, 720.0, 64.0, 1.0].map(|sets| sets / 4845.0));
    assert_eq!(theory::choose(32, 12), 225_792_840.0);
    for (hosts, size, mean) in [(8, 2, 0.5), (20, 4, 0.8), (32, 12, 4.5), (100, 10, 1.0)] {
        assert_eq!(theory::mean_overlap(hosts, size), mean);
        let weighted: f64 = exact(hosts, size).iter().zip(0..).map(|(p, j)| p * f64::from(j)).sum();
        assert!((weighted - mean).abs() < 1e-12);
    }
}

#[test]
fn promise_2_bad_customers_cover_a_shard_as_rarely_as_chance_has_it() {
    for family in &FAMILIES {
        for (hosts, size, bad, trials) in [
            (8, 2, 1, 20_000),
            (8, 2, 4, 10_000),
            (20, 4, 4, 20_000),
            (20, 4, 16, 5_000),
            (32, 12, 4, 10_000),
            (32, 12, 16, 5_000),
        ] {
            let what = format!("{bad} cover, {}, {hosts}, {size}", family.name);
            holds(&what, covered(&mut rendezvous(None), family, (hosts, size), bad, trials));
        }
    }
}

#[test]
fn promise_2_the_published_values() {
    for (bad, published, digit) in [(1, 4.43e-9, 1e-11), (4, 0.1143, 1e-4), (16, 0.9935, 1e-4)] {
        let exact = theory::cover(32, 12, bad);
        assert!((exact - published).abs() <= digit / 2.0, "{bad}: {exact}");
    }
    // One bad customer covers a shard by having the same.
    assert!((theory::cover(8, 2, 1) - 1.0 / 28.0).abs() < 1e-15);
    assert!((theory::cover(20, 4, 1) - 1.0 / 4845.0).abs() < 1e-15);
    assert_eq!(theory::cover(8, 2, 0), 0.0);
}

#[test]
fn promise_2_bad_customers_hold_a_share_of_each_shard() {
    let sets = all_sets(8, 2);
    for bad in 1..=3 {
        // All ways to choose the shards of the bad customers, beside one shard: each other is as good.
        let mine = sets[0];
        let unions = (0..bad).fold(vec![0], |unions, _| {
            unions.iter().flat_map(|union| sets.iter().map(move |set| union | set)).collect()
        });
        let held: u32 = unions.iter().map(|union| (mine & union).count_ones()).sum();
        let mean = f64::from(held) / unions.len() as f64 / 2.0;
        assert!((theory::held(8, 2, bad) - mean).abs() < 1e-12, "{bad}: {mean}");
    }
}

#[test]
fn promise_3_one_host_more_moves_its_share_of_customers() {
    for family in &FAMILIES {
        for (hosts, size) in [(8, 2), (12, 3), (20, 4), (32, 12), (100, 10)] {
            let what = format!("one host more, {}, {hosts}, {size}", family.name);
            holds(&what, one_host_more(&mut rendezvous(None), family, hosts, size, 10_000));
        }
    }
}

#[test]
fn promise_5_every_host_has_the_same_load() {
    for family in &FAMILIES {
        for (hosts, size) in [(8, 2), (20, 4), (32, 12), (100, 10)] {
            let what = format!("load, {}, {hosts}, {size}", family.name);
            holds(&what, load(&mut rendezvous(None), family, hosts, size, 20).verdict());
        }
    }
}

#[test]
fn promise_6_every_set_is_as_likely_as_any_other() {
    for family in &FAMILIES {
        for (hosts, size, sets, batches) in [(8, 2, 28, 50), (12, 3, 220, 10), (20, 4, 4845, 2)] {
            let counts = uniform(&mut rendezvous(None), family, hosts, size, batches);
            assert_eq!(counts.occupied(), sets);
            holds(&format!("sets, {}, {hosts}, {size}", family.name), counts.verdict());
        }
    }
}

/// A shard of one shows the best host, which the others follow in order.
#[test]
fn promise_6_every_host_is_as_likely_to_be_the_best() {
    for family in &FAMILIES {
        for hosts in [2, 8, 20] {
            let counts = uniform(&mut rendezvous(None), family, hosts, 1, 100);
            holds(&format!("best, {}, {hosts}", family.name), counts.verdict());
        }
    }
}

#[test]
fn with_a_seed_the_promises_hold() {
    for family in &FAMILIES {
        let mut seeded = rendezvous(Some("a secret"));
        let what = |check: &str| format!("{check} with a seed, {}", family.name);
        holds(&what("overlap"), overlap(&mut seeded, family, 20, 4, 10));
        holds(&what("cover"), covered(&mut seeded, family, (32, 12), 4, 10_000));
        holds(&what("one host more"), one_host_more(&mut seeded, family, 20, 4, 10_000));
        holds(&what("load"), load(&mut seeded, family, 20, 4, 20).verdict());
        holds(&what("sets"), uniform(&mut seeded, family, 8, 2, 50).verdict());
        holds(&what("sets"), uniform(&mut seeded, family, 20, 4, 1).verdict());
    }
}

/// Knowing the shards under one seed, or under none, tells nothing about those under another.
#[test]
fn seeds_are_independent() {
    for family in &FAMILIES {
        for (one, other) in [
            (SEEDS[0], SEEDS[1]),
            (SEEDS[1], Some("a secres")),
            (SEEDS[1], Some("A secret")),
            (SEEDS[0], Some("")),
        ] {
            let (mut first, mut second) = (rendezvous(one), rendezvous(other));
            for (hosts, size) in [(8, 2), (20, 4)] {
                let shared = |number| {
                    let key = (family.key)(number);
                    let second = second(&key, hosts, size);
                    let shared = first(&key, hosts, size).into_iter().filter(|host| second.contains(host));
                    shared.fold(0, |set, host| set | 1 << host)
                };
                let what = format!("seeds {one:?} and {other:?}, {}, {hosts}, {size}", family.name);
                holds(&what, pairs_overlap(hosts, size, 5, shared));
            }
        }
    }
}
