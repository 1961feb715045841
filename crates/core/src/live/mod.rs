//! Numbers that change while requests run: their sources, and their order of precedence.
//!
//! An RTDS message goes through [`rtds`] (ACK or NACK) and `compile` to a [`snapshot`], which [`subscriptions`] shares
//! with all VMs; [`values`] finds a number for a request among all sources.

pub mod action;
mod admin;
mod backoff;
pub mod compile;
mod lease;
pub(crate) mod metadata;
pub mod rtds;
pub mod snapshot;
pub mod subscriptions;
pub mod value;
pub mod values;
pub mod vm;
