//! Rendezvous hashing (highest random weight; Thaler and Ravishankar, 1998), version 1.
//!
//! Each host has a score for each key, and a shard is the hosts with the highest scores:
//!
//! ```text
//! score(key, host) = mix(mix(H(key)) + rotl(mix(H(host)), 1))    with wrapping addition
//! ```
//!
//! H is FNV-1a with 64 bits over the key's bytes, and over the host's name or its number in decimal. mix is the
//! finalizer of splitmix64. Without it, the last bytes that FNV reads hardly reach the high bits by which scores
//! rank: at 20 hosts and 4 a shard there would be 12 shards instead of 4,845. With a seed, H(key) is SipHash-2-4
//! under a key derived from the seed.

use crate::hash::{fnv1a_64, mix};
use siphasher::sip::SipHasher24;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::Hasher;

/// How keys are hashed.
#[derive(Clone, Copy, Debug)]
pub enum KeyHash {
    /// FNV-1a, which anybody can compute.
    Public,
    /// SipHash-2-4 under this key.
    Secret(SipHasher24),
}

impl KeyHash {
    /// Public without a seed, else keyed by 128 bits derived from it.
    pub fn new(seed: Option<&str>) -> Self {
        seed.map_or(Self::Public, |seed| {
            let mut hasher = SipHasher13::new();
            hasher.write(seed.as_bytes());
            let key = hasher.finish128();
            Self::Secret(SipHasher24::new_with_keys(key.h1, key.h2))
        })
    }

    /// The key's part of every score.
    pub fn mixed(&self, key: &[u8]) -> u64 {
        mix(match self {
            Self::Public => fnv1a_64(key),
            Self::Secret(keyed) => keyed.hash(key),
        })
    }
}

/// The part of a host, by its name or its number in decimal, in every score.
pub fn host_mix(name: &str) -> u64 {
    mix(fnv1a_64(name.as_bytes())).rotate_left(1)
}

/// A host and its score. The order makes the worst the greatest, which a heap keeps at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    score: Reverse<u64>,
    host: u32,
}

/// Appends the `size` best hosts to `shard`, best first. `heap` is reused between calls.
///
/// One pass: a host enters only if it beats the worst of the best so far, so most hosts cost one hash and one
/// comparison. Of equal scores, the first host wins.
pub fn best(key_mix: u64, hosts: &[u64], size: u32, heap: &mut BinaryHeap<Candidate>, shard: &mut Vec<u32>) {
    heap.clear();
    let mut candidates = (0..)
        .zip(hosts)
        .map(|(host, host_mix)| Candidate { score: Reverse(mix(key_mix.wrapping_add(*host_mix))), host });
    heap.extend(candidates.by_ref().take(size as usize));
    for candidate in candidates {
        match heap.peek_mut() {
            Some(mut worst) if candidate < *worst => *worst = candidate,
            _ => {}
        }
    }
    // The heap returns the worst first.
    let start = shard.len();
    shard.extend(std::iter::from_fn(|| heap.pop()).map(|worst| worst.host));
    if let Some(added) = shard.get_mut(start..) {
        added.reverse();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn one_pass_agrees_with_sorting_all(key: u64, total in 0_u32..300, size in 0_u32..310) {
            let mixes: Vec<u64> = (0..total).map(|number| host_mix(&number.to_string())).collect();
            let mut all: Vec<_> = (0..).zip(&mixes).map(|(host, part)| (mix(key.wrapping_add(*part)), host)).collect();
            all.sort_by_key(|(score, host): &(u64, u32)| (Reverse(*score), *host));
            all.truncate(size as usize);
            let mut found = Vec::new();
            best(key, &mixes, size, &mut BinaryHeap::new(), &mut found);
            prop_assert_eq!(found, all.iter().map(|(_, host)| *host).collect::<Vec<_>>());
        }
    }
}
