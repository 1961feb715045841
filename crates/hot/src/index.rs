//! The resolver's formula: which instance owns a key. The server's `/where` and the filter's `index`
//! strategy are this one implementation.

use std::hash::Hasher;

/// How a key becomes a number before it is reduced to the range of instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IndexMode {
    /// FNV-1a, 32 bit, over the key's bytes.
    #[default]
    Hash,
    /// A whole number's absolute value; whatever is no whole number is hashed.
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

    /// The slot of `key` among `slots` (0 counts as 1): a number below `slots`.
    pub fn slot(self, key: &[u8], slots: u32) -> u32 {
        let slots = u64::from(slots.max(1));
        let number = match self {
            Self::Hash => None,
            Self::Numeric => parse_i64(key).map(i64::unsigned_abs),
        };
        let number = number.unwrap_or_else(|| u64::from(fnv1a_32(key)));
        u32::try_from(number % slots).unwrap_or(0)
    }
}

/// A decimal 64-bit integer with an optional sign, and nothing else around it.
fn parse_i64(key: &[u8]) -> Option<i64> {
    std::str::from_utf8(key).ok()?.parse().ok()
}

/// FNV-1a with 32 bits (Fowler, Noll, Vo): offset basis 2166136261, prime 16777619.
///
/// The `fnv` crate has the 64-bit variant only, and the two are unrelated.
pub fn fnv1a_32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// FNV-1a with 64 bits.
pub fn fnv1a_64(bytes: &[u8]) -> u64 {
    let mut hasher = fnv::FnvHasher::default();
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_test_values_of_fnv1a() {
        assert_eq!(fnv1a_32(b""), 0x811c_9dc5);
        assert_eq!(fnv1a_32(b"foobar"), 0xbf9c_f968);
        assert_eq!(fnv1a_32(b"123"), 0x7238_631b);
        assert_eq!(fnv1a_64(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn no_slots_count_as_one() {
        assert_eq!(IndexMode::Hash.slot(b"123", 0), 0);
        assert_eq!(IndexMode::Numeric.slot(b"123", 0), 0);
    }

    #[test]
    fn the_least_integer_has_an_absolute_value() {
        assert_eq!(IndexMode::Numeric.slot(b"-9223372036854775808", 10), 8);
    }
}
