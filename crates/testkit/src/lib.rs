//! Starts Envoy, DNS and servers on free loopback ports, for the tests, the demo and the benchmark.
//!
//! [`lab::Lab`] ties the parts together; an end-to-end test needs little else. Everything here is
//! synchronous (use it outside of async code), nothing needs root, and many labs run side by side.
//!
//! Two properties hold for every process this crate starts. It ends when the value that stands for it
//! is dropped, and the kernel kills it when **the thread that started it** ends (`PR_SET_PDEATHSIG`), so
//! nothing outlives a test run, not even one killed with `kill -9`. The price of the second: start
//! processes from a thread that lives as long as they should, a test's own or the main thread.

pub mod config;
pub mod dns;
pub mod envoy;
pub mod http;
pub mod isolation;
pub mod lab;
pub mod paths;
pub mod poll;
pub mod process;
pub mod scripted;
pub mod servers;
pub mod svg;
pub mod xds;

pub use poll::eventually;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex whose data stays valid even if a holder panicked, as a failing test does.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
