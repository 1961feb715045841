//! Rendezvous hashing (highest random weight; Thaler and Ravishankar, 1998), version 1.
//!
//! Each host has a score for each key, and a shard is the hosts with the highest scores:
//!
//! ```text
//! score(key, host) = mix(mix(H(key)) + rotl(mix(H(host)), 1))    with wrapping addition
//! ```
//!
//! H is FNV-1a with 64 bits over the key's bytes, and over the host's name or its number in decimal. mix is
//! the finalizer of splitmix64 (Steele, Lea and Flood, 2014). Without it, the last bytes of what FNV reads
//! hardly reach the high bits that a ranking goes by: at 20 hosts and 4 a shard there would be 12 shards
//! instead of 4,845. With a seed, H(key) is SipHash-2-4 under a key made from the seed.

use super::Hosts;
use crate::index::fnv1a_64;
use siphasher::sip::SipHasher24;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::Hasher;

/// The finalizer of splitmix64: every input bit reaches every output bit.
pub fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// How keys are hashed.
#[derive(Clone, Copy, Debug)]
pub enum KeyHash {
    /// FNV-1a, which anybody can compute.
    Public,
    /// SipHash-2-4 under this key.
    Secret(SipHasher24),
}

impl KeyHash {
    /// Public without a seed; otherwise keyed by 128 bits made from it.
    pub fn new(seed: Option<&str>) -> Self {
        seed.map_or(Self::Public, |seed| {
            let mut hasher = SipHasher13::new();
            hasher.write(seed.as_bytes());
            let key = hasher.finish128();
            Self::Secret(SipHasher24::new_with_keys(key.h1, key.h2))
        })
    }

    /// A key's part of every score.
    pub fn mixed(&self, key: &[u8]) -> u64 {
        mix(match self {
            Self::Public => fnv1a_64(key),
            Self::Secret(keyed) => keyed.hash(key),
        })
    }
}

/// The hosts' parts of every score, computed once.
#[derive(Clone, Debug)]
pub struct HostMixes {
    mixes: Vec<u64>,
    /// Numbered hosts are as many as are asked for; named ones as many as there are.
    grows: bool,
}

impl HostMixes {
    pub fn of(hosts: &Hosts) -> Self {
        match hosts {
            Hosts::Numbered => Self { mixes: Vec::new(), grows: true },
            Hosts::Named(names) => {
                Self { mixes: names.iter().map(|name| host_mix(name)).collect(), grows: false }
            }
        }
    }

    /// Makes sure that `total` hosts are there. How many of them count.
    pub fn ensure(&mut self, total: u32) -> u32 {
        let known = u32::try_from(self.mixes.len()).unwrap_or(u32::MAX);
        if !self.grows {
            return known;
        }
        if known < total {
            self.mixes.extend((known..total).map(|number| host_mix(&number.to_string())));
        }
        total
    }

    pub fn first(&self, total: u32) -> &[u64] {
        self.mixes.get(..total as usize).unwrap_or(&self.mixes)
    }
}

fn host_mix(name: &str) -> u64 {
    mix(fnv1a_64(name.as_bytes())).rotate_left(1)
}

/// A host in the running. The order makes the worst the greatest, where a heap keeps it at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    score: Reverse<u64>,
    host: u32,
}

/// Writes the `size` best hosts into `shard`, best first. `heap` lends its room.
///
/// One pass: a host enters only if it beats the worst of the best so far, so that beyond the first few
/// almost all cost one hash and one comparison. Equal scores, should they ever occur, go to the host that
/// comes first.
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
    // The heap gives up the worst first.
    shard.resize(heap.len(), 0);
    for seat in shard.iter_mut().rev() {
        *seat = heap.pop().map_or(0, |worst| worst.host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_published_values_of_splitmix64() {
        // The first outputs of the generator from seed 1234567; mix is its step applied to the state.
        let mut state: u64 = 1_234_567;
        for expected in [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423] {
            assert_eq!(mix(state), expected);
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        }
    }

    proptest! {
        #[test]
        fn the_one_pass_agrees_with_sorting_all(key: u64, total in 0_u32..300, size in 0_u32..310) {
            let mut mixes = HostMixes::of(&Hosts::Numbered);
            mixes.ensure(total);
            let mut all: Vec<_> =
                (0..).zip(mixes.first(total)).map(|(host, part)| (mix(key.wrapping_add(*part)), host)).collect();
            all.sort_by_key(|(score, host): &(u64, u32)| (Reverse(*score), *host));
            all.truncate(size as usize);
            let mut found = Vec::new();
            best(key, mixes.first(total), size, &mut BinaryHeap::new(), &mut found);
            prop_assert_eq!(found, all.iter().map(|(_, host)| *host).collect::<Vec<_>>());
        }
    }
}
