//! An xDS server for tests: it pushes resources, sends faulty messages on demand, and records the requests of clients.
//!
//! It speaks the state-of-the-world protocol for runtime, clusters, endpoints, routes, listeners and
//! extension configurations, each by its own service and all by the aggregated one (ADS). A new subscription gets a
//! response at once if there is a resource for it; an ACK or a NACK gets none. Clients get only the resources that they
//! subscribed to; no names mean all clusters or listeners.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use pinroute_testkit::env::TestEnv;
//! use pinroute_testkit::xds::{Xds, RUNTIME};
//! use serde_json::json;
//!
//! let xds = Xds::start()?;
//! xds.set_runtime("runtime", &json!({"pinroute": {"shards": 8}}))?;
//! // The address of `xds_cluster` in the shipped configurations becomes that of this server.
//! let env = TestEnv::builder("shuffle-shard-rtds.yaml").address(("control-plane", 18000), xds.addr()).start()?;
//! let pushed = xds.set_runtime("runtime", &json!({"pinroute": {"shards": 9}}))?;
//! assert_eq!(pushed.version, "2");
//! xds.stop();
//! assert_eq!(xds.streams(RUNTIME), 0);
//! xds.restart()?;
//! # Ok(())
//! # }
//! ```

mod port;
mod resources;
mod service;
mod state;
mod types;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use envoy_types::pb::envoy::service::discovery::v3::DiscoveryResponse;
use prost::Message;
use serde_json::Value;
use tokio::runtime::Runtime;
use tonic::Status;

pub use envoy_types;
pub use resources::{EdsCluster, WasmFilter};
pub use tonic::Code;
pub use types::{
    CLUSTER, ENDPOINTS, EXTENSION_CONFIG, LISTENER, Pushed, ROUTE, RUNTIME, Request, XDS_CLUSTER,
};

use crate::http2::cluster;
use crate::sync::locked;
use port::{Manner, Port};
use state::State;

/// A server on 127.0.0.1, HTTP/2 without TLS on a free port, until it is dropped.
///
/// Methods with a `type_url` apply to the streams of that type's service, and to the ADS streams that subscribed to
/// the type. Resources, versions and records outlive a [`restart`](Self::restart).
#[derive(Debug)]
pub struct Xds {
    port: Port,
    state: Arc<Mutex<State>>,
    /// Serves as long as it lives.
    runtime: Mutex<Option<Runtime>>,
}

// Start and stop.

impl Xds {
    /// Starts a server that has no resources yet.
    ///
    /// # Errors
    /// If no port can be bound.
    pub fn start() -> Result<Self> {
        let xds = Self { port: Port::new()?, state: Arc::default(), runtime: Mutex::new(None) };
        xds.restart()?;
        Ok(xds)
    }

    /// The address that it listens on; the same after a restart.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.port.addr
    }

    /// Resets all connections and closes the port, so that connections are refused.
    pub fn stop(&self) {
        drop(locked(&self.runtime).take());
    }

    /// Serves on the same port. Earlier connections are closed.
    ///
    /// # Errors
    /// If it cannot listen there any more.
    pub fn restart(&self) -> Result<()> {
        self.listen(Manner::Serve)
    }

    /// Accepts connections on the same port and closes each at once, until [`restart`](Self::restart) or
    /// [`stop`](Self::stop). Connections that are open now are reset.
    ///
    /// # Errors
    /// If it cannot listen there any more.
    pub fn close_at_once(&self) -> Result<()> {
        self.listen(Manner::CloseAtOnce)
    }

    fn listen(&self, manner: Manner) -> Result<()> {
        let mut runtime = locked(&self.runtime);
        drop(runtime.take());
        *runtime = Some(self.port.listen(manner, &self.state)?);
        Ok(())
    }

    /// The cluster [`XDS_CLUSTER`] for this server, for the `static_resources` of a hand-made configuration.
    #[must_use]
    pub fn envoy_cluster(&self) -> Value {
        cluster(XDS_CLUSTER, self.addr())
    }
}

// Resources. Each call gives the type a new version and pushes to every stream that subscribed to the name.

impl Xds {
    /// Sets a runtime layer, a JSON object: nested objects become nested structs.
    ///
    /// # Errors
    /// If it is no object.
    pub fn set_runtime(&self, name: &str, layer: &Value) -> Result<Pushed> {
        Ok(self.set_resource(RUNTIME, name, resources::runtime(name, layer)?.encode_to_vec()))
    }

