//! The assignment of the Lua scripts in use, kept for migration: sessions and caches depend on it.
//!
//! The salts of a key's first ten slots differ only in their last digit, and so do the hashes of the slots: each
//! shard is a run of neighbours (above ten hosts, a few runs). At 8 hosts and 2 a shard there are 8 shards instead
//! of 28.

/// The modulus, 2³¹ − 1. All intermediate values fit a double exactly, as Lua needs.
const MODULUS: u64 = 0x7fff_ffff;

/// D. J. Bernstein's hash (times 33, plus byte) modulo 2³¹ − 1, starting from 0.
pub fn hash(bytes: &[u8]) -> u64 {
    extend(0, bytes)
}

fn extend(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash * 33 + u64::from(*byte)) % MODULUS)
}

/// Appends `size` of `total` hosts to `shard`.
///
/// A slot whose host is taken tries others, at most `total` times. If it finds no free host it takes one a second
/// time, as the script does. Where `size` is above `total` there is nothing to reproduce: the shard has every host
/// once, in the order of the slots, and then those that no slot took.
pub fn assign(key: &[u8], total: u32, size: u32, shard: &mut Vec<u32>) {
    if size <= total {
        reproduce(key, total, size, shard);
        return;
    }
    let mut slots = Vec::new();
    reproduce(key, total, total, &mut slots);
    let mut taken = vec![false; total as usize];
    let is_free =
        |host: &u32| taken.get_mut(*host as usize).is_some_and(|taken| !std::mem::replace(taken, true));
    shard.extend(slots.into_iter().chain(0..total).filter(is_free));
}

fn reproduce(key: &[u8], total: u32, size: u32, shard: &mut Vec<u32>) {
    let salted = extend(extend(0, key), b"_salt_");
    let modulus = u64::from(total.max(1));
    let mut taken = vec![false; total as usize];
    for slot in 0..size {
        let mut hash = extend(salted, slot.to_string().as_bytes());
        for attempt in 0..u64::from(total) {
            if !taken.get((hash % modulus) as usize).copied().unwrap_or(false) {
                break;
            }
            hash = (hash * 31 + attempt) % MODULUS;
        }
        let host = (hash % modulus) as u32;
        if let Some(taken) = taken.get_mut(host as usize) {
            *taken = true;
        }
        shard.push(host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(key: &str, total: u32, size: u32) -> Vec<u32> {
        let mut shard = Vec::new();
        assign(key.as_bytes(), total, size, &mut shard);
        shard
    }

    #[test]
    fn the_published_examples() {
        let examples = [("A", [0, 1]), ("B", [5, 6]), ("C", [2, 3]), ("D", [7, 0]), ("E", [3, 4])];
        for (customer, expected) in examples {
            assert_eq!(shard(&format!("customer-{customer}"), 8, 2), expected);
        }
    }

    #[test]
    fn more_slots_than_hosts_give_every_host_once() {
        for total in [1, 8, 12, 100] {
            for number in 0..1000 {
                let mut all = shard(&format!("customer-{number}"), total, total + 1);
                all.sort_unstable();
                assert_eq!(all, (0..total).collect::<Vec<_>>(), "{number} of {total}");
            }
        }
    }

    #[test]
    fn as_many_slots_as_hosts_may_name_one_twice_as_the_script_does() {
        let names_twice = |total: u32| {
            let shard = |number| shard(&format!("customer-{number}"), total, total);
            let distinct = |number| shard(number).into_iter().collect::<std::collections::HashSet<_>>().len();
            (0..1000).filter(|number| distinct(*number) < total as usize).count()
        };
        assert_eq!(names_twice(8), 0);
        assert!(names_twice(12) > 0 && names_twice(100) > 0);
    }

    #[test]
    fn no_hosts_give_an_empty_shard() {
        assert!(shard("x", 0, 0).is_empty());
    }
}
