//! From runtime entries, whoever sent them, to a snapshot.

use super::{in_range, Builder, Number, Snapshot};
use std::fmt;

/// The value of a runtime entry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar<'v> {
    /// A number.
    Number(f64),
    /// Text, which may hold a number or a truth value.
    Text(&'v str),
    /// True or false.
    Bool(bool),
    /// Something that is no single value.
    Other,
}

impl Scalar<'_> {
    /// A whole number from 1 to the most hosts there may be.
    pub fn count(&self) -> Option<u32> {
        let number = match self {
            Self::Number(number) if number.fract() == 0.0 && (1.0..=f64::from(u32::MAX)).contains(number) => {
                Some(*number as u32)
            }
            // Digits only: `parse` would take a sign as well.
            Self::Text(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            _ => None,
        };
        number.filter(|number| in_range(*number))
    }

    fn truth(&self) -> Option<bool> {
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
            // Exact digits do not matter in a message, and their code would be large.
            Self::Number(number) if number.abs() < 1e15 => {
                let thousandths = (number.abs() * 1000.0) as u64;
                let sign = if *number < 0.0 { "-" } else { "" };
                write!(f, "{sign}{}", thousandths / 1000)?;
                match thousandths % 1000 {
                    0 => Ok(()),
                    fraction => write!(f, ".{fraction:03}"),
                }
            }
            Self::Number(_) => f.write_str("a huge number"),
            Self::Text(text) => {
                write!(f, "\"{}\"", text.chars().take(60).filter(|c| !c.is_control()).collect::<String>())
            }
            Self::Bool(truth) => f.write_str(if *truth { "true" } else { "false" }),
            Self::Other => f.write_str("no single value"),
        }
    }
}

/// An entry that says nothing usable. What it said before still holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The entry's name.
    pub key: String,
    /// Its value, near enough for a message.
    pub value: String,
}

/// What came of an update.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The snapshot, for [`Snapshot::open`].
    pub bytes: Vec<u8>,
    /// What could not be used, at most [`MOST_SKIPPED`].
    pub skipped: Vec<Skipped>,
}

/// How many unusable entries are told one by one.
const MOST_SKIPPED: usize = 100;

/// What is called with the name and the value of each entry.
pub type Visitor<'v> = dyn FnMut(&str, Scalar<'_>) + 'v;

/// Compiles the entries that `visit_all` visits and that begin with `prefix` and a dot. Where a value is
/// not usable, what `last` said is kept.
///
/// `PREFIX.customer.KEY.shard_size` is believed before `PREFIX.KEY.shard_size`, in whatever order they come.
pub fn compile(
    prefix: &str,
    version: u64,
    last: &Snapshot,
    visit_all: &mut dyn FnMut(&mut Visitor<'_>),
) -> Compiled {
    let mut builder = Builder::default();
    let mut short_names = Vec::new();
    let mut skipped = Vec::new();
    visit_all(&mut |name, value| {
        let Some(rest) = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.')) else { return };
        let mut skip = || {
            if skipped.len() < MOST_SKIPPED {
                skipped.push(Skipped { key: name.to_owned(), value: value.to_string() });
            }
        };
        let mut number = |last: Option<u32>| {
            value.count().or_else(|| {
                skip();
                last
            })
        };
        match rest {
            "total_hosts" => builder.total_hosts = number(last.number(Number::TotalHosts)),
            "default_shard_size" => builder.default_shard_size = number(last.number(Number::ShardSize)),
            "replicas" => builder.replicas = number(last.number(Number::Replicas)),
            "enabled" => {
                builder.enabled = value.truth().or_else(|| {
                    skip();
                    last.enabled()
                });
            }
            _ => {
                let Some(key) = rest.strip_suffix(".shard_size") else { return };
                let (key, is_long) = match key.strip_prefix("customer.") {
                    Some(key) => (key, true),
                    None => (key, false),
                };
                if let Some(size) = number(last.shard_size_of(key.as_bytes())) {
                    if is_long {
                        builder.add(key.as_bytes(), size);
                    } else {
                        short_names.push((key.to_owned(), size));
                    }
                }
            }
        }
    });
    // The first one added counts.
    for (key, size) in short_names {
        builder.add(key.as_bytes(), size);
    }
    Compiled { bytes: builder.build(version), skipped }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(last: &Snapshot, entries: &[(&str, Scalar<'_>)]) -> (Snapshot, Vec<String>) {
        let compiled = compile("shuffle_sharding", 1, last, &mut |visit| {
            for (key, value) in entries {
                visit(key, *value);
            }
        });
        let skipped =
            compiled.skipped.iter().map(|skipped| format!("{}={}", skipped.key, skipped.value)).collect();
        (Snapshot::open(compiled.bytes).unwrap(), skipped)
    }

    #[test]
    fn both_spellings_of_a_customers_size_are_read() {
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
    fn what_is_unusable_leaves_what_was_said_before() {
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
            "no longer said"
        );
    }
}
