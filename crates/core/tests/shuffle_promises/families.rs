//! Families of keys: the shapes that customers' ids have. Each is a function of a number, so every run
//! sees the same keys.

pub struct Family {
    pub name: &'static str,
    pub key: fn(u64) -> String,
}

pub const FAMILIES: [Family; 4] = [
    Family { name: "sequential", key: |number| format!("customer-{number}") },
    Family { name: "UUID", key: uuid },
    Family { name: "IP:port", key: address },
    Family { name: "decimal", key: |number| (number + 1_000_000).to_string() },
];

/// Looks like a random UUID. The digits come from xorshift64*, a generator unrelated to the hash under test.
fn uuid(number: u64) -> String {
    let mut state = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    };
    let (high, low) = (next(), next());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 48 & 0x3fff | 0x8000,
        low & 0xffff_ffff_ffff
    )
}

/// Neighbouring addresses of a private network, each with a client's port.
fn address(number: u64) -> String {
    let [.., a, b, c] = number.to_be_bytes();
    format!("10.{a}.{b}.{c}:{}", 32_768 + number * 7919 % 28_231)
}
