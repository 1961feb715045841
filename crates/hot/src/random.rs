//! Random numbers.
//!
//! The standard library has hash tables with random keys. In Wasm, though, its way to a random number brings the
//! names and messages of all of WASI's errors along, 10 KB.

/// A random number that nobody can guess.
pub fn number() -> u64 {
    // Neither Envoy nor an operating system that Envoy runs on ever fails to give one.
    getrandom::u64().unwrap_or_default()
}
