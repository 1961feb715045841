//! The Runtime Discovery Service, seen from a client: what to send, and what came.
//!
//! State-of-the-world xDS over one stream (`StreamRuntime`). A message that cannot be used is refused with
//! its reason and changes nothing.

use super::{compile, Compiled, Scalar, Snapshot};
use crate::protobuf::{put_bytes, put_varint_field, walk, Fields};

/// The type of the resource.
pub const TYPE_URL: &str = "type.googleapis.com/envoy.service.runtime.v3.Runtime";
/// The gRPC service.
pub const SERVICE: &str = "envoy.service.runtime.v3.RuntimeDiscoveryService";
/// Its method.
pub const METHOD: &str = "StreamRuntime";

/// A resource may come wrapped in one of these, with a name of its own.
const WRAPPER: &str = "type.googleapis.com/envoy.service.discovery.v3.Resource";

/// `google.rpc.Code.INVALID_ARGUMENT`.
const INVALID_ARGUMENT: u64 = 3;

/// A stream from its opening to its end. The accepted version outlives the stream.
#[derive(Clone, Debug)]
pub struct Client {
    resource: String,
    node_id: String,
    node_cluster: String,
    accepted: String,
}

/// What came of a message.
#[derive(Debug)]
pub struct Received {
    /// The request to send back: an acceptance or a refusal.
    pub reply: Vec<u8>,
    /// The new values, or why there are none.
    pub outcome: Result<Option<Compiled>, String>,
    /// The version that the server gave the message.
    pub version: String,
}

#[derive(Default)]
struct Response<'b> {
    version: &'b str,
    nonce: &'b str,
    type_url: &'b str,
    resources: Vec<&'b [u8]>,
}

impl Client {
    /// A client that asks for `resource` in the name of this node.
    pub fn new(resource: &str, node_id: &str, node_cluster: &str) -> Self {
        Self {
            resource: resource.to_owned(),
            node_id: node_id.to_owned(),
            node_cluster: node_cluster.to_owned(),
            accepted: String::new(),
        }
    }

    /// The first message on a new stream. It names the version that is in use, if there is one.
    pub fn subscribe(&self) -> Vec<u8> {
        self.request("", None)
    }

    /// A message has come: `last` is what has been in use until now, `version` what to call the new values.
    pub fn receive(&mut self, message: &[u8], prefix: &str, version: u64, last: &Snapshot) -> Received {
        let (response, outcome) = match read_response(message) {
            None => (Response::default(), Err("the message is not a DiscoveryResponse".to_owned())),
            Some(response) => {
                let outcome = self.read_resources(&response, prefix, version, last);
                (response, outcome)
            }
        };
        if outcome.is_ok() {
            self.accepted = response.version.to_owned();
        }
        let error = outcome.as_ref().err().map(String::as_str);
        Received { reply: self.request(response.nonce, error), outcome, version: response.version.to_owned() }
    }

    fn request(&self, nonce: &str, error: Option<&str>) -> Vec<u8> {
        let mut node = Vec::new();
        put_bytes(1, self.node_id.as_bytes(), &mut node);
        put_bytes(2, self.node_cluster.as_bytes(), &mut node);
        put_bytes(6, b"pinroute", &mut node);
        let mut request = Vec::new();
        put_bytes(1, self.accepted.as_bytes(), &mut request);
        put_bytes(2, &node, &mut request);
        put_bytes(3, self.resource.as_bytes(), &mut request);
        put_bytes(4, TYPE_URL.as_bytes(), &mut request);
        put_bytes(5, nonce.as_bytes(), &mut request);
        if let Some(message) = error {
            let mut status = Vec::new();
            put_varint_field(1, INVALID_ARGUMENT, &mut status);
            put_bytes(2, message.as_bytes(), &mut status);
            put_bytes(6, &status, &mut request);
        }
        request
    }

    fn read_resources(
        &self,
        response: &Response<'_>,
        prefix: &str,
        version: u64,
        last: &Snapshot,
    ) -> Result<Option<Compiled>, String> {
        if response.type_url != TYPE_URL {
            return Err(format!("the type {:.100} is not {TYPE_URL}", response.type_url));
        }
        let mut layer = None;
        for any in &response.resources {
            let (name, found) = read_resource(any)?;
            if name != self.resource {
                continue;
            }
            if layer.replace(found).is_some() {
                return Err(format!("the resource {name} is there twice"));
            }
        }
        // No such resource: whoever has nothing to say changes nothing.
        let Some(layer) = layer else { return Ok(None) };
        let mut whole = true;
        let compiled = compile(prefix, version, last, |visit| whole = walk_layer(layer, visit));
        if whole {
            Ok(Some(compiled))
        } else {
            Err(format!("the layer of {} cannot be read", self.resource))
        }
    }
}

fn walk_layer(layer: &[u8], visit: &mut dyn FnMut(&str, Scalar<'_>)) -> bool {
    walk(layer, &mut |name, value| visit(name, value))
}

fn read_response(message: &[u8]) -> Option<Response<'_>> {
    let mut response = Response::default();
    for field in Fields::of(message) {
        match field.ok()? {
            (1, wire) => response.version = wire.text()?,
            (2, wire) => response.resources.push(wire.bytes()?),
            (4, wire) => response.type_url = wire.text()?,
            (5, wire) => response.nonce = wire.text()?,
            _ => {}
        }
    }
    Some(response)
}

/// The name and the layer of a runtime resource.
fn read_resource(any: &[u8]) -> Result<(&str, &[u8]), String> {
    let unreadable = || "a resource cannot be read".to_owned();
    let (mut type_url, mut value) = two_fields(any, 1, 2).ok_or_else(unreadable)?;
    if type_url == WRAPPER.as_bytes() {
        let (_, inner) = two_fields(value, 3, 2).ok_or_else(unreadable)?;
        (type_url, value) = two_fields(inner, 1, 2).ok_or_else(unreadable)?;
    }
    if type_url != TYPE_URL.as_bytes() {
        return Err(format!("a resource of the type {:.100}", String::from_utf8_lossy(type_url)));
    }
    let (name, layer) = two_fields(value, 1, 2).ok_or_else(unreadable)?;
    Ok((std::str::from_utf8(name).map_err(|_| unreadable())?, layer))
}

/// Two length-delimited fields of a message; absent ones are empty.
fn two_fields(bytes: &[u8], first: u32, second: u32) -> Option<(&[u8], &[u8])> {
    let (mut one, mut two) = (&[][..], &[][..]);
    for field in Fields::of(bytes) {
        match field.ok()? {
            (number, wire) if number == first => one = wire.bytes()?,
            (number, wire) if number == second => two = wire.bytes()?,
            _ => {}
        }
    }
    Some((one, two))
}
