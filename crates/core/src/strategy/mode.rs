//! How a key becomes a number. The server's `/where` and the filter share it.

use crate::hash::fnv1a_32;

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
