//! How many hosts keys share.

use std::collections::HashMap;
use std::io::{self, BufRead};
use std::sync::Arc;

use pinroute_core::config::{Hosts, Strategy};
use pinroute_core::explain::Explanation;
use pinroute_core::key::Key;
use pinroute_core::shard::Algorithm;
use pinroute_core::target::Host;
use serde::Serialize;

use crate::keys::{for_each_line, key_of_line};
use crate::subject::Subject;
use crate::theory::{one_of_all, within};

/// How many keys of each group are named.
const EXAMPLES: usize = 10;

/// Which of many keys share hosts with one key.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Sharing {
    /// The keys that were compared; the key itself is none of them.
    pub keys: u64,
    /// Those that may use exactly the same hosts.
    pub all: Group,
    /// Those that share some hosts.
    pub part: Group,
    /// Those that share none.
    pub none: Group,
    /// Lines that are no key, or whose requests are not routed.
    pub refused: u64,
    /// Whether the hosts are shards, which can overlap.
    #[serde(skip)]
    pub is_shard: bool,
}

/// Keys that share as much as each other with one key.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Group {
    /// How many there are.
    pub keys: u64,
    /// How many theory expects; absent if there is no theory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<f64>,
    /// The first of them.
    pub first: Vec<String>,
}

impl Group {
    fn add(&mut self, key: &[u8]) {
        self.keys += 1;
        if self.first.len() < EXAMPLES {
            self.first.push(String::from_utf8_lossy(key).into_owned());
        }
    }
}

/// What a host is to its clients: where requests for it go. A host that is not allowed has only its number or name.
pub fn identity(host: &Result<Arc<Host>, String>) -> String {
    host.as_ref().map_or_else(String::clone, ToString::to_string)
}

/// Gives hosts small numbers, so that sets of them are compared quickly.
#[derive(Debug, Default)]
pub struct HostIds {
    ids: HashMap<String, u32>,
    names: Vec<String>,
}

impl HostIds {
    /// The hosts of a decision, sorted.
    pub fn of(&mut self, explanation: &Explanation) -> Vec<u32> {
        let mut ids: Vec<u32> = explanation.hosts.iter().map(|host| self.id(identity(host))).collect();
        ids.sort_unstable();
        ids
    }

    /// The names of hosts.
    pub fn names(&self, ids: &[u32]) -> Vec<String> {
        ids.iter().filter_map(|id| self.names.get(*id as usize).cloned()).collect()
    }

    fn id(&mut self, name: String) -> u32 {
        if let Some(id) = self.ids.get(&name) {
            return *id;
        }
        let id = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(name.clone());
        self.ids.insert(name, id);
        id
    }
}

/// How many hosts two sorted lists share.
pub fn common(one: &[u32], other: &[u32]) -> usize {
    one.iter().filter(|id| other.binary_search(id).is_ok()).count()
}

/// How much a key shares with another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shared {
    /// Exactly the same hosts.
    All,
    /// Some hosts.
    Some,
    /// No host.
    None,
}

impl Shared {
    /// Its word in lists.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Some => "some",
            Self::None => "none",
        }
    }
}

/// Compares a key with the keys on the lines of a file. `each` gets every other key, what it shares and how many hosts it may
/// use; or a line that is no key or not routed.
///
/// # Errors
/// If reading fails, or `each` does.
pub fn compare<E: From<io::Error>>(
    subject: &mut Subject,
    own: &Key<'_>,
    keys: impl BufRead,
    mut each: impl FnMut(&[u8], Option<(Shared, usize)>) -> Result<(), E>,
) -> Result<(), E> {
    let mut ids = HostIds::default();
    let mine = ids.of(&subject.explain(own));
    for_each_line(keys, |line| {
        let Ok(key) = key_of_line(&subject.config, line) else { return each(line, None) };
        if key.bytes() == own.bytes() {
            return Ok(());
        }
        let theirs = ids.of(&subject.explain(&key));
        if theirs.is_empty() {
            return each(line, None);
        }
        let shared = match common(&mine, &theirs) {
            0 => Shared::None,
            shared if shared == mine.len() && shared == theirs.len() => Shared::All,
            _ => Shared::Some,
        };
        each(line, Some((shared, theirs.len())))
    })
}

/// Counts what a key shares with the keys on the lines of a file.
///
/// # Errors
/// If reading fails.
pub fn sharing(subject: &mut Subject, own: &Key<'_>, keys: impl BufRead) -> io::Result<Sharing> {
    let explanation = subject.explain(own);
    let theory = Theory::of(subject, &explanation);
    let is_shard = matches!(subject.config.strategy, Strategy::ShuffleShard(_));
    let (mut sharing, mut expected) = (Sharing { is_shard, ..Sharing::default() }, Some((0.0, 0.0)));
    compare(subject, own, keys, |line, other| {
        let Some((shared, hosts)) = other else {
            sharing.refused += 1;
            return io::Result::Ok(());
        };
        sharing.keys += 1;
        let size = u32::try_from(hosts).unwrap_or(u32::MAX);
        expected = expected.zip(theory.as_ref()).map(|((all, none), theory)| {
            let (for_all, for_none) = theory.probabilities(size);
            (all + for_all, none + for_none)
        });
        match shared {
            Shared::None => sharing.none.add(line),
            Shared::All => sharing.all.add(line),
            Shared::Some => sharing.part.add(line),
        }
        Ok(())
    })?;
    if let Some((all, none)) = expected {
        sharing.all.expected = Some(all);
        sharing.none.expected = Some(none);
        sharing.part.expected = Some((sharing.keys as f64 - all - none).max(0.0));
    }
    Ok(sharing)
}

/// What theory says about the hosts that two keys share.
struct Theory {
    total: u32,
    size: u32,
}

impl Theory {
    fn of(subject: &Subject, explanation: &Explanation) -> Option<Self> {
        let total = explanation.total_hosts?.value;
        let has_theory = match &subject.config.strategy {
            Strategy::ShuffleShard(shuffle) => shuffle.algorithm == Algorithm::Rendezvous,
            Strategy::Index(index) => matches!(index.hosts, Hosts::Numbered { .. } | Hosts::Live { .. }),
            Strategy::Resolve(..) | Strategy::Template => false,
        };
        let size = u32::try_from(explanation.hosts.len()).ok()?;
        has_theory.then_some(Self { total, size })
    }

    /// How probable it is that a shard of this size is the same, and that it shares nothing.
    fn probabilities(&self, size: u32) -> (f64, f64) {
        let all = if size == self.size { one_of_all(self.total, size) } else { 0.0 };
        (all, within(self.total.saturating_sub(self.size), self.total, size))
    }
}
