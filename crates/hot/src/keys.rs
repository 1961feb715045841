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

/// A key with its hash. The hashes that go with the keys of a table are all by one [`Keyed`].
#[derive(Debug)]
pub struct Slot {
    hash: u64,
    key: Box<[u8]>,
    seat: u32,
}

impl Slot {
    /// A key that is in no table yet.
    pub fn new(hash: u64, key: &[u8]) -> Self {
        Self { hash, key: key.into(), seat: 0 }
    }
}

/// Which key has which seat. Its code, which is large, is there once for all kinds of values.
#[derive(Debug, Default)]
struct Keys {
    table: HashTable<Slot>,
    free: Vec<u32>,
    /// How many seats there are, free ones and others.
    seats: u32,
}

impl Keys {
    fn get(&self, hash: u64, key: &[u8]) -> Option<usize> {
        self.table.find(hash, |slot| *slot.key == *key).map(|slot| slot.seat as usize)
    }

    fn remove(&mut self, hash: u64, key: &[u8]) -> Option<Slot> {
        let entry = self.table.find_entry(hash, |slot| *slot.key == *key).ok()?;
        let slot = entry.remove().0;
        self.free.push(slot.seat);
        Some(slot)
    }

    /// The seat of a key, which gets one if it has none yet.
    fn seat(&mut self, slot: Slot) -> usize {
        let same = |other: &Slot| *other.key == *slot.key;
        match self.table.entry(slot.hash, same, |slot| slot.hash) {
            Entry::Occupied(there) => there.get().seat as usize,
            Entry::Vacant(place) => {
                let seat = self.free.pop().unwrap_or_else(|| {
                    self.seats += 1;
                    self.seats - 1
                });
                place.insert(Slot { seat, ..slot });
                seat as usize
            }
        }
    }

    fn clear(&mut self) {
        self.table.clear();
        self.free.clear();
        self.seats = 0;
    }
}

/// Values by key.
#[derive(Debug)]
pub struct Seats<V> {
    keys: Keys,
    seats: Vec<Option<V>>,
}

impl<V> Default for Seats<V> {
    fn default() -> Self {
        Self { keys: Keys::default(), seats: Vec::new() }
    }
}

impl<V> Seats<V> {
    /// The value of a key.
    pub fn get(&self, hash: u64, key: &[u8]) -> Option<&V> {
        self.seats.get(self.keys.get(hash, key)?)?.as_ref()
    }

    /// The value of a key, to be changed.
    pub fn get_mut(&mut self, hash: u64, key: &[u8]) -> Option<&mut V> {
        self.seats.get_mut(self.keys.get(hash, key)?)?.as_mut()
    }

    /// Removes a key. Its slot can be inserted again, here or elsewhere.
    pub fn remove(&mut self, hash: u64, key: &[u8]) -> Option<(Slot, V)> {
        let slot = self.keys.remove(hash, key)?;
        let value = self.seats.get_mut(slot.seat as usize)?.take()?;
        Some((slot, value))
    }

    /// Adds or replaces a value. The one that was there, if there was one.
    pub fn insert(&mut self, slot: Slot, value: V) -> Option<V> {
        match self.seats.get_mut(self.keys.seat(slot)) {
            Some(seat) => seat.replace(value),
            None => {
                self.seats.push(Some(value));
                None
            }
        }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.keys.table.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all and keeps the room.
    pub fn clear(&mut self) {
        self.keys.clear();
        self.seats.clear();
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
        fn it_is_a_map_and_seats_are_taken_again(
            steps in proptest::collection::vec((0..3_u8, 0..20_u8, 0..100_u32), 0..300),
        ) {
            let (mut seats, mut model) = (Seats::default(), HashMap::new());
            for (what, key, value) in steps {
                // Keys whose hashes are the same must be told apart too.
                let (hash, key) = (u64::from(key % 3), [key]);
                match what {
                    0 => prop_assert_eq!(seats.insert(Slot::new(hash, &key), value), model.insert(key, value)),
                    1 => prop_assert_eq!(seats.remove(hash, &key).map(|(_, value)| value), model.remove(&key)),
                    _ => prop_assert_eq!(seats.get(hash, &key), model.get(&key)),
                }
                prop_assert_eq!(seats.len(), model.len());
                prop_assert!(seats.seats.len() <= 20);
            }
        }
    }
}
