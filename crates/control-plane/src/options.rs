//! What the control plane must know to start.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::api::Token;
use crate::discovery::Source;
use crate::xds::Publish;

/// How to run the control plane.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The address of the xDS server. Port 0 takes a free one.
    pub xds: SocketAddr,
    /// The address of the operators' API. Port 0 takes a free one.
    pub api: SocketAddr,
    /// The folder of the store.
    pub data: PathBuf,
    /// The start of the filter's runtime keys, before a dot.
    pub prefix: String,
    /// The name of the runtime layer's resource.
    pub resource: String,
    /// How Envoys get the number of hosts.
    pub numbers: Numbers,
    /// The cluster by which Envoys reach this server.
    pub xds_cluster: String,
    /// The module of the filter, as Envoys find it.
    pub module: PathBuf,
    /// Plays the demo's time line, this many times as fast; `None` plays nothing.
    pub demo: Option<f64>,
    /// Where the hosts of a cluster are found, if not by the API.
    pub hosts_from: Option<HostsFrom>,
    /// The token that changes by the API need.
    pub token: Option<Token>,
}

/// Where the hosts of a cluster are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostsFrom {
    /// The source.
    pub source: Source,
    /// The cluster.
    pub cluster: String,
    /// How often the source is asked.
    pub interval: Duration,
}

/// How Envoys get the number of hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Numbers {
    /// As a runtime value.
    #[default]
    Rtds,
    /// By the metadata of the cluster.
    Cds,
    /// By the endpoints.
    Eds,
}

impl Default for Options {
    fn default() -> Self {
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            xds: loopback(18000),
            api: loopback(18001),
            data: "pinroute-data".into(),
            prefix: "shuffle_sharding".to_owned(),
            resource: "runtime".to_owned(),
            numbers: Numbers::default(),
            xds_cluster: "xds_cluster".to_owned(),
            module: "/etc/envoy/pinroute.wasm".into(),
            demo: None,
            hosts_from: None,
            token: None,
        }
    }
}

impl Options {
    /// The runtime key that gets the number of hosts; `None` if metadata carries it.
    pub(crate) fn total_hosts(&self) -> Option<String> {
        (self.numbers == Numbers::Rtds).then(|| self.total_hosts_key())
    }

    /// What Envoys have to know beside what operators set.
    pub fn publish(&self) -> Publish {
        Publish {
            resource: self.resource.clone(),
            // A runtime value would come before the metadata.
            left_out: (self.numbers != Numbers::Rtds).then(|| self.total_hosts_key()),
            xds_cluster: self.xds_cluster.clone(),
            module: self.module.clone(),
        }
    }

    fn total_hosts_key(&self) -> String {
        format!("{}.total_hosts", self.prefix)
    }
}
