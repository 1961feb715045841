//! The demo's resolver and backend in one: `/where` names the host that owns a client, `/join` registers the
//! client at this host.
//!
//! The formula behind `/where` is [`pinroute_core::mode`], the same code that the filter runs.

mod dns;
mod error;
mod health;
mod identity;
mod options;
mod reflect;
mod resolver;
mod routes;
mod serve;

pub use error::{Error, HealthError};
pub use health::check_health;
pub use options::Options;
pub use resolver::{Numbered, Resolver};
pub use serve::run;
