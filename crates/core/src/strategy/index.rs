//! The `index` strategy: the formula of the demo's resolver, `number mod count + base`.
//!
//! The server's `/where` and the filter share [`IndexMode`].

use super::hosts::{HostCache, HostTable};
use crate::decision::Route;
use crate::hash::fnv1a_32;
use crate::key::Key;
use crate::live::value::{Number, Source, Sourced};
use crate::live::values::RequestValues;
use crate::request::Request;
use crate::target::Refused;

/// How a key becomes a number before it is reduced to the range of hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum IndexMode {
    /// FNV-1a, 32 bits, over the key's bytes.
    #[default]
    Hash,
    /// The absolute value of a decimal 64-bit integer. Any other key is hashed.
    Numeric,
}

impl IndexMode {
    /// Reads `hash` or `numeric`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "hash" => Some(Self::Hash),
            "numeric" => Some(Self::Numeric),
            _ => None,
        }
    }

    /// The place of `key` among `count` hosts, counted from 0. A count of 0 is taken for 1.
    pub fn slot(self, key: &[u8], count: u32) -> u32 {
        let count = u64::from(count.max(1));
        let number = match self {
            Self::Hash => None,
            Self::Numeric => parse_i64(key).map(i64::unsigned_abs),
        };
        let number = number.unwrap_or_else(|| u64::from(fnv1a_32(key)));
        u32::try_from(number % count).unwrap_or(0)
    }
}

/// The compiled strategy.
#[derive(Debug)]
pub struct Index {
    /// How a key becomes a number.
    pub mode: IndexMode,
    /// The hosts.
    pub hosts: HostTable,
    /// Tells the hosts apart from those of other strategies in the worker's table.
    pub id: u64,
}

impl Index {
    /// The route of a key.
    ///
    /// # Errors
    /// [`Refused`]
    pub fn route(&self, hosts: &mut HostCache, key: &Key<'_>, count: Sourced) -> Result<Route, Refused> {
        let host = hosts.get(self.id, &self.hosts, self.mode.slot(key.bytes(), count.value), key)?;
        Ok(Route { total: Some(count), ..Route::to(host) })
    }

    /// The number of hosts for a key.
    pub fn count(&self, values: &mut RequestValues<'_, impl Request>, key: &[u8]) -> Sourced {
        count_of(&self.hosts, Number::Replicas, values, key)
    }
}

/// The number of hosts: the length of a list, or the live value of a configured number.
pub fn count_of(
    hosts: &HostTable,
    number: Number,
    values: &mut RequestValues<'_, impl Request>,
    key: &[u8],
) -> Sourced {
    match (hosts.configured_count(), hosts.names()) {
        (Some(configured), _) => values.number(number, key, configured),
        (None, names) => {
            let value = names.and_then(|names| u32::try_from(names.len()).ok()).unwrap_or(u32::MAX);
            Sourced { value, source: Source::Plugin }
        }
    }
}

fn parse_i64(key: &[u8]) -> Option<i64> {
    std::str::from_utf8(key).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_of_zero_is_taken_for_one() {
        assert_eq!(IndexMode::Hash.slot(b"123", 0), 0);
        assert_eq!(IndexMode::Numeric.slot(b"123", 0), 0);
    }

    #[test]
    fn the_least_integer_has_an_absolute_value() {
        assert_eq!(IndexMode::Numeric.slot(b"-9223372036854775808", 10), 8);
    }

    #[test]
    fn a_key_that_is_not_an_integer_is_hashed() {
        for key in ["x", "1.5", "12a", "9223372036854775808"] {
            assert_eq!(IndexMode::Numeric.slot(key.as_bytes(), 97), IndexMode::Hash.slot(key.as_bytes(), 97));
        }
    }
}
