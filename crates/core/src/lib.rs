//! The decisions of pinroute: which host a request belongs to, and why a request is refused.
//!
//! This crate is deterministic and does no I/O. It knows neither Proxy-Wasm nor a network nor a clock: events
//! go in, decisions and actions come out, and time and randomness are arguments. Start reading at
//! [`router::Router`].
//!
//! - A configuration passes three stages: bytes → [`config`] (validated, each error names the field's path) →
//!   [`router::Router`] (compiled).
//! - A request is a transition: [`router::Router::on_request`] returns a [`decision::Decision`]. If that is a
//!   resolver call, [`router::Worker::on_response`] and [`router::Router::on_resolved`] lead to the
//!   [`decision::Verdict`].
//! - Live values arrive through [`live::subscriptions::Subscriptions`], which turns ticks, messages and responses
//!   into actions and snapshots.
//!
//! `Router` is immutable and may be shared between threads. `Worker` is what one thread remembers.

pub mod authority;
pub mod config;
pub mod decision;
pub mod explain;
pub mod hash;
pub mod key;
pub mod live;
mod lru;
pub mod metrics;
#[allow(missing_docs)] // The names are those of Envoy's API.
pub mod protobuf;
pub mod rejection;
pub mod request;
mod resolve;
pub mod router;
pub mod routes;
pub mod shard;
mod strategy;
pub mod target;
pub mod template;
pub mod time;
pub mod verify;
pub mod worker;

pub use resolve::{answer, response};
pub use strategy::mode;
