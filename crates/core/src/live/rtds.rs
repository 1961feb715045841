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
        let compiled = compile(prefix, version, last, &mut |visit| whole = walk_layer(layer, visit));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::Number;
    use proptest::prelude::*;
    use prost::Message;
    use prost_types::value::Kind;
    use prost_types::{Struct, Value};

    fn client() -> Client {
        Client::new("runtime", "node", "cluster")
    }

    fn message(parts: &[(u32, &[u8])]) -> Vec<u8> {
        let mut message = Vec::new();
        parts.iter().for_each(|(number, bytes)| put_bytes(*number, bytes, &mut message));
        message
    }

    fn runtime(name: &str, total_hosts: f64) -> Vec<u8> {
        let value = Value { kind: Some(Kind::NumberValue(total_hosts)) };
        let layer = Struct { fields: [("p.total_hosts".to_owned(), value)].into() };
        message(&[(1, name.as_bytes()), (2, &layer.encode_to_vec())])
    }

    fn response(version: &str, resources: &[Vec<u8>]) -> Vec<u8> {
        let mut parts: Vec<(u32, &[u8])> =
            vec![(1, version.as_bytes()), (4, TYPE_URL.as_bytes()), (5, b"nonce")];
        parts.extend(resources.iter().map(|resource| (2, resource.as_slice())));
        message(&parts)
    }

    fn any(value: &[u8]) -> Vec<u8> {
        message(&[(1, TYPE_URL.as_bytes()), (2, value)])
    }

    /// A field of a request, as text.
    fn field(request: &[u8], wanted: u32) -> Option<String> {
        let fields = Fields::of(request).filter_map(Result::ok);
        let found = fields.filter(|(number, _)| *number == wanted).find_map(|(_, wire)| wire.bytes());
        found.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    fn receive(client: &mut Client, message: &[u8]) -> Received {
        client.receive(message, "p", 7, &Snapshot::default())
    }

    #[test]
    fn an_accepted_update_is_acknowledged_and_named_ever_after() {
        let mut client = client();
        assert_eq!(field(&client.subscribe(), 1).as_deref(), Some(""));
        assert_eq!(field(&client.subscribe(), 3).as_deref(), Some("runtime"));
        let received = receive(&mut client, &response("v1", &[any(&runtime("runtime", 12.0))]));
        let snapshot = Snapshot::open(received.outcome.unwrap().unwrap().bytes).unwrap();
        assert_eq!((snapshot.number(Number::TotalHosts), snapshot.version()), (Some(12), 7));
        assert_eq!(field(&received.reply, 1).as_deref(), Some("v1"));
        assert_eq!(field(&received.reply, 5).as_deref(), Some("nonce"));
        assert_eq!(field(&received.reply, 6), None, "no error");
        assert_eq!(field(&client.subscribe(), 1).as_deref(), Some("v1"), "a new stream knows what is in use");
    }

    #[test]
    fn a_refused_update_changes_nothing_and_says_why() {
        let mut client = client();
        receive(&mut client, &response("v1", &[any(&runtime("runtime", 12.0))]));
        let twice = [any(&runtime("runtime", 1.0)), any(&runtime("runtime", 1.0))];
        let received = receive(&mut client, &response("v2", &twice));
        assert!(received.outcome.unwrap_err().contains("twice"));
        assert_eq!(field(&received.reply, 1).as_deref(), Some("v1"), "the version in use");
        assert!(field(&received.reply, 6).unwrap().contains("the resource runtime is there twice"));
    }

    #[test]
    fn a_resource_may_come_wrapped_and_others_are_not_ours() {
        let inner = any(&runtime("runtime", 5.0));
        let wrapped = message(&[(3, b"runtime"), (2, &inner)]);
        let wrapped = message(&[(1, WRAPPER.as_bytes()), (2, &wrapped)]);
        assert!(receive(&mut client(), &response("v", &[wrapped])).outcome.unwrap().is_some());
        let other = any(&runtime("other", 5.0));
        assert!(receive(&mut client(), &response("v", &[other])).outcome.unwrap().is_none());
        assert!(receive(&mut client(), &response("v", &[])).outcome.unwrap().is_none());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_answered(bytes: Vec<u8>) {
            let received = receive(&mut client(), &bytes);
            let answered = field(&received.reply, 4);
            prop_assert_eq!(answered.as_deref(), Some(TYPE_URL));
        }
    }
}
