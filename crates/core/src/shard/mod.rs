//! Shuffle sharding: each key gets its own small part of the hosts, so that a key which takes its hosts down
//! shares few or none of them with any other key.

pub mod cache;
mod djb2;
mod rendezvous;

use crate::hash::{fnv1a_64, mix};
pub(crate) use rendezvous::host_mix as host_part;
use rendezvous::{Candidate, KeyHash, best, host_mix};
use std::collections::BinaryHeap;

/// The most hosts that there may be. A hash of eight bytes is kept for each.
pub const MAX_HOSTS: u32 = 65_536;

/// How the hosts of a key are chosen. A released algorithm never changes: that would move every customer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Rendezvous hashing, version 1.
    #[default]
    Rendezvous,
    /// The assignment of the Lua scripts in use, bit for bit. It gives each key neighbouring hosts, so it
    /// spreads load and isolates nobody.
    LuaDjb2,
}

/// Which hosts there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// Numbered from 0.
    Numbered,
    /// Named. The order in which they are listed does not matter to the assignment.
    Named(Vec<String>),
}

/// Computes the hosts of a key's shard, by their number or their place in the list.
#[derive(Clone, Debug)]
pub struct Assigner {
    algorithm: Algorithm,
    key_hash: KeyHash,
    /// The hosts' parts of every score; `None` for numbered hosts.
    named: Option<Vec<u64>>,
}

/// What computing shards needs in memory, reused from one to the next.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The parts of numbered hosts in every score. They are the same for all assigners.
    numbered: Vec<u64>,
    heap: BinaryHeap<Candidate>,
}

impl Assigner {
    /// An assigner for these hosts. `seed` is a secret for [`Algorithm::Rendezvous`]: without it nobody can
    /// compute which keys share hosts.
    pub fn new(algorithm: Algorithm, hosts: &Hosts, seed: Option<&str>) -> Self {
        let named = match hosts {
            Hosts::Numbered => None,
            Hosts::Named(names) => Some(names.iter().map(|name| host_mix(name)).collect()),
        };
        Self { algorithm, key_hash: KeyHash::new(seed), named }
    }

    /// Writes the shard of `key` into `shard`: `shard_size` out of `total` hosts, best first, or all hosts if
    /// there are fewer. `total` is at most [`MAX_HOSTS`] and has no effect on named hosts.
    pub fn assign(
        &self,
        key: &[u8],
        total: u32,
        shard_size: u32,
        scratch: &mut Scratch,
        shard: &mut Vec<u32>,
    ) {
        self.assign_among(None, key, total, shard_size, scratch, shard);
    }

    /// The same; `parts`, if there are any, are those of named hosts that live values give.
    pub(crate) fn assign_among(
        &self,
        parts: Option<&[u64]>,
        key: &[u8],
        total: u32,
        shard_size: u32,
        scratch: &mut Scratch,
        shard: &mut Vec<u32>,
    ) {
        shard.clear();
        let Scratch { numbered, heap } = scratch;
        let mixes = match parts.or(self.named.as_deref()) {
            Some(mixes) => mixes,
            None => first(numbered, total.min(MAX_HOSTS)),
        };
        let total = u32::try_from(mixes.len()).unwrap_or(MAX_HOSTS);
        let size = shard_size.min(total);
        match self.algorithm {
            Algorithm::LuaDjb2 => djb2::assign(key, total, shard_size, shard),
            Algorithm::Rendezvous => best(self.key_hash.mixed(key), mixes, size, heap, shard),
        }
    }

    /// A place below `shard_size` by a hash of `of`.
    pub fn pick(&self, of: &[u8], shard_size: usize) -> usize {
        let hash = match self.algorithm {
            Algorithm::LuaDjb2 => djb2::hash(of),
            Algorithm::Rendezvous => mix(fnv1a_64(of)),
        };
        usize::try_from(hash % (shard_size.max(1) as u64)).unwrap_or(0)
    }
}

/// The parts of the first `total` numbered hosts.
fn first(numbered: &mut Vec<u64>, total: u32) -> &[u64] {
    let known = u32::try_from(numbered.len()).unwrap_or(u32::MAX);
    if known < total {
        numbered.extend((known..total).map(|number| host_mix(&number.to_string())));
    }
    numbered.get(..total as usize).unwrap_or_default()
}
