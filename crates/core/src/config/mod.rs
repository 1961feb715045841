//! A plugin's configuration: from JSON text to values that have been checked.

mod node;
mod outside;
mod read;
mod strategy;

pub use node::ConfigError;
pub use pinroute_hot::config::*;

use crate::json::Value;

/// Reads and checks a plugin's configuration: JSON text, or the bytes of a `google.protobuf.Struct`.
/// Nothing, or an object without members, stands for the seeds' `routing.lua`: `/join`, the parameter
/// `client_id`, the cluster `resolver`.
///
/// # Errors
/// The first mistake, with the path of its field.
pub fn parse(text: &[u8]) -> Result<Config, ConfigError> {
    read::document(text).and_then(|document| read::plugin(&document)).map_err(|mistake| *mistake)
}

/// Checks a configuration out of a route's metadata. It is one like the plugin's, without what belongs
/// to the plugin as a whole. An object whose only member is `json`, a string, holds it as JSON text.
///
/// # Errors
/// The first mistake, with the path of its field.
pub fn parse_for_route(value: &Value) -> Result<Config, ConfigError> {
    match value.as_object().filter(|members| members.len() == 1).and_then(|members| members.get("json")) {
        Some(Value::String(text)) => {
            read::document(text.as_bytes()).and_then(|document| read::route(&document))
        }
        _ => read::route(value),
    }
    .map_err(|mistake| *mistake)
}
