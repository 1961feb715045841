//! Starts Envoy, DNS and servers on free loopback ports, for the tests, the demo and the benchmark.
//!
//! [`env::TestEnv`] starts all of them; an end-to-end test needs little else. Everything here is synchronous: use it
//! outside of async code. Nothing needs root, and many environments run at the same time.
//!
//! A process that this crate starts ends when its value is dropped. The kernel also kills it when **the thread that
//! started it** ends (`PR_SET_PDEATHSIG`), so no process outlives a test run, not even one that ends by `kill -9`.
//! Therefore start processes from a thread that lives long enough: the test's own, or the main thread.

pub mod adapter;
pub mod config;
pub mod control_plane;
pub mod dns;
pub mod env;
pub mod envoy;
pub mod ext_proc;
pub mod fake_resolver;
pub mod http;
pub mod http2;
pub mod load;
pub mod paths;
pub mod poll;
pub mod process;
pub mod servers;
mod sync;
pub mod xds;

pub use poll::eventually;
