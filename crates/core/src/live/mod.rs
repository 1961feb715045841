//! Numbers that change while requests run, and where they come from.

pub mod admin;
mod compile;
pub mod rtds;

pub use compile::{compile, Compiled, Scalar, Skipped, Visitor};
pub use pinroute_hot::live::*;

use crate::json::Value;
use crate::protobuf;
use crate::shuffle::MAX_HOSTS;

/// Reads the numbers in a namespace of an `envoy.config.core.v3.Metadata`. A value that is not a whole number in
/// range is left as it was in `last`, and named in `skipped`.
pub fn read_numbers(metadata: &[u8], namespace: &str, last: Numbers, skipped: &mut Vec<Skipped>) -> Numbers {
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
    Numbers {
        total_hosts: one(Number::TotalHosts, last.total_hosts),
        shard_size: one(Number::ShardSize, last.shard_size),
        replicas: one(Number::Replicas, last.replicas),
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
