//! The control plane: operators set numbers, hosts and configurations by an API; Envoys get them by xDS.
//!
//! Imports run one way: [`model`] (what operators set, no I/O) ← [`store`] ← [`xds`] and the API ← options.

pub mod discovery;
pub mod metrics;
pub mod model;
pub mod plane;
pub mod store;
pub mod xds;