    /// Sets a cluster.
    ///
    /// # Errors
    /// If its metadata are no JSON objects.
    pub fn set_cluster(&self, cluster: &EdsCluster) -> Result<Pushed> {
        Ok(self.set_resource(CLUSTER, cluster.name(), cluster.message()?.encode_to_vec()))
    }

    /// Sets a cluster's endpoints, each with its metadata `envoy.lb`: a JSON object, or null for none.
    ///
    /// # Errors
    /// If metadata are neither.
    pub fn set_endpoints(&self, cluster: &str, endpoints: &[(SocketAddr, Value)]) -> Result<Pushed> {
        let message = resources::endpoints(cluster, endpoints)?;
        Ok(self.set_resource(ENDPOINTS, cluster, message.encode_to_vec()))
    }

    /// Sets the configuration of a Wasm HTTP filter.
    ///
    /// # Errors
    /// If the module's path is not UTF-8.
    pub fn set_extension_config(&self, name: &str, filter: &WasmFilter<'_>) -> Result<Pushed> {
        Ok(self.set_resource(EXTENSION_CONFIG, name, filter.message(name)?.encode_to_vec()))
    }

    /// Sets any resource, given its encoded message.
    pub fn set_resource(&self, type_url: &str, name: &str, message: Vec<u8>) -> Pushed {
        locked(&self.state).set(type_url, name, Some(message))
    }

    /// Removes a resource.
    pub fn remove_resource(&self, type_url: &str, name: &str) -> Pushed {
        locked(&self.state).set(type_url, name, None)
    }
}

// Faults. They apply to every open stream of a type, and do not change the resources.

impl Xds {
    /// Sends a response as it is, nonce included.
    pub fn push_raw(&self, type_url: &str, response: &DiscoveryResponse) -> Pushed {
        let bytes = response.encode_to_vec();
        let (at, streams) = locked(&self.state).send(type_url, &bytes, Some(&response.nonce));
        Pushed { version: response.version_info.clone(), at, streams }
    }

    /// Sends a gRPC message of these bytes, which need not be a response.
    pub fn push_garbage(&self, type_url: &str, bytes: &[u8]) -> Pushed {
        let (at, streams) = locked(&self.state).send(type_url, bytes, None);
        Pushed { version: String::new(), at, streams }
    }

    /// Ends the streams with a gRPC status, and returns their number. Connections stay open.
    pub fn end_streams(&self, type_url: &str, code: Code, message: &str) -> usize {
        locked(&self.state).end(type_url, &Status::new(code, message))
    }

    /// Accepts each new stream, of any type, and ends it at once with this gRPC status; with `None` no longer. Streams
    /// that are open stay.
    pub fn end_new_streams(&self, code: Option<Code>) {
        locked(&self.state).end_new(code.map(|code| Status::new(code, "new streams are ended")));
    }
}

// What clients have done.

impl Xds {
    /// Streams that are open now.
    #[must_use]
    pub fn streams(&self, type_url: &str) -> usize {
        locked(&self.state).streams(type_url)
    }

    /// Streams so far.
    #[must_use]
    pub fn streams_ever(&self, type_url: &str) -> usize {
        locked(&self.state).streams_ever(type_url)
    }

    /// The `:authority` of each stream so far, of any type; empty where there was none.
    #[must_use]
    pub fn authorities(&self) -> Vec<String> {
        locked(&self.state).authorities.clone()
    }

    /// Requests so far, in the order they came.
    #[must_use]
    pub fn requests(&self, type_url: &str) -> Vec<Request> {
        locked(&self.state).requests(type_url).to_vec()
    }

    /// The messages of all NACKs so far.
    #[must_use]
    pub fn nacks(&self, type_url: &str) -> Vec<String> {
        locked(&self.state).requests(type_url).iter().filter_map(|request| request.error.clone()).collect()
    }

    /// The version that was accepted last, on any stream.
    #[must_use]
    pub fn acked_version(&self, type_url: &str) -> Option<String> {
        let state = locked(&self.state);
        let accepted = |request: &&Request| request.error.is_none() && !request.nonce.is_empty();
        let last = state.requests(type_url).iter().rev().find(accepted)?;
        Some(last.version.clone()).filter(|version| !version.is_empty())
    }
}

#[cfg(test)]
mod tests;
