//! The names of the resource types, and what the server records of pushes and requests.

use std::time::Instant;

/// Type URL of clusters (CDS).
pub const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
/// Type URL of a cluster's endpoints (EDS).
pub const ENDPOINTS: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
/// Type URL of extension configurations (ECDS).
pub const EXTENSION_CONFIG: &str = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig";
/// Type URL of listeners (LDS).
pub const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
/// Type URL of route configurations (RDS).
pub const ROUTE: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
/// Type URL of runtime layers (RTDS).
pub const RUNTIME: &str = "type.googleapis.com/envoy.service.runtime.v3.Runtime";

/// What Envoy's own cluster for this server is called.
pub const XDS_CLUSTER: &str = "xds_cluster";

/// A push that was made. `at` is when it was handed over, so the client's answer comes after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The response's version. The server counts for itself, by type: 1, 2, …
    pub version: String,
    /// When.
    pub at: Instant,
    /// How many streams it went to.
    pub streams: usize,
}

/// A `DiscoveryRequest` that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `version_info`: what the client has accepted last; empty if nothing.
    pub version: String,
    /// `response_nonce`: the response that it answers; empty for the first of a stream.
    pub nonce: String,
    /// What the client wants.
    pub resource_names: Vec<String>,
    /// The node's id, also if only an earlier request of the stream had it; empty if none had.
    pub node_id: String,
    /// The node's cluster, likewise.
    pub node_cluster: String,
    /// `error_detail`: set in a NACK.
    pub error: Option<String>,
    /// The stream it came on. They are numbered from 1 over the server's life, all services together.
    pub stream: u64,
    /// When.
    pub at: Instant,
}
