//! What theory expects: shares of keys, if hashes are uniform.
//!
//! Rendezvous hashing ranks all hosts at random for each key, so a shard is a random subset, and the shard of a subset of the
//! hosts is made of the best of them. The other formulas follow from this by counting subsets.

use std::collections::BTreeMap;

use pinroute_core::config::{Config, Hosts, IndexConfig, ShuffleConfig, Strategy};
use pinroute_core::shard::Algorithm;

/// C(m, k) / C(n, k): how probable it is that a random subset of `k` out of `n` lies within `m` of them.
pub fn within(m: u32, n: u32, k: u32) -> f64 {
    if k > m.min(n) {
        return 0.0;
    }
    (0..k).map(|i| f64::from(m - i) / f64::from(n - i)).product()
}

/// 1 / C(n, k): how probable it is that a random subset is a certain one.
pub fn one_of_all(n: u32, k: u32) -> f64 {
    (0..k.min(n)).map(|i| f64::from(i + 1) / f64::from(n - i)).product()
}

/// How probable it is that a key stays where it is, by the numbers that hold for it.
#[derive(Clone, Debug, PartialEq)]
pub enum Stays {
    /// Shards by rendezvous hashing.
    Shards {
        /// The number of hosts that both have; `None` if hosts are numbered: then it is the smaller number.
        common: Option<u32>,
        /// Whether the same scores rank the hosts before and after.
        same_scores: bool,
    },
    /// The formula of `index`, numbered before and after.
    Index,
    /// The same for each key, whatever the numbers are.
    Always(f64),
}

/// The numbers of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Numbers {
    /// The number of hosts.
    pub total: u32,
    /// The shard size; 1 without shards.
    pub size: u32,
}

impl Stays {
    /// The formula for these configurations; `None` if there is none.
    pub fn of(from: &Config, to: &Config) -> Option<Self> {
        if from.target != to.target || from.key.names().count() != to.key.names().count() {
            return None;
        }
        match (&from.strategy, &to.strategy) {
            (Strategy::ShuffleShard(from), Strategy::ShuffleShard(to)) => Self::of_shards(from, to),
            (Strategy::Index(from), Strategy::Index(to)) => Self::of_index(from, to),
            (Strategy::Template, Strategy::Template) => Some(Self::Always(1.0)),
            _ => None,
        }
    }

    fn of_shards(from: &ShuffleConfig, to: &ShuffleConfig) -> Option<Self> {
        if [from.algorithm, to.algorithm] != [Algorithm::Rendezvous; 2] {
            return None;
        }
        let same_scores = from.seed == to.seed;
        match (&from.hosts, &to.hosts) {
            (Hosts::Numbered { base, .. }, Hosts::Numbered { base: other, .. }) if base == other => {
                Some(Self::Shards { common: None, same_scores })
            }
            (Hosts::Listed { names, kind }, Hosts::Listed { names: others, kind: other })
                if kind == other =>
            {
                let common = names.iter().filter(|name| others.contains(name)).count();
                Some(Self::Shards { common: u32::try_from(common).ok(), same_scores })
            }
            // Of the endpoints of two clusters nobody knows which ones are the same.
            _ => None,
        }
    }

    fn of_index(from: &IndexConfig, to: &IndexConfig) -> Option<Self> {
        if from.mode != to.mode {
            return None;
        }
        match (&from.hosts, &to.hosts) {
            (Hosts::Numbered { base, .. }, Hosts::Numbered { base: other, .. }) if base == other => {
                Some(Self::Index)
            }
            (Hosts::Listed { names, kind }, Hosts::Listed { names: others, kind: other })
                if kind == other =>
            {
                Some(Self::Always(same_place(names, others)))
            }
            _ => None,
        }
    }

    /// The probability for a key with these numbers.
    pub fn probability(&self, from: Numbers, to: Numbers) -> f64 {
        match self {
            Self::Always(probability) => *probability,
            // Two remainders are equal for the smaller number of values, each as often as any other pair that occurs.
            Self::Index => {
                gcd(from.total as usize, to.total as usize) as f64
                    / f64::from(from.total.max(to.total).max(1))
            }
            Self::Shards { common, same_scores } => {
                let common = common.unwrap_or_else(|| from.total.min(to.total));
                let (size, other) = (from.size.min(from.total), to.size.min(to.total));
                if size != other {
                    return 0.0;
                }
                if *same_scores {
                    within(common, from.total + to.total - common, size)
                } else {
                    within(common, from.total, size) * one_of_all(to.total, size)
                }
            }
        }
    }
}

/// How probable it is that a uniform number has the same name in both lists, each time by its remainder.
fn same_place(names: &[String], others: &[String]) -> f64 {
    let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    others.iter().enumerate().for_each(|(place, name)| places.entry(name).or_default().push(place));
    let (count, other) = (names.len().max(1), others.len().max(1));
    let common = gcd(count, other);
    // By the Chinese remainder theorem, two remainders meet if they are equal modulo the common divisor, each pair as often.
    let meet = |place: usize, name: &String| {
        let known = places.get(name.as_str()).map(Vec::as_slice).unwrap_or_default();
        known.iter().filter(|known| place % common == *known % common).count()
    };
    let pairs: usize = names.iter().enumerate().map(|(place, name)| meet(place, name)).sum();
    pairs as f64 * common as f64 / (count as f64 * other as f64)
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a.max(1) } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-12
    }

    #[test]
    fn one_host_more_moves_the_keys_that_take_it() {
        let shards = Stays::Shards { common: None, same_scores: true };
        let stays =
            |from, to, size| shards.probability(Numbers { total: from, size }, Numbers { total: to, size });
        assert!(close(1.0 - stays(8, 9, 2), 2.0 / 9.0) && close(1.0 - stays(9, 8, 2), 2.0 / 9.0));
        assert!(close(stays(8, 8, 3), 1.0) && close(stays(2, 3, 5), 0.0), "more hosts than before fit");
        assert!(close(stays(4, 8, 2), 6.0 / 28.0));
        let other = Stays::Shards { common: None, same_scores: false };
        let numbers = Numbers { total: 8, size: 2 };
        assert!(close(other.probability(numbers, numbers), 1.0 / 28.0));
    }

    #[test]
    fn the_formula_of_index_is_counted_out() {
        for (from, to) in [(8, 9), (9, 8), (4, 8), (6, 4), (5, 5), (1, 7)] {
            let stay = (0..from * to).filter(|number| number % from == number % to).count();
            let counted = stay as f64 / f64::from(from * to);
            let numbers = |total| Numbers { total, size: 1 };
            assert!(close(Stays::Index.probability(numbers(from), numbers(to)), counted), "{from} {to}");
        }
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let (from, to) = (names(&["a", "b", "a", "c"]), names(&["b", "a", "c", "d", "a", "b"]));
        let stay = (0..24).filter(|number| from[number % 4] == to[number % 6]).count();
        assert!(close(same_place(&from, &to), stay as f64 / 24.0));
    }

    #[test]
    fn subsets_are_counted() {
        assert!(close(one_of_all(8, 2), 1.0 / 28.0) && close(one_of_all(32, 12), 1.0 / 225_792_840.0));
        assert!(close(within(6, 8, 2), 15.0 / 28.0) && close(within(1, 8, 2), 0.0));
    }
}
