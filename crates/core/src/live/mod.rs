//! Numbers that change while requests run: who says them, and who is believed first.

pub mod admin;
mod compile;
pub mod rtds;
mod snapshot;

pub use compile::{compile, Compiled, Scalar, Skipped, Visitor};
pub use snapshot::Snapshot;

use crate::json::Value;
use crate::protobuf;
use crate::shuffle::MAX_HOSTS;
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
    /// Reads the numbers in a namespace of an `envoy.config.core.v3.Metadata`. A value that is not a whole
    /// number in range is left as it was in `last`, and named in `skipped`.
    pub fn read(metadata: &[u8], namespace: &str, last: Self, skipped: &mut Vec<Skipped>) -> Self {
        let members = protobuf::metadata_namespace(metadata, namespace).and_then(protobuf::struct_to_json);
        let mut one = |number: Number, last: Option<u32>| {
            let value = members.as_ref()?.get(number.name())?;
            let scalar = match value {
                Value::Number(number) => Scalar::Number(number.as_f64()),
                Value::String(text) => Scalar::Text(text),
                Value::Bool(truth) => Scalar::Bool(*truth),
                _ => Scalar::Other,
            };
            scalar.count().or_else(|| {
                skipped.push(Skipped { key: number.name().to_owned(), value: scalar.to_string() });
                last
            })
        };
        Self {
            total_hosts: one(Number::TotalHosts, last.total_hosts),
            shard_size: one(Number::ShardSize, last.shard_size),
            replicas: one(Number::Replicas, last.replicas),
        }
    }

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
        // How many endpoints a cluster has says how many hosts there are, not how many a key gets.
        let membership = self.membership.filter(|_| number != Number::ShardSize);
        let said = [
            (for_key, Source::RuntimeForKey),
            (self.runtime.and_then(|snapshot| snapshot.number(number)), Source::Runtime),
            (self.route.get(number), Source::Route),
            (self.cluster.get(number), Source::Cluster),
            (membership, Source::Membership),
        ];
        let first = said.into_iter().find_map(|(value, source)| Some((value?, source)));
        first.unwrap_or((configured, Source::Configuration))
    }
}

/// Whether a number of hosts, of a shard or of instances may be this.
fn in_range(number: u32) -> bool {
    (1..=MAX_HOSTS).contains(&number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(entries: &[(&str, f64)]) -> Snapshot {
        let compiled = compile("p", 1, &Snapshot::default(), &mut |visit| {
            entries.iter().for_each(|(key, value)| visit(key, Scalar::Number(*value)));
        });
        Snapshot::open(compiled.bytes).unwrap()
    }

    #[test]
    fn the_first_source_that_says_anything_is_believed() {
        let runtime = snapshot(&[
            ("p.total_hosts", 10.0),
            ("p.default_shard_size", 3.0),
            ("p.replicas", 7.0),
            ("p.customer.a.shard_size", 4.0),
        ]);
        let numbers =
            |base| Numbers { total_hosts: Some(base), shard_size: Some(base + 1), replicas: Some(base + 2) };
        let mut live =
            Live { runtime: Some(&runtime), route: numbers(20), cluster: numbers(30), membership: Some(40) };
        let said = |live: &Live<'_>, key: &str| {
            [Number::TotalHosts, Number::ShardSize, Number::Replicas]
                .map(|number| live.number(number, key.as_bytes(), 1))
        };
        use Source::{Cluster, Configuration, Membership, Route, Runtime, RuntimeForKey};
        assert_eq!(said(&live, "a"), [(10, Runtime), (4, RuntimeForKey), (7, Runtime)]);
        assert_eq!(said(&live, "b"), [(10, Runtime), (3, Runtime), (7, Runtime)]);
        live.runtime = None;
        assert_eq!(said(&live, "a"), [(20, Route), (21, Route), (22, Route)]);
        live.route = Numbers { shard_size: Some(9), ..Numbers::default() };
        assert_eq!(said(&live, "a"), [(30, Cluster), (9, Route), (32, Cluster)]);
        live.cluster = Numbers::default();
        assert_eq!(said(&live, "a"), [(40, Membership), (9, Route), (40, Membership)]);
        assert_eq!(said(&Live::default(), "a"), [(1, Configuration); 3]);
    }
}
