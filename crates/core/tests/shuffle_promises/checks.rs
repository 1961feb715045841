//! The promises as checks of anything that assigns shards, so that they can be run on hashes that break them.

use std::collections::HashMap;

use crate::families::Family;
use crate::stats::{Counts, Verdict, binomial, mean};
use crate::theory;

/// (key, N, k) → shard, best first.
pub type Assign<'a> = dyn FnMut(&str, u32, u32) -> Vec<u32> + 'a;

/// A set of hosts, one bit each.
type Set = u128;

fn set(shard: &[u32]) -> Set {
    shard.iter().fold(0, |set, host| set | 1 << host)
}

/// All sets of `size` out of `hosts`.
pub fn all_sets(hosts: u32, size: u32) -> Vec<Set> {
    if size == 0 {
        return vec![0];
    }
    (size - 1..hosts)
        .flat_map(|last| all_sets(last, size - 1).into_iter().map(move |rest| rest | 1 << last))
        .collect()
}

/// Promise 1: how many hosts neighbouring keys of a family share. Each key is in one pair only.
pub fn overlap(assign: &mut Assign, family: &Family, hosts: u32, size: u32, batches: u64) -> Verdict {
    pairs_overlap(hosts, size, batches, |pair| {
        let mut one = |number| set(&assign(&(family.key)(number), hosts, size));
        one(2 * pair) & one(2 * pair + 1)
    })
}

/// The hypergeometric distribution of what pairs share: its mean, and χ² over the counts of each number.
pub fn pairs_overlap(hosts: u32, size: u32, batches: u64, mut shared: impl FnMut(u64) -> Set) -> Verdict {
    const PER_BATCH: u64 = 2_000;
    let shares: Vec<f64> = (0..=size).map(|j| theory::overlap(hosts, size, j)).collect();
    // Neighbouring numbers go into one cell as long as it would hold less than 10 of a batch.
    let mut cells = Vec::new();
    let mut cell_shares = vec![0.0];
    for share in &shares {
        if cell_shares.last().unwrap() * PER_BATCH as f64 >= 10.0 {
            cell_shares.push(0.0);
        }
        *cell_shares.last_mut().unwrap() += share;
        cells.push(cell_shares.len() - 1);
    }
    if cell_shares.last().unwrap() * (PER_BATCH as f64) < 10.0 {
        let rest = cell_shares.pop().unwrap();
        *cell_shares.last_mut().unwrap() += rest;
        cells.iter_mut().for_each(|cell| *cell = (*cell).min(cell_shares.len() - 1));
    }
    let mut counts = Counts::new(cell_shares, 1.0, PER_BATCH);
    let mut sum = 0;
    let pairs = PER_BATCH * batches;
    for pair in 0..pairs {
        let shared = shared(pair).count_ones();
        sum += shared;
        counts.add([cells[shared as usize]]);
    }
    let (n, k) = (f64::from(hosts), f64::from(size));
    let variance = k * (k / n) * (1.0 - k / n) * (n - k) / (n - 1.0);
    let mean = mean(f64::from(sum), pairs, theory::mean_overlap(hosts, size), variance)?;
    Ok(format!("{mean}; {}", counts.verdict()?))
}

/// Promise 2: how often the shards of `bad` keys cover that of another. Each key is in one trial only.
pub fn covered(
    assign: &mut Assign,
    family: &Family,
    (hosts, size): (u32, u32),
    bad: u32,
    trials: u64,
) -> Verdict {
    let group = u64::from(bad) + 1;
    let mut hits = 0;
    for trial in 0..trials {
        let mut one = |member| set(&assign(&(family.key)(trial * group + member), hosts, size));
        let mine = one(0);
        let theirs = (1..group).fold(0, |all, member| all | one(member));
        hits += u64::from(mine & !theirs == 0);
    }
    binomial(hits, trials, theory::cover(hosts, size, bad.cast_signed()))
}

/// Promise 3, one shard: it stays, or gains exactly the new host and loses its last. Whether it changed.
pub fn host_added(before: &[u32], after: &[u32], new: u32) -> Result<bool, String> {
    if !after.contains(&new) {
        return if after == before {
            Ok(false)
        } else {
            Err(format!("{before:?} became {after:?} without {new}"))
        };
    }
    let survivors: Vec<u32> = after.iter().copied().filter(|host| *host != new).collect();
    match before.split_last() {
        Some((_, kept)) if kept == survivors => Ok(true),
        _ => Err(format!("{before:?} became {after:?} by adding {new}")),
    }
}

/// Promise 3 over a family: each shard, and the share of those that change.
pub fn one_host_more(assign: &mut Assign, family: &Family, hosts: u32, size: u32, keys: u64) -> Verdict {
    let mut changed = 0;
    for number in 0..keys {
        let key = (family.key)(number);
        let before = assign(&key, hosts, size);
        let after = assign(&key, hosts + 1, size);
        changed += u64::from(host_added(&before, &after, hosts)?);
    }
    binomial(changed, keys, theory::moved(hosts, size))
}

/// Promise 5: the load of each host. Choices are without replacement, hence the factor.
pub fn load(assign: &mut Assign, family: &Family, hosts: u32, size: u32, batches: u64) -> Counts {
    const PER_BATCH: u64 = 1_000;
    let share = f64::from(size) / f64::from(hosts);
    let scale = f64::from(hosts - 1) / f64::from(hosts - size);
    let mut counts = Counts::new(vec![share; hosts as usize], scale, PER_BATCH);
    for number in 0..PER_BATCH * batches {
        counts.add(assign(&(family.key)(number), hosts, size).into_iter().map(|host| host as usize));
    }
    counts
}

/// Promise 6: how often each of the C(N,k) sets occurs, in batches of 10 · C(N,k) keys.
pub fn uniform(assign: &mut Assign, family: &Family, hosts: u32, size: u32, batches: u64) -> Counts {
    let places: HashMap<Set, usize> =
        all_sets(hosts, size).into_iter().enumerate().map(|(place, set)| (set, place)).collect();
    let sets = places.len();
    assert_eq!(sets as f64, theory::choose(hosts, size));
    let per_batch = 10 * sets as u64;
    let mut counts = Counts::new(vec![1.0 / sets as f64; sets], 1.0, per_batch);
    for number in 0..per_batch * batches {
        counts.add([places[&set(&assign(&(family.key)(number), hosts, size))]]);
    }
    counts
}
