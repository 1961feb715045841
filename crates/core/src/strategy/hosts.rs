//! The hosts of a strategy: numbered, or named.

use crate::config::{Hosts, ShardDown};
use crate::hash::Digest;
use crate::key::Key;
use crate::live::endpoints::Endpoints;
use crate::lru::Lru;
use crate::target::{Host, MAX_LIST, Refused, TargetRules};
use std::sync::Arc;

/// How many bytes the targets of hosts may take.
const BUDGET: usize = 8 << 20;

/// The hosts whose targets one thread has computed.
#[derive(Debug)]
pub struct HostCache(Lru<Arc<Host>>);

impl Default for HostCache {
    fn default() -> Self {
        Self(Lru::new(BUDGET))
    }
}

impl HostCache {
    /// The host at a place of a table. `owner` tells the tables of different configurations apart.
    ///
    /// # Errors
    /// [`Refused`]
    pub fn get(
        &mut self,
        owner: u64,
        table: &HostTable,
        place: u32,
        key: &Key<'_>,
    ) -> Result<Arc<Host>, Refused> {
        if table.uses_key {
            return table.host(place, Some(key)).map(Arc::new);
        }
        self.get_or(Digest::of_numbers(owner, place.into()), || table.host(place, None))
    }

    /// The host under a digest, which is computed if it is not there.
    ///
    /// # Errors
    /// [`Refused`]
    pub fn get_or(
        &mut self,
        digest: Digest,
        compute: impl FnOnce() -> Result<Host, Refused>,
    ) -> Result<Arc<Host>, Refused> {
        if let Some(known) = self.0.get(digest) {
            return Ok(Arc::clone(known));
        }
        let host = Arc::new(compute()?);
        self.0.insert(digest, Arc::clone(&host), host.bytes());
        Ok(host)
    }
}

/// The hosts of a strategy, with the rules by which each becomes a target.
#[derive(Debug)]
pub struct HostTable {
    hosts: Hosts,
    rules: TargetRules,
    uses_key: bool,
}

impl HostTable {
    /// The table of these hosts.
    pub fn new(hosts: Hosts, rules: TargetRules) -> Self {
        let uses_key = rules.uses_key();
        Self { hosts, rules, uses_key }
    }

    /// The number of hosts, if it is configured as a number; a list has a fixed length.
    pub fn configured_count(&self) -> Option<u32> {
        match &self.hosts {
            Hosts::Numbered { count, .. } => Some(*count),
            Hosts::Listed { .. } | Hosts::Live { .. } => None,
        }
    }

    /// Whether the hosts are the endpoints of a cluster.
    pub fn is_live(&self) -> bool {
        matches!(self.hosts, Hosts::Live { .. })
    }

    /// The names, if the hosts are listed.
    pub fn names(&self) -> Option<&[String]> {
        match &self.hosts {
            Hosts::Numbered { .. } | Hosts::Live { .. } => None,
            Hosts::Listed { names, .. } => Some(names),
        }
    }

    /// Whether the target is a list of addresses.
    pub fn wants_list(&self) -> bool {
        self.rules.wants_list()
    }

    /// The hosts at these places, tried in this order. Those that are known to be unhealthy come last.
    ///
    /// # Errors
    /// [`Refused`]
    pub fn list(
        &self,
        places: impl Iterator<Item = u32> + Clone,
        endpoints: Option<&Endpoints>,
        down: ShardDown,
    ) -> Result<Host, Refused> {
        if let Some(names) = self.names() {
            let names = places.filter_map(|place| names.get(place as usize)).map(String::as_str);
            let first = names.clone().next().unwrap_or_default();
            return self.rules.list(first, names, false);
        }
        let endpoints = endpoints.ok_or(Refused::NoEndpoints)?;
        let all = places
            .filter_map(|place| endpoints.host(place))
            .flat_map(|host| host.addresses.iter().map(|address| (host.name.as_str(), address)));
        let healthy = all.clone().filter(|(_, address)| address.is_healthy);
        let unhealthy = all.filter(|(_, address)| !address.is_healthy);
        let mut ordered = healthy.chain(unhealthy).take(MAX_LIST);
        let Some((name, first)) = ordered.clone().next() else { return Err(Refused::ShardDown) };
        if !first.is_healthy && down == ShardDown::Reject {
            return Err(Refused::ShardDown);
        }
        self.rules.list(name, ordered.by_ref().map(|(_, address)| address.text.as_str()), false)
    }

    /// The number or name that headers show for the host at `place`, counted from 0.
    pub fn name(&self, place: u32) -> String {
        self.hosts.name(place)
    }

    fn host(&self, place: u32, key: Option<&Key<'_>>) -> Result<Host, Refused> {
        let name = self.name(place);
        self.rules.host(&name, &self.hosts.values(&name, key), key.is_some())
    }
}
