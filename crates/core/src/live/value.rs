//! Numbers that may change while requests run, and where a number comes from.

use crate::shard::MAX_HOSTS;
use std::fmt;

/// A number that may have a live value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// The number of hosts that shards are chosen from.
    TotalHosts,
    /// The number of hosts in a shard.
    ShardSize,
    /// The number of hosts that the `index` strategy spreads keys over.
    Replicas,
}

impl Number {
    /// The name in metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::TotalHosts => "total_hosts",
            Self::ShardSize => "shard_size",
            Self::Replicas => "replicas",
        }
    }
}

/// Where a number comes from, in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Runtime, for this key.
    RuntimeKey,
    /// Runtime, for all keys.
    Runtime,
    /// The metadata of the route.
    RouteMetadata,
    /// The metadata of the cluster.
    ClusterMetadata,
    /// The endpoint count of a cluster.
    Membership,
    /// The plugin's configuration.
    Plugin,
}

impl Source {
    /// The name in logs and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::RuntimeKey => "runtime_key",
            Self::Runtime => "runtime",
            Self::RouteMetadata => "route_metadata",
            Self::ClusterMetadata => "cluster_metadata",
            Self::Membership => "membership",
            Self::Plugin => "plugin",
        }
    }
}

/// A number and its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sourced {
    /// The number.
    pub value: u32,
    /// Its source.
    pub source: Source,
}

impl fmt::Display for Sourced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {}", self.value, self.source.name())
    }
}

/// The value of a runtime entry or of a member of metadata.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar<'v> {
    /// A number.
    Number(f64),
    /// Text, which may hold a number or a boolean.
    Text(&'v str),
    /// A boolean.
    Bool(bool),
    /// Null, an object or a list.
    Other,
}

impl Scalar<'_> {
    /// A whole number from 1 to [`MAX_HOSTS`].
    pub fn count(&self) -> Option<u32> {
        let number = match self {
            Self::Number(number) if number.fract() == 0.0 && (1.0..=f64::from(u32::MAX)).contains(number) => {
                Some(*number as u32)
            }
            // Digits only: `parse` would accept a sign.
            Self::Text(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            _ => None,
        };
        number.filter(|number| (1..=MAX_HOSTS).contains(number))
    }

    /// A boolean, also as text.
    pub fn truth(&self) -> Option<bool> {
        match self {
            Self::Bool(truth) => Some(*truth),
            Self::Text("true") => Some(true),
            Self::Text("false") => Some(false),
            _ => None,
        }
    }
}

impl fmt::Display for Scalar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "{:?}", text.chars().take(60).collect::<String>()),
            Self::Bool(truth) => write!(f, "{truth}"),
            Self::Other => f.write_str("null, an object or a list"),
        }
    }
}

/// A live value that cannot be used. The value before it stays in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The name of the entry.
    pub name: String,
    /// The value, for a message.
    pub value: String,
}
