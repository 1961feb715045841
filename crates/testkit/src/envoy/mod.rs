//! A real Envoy and its admin interface.

mod install;
mod running;

pub use install::{envoy_binary, ENVOY_VERSION};
pub use running::{validate, Envoy, EnvoyOptions};
