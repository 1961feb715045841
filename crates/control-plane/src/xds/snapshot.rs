//! All resources at one time, with versions that outlive restarts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use envoy_types::pb::google::protobuf::Any;
use prost::bytes::Bytes;

use super::Kind;

/// How a stream carries resources: a cluster says where its endpoints come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One stream for all kinds.
    Aggregated,
    /// A stream for each kind, state-of-the-world.
    StateOfTheWorld,
    /// A stream for each kind, incremental.
    Incremental,
}

/// A resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The commit that changed it last. It is part of the version, and so outlives restarts.
    pub revision: u64,
    body: Body,
}

/// The message, encoded once: the order of a map differs from one encoding to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Body {
    Same(Bytes),
    /// In the order of [`Transport`].
    ByTransport(Arc<[Bytes; 3]>),
}

impl Resource {
    /// A resource that is the same on every stream.
    pub fn new(revision: u64, message: Vec<u8>) -> Self {
        Self { revision, body: Body::Same(message.into()) }
    }

    /// A resource that depends on the stream.
    pub fn by_transport(revision: u64, message: impl Fn(Transport) -> Vec<u8>) -> Self {
        let all = [Transport::Aggregated, Transport::StateOfTheWorld, Transport::Incremental];
        Self { revision, body: Body::ByTransport(Arc::new(all.map(|transport| message(transport).into()))) }
    }

    /// The message for a stream.
    pub fn message(&self, kind: Kind, transport: Transport) -> Any {
        let bytes = match &self.body {
            Body::Same(bytes) => bytes,
            Body::ByTransport(all) => {
                let [aggregated, state_of_the_world, incremental] = all.as_ref();
                match transport {
                    Transport::Aggregated => aggregated,
                    Transport::StateOfTheWorld => state_of_the_world,
                    Transport::Incremental => incremental,
                }
            }
        };
        Any { type_url: kind.type_url().to_owned(), value: bytes.to_vec() }
    }
}

/// The commit that a version begins with; 0 if it begins with none.
pub fn commit_of(version: &str) -> u64 {
    let digits = version.bytes().take_while(u8::is_ascii_digit).count();
    version.get(..digits).and_then(|digits| digits.parse().ok()).unwrap_or_default()
}

/// All resources at one time. It never changes.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When it was made.
    pub at: Instant,
    kinds: BTreeMap<Kind, Resources>,
    empty_layer: fn(&str) -> Vec<u8>,
    origin: Option<u32>,
}

/// The resources of a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// The last commit that changed one, or removed one.
    pub changed: u64,
    /// The resources by their names.
    pub by_name: BTreeMap<String, Resource>,
}

impl Snapshot {
    /// A snapshot of these resources. `empty_layer` makes the runtime layer of a name that nobody has set.
    pub fn new(kinds: BTreeMap<Kind, Resources>, empty_layer: fn(&str) -> Vec<u8>) -> Self {
        Self { at: Instant::now(), kinds, empty_layer, origin: None }
    }

    /// With what tells these resources from those that another store, or other options, made by commits of the same numbers.
    pub fn of_origin(self, origin: u32) -> Self {
        Self { origin: Some(origin), ..self }
    }

    /// The version of what a commit has changed.
    pub fn version(&self, revision: u64) -> String {
        match self.origin {
            None => revision.to_string(),
            Some(origin) => format!("{revision}-{origin:08x}"),
        }
    }

    /// The last commit that changed a resource of this kind, or removed one.
    pub fn changed(&self, kind: Kind) -> u64 {
        self.kinds.get(&kind).map_or(0, |resources| resources.changed)
    }

    /// All resources of a kind.
    pub fn all(&self, kind: Kind) -> impl Iterator<Item = (&String, &Resource)> {
        self.kinds.get(&kind).into_iter().flat_map(|resources| &resources.by_name)
    }

    /// A resource. An Envoy waits for its runtime layer when it starts, so there is always one, if need be an empty one.
    pub fn get(&self, kind: Kind, name: &str) -> Option<Resource> {
        let known = self.kinds.get(&kind).and_then(|resources| resources.by_name.get(name)).cloned();
        match kind {
            Kind::Runtime => known.or_else(|| Some(Resource::new(0, (self.empty_layer)(name)))),
            Kind::Cluster | Kind::Endpoints | Kind::Extension => known,
        }
    }
}
