//! The runtime's values, compiled for look-ups.
//!
//! A snapshot is one run of bytes which is used in place: it reaches the other VMs of the process as shared data,
//! and a worker that adopts 100,000 overrides makes one copy. Its layout, all little-endian:
//!
//! ```text
//! magic u32, version u64, total_hosts u32, default_shard_size u32, replicas u32 (0: absent), enabled u32 (0: absent,
//! 1: false, 2: true), slots u32 (a power of two, or 0), cache_generation u64, offset of the endpoints u32 (0: absent),
//! slots × u32: the offset of an entry, or 0, entries: shard_size u32, length of the key u32, key; endpoints
//! ```
//!
//! Endpoints are decoded once, when the snapshot is adopted.

use super::endpoints::Endpoints;
use super::value::Number;
use crate::hash::{fnv1a_64, mix};
use std::sync::Arc;

const MAGIC: u32 = 0x3374_7270;
const HEADER: usize = 44;
/// Where the values begin, after magic and version.
const VALUES: usize = 12;
/// Where the offset of the endpoints is.
const ENDPOINTS: usize = 40;

/// Compiled runtime values. The default one is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    bytes: Vec<u8>,
    endpoints: Option<Arc<Endpoints>>,
}

impl Snapshot {
    /// Takes bytes that a [`Builder`] made; `None` if they are something else.
    pub fn open(bytes: Vec<u8>) -> Option<Self> {
        let mut snapshot = Self { bytes, endpoints: None };
        let slots = snapshot.slots();
        let is_whole = snapshot.word(0) == MAGIC
            && snapshot.bytes.len() >= HEADER + slots as usize * 4
            && (slots == 0 || slots.is_power_of_two());
        if is_whole && snapshot.word(ENDPOINTS) != 0 {
            let bytes = snapshot.bytes.get(snapshot.word(ENDPOINTS) as usize..)?;
            snapshot.endpoints = Some(Arc::new(Endpoints::decode(bytes)?));
        }
        is_whole.then_some(snapshot)
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The number that tells it from other snapshots; 0 for the empty one.
    pub fn version(&self) -> u64 {
        u64::from(self.word(4)) | u64::from(self.word(8)) << 32
    }

    /// Whether the values are the same, whatever the versions are.
    pub fn has_same_values(&self, other: &Self) -> bool {
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

    /// Whether the filter acts.
    pub fn enabled(&self) -> Option<bool> {
        match self.word(24) {
            1 => Some(false),
            2 => Some(true),
            _ => None,
        }
    }

    /// The generation of the answer caches.
    pub fn cache_generation(&self) -> u64 {
        u64::from(self.word(32)) | u64::from(self.word(36)) << 32
    }

    /// The endpoints of a cluster.
    pub fn endpoints(&self) -> Option<&Arc<Endpoints>> {
        self.endpoints.as_ref()
    }

    /// The shard size of one key.
    pub fn shard_size_of(&self, key: &[u8]) -> Option<u32> {
        let slots = self.slots();
        let mut slot = slot_of(key).checked_rem(slots)?;
        // At most half of the slots are taken, so an empty one ends the search; the count is for corrupt bytes.
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
        word(&self.bytes, at)
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn slot_of(key: &[u8]) -> u32 {
    mix(fnv1a_64(key)) as u32
}

/// Collects values and compiles them.
#[derive(Debug, Default)]
pub struct Builder {
    /// The number of hosts.
    pub total_hosts: Option<u32>,
    /// The number of hosts in a shard, unless the key has a size of its own.
    pub default_shard_size: Option<u32>,
    /// The number of hosts of the `index` strategy.
    pub replicas: Option<u32>,
    /// Whether the filter acts.
    pub enabled: Option<bool>,
    /// The generation of the answer caches.
    pub cache_generation: u64,
    /// The endpoints of a cluster.
    pub endpoints: Option<Arc<Endpoints>>,
    entries: Vec<u8>,
    offsets: Vec<u32>,
}

impl Builder {
    /// Adds the shard size of a key. If a key is added twice, the first size counts.
    pub fn add(&mut self, key: &[u8], shard_size: u32) {
        let (Ok(at), Ok(length)) = (u32::try_from(self.entries.len()), u32::try_from(key.len())) else {
            return;
        };
        self.entries.extend_from_slice(&shard_size.to_le_bytes());
        self.entries.extend_from_slice(&length.to_le_bytes());
        self.entries.extend_from_slice(key);
        self.offsets.push(at);
    }

    /// The snapshot.
    pub fn build(self, version: u64) -> Snapshot {
        let slots = if self.offsets.is_empty() { 0 } else { (self.offsets.len() * 2).next_power_of_two() };
        let start = HEADER + slots * 4;
        let mut table = vec![0_u32; slots];
        for offset in self.offsets {
            let key = key_at(&self.entries, offset as usize);
            let mut slot = slot_of(key) as usize % slots.max(1);
            // At most half of the slots are ever taken.
            while let Some(taken) = table.get(slot).copied().filter(|taken| *taken != 0) {
                if key_at(&self.entries, taken as usize - start) == key {
                    break;
                }
                slot = (slot + 1) % slots;
            }
            if let Some(free) = table.get_mut(slot).filter(|slot| **slot == 0) {
                *free = offset + start as u32;
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
        bytes.extend_from_slice(&self.cache_generation.to_le_bytes());
        let end = start + self.entries.len();
        let offset = self.endpoints.as_ref().and_then(|_| u32::try_from(end).ok()).unwrap_or_default();
        bytes.extend_from_slice(&offset.to_le_bytes());
        bytes.extend(table.iter().flat_map(|at| at.to_le_bytes()));
        bytes.extend_from_slice(&self.entries);
        if let Some(endpoints) = &self.endpoints {
            endpoints.encode(&mut bytes);
        }
        Snapshot { bytes, endpoints: self.endpoints }
    }
}

fn key_at(entries: &[u8], at: usize) -> &[u8] {
    let length = word(entries, at + 4) as usize;
    entries.get(at + 8..at + 8 + length).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn every_added_key_is_found_and_no_other(
            entries in prop::collection::hash_map(prop::collection::vec(any::<u8>(), 0..6), 1_u32..100, 0..200),
            others in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..6), 0..50),
        ) {
            let mut builder = Builder { replicas: Some(3), enabled: Some(false), cache_generation: 7, ..Builder::default() };
            for (key, size) in &entries {
                builder.add(key, *size);
                builder.add(key, 999);
            }
            let snapshot = Snapshot::open(builder.build(42).bytes).unwrap();
            let expected: HashMap<_, _> = entries;
            for key in expected.keys().chain(&others) {
                prop_assert_eq!(snapshot.shard_size_of(key), expected.get(key).copied());
            }
            prop_assert_eq!(snapshot.version(), 42);
            prop_assert_eq!(snapshot.enabled(), Some(false));
            prop_assert_eq!(snapshot.cache_generation(), 7);
            prop_assert_eq!(snapshot.number(Number::Replicas), Some(3));
            prop_assert_eq!(snapshot.number(Number::TotalHosts), None);
        }

        #[test]
        fn corrupt_bytes_never_panic(bytes: Vec<u8>, key: Vec<u8>) {
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
    fn the_default_snapshot_is_empty() {
        let snapshot = Snapshot::default();
        assert_eq!((snapshot.shard_size_of(b""), snapshot.enabled(), snapshot.version()), (None, None, 0));
        assert_eq!(Snapshot::open(Vec::new()), None);
    }
}
