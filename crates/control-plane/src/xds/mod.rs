//! What Envoys get: resources with versions (`snapshot`), and the protocol of one stream as a state machine without I/O
//! (`sotw`, `delta`). `service` carries messages.

mod delta;
pub mod message;
mod nodes;
mod publish;
mod service;
mod snapshot;
mod sotw;
mod subscription;
mod verdict;

pub use nodes::{KindStatus, NodeStatus, Nodes};
pub use publish::Publish;
pub use service::{Discovery, kind_of_method};
pub use snapshot::{Resource, Resources, Snapshot, Transport};
pub use verdict::Verdict;

/// The kinds of resources, in the order in which an aggregated stream sends them: what others refer to comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Clusters, by CDS.
    Cluster,
    /// Their endpoints, by EDS.
    Endpoints,
    /// The runtime layer, by RTDS.
    Runtime,
    /// Extension configurations, by ECDS.
    Extension,
}

impl Kind {
    /// All kinds, in their order.
    pub const ALL: [Self; 4] = [Self::Cluster, Self::Endpoints, Self::Runtime, Self::Extension];

    /// The type URL of its resources.
    pub const fn type_url(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoints => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Runtime => "type.googleapis.com/envoy.service.runtime.v3.Runtime",
            Self::Extension => "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        }
    }

    /// The kind with this type URL.
    pub fn of_type_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_url() == url)
    }

    /// The name in metrics and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cds",
            Self::Endpoints => "eds",
            Self::Runtime => "rtds",
            Self::Extension => "ecds",
        }
    }
}

/// What a request leads to.
#[derive(Clone, Debug, PartialEq)]
pub struct Reaction<R> {
    /// The responses, in their order.
    pub responses: Vec<Sent<R>>,
    /// What the request said about an earlier response.
    pub verdict: Option<Verdict>,
    /// The version that the client has of a kind from an earlier stream.
    pub known: Option<(Kind, String)>,
}

impl<R> Default for Reaction<R> {
    fn default() -> Self {
        Self { responses: Vec::new(), verdict: None, known: None }
    }
}

/// A response to send.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent<R> {
    /// The kind of its resources.
    pub kind: Kind,
    /// Its version.
    pub version: String,
    /// The message.
    pub message: R,
}

/// A request that no client of the protocol makes. The stream ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub String);

/// The kind that a request is about. `service` is that of a stream for one kind. `None` for a type that this server does not have.
fn kind_of(service: Option<Kind>, type_url: &str) -> Result<Option<Kind>, Violation> {
    match (service, type_url) {
        (Some(kind), "") => Ok(Some(kind)),
        (Some(kind), url) if url == kind.type_url() => Ok(Some(kind)),
        (Some(kind), url) => Err(Violation(format!("this service has {}, not {url}", kind.type_url()))),
        (None, "") => Err(Violation("a request without a type URL".to_owned())),
        (None, url) => Ok(Kind::of_type_url(url)),
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
