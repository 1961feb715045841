//! Numbers in the metadata of routes and clusters.

use super::value::{Number, Scalar, Skipped};
use crate::hash::Digester;
use crate::lru::Lru;
use crate::metrics::{Counter, Recorder};
use crate::protobuf::Metadata;
use prost_types::value::Kind;

/// The numbers that some metadata holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// The number of hosts.
    pub total_hosts: Option<u32>,
    /// The number of hosts in a shard.
    pub shard_size: Option<u32>,
    /// The number of hosts of the `index` strategy.
    pub replicas: Option<u32>,
}

impl Numbers {
    /// One of them.
    pub fn get(&self, number: Number) -> Option<u32> {
        match number {
            Number::TotalHosts => self.total_hosts,
            Number::ShardSize => self.shard_size,
            Number::Replicas => self.replicas,
        }
    }

    /// Reads a namespace of serialized metadata. A value that cannot be used is the one in `last`.
    fn read(metadata: &[u8], namespace: &str, last: Self, skipped: &mut Vec<Skipped>) -> Self {
        let members = Metadata::namespace(metadata, namespace).unwrap_or_default();
        let mut read = |number: Number| {
            let value = members.fields.get(number.name())?;
            let scalar = match &value.kind {
                Some(Kind::NumberValue(number)) => Scalar::Number(*number),
                Some(Kind::StringValue(text)) => Scalar::Text(text),
                Some(Kind::BoolValue(truth)) => Scalar::Bool(*truth),
                _ => Scalar::Other,
            };
            scalar.count().or_else(|| {
                skipped.push(Skipped { name: number.name().to_owned(), value: scalar.to_string() });
                last.get(number)
            })
        };
        Self {
            total_hosts: read(Number::TotalHosts),
            shard_size: read(Number::ShardSize),
            replicas: read(Number::Replicas),
        }
    }
}

/// How many bytes of each cache below are used.
const BUDGET: usize = 1 << 20;

/// Reads numbers from metadata and remembers them: the same bytes are parsed once.
#[derive(Debug)]
pub struct MetadataReader {
    digester: Digester,
    known: Lru<Numbers>,
    last_good: Lru<Numbers>,
}

impl MetadataReader {
    /// A reader whose tables are keyed by `digester`.
    pub fn new(digester: Digester) -> Self {
        Self { digester, known: Lru::new(BUDGET), last_good: Lru::new(BUDGET) }
    }

    /// The numbers in a namespace of serialized metadata. `owner` names the route or cluster that it belongs
    /// to, for messages and for the last good values; without a name there are none.
    pub fn numbers(
        &mut self,
        namespace: &str,
        metadata: &[u8],
        owner: impl FnOnce() -> Option<Vec<u8>>,
        recorder: &mut Recorder,
    ) -> Numbers {
        let digest = self.digester.digest_parts(0, &[namespace.as_bytes(), metadata]);
        if let Some(known) = self.known.get(digest) {
            return *known;
        }
        // Beside an unusable value, the numbers depend on the owner and on its values before.
        let owner = owner();
        let is_named = owner.is_some();
        let owner = owner.unwrap_or_default();
        let owned = self.digester.digest_parts(1, &[namespace.as_bytes(), &owner, metadata]);
        if let Some(known) = self.known.get(owned) {
            return *known;
        }
        let owner_digest = self.digester.digest_parts(2, &[namespace.as_bytes(), &owner]);
        let last = self.last_good.get(owner_digest).copied().unwrap_or_default();
        let mut skipped = Vec::new();
        let numbers = Numbers::read(metadata, namespace, last, &mut skipped);
        for Skipped { name, value } in &skipped {
            let owner = owner.escape_ascii();
            log::warn!(
                "pinroute: {name} = {value} in the metadata `{namespace}` of {owner} is invalid and ignored"
            );
            recorder.count(Counter::RuntimeInvalid);
        }
        if is_named {
            self.last_good.insert(owner_digest, numbers, 0);
        }
        self.known.insert(if skipped.is_empty() { digest } else { owned }, numbers, 0);
        numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;
    use prost_types::{Struct, Value};

    fn metadata(kind: Kind) -> Vec<u8> {
        let fields = [("total_hosts".to_owned(), Value { kind: Some(kind) })].into();
        Metadata { filter_metadata: [("envoy.lb".to_owned(), Struct { fields })].into() }.encode_to_vec()
    }

    fn total(
        reader: &mut MetadataReader,
        metadata: &[u8],
        owner: &str,
        recorder: &mut Recorder,
    ) -> Option<u32> {
        let owner = || Some(owner.into()).filter(|owner: &Vec<u8>| !owner.is_empty());
        reader.numbers("envoy.lb", metadata, owner, recorder).total_hosts
    }

    #[test]
    fn an_unusable_value_leaves_the_last_good_one_of_its_owner() {
        let mut reader = MetadataReader::new(Digester::new([1, 2]));
        let mut recorder = Recorder::default();
        let [eight, twelve] = [8.0, 12.0].map(|number| metadata(Kind::NumberValue(number)));
        let bad = metadata(Kind::StringValue("many".to_owned()));
        assert_eq!(total(&mut reader, &eight, "route a", &mut recorder), Some(8));
        assert_eq!(total(&mut reader, &bad, "route a", &mut recorder), Some(8));
        assert_eq!(total(&mut reader, &bad, "route b", &mut recorder), None);
        assert_eq!(total(&mut reader, &twelve, "route a", &mut recorder), Some(12));
        assert_eq!(
            total(&mut reader, &bad, "route a", &mut recorder),
            Some(8),
            "the same bytes, read before"
        );
        assert_eq!(recorder.counted().count(), 2, "each owner's value is reported once");
        assert_eq!(total(&mut reader, b"\xff", "route c", &mut recorder), None);
        assert_eq!(total(&mut reader, &eight, "", &mut recorder), Some(8));
        assert_eq!(total(&mut reader, &bad, "", &mut recorder), None, "routes without a name share nothing");
    }
}
