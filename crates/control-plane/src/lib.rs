//! The control plane: operators set numbers, hosts and configurations by an API; Envoys get them by xDS.
//!
//! Imports run one way: [`model`] (what operators set, no I/O) ← [`store`] ← [`xds`] and [`api`] ← options.

pub mod api;
mod connection;
mod demo;
pub mod discovery;
pub mod metrics;
pub mod model;
mod options;
pub mod plane;
mod run;
pub mod store;
pub mod xds;

pub use api::Token;
pub use options::{HostsFrom, Numbers, Options};
pub use run::{ControlPlane, Error, run};
