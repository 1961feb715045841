//! Compiles runtime entries, from whichever source, to a snapshot.

use super::endpoints::{Endpoints, Reported};
use super::snapshot::{Builder, Snapshot};
use super::value::{Number, Scalar, Skipped};
use crate::hash::fingerprint;
use crate::shard::MAX_HOSTS;
use std::sync::Arc;

/// The result of compiling an update.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The values.
    pub snapshot: Snapshot,
    /// The entries that could not be used, at most 100.
    pub skipped: Vec<Skipped>,
}

/// How many unusable entries are reported one by one.
const MAX_SKIPPED: usize = 100;

/// Compiles the entries whose names begin with a prefix and a dot.
///
/// `PREFIX.customer.KEY.shard_size` has precedence over `PREFIX.KEY.shard_size`, in whatever order they come.
#[derive(Debug)]
pub struct Compiler<'a> {
    prefix: &'a str,
    last: &'a Snapshot,
    builder: Builder,
    short_names: Vec<(String, u32)>,
    skipped: Vec<Skipped>,
}

impl<'a> Compiler<'a> {
    /// A compiler for entries under `prefix`. Where a value cannot be used, the one in `last` is kept.
    pub fn new(prefix: &'a str, last: &'a Snapshot) -> Self {
        let (builder, short_names, skipped) = (Builder::default(), Vec::new(), Vec::new());
        Self { prefix, last, builder, short_names, skipped }
    }

    /// Adds an entry by its full name.
    pub fn add(&mut self, name: &str, value: Scalar<'_>) {
        let Some(rest) = name.strip_prefix(self.prefix).and_then(|rest| rest.strip_prefix('.')) else {
            return;
        };
        let last = self.last;
        let usable = match rest {
            "total_hosts" => {
                let count = value.count();
                self.builder.total_hosts = count.or_else(|| last.number(Number::TotalHosts));
                count.is_some()
            }
            "default_shard_size" => {
                let count = value.count();
                self.builder.default_shard_size = count.or_else(|| last.number(Number::ShardSize));
                count.is_some()
            }
            "replicas" => {
                let count = value.count();
                self.builder.replicas = count.or_else(|| last.number(Number::Replicas));
                count.is_some()
            }
            "enabled" => {
                let truth = value.truth();
                self.builder.enabled = truth.or_else(|| last.enabled());
                truth.is_some()
            }
            "cache_generation" => {
                let is_usable = !matches!(value, Scalar::Other);
                self.builder.cache_generation =
                    if is_usable { fingerprint(&value.to_string()) } else { last.cache_generation() };
                is_usable
            }
            _ => match rest.strip_suffix(".shard_size") {
                Some(key) => self.add_key(key, value.count()),
                None => return,
            },
        };
        if !usable && self.skipped.len() < MAX_SKIPPED {
            self.skipped.push(Skipped { name: name.to_owned(), value: value.to_string() });
        }
    }

    fn add_key(&mut self, key: &str, count: Option<u32>) -> bool {
        let (key, is_long) = match key.strip_prefix("customer.") {
            Some(key) => (key, true),
            None => (key, false),
        };
        if let Some(size) = count.or_else(|| self.last.shard_size_of(key.as_bytes())) {
            if is_long {
                self.builder.add(key.as_bytes(), size);
            } else {
                self.short_names.push((key.to_owned(), size));
            }
        }
        count.is_some()
    }

    /// Adds the endpoints of a cluster, and their number.
    ///
    /// # Errors
    /// There are none, or too many.
    pub fn add_endpoints(&mut self, reported: &[Reported]) -> Result<(), String> {
        let refused =
            || format!("{} endpoints at IP addresses; must be 1 to {MAX_HOSTS} hosts", reported.len());
        let endpoints = Endpoints::new(reported).ok_or_else(refused)?;
        self.add(&format!("{}.total_hosts", self.prefix), Scalar::Number(f64::from(endpoints.count())));
        self.builder.endpoints = Some(Arc::new(endpoints));
        Ok(())
    }

