//! Shuffle sharding: each key gets its own small part of the fleet, so that a key which takes its instances
//! down shares few or none of them with any other key.

mod djb2;
mod rendezvous;

pub use djb2::hash as djb2_hash;
pub use rendezvous::{mix, KeyHash};

use rendezvous::{Candidate, HostMixes};
use std::collections::BinaryHeap;

/// The most hosts that there may be. Their hashes are kept, eight bytes each.
pub const MAX_HOSTS: u32 = 65_536;

/// How a key's hosts are chosen. An algorithm, once released, never changes: that would move every customer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// Rendezvous hashing, version 1. See [`Assigner`].
    #[default]
    Rendezvous,
    /// The assignment of the Lua filters in use, bit for bit. It gives each key neighbouring hosts, so it
    /// spreads load and isolates nobody.
    LuaDjb2,
}

/// Who the hosts are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// Numbered from 0.
    Numbered,
    /// Named; which of them a key gets does not depend on the order in which they are listed.
    Named(Vec<String>),
}

/// Computes assignments: for each key the hosts of its shard, by their number or their place in the list.
#[derive(Clone, Debug)]
pub struct Assigner {
    algorithm: Algorithm,
    key_hash: KeyHash,
    mixes: HostMixes,
    heap: BinaryHeap<Candidate>,
}

impl Assigner {
    /// An assigner for such hosts. `seed` is a secret that only [`Algorithm::Rendezvous`] heeds: without it
    /// nobody can work out which keys share hosts.
    pub fn new(algorithm: Algorithm, hosts: &Hosts, seed: Option<&str>) -> Self {
        Self { algorithm, key_hash: KeyHash::new(seed), mixes: HostMixes::of(hosts), heap: BinaryHeap::new() }
    }

    /// Writes the shard of `key` into `shard`: `shard_size` out of `total` hosts, best first. More than
    /// there are is all of them. `total` is at most [`MAX_HOSTS`] and ignored for named hosts.
    pub fn assign(&mut self, key: &[u8], total: u32, shard_size: u32, shard: &mut Vec<u32>) {
        let total = self.mixes.ensure(total.min(MAX_HOSTS));
        let size = shard_size.min(total);
        shard.clear();
        match self.algorithm {
            Algorithm::LuaDjb2 => djb2::assign(key, total, size, shard),
            Algorithm::Rendezvous => {
                let key_mix = self.key_hash.mixed(key);
                rendezvous::best(key_mix, self.mixes.first(total), size, &mut self.heap, shard);
            }
        }
    }

    /// A number to pick a member of a shard by: `of` is hashed as the algorithm hashes.
    pub fn pick(&self, of: &[u8], shard_size: usize) -> usize {
        let hash = match self.algorithm {
            Algorithm::LuaDjb2 => u64::from(djb2::hash(of)),
            Algorithm::Rendezvous => mix(crate::index::fnv1a_64(of)),
        };
        usize::try_from(hash % (shard_size.max(1) as u64)).unwrap_or(0)
    }
}
