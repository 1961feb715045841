//! The configuration: JSON text, or a `google.protobuf.Struct`, to validated values.
//!
//! `wire` is what users write, `validated` what the rest of the crate uses. An error names the path of the field,
//! the offending value and what is allowed.

mod call;
mod error;
mod keys;
mod live;
mod rules;
mod scalar;
#[cfg(feature = "schema")]
mod schema;
mod targets;
pub(crate) mod unique;
mod validate;
mod validated;
mod wire;

pub use error::ConfigError;
pub use live::live_hosts;
#[cfg(feature = "schema")]
pub use schema::{envoy_schema, schema};
pub use unique::UniqueValue;
pub use validated::{
    AdminConfig, CacheConfig, CallConfig, Config, Fallback, Hosts, IndexConfig, Listed, MembershipConfig,
    MembershipSource, Outcome, Outcomes, Pick, PluginConfig, ResolveConfig, RuntimeConfig, RuntimeSource,
    ShardDown, ShuffleConfig, Strategy, XdsConfig,
};

use crate::protobuf::struct_to_json;
use prost::Message;
use prost_types::Struct;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Reads a plugin's configuration: JSON text, or a serialized `google.protobuf.Struct`. An empty one stands for the
/// seeds' `routing.lua`: `/join`, the parameter `client_id`, the cluster `resolver`.
///
/// # Errors
/// The first mistake.
pub fn parse(bytes: &[u8]) -> Result<PluginConfig, ConfigError> {
    validate::plugin(read(&document(bytes)?)?)
}

/// Reads a route's configuration out of its metadata. It is one like the plugin's, without the fields that concern
/// the plugin as a whole. An object whose only member is `json`, a string, holds it as JSON text.
///
/// # Errors
/// The first mistake.
pub fn parse_route(value: &Value) -> Result<Config, ConfigError> {
    let text = value.as_object().filter(|members| members.len() == 1).and_then(|members| members.get("json"));
    match text {
        Some(Value::String(text)) => parse_route_text(text.as_bytes()),
        _ => validate::route(read(value)?),
    }
}

/// Reads a route's configuration that comes as JSON text.
///
/// # Errors
/// The first mistake.
pub fn parse_route_text(bytes: &[u8]) -> Result<Config, ConfigError> {
    validate::route(read(&document(bytes)?)?)
}

/// JSON text, or a serialized Struct: Envoy hands a Struct over in this form.
fn document(bytes: &[u8]) -> Result<Value, ConfigError> {
    if bytes.trim_ascii().is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let mut track = serde_path_to_error::Track::new();
    let read = UniqueValue::deserialize(serde_path_to_error::Deserializer::new(&mut json, &mut track));
    let error = match read.and_then(|UniqueValue(document)| json.end().map(|()| document)) {
        Ok(document) => return Ok(document),
        Err(error) => error,
    };
    // The first byte of a Struct is a line feed, which may begin JSON too, but a whole Struct is never JSON.
    match Struct::decode(bytes) {
        Ok(object) => Ok(struct_to_json(object)),
        Err(_) if error.is_data() => {
            Err(ConfigError::new(error::text(&track.path()), error.to_string(), "each member once"))
        }
        Err(_) => Err(ConfigError::new("", format!("not JSON: {error}"), "a JSON object")),
    }
}

fn read(document: &Value) -> Result<wire::Document, ConfigError> {
    if !document.is_object() {
        return Err(ConfigError::value("", document, "an object"));
    }
    error::refuse_null(document, "")?;
    serde_path_to_error::deserialize(document)
        .map_err(|error| ConfigError::from_serde(document, error.path(), &error.inner().to_string()))
}
