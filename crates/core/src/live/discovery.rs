//! The resources of a discovery response.

use crate::protobuf::Resource;
use prost::Message;
use prost_types::Any;

/// The type of a message that may wrap a resource.
pub const WRAPPER: &str = "type.googleapis.com/envoy.service.discovery.v3.Resource";

/// The resource of this name, if it is among these.
///
/// # Errors
/// Why the response cannot be used.
pub fn find<M: Message + Default>(
    resources: &[Any],
    type_url: &str,
    name: &str,
    name_of: impl Fn(&M) -> &str,
) -> Result<Option<M>, String> {
    let mut found = None;
    for resource in resources {
        let resource: M = unwrap(resource, type_url)?;
        if name_of(&resource) == name && found.replace(resource).is_some() {
            return Err(format!("the resource {name} occurs twice"));
        }
    }
    Ok(found)
}

/// A resource, which may be wrapped.
fn unwrap<M: Message + Default>(resource: &Any, type_url: &str) -> Result<M, String> {
    let unreadable = |_| "a resource cannot be decoded".to_owned();
    if resource.type_url == WRAPPER {
        let inner = Resource::decode(resource.value.as_slice()).map_err(unreadable)?.resource;
        return decode(&inner.unwrap_or_default(), type_url);
    }
    decode(resource, type_url)
}

/// The beginning of a server's text, fit for a log.
pub fn shown(text: &str) -> String {
    text.chars().take(100).flat_map(char::escape_default).collect()
}

fn decode<M: Message + Default>(resource: &Any, type_url: &str) -> Result<M, String> {
    if resource.type_url != type_url {
        return Err(format!("a resource has the type {}", shown(&resource.type_url)));
    }
    M::decode(resource.value.as_slice()).map_err(|_| "a resource cannot be decoded".to_owned())
}
