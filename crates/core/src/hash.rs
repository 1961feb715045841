//! Hash functions: FNV-1a, the splitmix64 finalizer, and keyed digests for tables whose keys clients choose.

use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// FNV-1a, 32 bits (Fowler, Noll, Vo): offset basis 2166136261, prime 16777619.
///
/// The `fnv` crate has only the 64-bit variant, and the two are unrelated.
pub fn fnv1a_32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// FNV-1a, 64 bits.
pub fn fnv1a_64(bytes: &[u8]) -> u64 {
    let mut hasher = fnv::FnvHasher::default();
    hasher.write(bytes);
    hasher.finish()
}

/// The finalizer of splitmix64 (Steele, Lea and Flood, 2014): every input bit reaches every output bit.
pub fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A stream of numbers from a seed: splitmix64. Not for secrets.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A stream that starts at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        let number = mix(self.0);
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        number
    }

    /// The next number below `count`; 0 if there is none.
    pub fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.number() % count.max(1) as u64).unwrap_or(0)
    }
}

/// A 128-bit digest that stands for a key in a table. Two keys share one with a probability of 2⁻¹²⁸, and
/// nobody without the secret can look for such a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(u128);

impl Digest {
    /// The digest of two numbers that the operator chose. No hashing is needed to keep them apart.
    pub fn of_numbers(high: u64, low: u64) -> Self {
        Self(u128::from(high) << 64 | u128::from(low))
    }

    /// The digest of the same in the name of `owner`. Digests of keys differ at random, so theirs do too.
    pub fn owned_by(self, owner: u32) -> Self {
        Self(self.0 ^ u128::from(owner))
    }
}

impl Hash for Digest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(mix((self.0 >> 64) as u64 ^ self.0 as u64));
    }
}

/// The hasher for tables by [`Digest`], which is hashed already.
#[derive(Clone, Copy, Debug, Default)]
pub struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {}

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Builds [`DigestHasher`]s.
pub type BuildDigestHasher = BuildHasherDefault<DigestHasher>;

/// Makes digests under a secret: SipHash-1-3 with 128 bits.
#[derive(Clone, Copy, Debug)]
pub struct Digester([u64; 2]);

impl Digester {
    /// A digester under this secret, which should be drawn at random.
    pub fn new(secret: [u64; 2]) -> Self {
        Self(secret)
    }

    /// The digest of a number and some bytes.
    pub fn digest(&self, number: u64, bytes: &[u8]) -> Digest {
        let mut hasher = self.hasher(number);
        hasher.write(bytes);
        Digest(hasher.finish128().as_u128())
    }

    /// The number is part of the key: that costs less than to hash it.
    fn hasher(&self, number: u64) -> SipHasher13 {
        let [first, second] = self.0;
        SipHasher13::new_with_keys(first ^ number, second)
    }

    /// The digest of a number and several runs of bytes; where one ends and the next begins matters.
    pub fn digest_parts(&self, number: u64, parts: &[&[u8]]) -> Digest {
        let mut hasher = self.hasher(number);
        for part in parts {
            hasher.write_usize(part.len());
            hasher.write(part);
        }
        Digest(hasher.finish128().as_u128())
    }
}

/// A digest without a secret, the same in every process: for what operators write.
pub fn fingerprint(value: &impl Hash) -> u64 {
    let mut hasher = SipHasher13::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv1a_gives_its_published_values() {
        assert_eq!(fnv1a_32(b""), 0x811c_9dc5);
        assert_eq!(fnv1a_32(b"foobar"), 0xbf9c_f968);
        assert_eq!(fnv1a_32(b"123"), 0x7238_631b);
        assert_eq!(fnv1a_64(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn splitmix64_gives_its_published_values() {
        let mut random = Random::new(1_234_567);
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(expected.map(|_| random.number()), expected);
    }

    #[test]
    fn a_digest_depends_on_the_secret_and_on_where_parts_end() {
        let digester = Digester::new([1, 2]);
        assert_eq!(digester.digest(1, b"key"), digester.digest(1, b"key"));
        assert_ne!(digester.digest(1, b"key"), digester.digest(2, b"key"));
        assert_ne!(digester.digest(1, b"key"), digester.digest_parts(1, &[b"key"]));
        assert_ne!(digester.digest(1, b"key"), Digester::new([1, 3]).digest(1, b"key"));
        assert_ne!(digester.digest_parts(1, &[b"ab", b"c"]), digester.digest_parts(1, &[b"a", b"bc"]));
    }

    #[test]
    fn random_numbers_stay_below_their_bound() {
        let mut random = Random::new(7);
        assert!((0..1000).all(|_| random.below(3) < 3));
        assert_eq!(random.below(0), 0);
    }
}
