//! A real Envoy and its admin interface.

mod install;
mod running;

pub use install::{ENVOY_VERSION, envoy_binary};
pub use running::{Envoy, EnvoyOptions, validate};
