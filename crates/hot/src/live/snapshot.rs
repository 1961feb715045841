//! The runtime's values, compiled for looking up.
//!
//! A snapshot is one run of bytes which is used as it lies: a reader copies it and needs nothing more, so
//! taking over 100,000 overrides costs a worker one copy. In order, all little-endian:
//!
//! ```text
//! magic u32, version u64, total_hosts u32, default_shard_size u32, replicas u32, enabled u32 (0: not said,
//! 1: false, 2: true), slots u32 (a power of two, or 0), slots × u32: where the entry is, or 0,
//! entries: shard_size u32, length of the key u32, key
//! ```

use super::Number;
use crate::index::fnv1a_64;
use crate::shuffle::mix;

const MAGIC: u32 = 0x3174_7270;
const HEADER: usize = 32;
/// Where the values begin, behind magic and version.
const VALUES: usize = 12;

/// Compiled runtime values. The default one says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    bytes: Vec<u8>,
}

impl Snapshot {
    /// Takes bytes that a [`Builder`] made; `None` if they are something else.
    pub fn open(bytes: Vec<u8>) -> Option<Self> {
        let snapshot = Self { bytes };
        let slots = snapshot.slots();
        let whole = snapshot.word(0) == MAGIC
            && snapshot.bytes.len() >= HEADER + slots as usize * 4
            && (slots == 0 || slots.is_power_of_two());
        whole.then_some(snapshot)
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The number that tells it from others.
    pub fn version(&self) -> u64 {
        u64::from(self.word(4)) | u64::from(self.word(8)) << 32
    }

    /// Whether the values are the same, whatever the versions are.
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        self.bytes.get(VALUES..) == other.bytes.get(VALUES..)
    }

    /// A number for all keys.
    pub fn number(&self, number: Number) -> Option<u32> {
        let at = match number {
            Number::TotalHosts => 12,
            Number::ShardSize => 16,
            Number::Replicas => 20,
        };
        Some(self.word(at)).filter(|value| *value != 0)
    }

    /// Whether the filter is to act.
    pub fn enabled(&self) -> Option<bool> {
        match self.word(24) {
            1 => Some(false),
            2 => Some(true),
            _ => None,
        }
    }

    /// The shard size of one key.
    pub fn shard_size_of(&self, key: &[u8]) -> Option<u32> {
        let slots = self.slots();
        let mut slot = slot_of(key).checked_rem(slots)?;
        // A table is at most half full, so there is an empty slot to stop at; the count is for broken bytes.
        for _ in 0..slots {
            let at = self.word(HEADER + slot as usize * 4) as usize;
            if at == 0 {
                return None;
            }
            let length = self.word(at + 4) as usize;
            if self.bytes.get(at + 8..at + 8 + length) == Some(key) {
                return Some(self.word(at));
            }
            slot = (slot + 1) % slots;
        }
        None
    }

    fn slots(&self) -> u32 {
        self.word(28)
    }

    fn word(&self, at: usize) -> u32 {
        let bytes = self.bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_le_bytes)
    }
}

fn slot_of(key: &[u8]) -> u32 {
    mix(fnv1a_64(key)) as u32
}

/// Collects values and compiles them.
#[derive(Debug, Default)]
pub struct Builder {
    /// How many hosts there are.
    pub total_hosts: Option<u32>,
    /// How many of them a key gets.
    pub default_shard_size: Option<u32>,
    /// How many instances there are.
    pub replicas: Option<u32>,
    /// Whether the filter is to act.
    pub enabled: Option<bool>,
    entries: Vec<u8>,
    places: Vec<u32>,
}

impl Builder {
    /// Adds a key. The first one counts should it come twice.
    pub fn add(&mut self, key: &[u8], shard_size: u32) {
        let (Ok(at), Ok(length)) = (u32::try_from(self.entries.len()), u32::try_from(key.len())) else {
            return;
        };
        self.entries.extend_from_slice(&shard_size.to_le_bytes());
        self.entries.extend_from_slice(&length.to_le_bytes());
        self.entries.extend_from_slice(key);
        self.places.push(at);
    }

    /// The snapshot.
    pub fn build(self, version: u64) -> Vec<u8> {
        let slots = if self.places.is_empty() { 0 } else { (self.places.len() * 2).next_power_of_two() };
        let start = HEADER + slots * 4;
        let mut table = vec![0_u32; slots];
        for place in self.places {
            let key = key_at(&self.entries, place as usize);
            let mut slot = slot_of(key) as usize % slots.max(1);
            // At most half of the slots are ever taken.
            while let Some(taken) = table.get(slot).copied().filter(|taken| *taken != 0) {
                if key_at(&self.entries, taken as usize - start) == key {
                    break;
                }
                slot = (slot + 1) % slots;
            }
            if let Some(free) = table.get_mut(slot).filter(|seat| **seat == 0) {
                *free = place + start as u32;
            }
        }
        let enabled = self.enabled.map_or(0, |enabled| 1 + u32::from(enabled));
        let mut bytes = Vec::with_capacity(start + self.entries.len());
        bytes.extend_from_slice(&MAGIC.to_le_bytes());
        bytes.extend_from_slice(&version.to_le_bytes());
        for number in [self.total_hosts, self.default_shard_size, self.replicas] {
            bytes.extend_from_slice(&number.unwrap_or(0).to_le_bytes());
        }
        bytes.extend_from_slice(&enabled.to_le_bytes());
        bytes.extend_from_slice(&(slots as u32).to_le_bytes());
        bytes.extend(table.iter().flat_map(|at| at.to_le_bytes()));
        bytes.extend_from_slice(&self.entries);
        bytes
    }
}

fn key_at(entries: &[u8], at: usize) -> &[u8] {
    let length =
        entries.get(at + 4..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes);
    entries.get(at + 8..at + 8 + length as usize).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn what_was_added_is_found_and_nothing_else(
            entries in prop::collection::hash_map(prop::collection::vec(any::<u8>(), 0..6), 1_u32..100, 0..200),
            others in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..6), 0..50),
        ) {
            let mut builder = Builder { replicas: Some(3), enabled: Some(false), ..Builder::default() };
            for (key, size) in &entries {
                builder.add(key, *size);
                builder.add(key, 999);
            }
            let snapshot = Snapshot::open(builder.build(42)).unwrap();
            let expected: HashMap<_, _> = entries;
            for key in expected.keys().chain(&others) {
                prop_assert_eq!(snapshot.shard_size_of(key), expected.get(key).copied());
            }
            prop_assert_eq!(snapshot.version(), 42);
            prop_assert_eq!(snapshot.enabled(), Some(false));
            prop_assert_eq!(snapshot.number(Number::Replicas), Some(3));
            prop_assert_eq!(snapshot.number(Number::TotalHosts), None);
        }

        #[test]
        fn broken_bytes_never_panic(bytes: Vec<u8>, key: Vec<u8>) {
            let mut framed = MAGIC.to_le_bytes().to_vec();
            framed.extend_from_slice(&bytes);
            for bytes in [bytes, framed] {
                if let Some(snapshot) = Snapshot::open(bytes) {
                    let _ = snapshot.shard_size_of(&key);
                }
            }
        }
    }

    #[test]
    fn the_empty_snapshot_says_nothing() {
        let snapshot = Snapshot::default();
        assert_eq!((snapshot.shard_size_of(b""), snapshot.enabled(), snapshot.version()), (None, None, 0));
        assert_eq!(Snapshot::open(Vec::new()), None);
    }
}
