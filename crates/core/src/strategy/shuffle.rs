//! The `shuffle_shard` strategy: a shard for each key, and one of its hosts for each request.

use super::hosts::{HostCache, HostTable};
use super::index::count_of;
use crate::config::{Pick, ShardDown, ShuffleConfig};
use crate::decision::Route;
use crate::hash::Digest;
use crate::key::Key;
use crate::live::endpoints::Endpoints;
use crate::live::value::{Number, Sourced};
use crate::live::values::{LiveValues, RequestValues};
use crate::request::Request;
use crate::shard::cache::{Shard, ShardCache};
use crate::shard::{Assigner, Hosts};
use crate::target::{Host, Refused, TargetRules};
use std::sync::Arc;

/// The compiled strategy.
#[derive(Debug)]
pub struct Shuffle {
    hosts: HostTable,
    shard_size: u32,
    assigner: Assigner,
    pick: Pick,
    on_shard_down: ShardDown,
    id: u64,
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
    pub fn new(config: ShuffleConfig, rules: TargetRules, on_shard_down: ShardDown, id: u64) -> Self {
        let hosts = match config.hosts {
            // Equal scores are settled by place: in the order of names, the order of the list does not matter.
            crate::config::Hosts::Listed { mut names, kind } => {
                names.sort_unstable();
                crate::config::Hosts::Listed { names, kind }
            }
            other => other,
        };
        let hosts = HostTable::new(hosts, rules);
        let assigned = hosts.names().map_or(Hosts::Numbered, |names| Hosts::Named(names.to_vec()));
        let assigner = Assigner::new(config.algorithm, &assigned, config.seed.as_deref());
        Self { hosts, shard_size: config.shard_size, assigner, pick: config.pick, on_shard_down, id }
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
    /// [`Refused`]
    #[allow(clippy::too_many_arguments)] // Each is needed, and no two belong together.
    pub fn route(
        &self,
        shards: &mut ShardCache,
        hosts: &mut HostCache,
        key: &Key<'_>,
        path: &[u8],
        request: &impl Request,
        numbers: ShardNumbers,
        live: &LiveValues,
    ) -> Result<Route, Refused> {
        let ShardNumbers { total, size } = numbers;
        if total.value == 0 {
            return Err(Refused::NoEndpoints);
        }
        let (shard, digest) = self.shard(shards, key, numbers, live);
        let count = shard.hosts.len();
        let at = match &self.pick {
            Pick::Path => self.assigner.pick(path, count),
            Pick::Header(name) => match request.header(name) {
                Some(value) => self.assigner.pick(&value, count),
                None => self.assigner.pick(path, count),
            },
            Pick::Random => shards.random(count),
            Pick::RoundRobin => shards.turn(digest, count),
        };
        let host = if self.hosts.wants_list() {
            // From the picked host on, and around.
            let (before, from) = shard.hosts.split_at_checked(at).unwrap_or_default();
            let places = from.iter().chain(before).copied();
            Arc::new(self.hosts.list(places, live.endpoints.as_deref(), self.on_shard_down)?)
        } else {
            // A shard is never empty: sizes are from 1 on.
            let place = shard.hosts.get(at).copied().unwrap_or_default();
            hosts.get(self.id, &self.hosts, place, key)?
        };
        Ok(Route { shard: Some(shard), total: Some(total), shard_size: Some(size), ..Route::to(host) })
    }

    /// The hosts of a key's shard, best first; of a host whose target is refused, its number or name.
    pub fn members(
        &self,
        shards: &mut ShardCache,
        hosts: &mut HostCache,
        key: &Key<'_>,
        numbers: ShardNumbers,
        live: &LiveValues,
    ) -> Vec<Result<Arc<Host>, String>> {
        if numbers.total.value == 0 {
            return Vec::new();
        }
        let (shard, _) = self.shard(shards, key, numbers, live);
        let endpoints = live.endpoints.as_deref();
        let host = |place: &u32| {
            if self.hosts.is_live() {
                let host = self.hosts.list(std::iter::once(*place), endpoints, ShardDown::Try);
                // A host stays the same at another address.
                let named = |host: Host| Arc::new(Host { target: None, ..host });
                return host.map(named).map_err(|_| self.name(*place, live));
            }
            hosts.get(self.id, &self.hosts, *place, key).map_err(|_| self.hosts.name(*place))
        };
        shard.hosts.iter().map(host).collect()
    }

    /// Whether the same request may be sent to another host the next time.
    pub fn varies(&self) -> bool {
        matches!(self.pick, Pick::Random | Pick::RoundRobin)
    }

    fn shard(
        &self,
        shards: &mut ShardCache,
        key: &Key<'_>,
        numbers: ShardNumbers,
        live: &LiveValues,
    ) -> (Arc<Shard>, Digest) {
        let ShardNumbers { total, size } = numbers;
        let endpoints = live.endpoints.as_deref().filter(|_| self.hosts.is_live());
        // Addresses and health do not matter here: a shard depends only on who the hosts are.
        let owner = self.id ^ endpoints.map_or(0, Endpoints::id);
        let parts = endpoints.and_then(Endpoints::parts);
        let name = |place| self.name(place, live);
        shards.get(owner, key.bytes(), total.value, size.value, &self.assigner, parts, name)
    }

    fn name(&self, place: u32, live: &LiveValues) -> String {
        let endpoints = live.endpoints.as_deref().filter(|_| self.hosts.is_live());
        let known = endpoints.and_then(|endpoints| endpoints.host(place));
        known.map_or_else(|| self.hosts.name(place), |host| host.name.clone())
    }
}
