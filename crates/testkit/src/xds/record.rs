//! What is told about pushes and requests.

use std::time::Instant;

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
