//! A real Envoy: started, asked through its admin interface, and stopped.

mod install;
mod running;

pub use install::{envoy_binary, ENVOY_VERSION};
pub use running::{validate, Envoy, EnvoyOptions};
