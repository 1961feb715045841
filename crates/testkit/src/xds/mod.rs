//! The control plane's xDS server for tests: it serves any resources, and on demand what the control plane never sends.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use pinroute_testkit::env::TestEnv;
//! use pinroute_testkit::xds::{Kind, Xds};
//! use serde_json::json;
//!
//! let xds = Xds::start()?;
//! xds.set_runtime("runtime", &json!({"pinroute": {"shards": 8}}));
//! // The address of `xds_cluster` in the shipped configurations becomes that of this server.
//! let env = TestEnv::builder("shuffle-shard-rtds.yaml").address(("control-plane", 18000), xds.addr()).start()?;
//! let pushed = xds.set_runtime("runtime", &json!({"pinroute": {"shards": 9}}));
//! assert_eq!(pushed.version, "2");
//! xds.stop();
//! assert_eq!(xds.streams(Kind::Runtime), 0);
//! xds.restart()?;
//! # Ok(())
//! # }
//! ```

mod port;
mod record;
mod wire;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::Result;
use envoy_types::pb::envoy::service::discovery::v3::DiscoveryResponse;
use pinroute_control_plane::xds::message::{assignment, cluster, empty_layer, extension, runtime};
use pinroute_control_plane::xds::{Resource, Resources, Snapshot};
use prost::Message;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::watch;

pub use envoy_types;
pub use pinroute_control_plane::xds::Kind;
pub use record::Request;
pub use tonic::Code;

use crate::http2;
use crate::sync::locked;
use port::{Manner, Port};
use record::Record;

/// The name of Envoy's cluster for this server.
pub const XDS_CLUSTER: &str = "xds_cluster";

/// A server on 127.0.0.1, HTTP/2 without TLS on a free port, until it is dropped.
///
/// Resources, versions and records outlive a [`restart`](Self::restart). An ADS stream counts for each kind that it
/// subscribed to.
#[derive(Debug)]
pub struct Xds {
    port: Port,
    resources: Mutex<BTreeMap<Kind, Resources>>,
    snapshots: watch::Sender<Arc<Snapshot>>,
    record: Arc<Mutex<Record>>,
    /// Serves as long as it lives.
    runtime: Mutex<Option<Runtime>>,
}

/// A push to clients. `at` is before the bytes are sent, so the client's ACK comes later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The version of the resource. The server counts the changes of each kind: 1, 2, …
    pub version: String,
    /// The time of the push.
    pub at: Instant,
}

// Start and stop.

impl Xds {
    /// Starts a server that has no resources yet.
    ///
    /// # Errors
    /// If no port can be bound.
    pub fn start() -> Result<Self> {
        let (snapshots, _) = watch::channel(Arc::new(Snapshot::new(BTreeMap::new(), empty_layer)));
        let (resources, record, runtime) = Default::default();
        let xds = Self { port: Port::new()?, resources, snapshots, record, runtime };
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
        let tapped = wire::Tapped::new(self.snapshots.subscribe(), Arc::clone(&self.record));
        self.listen(Manner::Serve(tapped))
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
        *runtime = Some(self.port.listen(manner)?);
        Ok(())
    }

    /// The cluster [`XDS_CLUSTER`] for this server, for the `static_resources` of a hand-made configuration.
    #[must_use]
    pub fn envoy_cluster(&self) -> Value {
        http2::cluster(XDS_CLUSTER, self.addr())
    }
}

// Resources. Each call gives the resource a new version and pushes it to every stream that subscribed to the name.

impl Xds {
    /// Sets a runtime layer, a JSON object: nested objects become nested structs.
    pub fn set_runtime(&self, name: &str, layer: &Value) -> Pushed {
        self.set(Kind::Runtime, name, |revision| Resource::new(revision, runtime(name, layer)))
    }

