//! Random numbers, and hash tables that nobody outside can fill with collisions.
//!
//! The standard library has the latter too. In Wasm, though, its way to a random number brings the names
//! and messages of all of WASI's errors along, 10 KB.

use siphasher::sip::SipHasher13;
use std::collections::HashMap;
use std::hash::BuildHasher;

/// A random number that nobody can guess.
pub fn number() -> u64 {
    // Neither Envoy nor an operating system that Envoy runs on ever fails to give one.
    getrandom::u64().unwrap_or_default()
}

/// A table by keys that clients choose.
pub type ByKey = HashMap<Box<[u8]>, usize, Keyed>;

/// Makes SipHash-1-3 hashers under one random key.
#[derive(Clone, Copy, Debug)]
pub struct Keyed(SipHasher13);

impl Default for Keyed {
    fn default() -> Self {
        Self(SipHasher13::new_with_keys(number(), number()))
    }
}

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_table_hashes_in_its_own_way() {
        let hash = || Keyed::default().hash_one(b"key");
        assert_ne!(hash(), hash());
        let keyed = Keyed::default();
        assert_eq!(keyed.hash_one(b"key"), keyed.hash_one(b"key"));
    }
}