    /// The snapshot of this version.
    pub fn finish(mut self, version: u64) -> Compiled {
        // The builder keeps the first size of a key.
        for (key, size) in self.short_names {
            self.builder.add(key.as_bytes(), size);
        }
        Compiled { snapshot: self.builder.build(version), skipped: self.skipped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(last: &Snapshot, entries: &[(&str, Scalar<'_>)]) -> (Snapshot, Vec<String>) {
        let mut compiler = Compiler::new("shuffle_sharding", last);
        entries.iter().for_each(|(name, value)| compiler.add(name, *value));
        let Compiled { snapshot, skipped } = compiler.finish(1);
        let skipped = skipped.iter().map(|skipped| format!("{}={}", skipped.name, skipped.value)).collect();
        (snapshot, skipped)
    }

    #[test]
    fn both_spellings_of_a_customers_size_are_accepted() {
        let (snapshot, skipped) = compiled(
            &Snapshot::default(),
            &[
                ("shuffle_sharding.total_hosts", Scalar::Text("12")),
                ("shuffle_sharding.customer-A.shard_size", Scalar::Number(3.0)),
                ("shuffle_sharding.a.b.shard_size", Scalar::Number(9.0)),
                ("shuffle_sharding.customer.a.b.shard_size", Scalar::Number(4.0)),
                ("shuffle_sharding.enabled", Scalar::Text("false")),
                ("shuffle_sharding", Scalar::Other),
                ("shuffle_sharding.something.else", Scalar::Other),
                ("shuffle_shardingX.total_hosts", Scalar::Number(99.0)),
                ("envoy.total_hosts", Scalar::Number(99.0)),
            ],
        );
        assert_eq!(skipped, [""; 0]);
        assert_eq!(snapshot.number(Number::TotalHosts), Some(12));
        assert_eq!(snapshot.shard_size_of(b"customer-A"), Some(3));
        assert_eq!(snapshot.shard_size_of(b"a.b"), Some(4));
        assert_eq!(snapshot.enabled(), Some(false));
    }

    #[test]
    fn an_unusable_value_leaves_the_last_good_one() {
        let (good, _) = compiled(
            &Snapshot::default(),
            &[
                ("shuffle_sharding.total_hosts", Scalar::Number(8.0)),
                ("shuffle_sharding.default_shard_size", Scalar::Number(2.0)),
                ("shuffle_sharding.customer.a.shard_size", Scalar::Number(3.0)),
                ("shuffle_sharding.enabled", Scalar::Bool(true)),
            ],
        );
        for bad in [
            Scalar::Number(-1.0),
            Scalar::Number(0.0),
            Scalar::Number(2.5),
            Scalar::Number(1e18),
            Scalar::Number(f64::NAN),
            Scalar::Number(65_537.0),
            Scalar::Text("many"),
            Scalar::Text(""),
            Scalar::Text("+8"),
            Scalar::Text("8 "),
            Scalar::Other,
        ] {
            let (kept, skipped) = compiled(
                &good,
                &[
                    ("shuffle_sharding.total_hosts", bad),
                    ("shuffle_sharding.default_shard_size", bad),
                    ("shuffle_sharding.customer.a.shard_size", bad),
                    ("shuffle_sharding.enabled", bad),
                    ("shuffle_sharding.customer.new.shard_size", bad),
                ],
            );
            assert_eq!(skipped.len(), 5, "{bad}");
            assert_eq!(kept.number(Number::TotalHosts), Some(8), "{bad}");
            assert_eq!(kept.number(Number::ShardSize), Some(2), "{bad}");
            assert_eq!(kept.shard_size_of(b"a"), Some(3), "{bad}");
            assert_eq!(kept.shard_size_of(b"new"), None, "{bad}");
            assert_eq!(kept.enabled(), Some(true), "{bad}");
        }
        let (gone, _) = compiled(&good, &[]);
        assert_eq!(
            (gone.number(Number::TotalHosts), gone.shard_size_of(b"a")),
            (None, None),
            "an absent value is not kept"
        );
    }
}
