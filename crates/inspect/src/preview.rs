//! Says who moves from one configuration to another, before it is made.

mod render;

use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::io::{self, BufRead, Write};

use pinroute_core::config::Strategy;
use pinroute_core::explain::Explanation;
use pinroute_core::hash::{fnv1a_64, mix};
use serde::Serialize;
use thiserror::Error;

use crate::keys::{for_each_line, key_of_line};
use crate::overlap::{HostIds, common};
use crate::subject::Subject;
use crate::theory::{Numbers, Stays};

/// How many keys that move are named.
const EXAMPLES: usize = 10;

/// How many keys are compared with each other, each with each.
const SAMPLE: usize = 1_000;

/// Who moves.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The configuration before.
    pub from: Side,
    /// The configuration after.
    pub to: Side,
    /// The keys that were looked at.
    pub keys: u64,
    /// Lines that are no key, or whose requests are routed by neither.
    pub refused: u64,
    /// The keys whose set of hosts changes.
    pub moved: u64,
    /// Their share of the keys.
    pub moved_share: f64,
    /// The number of them that theory expects; absent if there is no theory.
    pub expected: Option<f64>,
    /// Their share of the keys.
    pub expected_share: Option<f64>,
    /// The number of keys by the number of hosts that they keep.
    pub kept: BTreeMap<usize, u64>,
    /// How many hosts two keys share.
    pub overlap: Overlap,
    /// The first keys that move.
    pub examples: Vec<Moved>,
}

/// One of the configurations.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Side {
    /// The strategy.
    pub strategy: &'static str,
    /// The least and the greatest number of hosts.
    pub total_hosts: Option<[u32; 2]>,
    /// The least and the greatest shard size.
    pub shard_size: Option<[u32; 2]>,
    /// What the reader should know about its live values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// How many hosts two keys share: the share of pairs by this number.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Overlap {
    /// How many keys were compared, each with each.
    pub sample: usize,
    /// Before.
    pub before: BTreeMap<usize, f64>,
    /// After.
    pub after: BTreeMap<usize, f64>,
}

/// A key that moves.
#[derive(Clone, Debug, Serialize)]
pub struct Moved {
    /// The key.
    pub key: String,
    /// Its hosts before.
    pub from: Vec<String>,
    /// Its hosts after.
    pub to: Vec<String>,
}

/// Why there is no preview.
#[derive(Debug, Error)]
pub enum PreviewError {
    /// The owners are not known here.
    #[error("{0} is configured with `resolve`: its resolver decides where keys go, a preview cannot")]
    Resolver(&'static str),
    /// The keys cannot be read.
    #[error("cannot read the keys: {0}")]
    Keys(#[from] io::Error),
    /// The list cannot be written.
    #[error("cannot write the list: {0}")]
    Write(io::Error),
    /// There are no keys.
    #[error("no key was read; allowed: one key on each line, several parts separated by tabs")]
    NoKeys,
}

/// Compares where keys go, one on each line.
///
/// # Errors
/// [`PreviewError`]
pub fn preview(from: &mut Subject, to: &mut Subject, keys: impl BufRead) -> Result<Report, PreviewError> {
    let mut counts = Counts::new(Stays::of(&from.config, &to.config));
    let (mut before, mut after) = (Side::of(from), Side::of(to));
    let refused = compare(from, to, keys, |line, old, new| {
        before.widen(old);
        after.widen(new);
        counts.add(line, old, new);
        Ok(())
    })?;
    Ok(counts.report(before, after, refused))
}

/// Writes each key that moves, its hosts before and its hosts after, separated by tabs. Returns the number of lines that are no
/// key or not routed.
///
/// # Errors
/// [`PreviewError`]
pub fn list(
    from: &mut Subject,
    to: &mut Subject,
    keys: impl BufRead,
    out: &mut impl Write,
) -> Result<u64, PreviewError> {
    let mut ids = HostIds::default();
    compare(from, to, keys, |line, old, new| {
        let (before, after) = (ids.of(old), ids.of(new));
        if before == after {
            return Ok(());
        }
        let [before, after] = [before, after].map(|hosts| ids.names(&hosts).join(","));
        let rest = format!("\t{before}\t{after}\n");
        out.write_all(line).and_then(|()| out.write_all(rest.as_bytes())).map_err(PreviewError::Write)
    })
}

/// Asks both sides about each key that one of them routes. Returns the number of other lines.
fn compare(
    from: &mut Subject,
    to: &mut Subject,
    keys: impl BufRead,
    mut each: impl FnMut(&[u8], &Explanation, &Explanation) -> Result<(), PreviewError>,
) -> Result<u64, PreviewError> {
    for (name, subject) in [("--from", &*from), ("--to", &*to)] {
        if matches!(subject.config.strategy, Strategy::Resolve(..)) {
            return Err(PreviewError::Resolver(name));
        }
    }
    let (mut compared, mut refused) = (0_u64, 0);
    for_each_line(keys, |line| {
        if let (Ok(key), Ok(other)) = (key_of_line(&from.config, line), key_of_line(&to.config, line)) {
            let (old, new) = (from.explain(&key), to.explain(&other));
            if !old.hosts.is_empty() || !new.hosts.is_empty() {
                compared += 1;
                return each(line, &old, &new);
            }
        }
        refused += 1;
        Ok(())
    })?;
    if compared == 0 { Err(PreviewError::NoKeys) } else { Ok(refused) }
}

impl Side {
    fn of(subject: &Subject) -> Self {
        let strategy = match &subject.config.strategy {
            Strategy::Resolve(..) => "resolve",
            Strategy::Index(_) => "index",
            Strategy::ShuffleShard(_) => "shuffle_shard",
            Strategy::Template => "template",
        };
        Self { strategy, warnings: subject.warnings.clone(), ..Self::default() }
    }

    fn widen(&mut self, explanation: &Explanation) {
        let widen = |range: &mut Option<[u32; 2]>, value: Option<u32>| {
            if let Some(value) = value {
                let [least, most] = range.unwrap_or([value; 2]);
                *range = Some([least.min(value), most.max(value)]);
            }
        };
        widen(&mut self.total_hosts, explanation.total_hosts.map(|number| number.value));
        widen(&mut self.shard_size, explanation.shard_size.map(|number| number.value));
    }
}

/// What is counted as keys come.
struct Counts {
    theory: Option<Stays>,
    /// Formulas are slow, and few numbers occur.
    known: HashMap<[Numbers; 2], f64>,
    ids: HostIds,
    keys: u64,
    moved: u64,
    stay: f64,
    kept: BTreeMap<usize, u64>,
    examples: Vec<Moved>,
    sample: BinaryHeap<Sampled>,
}

/// A key of the sample: those with the least hashes are, so that the order of keys does not matter.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Sampled {
    hash: u64,
    old: Vec<u32>,
    new: Vec<u32>,
}

impl Counts {
    fn new(theory: Option<Stays>) -> Self {
        Self {
            theory,
            known: HashMap::new(),
            ids: HostIds::default(),
            keys: 0,
            moved: 0,
            stay: 0.0,
            kept: BTreeMap::new(),
            examples: Vec::new(),
            sample: BinaryHeap::new(),
        }
    }

