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

/// The name of Envoy's cluster for this server.
pub const XDS_CLUSTER: &str = "xds_cluster";

/// A push to clients. `at` is before the bytes are sent, so the client's ACK comes later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The version of the response. The server counts them for each type: 1, 2, …
    pub version: String,
    /// The time of the push.
    pub at: Instant,
    /// The number of streams that it was sent to.
    pub streams: usize,
}

/// A `DiscoveryRequest` from a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `version_info`: the version that the client accepted last; empty if none.
    pub version: String,
    /// `response_nonce`: the response that it acknowledges or rejects; empty in the first of a stream.
    pub nonce: String,
    /// The resources that the client subscribes to.
    pub resource_names: Vec<String>,
    /// The node's id, also if only an earlier request of the stream had it; empty if none had.
    pub node_id: String,
    /// The node's cluster, likewise.
    pub node_cluster: String,
    /// `error_detail`: set in a NACK.
    pub error: Option<String>,
    /// The number of the stream, counted from 1 over all services and restarts.
    pub stream: u64,
    /// The time of the request.
    pub at: Instant,
}
