//! A cache with a bound on the memory it takes.

use crate::keys::{Keyed, Keys, Slot};
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
    young: Generation<V>,
    old: Generation<V>,
    young_weight: usize,
    limit: usize,
    by_count: bool,
}

/// The table says where in the list an entry sits. So its code, which is large, is there once for all kinds of
/// values.
#[derive(Debug)]
struct Generation<V> {
    seats: Keys,
    entries: Vec<Option<Entry<V>>>,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    weight: usize,
}

impl<V> Generation<V> {
    fn new() -> Self {
        Self { seats: Keys::default(), entries: Vec::new() }
    }

    fn get(&self, hash: u64, key: &[u8]) -> Option<&Entry<V>> {
        self.entries.get(self.seats.get(hash, key)? as usize)?.as_ref()
    }

    fn remove(&mut self, hash: u64, key: &[u8]) -> Option<(Slot, Entry<V>)> {
        let slot = self.seats.remove(hash, key)?;
        let entry = self.entries.get_mut(slot.number as usize)?.take()?;
        Some((slot, entry))
    }

    /// Adds an entry. The one that it replaces, if there is one.
    fn insert(&mut self, slot: Slot, entry: Entry<V>) -> Option<Entry<V>> {
        let number = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        match self.seats.insert(Slot { number, ..slot }) {
            Some(there) => self.entries.get_mut(there as usize)?.replace(entry),
            None => {
                self.entries.push(Some(entry));
                None
            }
        }
    }

    /// Forgets all. The room stays for the next generation.
    fn clear(&mut self) {
        self.seats.clear();
        self.entries.clear();
    }
}

impl<V: Clone> Cache<V> {
    /// A cache for at most `limit` bytes or so.
    pub fn new(limit: usize) -> Self {
        let (young, old) = (Generation::new(), Generation::new());
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
            None => Slot { hash, key: key.into(), number: 0 },
        };
        self.add(slot, Entry { value, weight });
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.young.seats.len() + self.old.seats.len()
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
