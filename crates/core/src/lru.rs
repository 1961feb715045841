//! A cache with a bound on the memory it takes, or on its entries.

use crate::hash::{BuildDigestHasher, Digest};

/// What an entry costs beside its value: its digest, two links and its share of the table. An estimate; what
/// matters is that the sum stays proportional to memory.
const ENTRY_OVERHEAD: usize = 96;

/// Values by digest. The least recently used ones make room for new ones.
#[derive(Debug)]
pub struct Lru<V> {
    entries: lru::LruCache<Digest, Entry<V>, BuildDigestHasher>,
    bytes: usize,
    max_bytes: usize,
    max_entries: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    bytes: usize,
}

impl<V> Lru<V> {
    /// A cache whose entries take up to `max_bytes` bytes.
    pub fn new(max_bytes: usize) -> Self {
        Self::bounded(max_bytes, usize::MAX)
    }

    /// A cache of up to `max_entries` entries. What they take is the owner's concern.
    pub fn of_entries(max_entries: usize) -> Self {
        Self::bounded(usize::MAX, max_entries)
    }

    fn bounded(max_bytes: usize, max_entries: usize) -> Self {
        let entries = lru::LruCache::unbounded_with_hasher(BuildDigestHasher::default());
        Self { entries, bytes: 0, max_bytes, max_entries }
    }

    /// The value for a digest, which becomes the most recently used one.
    pub fn get(&mut self, digest: Digest) -> Option<&mut V> {
        self.entries.get_mut(&digest).map(|entry| &mut entry.value)
    }

    /// Adds or replaces a value that takes `bytes` bytes beside the entry's own.
    pub fn insert(&mut self, digest: Digest, value: V, bytes: usize) {
        let bytes = bytes + size_of::<V>() + ENTRY_OVERHEAD;
        self.bytes += bytes;
        if let Some(replaced) = self.entries.put(digest, Entry { value, bytes }) {
            self.bytes -= replaced.bytes;
        }
        while (self.bytes > self.max_bytes || self.entries.len() > self.max_entries) && self.evict() {}
    }

    /// Removes the least recently used value. Returns whether there was one.
    pub fn evict(&mut self) -> bool {
        let evicted = self.entries.pop_lru();
        self.bytes -= evicted.as_ref().map_or(0, |(_, entry)| entry.bytes);
        evicted.is_some()
    }

    /// Removes a value.
    pub fn remove(&mut self, digest: Digest) {
        self.bytes -= self.entries.pop(&digest).map_or(0, |entry| entry.bytes);
    }

    /// What the entries take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of entries.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn digest(number: u64) -> Digest {
        Digest::of_numbers(0, number)
    }

    #[test]
    fn the_bound_in_bytes_holds_and_is_used() {
        let mut cache = Lru::new(100_000);
        let per_entry = 100 + size_of::<u32>() + ENTRY_OVERHEAD;
        for number in 0..100_000_u32 {
            cache.insert(digest(number.into()), number, 100);
            assert!(cache.len() * per_entry <= 100_000, "{}", cache.len());
        }
        assert_eq!(cache.len(), 100_000 / per_entry);
    }

    #[test]
    fn the_bound_in_entries_holds_and_the_newest_stays() {
        for limit in [1, 2, 3, 1000] {
            let mut cache = Lru::of_entries(limit);
            for number in 0..5_000_u64 {
                cache.insert(digest(number), number, 0);
                assert!(cache.len() <= limit);
                assert_eq!(cache.get(digest(number)).copied(), Some(number));
            }
            assert_eq!(cache.len(), limit);
        }
    }

    #[test]
    fn an_entry_in_use_stays() {
        let mut cache = Lru::of_entries(100);
        cache.insert(digest(u64::MAX), 7, 0);
        for number in 0..10_000 {
            cache.insert(digest(number), 0, 0);
            assert_eq!(cache.get(digest(u64::MAX)).copied(), Some(7), "after {number}");
        }
    }

    proptest! {
        #[test]
        fn it_is_a_map_as_long_as_it_has_room(
            steps in proptest::collection::vec((0..3_u8, 0..20_u64, 0..100_u32), 0..300),
        ) {
            let (mut cache, mut model) = (Lru::of_entries(20), HashMap::new());
            for (what, key, value) in steps {
                match what {
                    0 => {
                        cache.insert(digest(key), value, key as usize);
                        model.insert(key, value);
                    }
                    1 => {
                        cache.remove(digest(key));
                        model.remove(&key);
                    }
                    _ => prop_assert_eq!(cache.get(digest(key)).copied(), model.get(&key).copied()),
                }
                prop_assert_eq!(cache.len(), model.len());
                let own = model.len() * (size_of::<u32>() + ENTRY_OVERHEAD);
                prop_assert_eq!(cache.bytes(), own + model.keys().sum::<u64>() as usize);
            }
        }
    }
}
