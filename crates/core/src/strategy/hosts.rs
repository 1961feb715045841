//! The hosts of a strategy: numbered, or named.

use crate::config::Hosts;
use crate::rejection::Rejection;
use crate::target::host_port::HostPort;
use crate::target::{Host, TargetRules};

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

    /// The host at `place`.
    ///
    /// # Errors
    /// [`Rejection::TargetNotAllowed`]
    pub fn host(&self, place: u32) -> Result<Host, Rejection> {
        let name = self.name(place);
        let named = self.names().and_then(|_| HostPort::parse(&name));
        self.rules.host(&name, named.as_ref())
    }
}
