//! What chance promises: shards drawn independently, each of the C(N,k) sets as likely as any other.
//!
//! The tests of those promises (`crates/core/tests/shuffle_promises`) compile this file too.

/// C(n,k), the number of sets of `k` out of `n`. Exact as long as it stays below 2^53 / n.
pub fn choose(n: u32, k: u32) -> f64 {
    if k > n {
        return 0.0;
    }
    // After step i the product is C(n-k+i, i), a whole number.
    (1..=k).fold(1.0, |product, i| product * f64::from(n - k + i) / f64::from(i))
}

/// The probability that two shards have exactly `shared` hosts in common.
pub fn overlap(hosts: u32, size: u32, shared: u32) -> f64 {
    choose(size, shared) * choose(hosts - size, size - shared) / choose(hosts, size)
}

/// How many hosts two shards have in common on average.
pub fn mean_overlap(hosts: u32, size: u32) -> f64 {
    f64::from(size * size) / f64::from(hosts)
}

/// The probability that the shards of `bad` customers together cover another customer's whole shard.
///
/// Inclusion and exclusion over the hosts that none of them holds.
pub fn cover(hosts: u32, size: u32, bad: i32) -> f64 {
    (0..=size)
        .map(|spared| {
            let misses = choose(hosts - spared, size) / choose(hosts, size);
            let sign = if spared % 2 == 0 { 1.0 } else { -1.0 };
            sign * choose(size, spared) * misses.powi(bad)
        })
        .sum()
}

/// The mean share of a shard's hosts that are in the shards of `bad` customers.
pub fn held(hosts: u32, size: u32, bad: i32) -> f64 {
    1.0 - (1.0 - f64::from(size) / f64::from(hosts)).powi(bad)
}

/// The share of shards that change when one host joins `hosts`: those that the new one is a member of.
pub fn moved(hosts: u32, size: u32) -> f64 {
    f64::from(size) / f64::from(hosts + 1)
}