    /// Sets a cluster whose endpoints come from the same server, with its metadata `envoy.lb`: a JSON object. There is a subset
    /// for each `host_id` in the endpoints' metadata.
    pub fn set_cluster(&self, name: &str, metadata: &Value) -> Pushed {
        self.set(Kind::Cluster, name, |revision| {
            Resource::by_transport(revision, |transport| {
                cluster(name, Some(metadata), XDS_CLUSTER, transport)
            })
        })
    }

    /// Sets a cluster's endpoints, each with its metadata `envoy.lb`: a JSON object, or null for none.
    pub fn set_endpoints(&self, cluster: &str, endpoints: &[(SocketAddr, Value)]) -> Pushed {
        let given = |metadata: &Value| Some(metadata.clone()).filter(|metadata| !metadata.is_null());
        let endpoints = endpoints.iter().map(|(address, metadata)| (*address, given(metadata)));
        self.set(Kind::Endpoints, cluster, |revision| Resource::new(revision, assignment(cluster, endpoints)))
    }

    /// Sets the configuration of the filter, in the module at this path.
    pub fn set_extension_config(&self, name: &str, module: &Path, configuration: &Value) -> Pushed {
        let message = extension(name, "pinroute", module, configuration.to_string());
        self.set(Kind::Extension, name, |revision| Resource::new(revision, message))
    }

    fn set(&self, kind: Kind, name: &str, resource: impl FnOnce(u64) -> Resource) -> Pushed {
        let mut all = locked(&self.resources);
        let resources = all.entry(kind).or_default();
        resources.changed += 1;
        resources.by_name.insert(name.to_owned(), resource(resources.changed));
        let version = resources.changed.to_string();
        let at = Instant::now();
        self.snapshots.send_replace(Arc::new(Snapshot::new(all.clone(), empty_layer)));
        Pushed { version, at }
    }
}

// Faults. They apply to the wire, and do not change the resources.

impl Xds {
    /// Sends a response as it is, nonce included, on every open stream of a kind.
    pub fn push_raw(&self, kind: Kind, response: &DiscoveryResponse) {
        self.push_garbage(kind, &response.encode_to_vec());
    }

    /// Sends a gRPC message of these bytes, which need not be a response, on every open stream of a kind.
    pub fn push_garbage(&self, kind: Kind, bytes: &[u8]) {
        locked(&self.record).inject(kind, bytes);
    }

    /// Ends each new stream, of any kind, at once with this gRPC status; with `None` no longer. Streams that are open
    /// stay.
    pub fn end_new_streams(&self, code: Option<Code>) {
        locked(&self.record).ended = code;
    }
}

// What clients have done.

impl Xds {
    /// Streams that are open now.
    #[must_use]
    pub fn streams(&self, kind: Kind) -> usize {
        locked(&self.record).streams(kind)
    }

    /// Streams so far.
    #[must_use]
    pub fn streams_ever(&self, kind: Kind) -> usize {
        locked(&self.record).streams_ever(kind)
    }

    /// The `:authority` of each stream so far, of any kind; empty where there was none.
    #[must_use]
    pub fn authorities(&self) -> Vec<String> {
        locked(&self.record).authorities.clone()
    }

    /// Requests so far, in the order they came.
    #[must_use]
    pub fn requests(&self, kind: Kind) -> Vec<Request> {
        locked(&self.record).requests(kind).cloned().collect()
    }

    /// The messages of all NACKs so far.
    #[must_use]
    pub fn nacks(&self, kind: Kind) -> Vec<String> {
        locked(&self.record).requests(kind).filter_map(|request| request.error.clone()).collect()
    }

    /// The version that was accepted last, on any stream.
    #[must_use]
    pub fn acked_version(&self, kind: Kind) -> Option<String> {
        let record = locked(&self.record);
        let accepted = |request: &&Request| request.error.is_none() && !request.nonce.is_empty();
        let last = record.requests(kind).filter(accepted).last()?;
        Some(last.version.clone()).filter(|version| !version.is_empty())
    }
}

#[cfg(test)]
mod tests;
