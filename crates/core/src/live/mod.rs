//! Numbers that change while requests run: their sources, and their order of precedence.
//!
//! An RTDS message goes through [`xds`] (ACK or NACK) and `compile` to a [`snapshot`], which [`subscriptions`] shares
//! with all VMs; [`values`] finds a number for a request among all sources.

pub mod action;
mod admin;
mod backoff;
pub mod clusters;
pub mod compile;
mod discovery;
mod eds;
pub mod endpoints;
mod lease;
pub(crate) mod metadata;
mod rtds;
pub mod snapshot;
pub mod subscriptions;
pub mod value;
pub mod values;
pub mod vm;
pub mod xds;
