//! The digest of ten thousand assignments by rendezvous hashing, for whoever computes them: the core's
//! own test, and the one that asks the Wasm in a real Envoy. Each compiles this file.

use pinroute_core::hash::fnv1a_64;

/// The digest of the shards of [`keys`], frozen like the vectors beside this file.
pub struct Digest {
    pub total_hosts: u32,
    pub shard_size: u32,
    pub value: u64,
}

pub const DIGESTS: [Digest; 2] = [
    Digest { total_hosts: 20, shard_size: 4, value: 0xaeac_47f0_33b4_e877 },
    Digest { total_hosts: 1000, shard_size: 8, value: 0x767c_e998_0544_bef9 },
];

/// `key-0` to `key-9999`.
pub fn keys() -> impl Iterator<Item = String> {
    (0..10_000).map(|number| format!("key-{number}"))
}

/// FNV-1a, 64 bit, over the keys' assignments in order, each as in `x-shard-assignment` (`0,5,7`) with a
/// line feed after it.
pub fn digest(assignments: impl Iterator<Item = String>) -> u64 {
    let lines: String = assignments.map(|assignment| assignment + "\n").collect();
    fnv1a_64(lines.as_bytes())
}