    fn add(&mut self, line: &[u8], old: &Explanation, new: &Explanation) {
        let (before, after) = (self.ids.of(old), self.ids.of(new));
        self.keys += 1;
        *self.kept.entry(common(&before, &after)).or_default() += 1;
        if before != after {
            self.moved += 1;
            if self.examples.len() < EXAMPLES {
                let key = String::from_utf8_lossy(line).into_owned();
                let (from, to) = (self.ids.names(&before), self.ids.names(&after));
                self.examples.push(Moved { key, from, to });
            }
        }
        if let Some(theory) = &self.theory {
            let pair = [old, new].map(numbers);
            self.stay += *self.known.entry(pair).or_insert_with(|| theory.probability(pair[0], pair[1]));
        }
        let hash = mix(fnv1a_64(line));
        let is_wanted = self.sample.len() < SAMPLE || self.sample.peek().is_some_and(|last| hash < last.hash);
        if is_wanted {
            self.sample.push(Sampled { hash, old: before, new: after });
            if self.sample.len() > SAMPLE {
                self.sample.pop();
            }
        }
    }

    fn report(self, from: Side, to: Side, refused: u64) -> Report {
        let keys = self.keys as f64;
        let expected = self.theory.as_ref().map(|_| keys - self.stay);
        let sample = self.sample.into_vec();
        Report {
            from,
            to,
            keys: self.keys,
            refused,
            moved: self.moved,
            moved_share: self.moved as f64 / keys,
            expected,
            expected_share: expected.map(|expected| expected / keys),
            kept: self.kept,
            overlap: Overlap {
                sample: sample.len(),
                before: overlap(sample.iter().map(|sampled| sampled.old.as_slice())),
                after: overlap(sample.iter().map(|sampled| sampled.new.as_slice())),
            },
            examples: self.examples,
        }
    }
}

fn numbers(explanation: &Explanation) -> Numbers {
    Numbers {
        total: explanation.total_hosts.map_or(0, |number| number.value),
        size: explanation.shard_size.map_or(1, |number| number.value),
    }
}

/// The shares of pairs by the number of hosts that both may use.
fn overlap<'s>(sets: impl Iterator<Item = &'s [u32]> + Clone) -> BTreeMap<usize, f64> {
    let mut pairs: BTreeMap<usize, u64> = BTreeMap::new();
    for (place, one) in sets.clone().enumerate() {
        for other in sets.clone().skip(place + 1) {
            *pairs.entry(common(one, other)).or_default() += 1;
        }
    }
    let all = pairs.values().sum::<u64>().max(1) as f64;
    pairs.into_iter().map(|(shared, count)| (shared, count as f64 / all)).collect()
}
