//! A shipped Envoy configuration, made to run on free loopback ports with nothing but addresses and
//! file names replaced.

mod addresses;
mod shipped;
mod tree;

pub use addresses::{Address, AddressMap};
pub use shipped::Shipped;
pub(crate) use tree::walk;
