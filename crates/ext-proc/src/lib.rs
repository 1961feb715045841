//! The filter's decisions by Envoy's external processing (`ext_proc`): a gRPC service with the same configuration and the
//! same core.
//!
//! Like the filter, this crate is an adapter and decides nothing: `service` turns Envoy's messages into requests of the
//! core and verdicts into messages. Imports run one way: `limits`, `metrics`, `resolver`, `live` ← `decider` ←
//! `service` ← [`run()`].

mod decider;
mod limits;
mod live;
mod message;
mod metrics;
mod options;
mod resolver;
mod run;
mod service;

pub use decider::Decider;
pub use limits::{LoadError, Supported};
pub use metrics::{Gauges, Metrics};
pub use options::{Listen, Options, ServerUrl, UrlError};
pub use run::{Error, ExtProc, run};
