//! The hosts of a strategy: numbered, or named.

use crate::config::Hosts;
use crate::hash::Digest;
use crate::lru::Lru;
use crate::rejection::Rejection;
use crate::target::host_port::HostPort;
use crate::target::{Host, TargetRules};
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
    /// [`Rejection::TargetNotAllowed`]
    pub fn get(&mut self, owner: u64, table: &HostTable, place: u32) -> Result<Arc<Host>, Rejection> {
        let digest = Digest::of_numbers(owner, place.into());
        if let Some(known) = self.0.get(digest) {
            return Ok(Arc::clone(known));
        }
        let host = Arc::new(table.host(place)?);
        self.0.insert(digest, Arc::clone(&host), host.bytes());
        Ok(host)
    }
}

/// The hosts of a strategy, with the rules by which each becomes a target.
#[derive(Debug)]
pub struct HostTable {
    hosts: Hosts,
    rules: TargetRules,
}

impl HostTable {
    /// The table of these hosts.
    pub fn new(hosts: Hosts, rules: TargetRules) -> Self {
        Self { hosts, rules }
    }

    /// The number of hosts, if it is configured as a number; a list has a fixed length.
    pub fn configured_count(&self) -> Option<u32> {
        match &self.hosts {
            Hosts::Numbered { count, .. } => Some(*count),
            Hosts::Named(_) => None,
        }
    }

    /// The names, if the hosts are named.
    pub fn names(&self) -> Option<&[String]> {
        match &self.hosts {
            Hosts::Numbered { .. } => None,
            Hosts::Named(names) => Some(names),
        }
    }

    /// The number or name that headers show for the host at `place`, counted from 0.
    pub fn name(&self, place: u32) -> String {
        match &self.hosts {
            Hosts::Numbered { base, .. } => (u64::from(*base) + u64::from(place)).to_string(),
            Hosts::Named(names) => names.get(place as usize).cloned().unwrap_or_default(),
        }
    }

    fn host(&self, place: u32) -> Result<Host, Rejection> {
        let name = self.name(place);
        let named = self.names().and_then(|_| HostPort::parse(&name));
        self.rules.host(&name, named.as_ref())
    }
}
