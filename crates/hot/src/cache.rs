//! A cache with a bound on the memory it takes.

use crate::keys::{Keyed, Seats, Slot};
use std::mem;

/// What an entry costs beside its key and value: a slot in the table, a seat in the list, and its share of the
/// room that both keep free. An estimate; what matters is that the sum stays proportional to memory.
const ENTRY_OVERHEAD: usize = 64;

/// Entries by their key, in two generations.
///
/// New entries and those asked for again are young. When the young ones have used up half of the limit they
/// become the old ones, and what was old until then is gone. So what is in use stays, each operation takes
/// constant time, and there is no list to keep in order.
#[derive(Debug)]
pub struct Cache<V> {
    keyed: Keyed,
    young: Seats<Entry<V>>,
    old: Seats<Entry<V>>,
    young_weight: usize,
    limit: usize,
    by_count: bool,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    weight: usize,
}

impl<V: Clone> Cache<V> {
    /// A cache for at most `limit` bytes or so.
    pub fn new(limit: usize) -> Self {
        let (young, old) = (Seats::default(), Seats::default());
        Self { keyed: Keyed::default(), young, old, young_weight: 0, limit, by_count: false }
    }

    /// A cache for at most `entries` entries, whatever they weigh.
    pub fn of_entries(entries: usize) -> Self {
        Self { by_count: true, ..Self::new(entries) }
    }

    /// The value for a key. An old entry becomes young by this.
    pub fn get(&mut self, key: &[u8]) -> Option<V> {
        let hash = self.keyed.hash(key);
        if let Some(entry) = self.young.get(hash, key) {
            return Some(entry.value.clone());
        }
        let (slot, entry) = self.old.remove(hash, key)?;
        let value = entry.value.clone();
        self.add(slot, entry);
        Some(value)
    }

    /// Adds or replaces a value that takes `weight` bytes.
    pub fn insert(&mut self, key: &[u8], value: V, weight: usize) {
        let weight = if self.by_count { 1 } else { weight + key.len() + ENTRY_OVERHEAD };
        let hash = self.keyed.hash(key);
        let slot = match self.old.remove(hash, key) {
            Some((slot, _)) => slot,
            None => Slot::new(hash, key),
        };
        self.add(slot, Entry { value, weight });
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn add(&mut self, slot: Slot, entry: Entry<V>) {
        self.young_weight += entry.weight;
        if let Some(before) = self.young.insert(slot, entry) {
            self.young_weight -= before.weight;
        }
        // A cache of one entry has no halves.
        if self.young_weight > (self.limit / 2).max(usize::from(self.by_count)) {
            mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
            self.young_weight = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_holds_whatever_comes() {
        let mut cache = Cache::new(100_000);
        for number in 0..1_000_000_u32 {
            cache.insert(&number.to_be_bytes(), number, 100);
        }
        let per_entry = 100 + 4 + ENTRY_OVERHEAD;
        assert!(cache.len() * per_entry <= 100_000 + per_entry, "{}", cache.len());
        assert!(cache.len() * per_entry >= 50_000 - per_entry, "{}", cache.len());
    }

    #[test]
    fn a_bound_in_entries_holds_too() {
        for limit in [1, 2, 3, 10, 1000] {
            let mut cache = Cache::of_entries(limit);
            for number in 0..10_000_u32 {
                cache.insert(&number.to_be_bytes(), number, 1 << 40);
                assert!(cache.len() <= limit.max(2), "{limit}: {}", cache.len());
                assert_eq!(cache.get(&number.to_be_bytes()), Some(number));
            }
        }
    }

    #[test]
    fn what_is_in_use_stays() {
        let mut cache = Cache::new(10_000);
        cache.insert(b"used", 7, 10);
        for number in 0..10_000_u32 {
            cache.insert(&number.to_be_bytes(), 0, 10);
            assert_eq!(cache.get(b"used"), Some(7), "after {number}");
        }
    }

    #[test]
    fn a_replaced_value_is_not_counted_twice() {
        let mut cache = Cache::new(10_000);
        cache.insert(b"other", 1, 10);
        for number in 0..10_000 {
            cache.insert(b"same", number, 10);
        }
        assert_eq!((cache.get(b"other"), cache.get(b"same"), cache.len()), (Some(1), Some(9999), 2));
    }

    #[test]
    fn a_replaced_value_does_not_come_back() {
        let mut cache = Cache::new(300);
        cache.insert(b"a", 1, 0);
        cache.insert(b"b", 1, 60);
        cache.insert(b"c", 1, 60);
        cache.insert(b"a", 2, 0);
        assert_eq!(cache.get(b"a"), Some(2));
    }
}
