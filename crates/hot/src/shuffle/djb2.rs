//! The assignment of the Lua filters in use, kept for those who migrate: their sessions depend on it.
//!
//! The salts of a key's first ten slots differ in their last digit only, and so do the slots' hashes: each
//! shard is a run of neighbours (beyond ten hosts, a few runs). At 8 hosts and 2 a shard there are 8 shards
//! instead of 28.

/// The modulus, 2^31 − 1. All intermediate values fit a double exactly, as they had to in Lua.
const MODULUS: u64 = 0x7fff_ffff;

/// D. J. Bernstein's hash (times 33, plus byte) modulo 2^31 − 1, starting from 0.
pub fn hash(bytes: &[u8]) -> u32 {
    finish(extend(0, bytes))
}

fn extend(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash * 33 + u64::from(*byte)) % MODULUS)
}

fn finish(hash: u64) -> u32 {
    u32::try_from(hash).unwrap_or(u32::MAX)
}

/// Appends `size` of `total` hosts to `shard`.
///
/// A slot whose host is taken tries others, at most `total` times; a host is taken twice if none of the
/// tries finds a free one, which the script did too.
pub fn assign(key: &[u8], total: u32, size: u32, shard: &mut Vec<u32>) {
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
        let host = hash % modulus;
        if let Some(seat) = taken.get_mut(host as usize) {
            *seat = true;
        }
        shard.push(finish(host));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_examples() {
        let shard = |key: &str| {
            let mut shard = Vec::new();
            assign(key.as_bytes(), 8, 2, &mut shard);
            shard
        };
        assert_eq!(shard("customer-A"), [0, 1]);
        assert_eq!(shard("customer-B"), [5, 6]);
        assert_eq!(shard("customer-C"), [2, 3]);
        assert_eq!(shard("customer-D"), [7, 0]);
        assert_eq!(shard("customer-E"), [3, 4]);
    }

    #[test]
    fn no_hosts_give_no_shard() {
        let mut shard = Vec::new();
        assign(b"x", 0, 0, &mut shard);
        assert!(shard.is_empty());
    }
}
