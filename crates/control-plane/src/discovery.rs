//! Finds the hosts of a cluster by DNS or in a file, and sets them as an operator would.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use thiserror::Error;
use tokio::time::MissedTickBehavior;

use crate::model::State;
use crate::plane::{Author, Plane};

/// Where hosts are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The addresses of a name: a headless service of Kubernetes, a service of Docker Compose.
    Dns {
        /// The name.
        name: String,
        /// The port of each host.
        port: u16,
        /// The name server to ask; `None` asks those of the machine.
        server: Option<SocketAddr>,
    },
    /// A file with one `IP:port` on each line; empty lines and those that begin with `#` count for nothing.
    File(PathBuf),
}

/// A text that names no source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("allowed: dns:NAME:PORT or file:PATH")]
pub struct NoSource;

impl FromStr for Source {
    type Err = NoSource;

    fn from_str(text: &str) -> Result<Self, NoSource> {
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("dns", rest)) => {
                let (name, port) = rest.rsplit_once(':').ok_or(NoSource)?;
                let port = port.parse().ok().filter(|port| *port > 0).ok_or(NoSource)?;
                if name.is_empty() {
                    return Err(NoSource);
                }
                Ok(Self::Dns { name: name.to_owned(), port, server: None })
            }
            _ => Err(NoSource),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns { name, port, .. } => write!(f, "dns:{name}:{port}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

/// Why no hosts were found. The last ones stay.
#[derive(Debug, Error)]
pub enum DiscoveryError {
    /// The name server did not answer, or knows no address.
    #[error("{0}")]
    Dns(String),
    /// The file cannot be read.
    #[error("{0}")]
    File(#[from] std::io::Error),
    /// A line is no address.
    #[error("line {line}: got {text:?}; allowed: IP:port")]
    Line {
        /// The line, counted from 1.
        line: usize,
        /// Its text.
        text: String,
    },
    /// There is no host. An empty answer is more likely a mistake than a fleet without hosts.
    #[error("there is no host")]
    None,
}

/// What the hosts of a cluster are set from.
#[derive(Clone, Debug)]
pub struct Discovery {
    /// The source.
    pub source: Source,
    /// The cluster.
    pub cluster: String,
    /// The runtime key that gets the number of hosts, if one does.
    pub total: Option<String>,
    /// How often the source is asked.
    pub interval: Duration,
}

/// A list counts when it was seen this many times in a row, so that hosts which come one after the other make one change.
const SEEN: u32 = 2;

impl Discovery {
    /// Follows the source for ever.
    pub async fn follow(self, plane: Arc<Plane>) {
        let (mut last, mut seen, mut failure) = (BTreeSet::new(), 0_u32, None);
        let mut ticks = tokio::time::interval(self.interval);
        // After a slow answer, the next two would come at once, and a list that was seen twice would say nothing.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let problem = match self.source.hosts().await {
                Ok(hosts) => {
                    seen = if hosts == last { seen.saturating_add(1) } else { 1 };
                    last = hosts;
                    if seen < SEEN { Ok(()) } else { self.set(&plane, &last, seen > SEEN).await }
                }
                Err(error) => Err(error.to_string()),
            }
            .err();
            // Once, not at every interval.
            if let Some(error) = &problem
                && failure != problem
            {
                tracing::warn!(source = %self.source, error, "cannot find or set the hosts; the last ones stay");
            }
            failure = problem;
        }
    }

    /// Sets them. `again`: they were set before, and are set again only if somebody has replaced them, or if that failed.
    async fn set(&self, plane: &Plane, hosts: &BTreeSet<SocketAddr>, again: bool) -> Result<(), String> {
        let addresses: Vec<_> = hosts.iter().map(ToString::to_string).collect();
        let author = Author { actor: Some("discovery".to_owned()), what: self.source.to_string() };
        let is_set = |state: &State| {
            let known = state.clusters.get(&self.cluster);
            known.is_some_and(|known| known.by_id.values().copied().collect::<BTreeSet<_>>() == *hosts)
        };
        let plan = |state: &State| match again && is_set(state) {
            true => Ok(Vec::new()),
            false => Ok(state.set_hosts(&self.cluster, &addresses, self.total.as_deref())?),
        };
        plane.change(author, plan).await.map_err(|error| error.to_string())
    }
}

impl Source {
    /// The hosts now.
    ///
    /// # Errors
    /// [`DiscoveryError`]
    pub async fn hosts(&self) -> Result<BTreeSet<SocketAddr>, DiscoveryError> {
        let hosts = match self {
            Self::Dns { name, port, server } => {
                let failed = |error: &dyn fmt::Display| DiscoveryError::Dns(format!("{name}: {error}"));
                // Made anew each time: the name servers of a machine change too, and nothing is cached.
                let resolver = resolver(*server).map_err(|error| failed(&error))?;
                let addresses = resolver.lookup_ip(name.as_str()).await.map_err(|error| failed(&error))?;
                addresses.iter().map(|address| SocketAddr::new(address, *port)).collect()
            }
            Self::File(path) => of_lines(&tokio::fs::read_to_string(path).await?)?,
        };
        if hosts.is_empty() { Err(DiscoveryError::None) } else { Ok(hosts) }
    }
}

fn resolver(server: Option<SocketAddr>) -> Result<TokioResolver, NetError> {
    let Some(server) = server else { return TokioResolver::builder_tokio()?.build() };
    let mut config = NameServerConfig::udp_and_tcp(server.ip());
    config.connections.iter_mut().for_each(|connection| connection.port = server.port());
    let config = ResolverConfig::from_name_servers(vec![config]);
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).build()
}

fn of_lines(text: &str) -> Result<BTreeSet<SocketAddr>, DiscoveryError> {
    let lines = text.lines().map(str::trim).enumerate();
    let hosts = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    hosts
        .map(|(place, line)| {
            line.parse().map_err(|_| DiscoveryError::Line { line: place + 1, text: line.to_owned() })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_name_or_a_file() {
        let dns = Source::Dns { name: "server.ns.svc".to_owned(), port: 8081, server: None };
        assert_eq!("dns:server.ns.svc:8081".parse(), Ok(dns.clone()));
        assert_eq!("file:/a:b".parse(), Ok(Source::File("/a:b".into())));
        assert_eq!(dns.to_string().parse(), Ok(dns));
        for wrong in ["", "dns:a", "dns::1", "dns:a:0", "dns:a:x", "file:", "http://a"] {
            assert_eq!(wrong.parse::<Source>(), Err(NoSource), "{wrong}");
        }
    }

    #[test]
    fn a_file_has_an_address_on_each_line() {
        let hosts = of_lines("# ours\n10.0.0.2:80\n\n  10.0.0.1:80\n[::1]:81\n").unwrap();
        assert_eq!(hosts.len(), 3);
        let error = of_lines("10.0.0.1:80\nserver:80\n").unwrap_err();
        assert_eq!(error.to_string(), "line 2: got \"server:80\"; allowed: IP:port");
    }
}
