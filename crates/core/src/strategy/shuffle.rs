//! The `shuffle_shard` strategy: a shard for each key, and one of its hosts for each request.

use super::hosts::HostTable;
use super::index::count_of;
use crate::config::{Pick, ShuffleConfig};
use crate::decision::{Route, Shard};
use crate::live::value::{Number, Sourced};
use crate::live::values::RequestValues;
use crate::rejection::Rejection;
use crate::request::Request;
use crate::shard::{Assigner, Hosts};
use crate::target::TargetRules;
use crate::worker::Worker;
use std::sync::Arc;

/// The compiled strategy.
#[derive(Debug)]
pub struct Shuffle {
    hosts: HostTable,
    shard_size: u32,
    assigner: Assigner,
    pick: Pick,
    id: u64,
}

/// What a worker remembers about a key.
#[derive(Debug)]
pub struct ShardEntry {
    shard: Arc<Shard>,
    /// The size that was asked for, which may be above the number of hosts.
    size: u32,
    /// The next host by `round_robin`.
    turn: usize,
}

/// The numbers that a shard is computed from.
#[derive(Clone, Copy, Debug)]
pub struct ShardNumbers {
    /// The number of hosts.
    pub total: Sourced,
    /// The number of hosts in the shard.
    pub size: Sourced,
}

impl Shuffle {
    /// Compiles the strategy. `id` tells its hosts and shards apart from others in the worker's tables.
    pub fn new(config: ShuffleConfig, rules: TargetRules, id: u64) -> Self {
        let hosts = match config.hosts {
            // Equal scores are settled by place: in the order of names, the order of the list does not matter.
            crate::config::Hosts::Named(mut names) => {
                names.sort_unstable();
                crate::config::Hosts::Named(names)
            }
            numbered @ crate::config::Hosts::Numbered { .. } => numbered,
        };
        let hosts = HostTable::new(hosts, rules);
        let assigned = hosts.names().map_or(Hosts::Numbered, |names| Hosts::Named(names.to_vec()));
        let assigner = Assigner::new(config.algorithm, &assigned, config.seed.as_deref());
        Self { hosts, shard_size: config.shard_size, assigner, pick: config.pick, id }
    }

    /// Whether the path of a request matters.
    pub fn needs_path(&self) -> bool {
        matches!(self.pick, Pick::Path | Pick::Header(_))
    }

    /// The numbers for a key.
    pub fn numbers(&self, values: &mut RequestValues<'_, impl Request>, key: &[u8]) -> ShardNumbers {
        ShardNumbers {
            total: count_of(&self.hosts, Number::TotalHosts, values, key),
            size: values.number(Number::ShardSize, key, self.shard_size),
        }
    }

    /// The route of a request.
    ///
    /// # Errors
    /// [`Rejection::TargetNotAllowed`]
    pub fn route<W>(
        &self,
        worker: &mut Worker<W>,
        key: &[u8],
        path: &[u8],
        request: &impl Request,
        numbers: ShardNumbers,
    ) -> Result<Route, Rejection> {
        let ShardNumbers { total, size } = numbers;
        let digest = worker.digester.digest(self.id, key);
        let shard = match worker.shards.get(digest) {
            Some(known) if known.shard.total == total.value && known.size == size.value => {
                Arc::clone(&known.shard)
            }
            _ => {
                let shard = Arc::new(self.shard(worker, key, total.value, size.value));
                // Not all keys should begin with the first host of their shards.
                let turn = worker.random.below(shard.hosts.len());
                let bytes = size_of::<Shard>()
                    + shard.assignment.len()
                    + shard.config.len()
                    + shard.hosts.len() * size_of::<u32>();
                let entry = ShardEntry { shard: Arc::clone(&shard), size: size.value, turn };
                worker.shards.insert(digest, entry, bytes);
                shard
            }
        };
        let count = shard.hosts.len();
        let at = match &self.pick {
            Pick::Path => self.assigner.pick(path, count),
            Pick::Header(name) => match request.header(name) {
                Some(value) => self.assigner.pick(&value, count),
                None => self.assigner.pick(path, count),
            },
            Pick::Random => worker.random.below(count),
            Pick::RoundRobin => worker.shards.get(digest).map_or(0, |entry| entry.take_turn(count)),
        };
        // A shard is never empty: sizes are from 1 on.
        let place = shard.hosts.get(at).copied().unwrap_or_default();
        let host = worker.host(self.id, place, || self.hosts.host(place))?;
        Ok(Route { host, shard: Some(shard), total: Some(total), shard_size: Some(size) })
    }

    fn shard<W>(&self, worker: &mut Worker<W>, key: &[u8], total: u32, size: u32) -> Shard {
        let mut hosts = Vec::new();
        self.assigner.assign(key, total, size, &mut worker.scratch, &mut hosts);
        let names: Vec<String> = hosts.iter().map(|place| self.hosts.name(*place)).collect();
        Shard {
            total,
            assignment: names.join(","),
            config: format!("{}/{total}", hosts.len()),
            hosts: hosts.into_boxed_slice(),
        }
    }
}

impl ShardEntry {
    fn take_turn(&mut self, count: usize) -> usize {
        let at = self.turn % count.max(1);
        self.turn = at + 1;
        at
    }
}
