//! Tables by keys that clients choose, which nobody outside can fill with collisions.
//!
//! A key is hashed once, whatever number of tables it is then looked up in.

use crate::random;
use hashbrown::hash_table::{Entry, HashTable};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// SipHash-1-3 under a random key.
#[derive(Clone, Copy, Debug)]
pub struct Keyed(SipHasher13);

impl Default for Keyed {
    fn default() -> Self {
        Self(SipHasher13::new_with_keys(random::number(), random::number()))
    }
}

impl Keyed {
    /// The hash of a key.
    pub fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = self.0;
        hasher.write(key);
        hasher.finish()
    }
}

/// A number for each of some keys. The hashes that go with keys are all by one [`Keyed`].
#[derive(Debug, Default)]
pub struct Keys(HashTable<Slot>);

/// A key with its hash and its number.
#[derive(Debug)]
pub struct Slot {
    /// The key's hash.
    pub hash: u64,
    /// The key.
    pub key: Box<[u8]>,
    /// Its number.
    pub number: u32,
}

impl Keys {
    /// The number of a key.
    pub fn get(&self, hash: u64, key: &[u8]) -> Option<u32> {
        self.0.find(hash, |slot| *slot.key == *key).map(|slot| slot.number)
    }

    /// Removes a key.
    pub fn remove(&mut self, hash: u64, key: &[u8]) -> Option<Slot> {
        let entry = self.0.find_entry(hash, |slot| *slot.key == *key).ok()?;
        Some(entry.remove().0)
    }

    /// Adds a key. One that is there already keeps its number, which is returned.
    pub fn insert(&mut self, slot: Slot) -> Option<u32> {
        let same = |other: &Slot| *other.key == *slot.key;
        match self.0.entry(slot.hash, same, |slot| slot.hash) {
            Entry::Occupied(there) => Some(there.get().number),
            Entry::Vacant(place) => {
                place.insert(slot);
                None
            }
        }
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes all keys and keeps the room.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn each_table_hashes_in_its_own_way() {
        let hash = || Keyed::default().hash(b"key");
        assert_ne!(hash(), hash());
        let keyed = Keyed::default();
        assert_eq!(keyed.hash(b"key"), keyed.hash(b"key"));
    }

    proptest! {
        #[test]
        fn it_is_a_map(steps in proptest::collection::vec((0..3_u8, 0..20_u8, 0..100_u32), 0..300)) {
            let (mut keys, mut model) = (Keys::default(), HashMap::new());
            for (what, key, number) in steps {
                // Keys whose hashes are the same must be told apart too.
                let (hash, key) = (u64::from(key % 3), [key]);
                match what {
                    0 => {
                        let before = model.get(&key).copied();
                        model.entry(key).or_insert(number);
                        prop_assert_eq!(keys.insert(Slot { hash, key: key.into(), number }), before);
                    }
                    1 => prop_assert_eq!(keys.remove(hash, &key).map(|slot| slot.number), model.remove(&key)),
                    _ => prop_assert_eq!(keys.get(hash, &key), model.get(&key).copied()),
                }
                prop_assert_eq!(keys.len(), model.len());
            }
        }
    }
}
