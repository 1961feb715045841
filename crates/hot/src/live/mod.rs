//! Numbers that change while requests run: who says them, and who is believed first.

mod snapshot;

pub use snapshot::{Builder, Snapshot};

use std::fmt;

/// A number that may be said from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// How many hosts there are to choose shards from.
    TotalHosts,
    /// How many of them a key gets.
    ShardSize,
    /// How many instances the `index` strategy spreads keys over.
    Replicas,
}

impl Number {
    /// What it is called in metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::TotalHosts => "total_hosts",
            Self::ShardSize => "shard_size",
            Self::Replicas => "replicas",
        }
    }
}

/// Who said a number, from the one who is believed first to the one who is believed last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Runtime, for this key.
    RuntimeForKey,
    /// Runtime, for all.
    Runtime,
    /// The metadata of the route.
    Route,
    /// The metadata of the cluster.
    Cluster,
    /// The live endpoint count of a cluster.
    Membership,
    /// The plugin's configuration.
    Configuration,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RuntimeForKey => "runtime for this key",
            Self::Runtime => "runtime",
            Self::Route => "route metadata",
            Self::Cluster => "cluster metadata",
            Self::Membership => "membership",
            Self::Configuration => "configuration",
        })
    }
}

/// Numbers out of some metadata.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// How many hosts there are.
    pub total_hosts: Option<u32>,
    /// How many of them a key gets.
    pub shard_size: Option<u32>,
    /// How many instances there are.
    pub replicas: Option<u32>,
}

impl Numbers {
    fn get(&self, number: Number) -> Option<u32> {
        match number {
            Number::TotalHosts => self.total_hosts,
            Number::ShardSize => self.shard_size,
            Number::Replicas => self.replicas,
        }
    }
}

/// All that is said from outside at the time of a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Live<'s> {
    /// What runtime says.
    pub runtime: Option<&'s Snapshot>,
    /// What the route's metadata says.
    pub route: Numbers,
    /// What the cluster's metadata says.
    pub cluster: Numbers,
    /// How many endpoints a cluster has.
    pub membership: Option<u32>,
}

impl Live<'_> {
    /// Whether the filter is to act at all.
    pub fn enabled(&self) -> bool {
        self.runtime.and_then(Snapshot::enabled).unwrap_or(true)
    }

    /// A number for a key, and who said it; the first source that says anything is believed.
    pub fn number(&self, number: Number, key: &[u8], configured: u32) -> (u32, Source) {
        let for_key = match number {
            Number::ShardSize => self.runtime.and_then(|snapshot| snapshot.shard_size_of(key)),
            Number::TotalHosts | Number::Replicas => None,
        };
        let by = |source| move |value| (value, source);
        for_key
            .map(by(Source::RuntimeForKey))
            .or_else(|| self.runtime?.number(number).map(by(Source::Runtime)))
            .or_else(|| self.route.get(number).map(by(Source::Route)))
            .or_else(|| self.cluster.get(number).map(by(Source::Cluster)))
            // How many endpoints a cluster has says how many hosts there are, not how many a key gets.
            .or_else(|| self.membership.filter(|_| number != Number::ShardSize).map(by(Source::Membership)))
            .unwrap_or((configured, Source::Configuration))
    }
}
