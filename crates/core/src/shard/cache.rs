//! The shards of keys that were used lately.

use super::{Assigner, Scratch};
use crate::hash::{Digest, Digester, Random, mix};
use crate::lru::Lru;
use std::sync::Arc;

/// How many bytes the shards may take: those of 70,000 keys, if they are small.
const BUDGET: usize = 16 << 20;

/// The hosts that a key may use, with the texts that headers show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// The hosts, best first, by their number from 0 or their place in the list.
    pub hosts: Box<[u32]>,
    /// The number of hosts that they were chosen from.
    pub total: u32,
    /// `x-shard-assignment`: numbers or names, separated by commas.
    pub assignment: String,
    /// `x-shard-config`: size and total, as `2/8`.
    pub config: String,
}

/// The shards that one thread remembers.
#[derive(Debug)]
pub struct ShardCache {
    digester: Digester,
    random: Random,
    scratch: Scratch,
    entries: Lru<Entry>,
}

/// What is remembered about a key.
#[derive(Debug)]
struct Entry {
    shard: Arc<Shard>,
    /// The next host in turn.
    turn: usize,
}

impl ShardCache {
    /// An empty cache. `digester` keys the table, and `random` spreads the hosts that keys begin with.
    pub fn new(digester: Digester, random: Random) -> Self {
        Self { digester, random, scratch: Scratch::default(), entries: Lru::new(BUDGET) }
    }

    /// The shard of a key, `size` out of `total` hosts, and the digest that [`Self::turn`] wants. `owner` tells keys of
    /// different configurations and sets of hosts apart, `name` gives the number or name of the host at a place, and `parts`
    /// are those of `Assigner::assign_among`.
    #[allow(clippy::too_many_arguments)] // Each is needed, and no two belong together.
    pub fn get(
        &mut self,
        owner: u64,
        key: &[u8],
        total: u32,
        size: u32,
        assigner: &Assigner,
        parts: Option<&[u64]>,
        name: impl Fn(u32) -> String,
    ) -> (Arc<Shard>, Digest) {
        // Routes with one configuration may have different numbers.
        let numbers = mix(u64::from(total) << 32 | u64::from(size));
        let digest = self.digester.digest(owner ^ numbers, key);
        if let Some(known) = self.entries.get(digest) {
            return (Arc::clone(&known.shard), digest);
        }
        let mut hosts = Vec::new();
        assigner.assign_among(parts, key, total, size, &mut self.scratch, &mut hosts);
        let names: Vec<String> = hosts.iter().map(|place| name(*place)).collect();
        let shard = Arc::new(Shard {
            total,
            assignment: names.join(","),
            config: format!("{}/{total}", hosts.len()),
            hosts: hosts.into_boxed_slice(),
        });
        // Not all keys should begin with the first host of their shards.
        let turn = self.random.below(shard.hosts.len());
        let texts = shard.assignment.len() + shard.config.len();
        let bytes = size_of::<Shard>() + texts + shard.hosts.len() * size_of::<u32>();
        self.entries.insert(digest, Entry { shard: Arc::clone(&shard), turn }, bytes);
        (shard, digest)
    }

    /// A place below `count`, at random.
    pub fn random(&mut self, count: usize) -> usize {
        self.random.below(count)
    }

    /// The next place below `count` in turn, for a shard that was just looked up.
    pub fn turn(&mut self, digest: Digest, count: usize) -> usize {
        self.entries.get(digest).map_or(0, |entry| {
            let at = entry.turn % count.max(1);
            entry.turn = at + 1;
            at
        })
    }
}
