//! One approach with all its parts: Envoy with the shipped file, hosts, and what else it needs.

use anyhow::{Context, Result};
use pinroute_testkit::config::Shipped;
use pinroute_testkit::control_plane::ControlPlane;
use pinroute_testkit::dns::Dns;
use pinroute_testkit::env::TestEnv;
use pinroute_testkit::ext_proc::ExtProc;
use pinroute_testkit::process::Process;
use pinroute_testkit::servers::{Servers, ServersOptions, binary};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use tempfile::TempDir;

/// Hosts behind each Envoy.
pub const HOSTS: u8 = 4;

/// The configuration of the service, below `envoy`.
const SERVICE: &str = "ext-proc/shuffle-shard.yaml";

/// How a request gets to its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approach {
    /// Any host in turn, without a filter.
    Bare,
    /// The filter, with numbers by RTDS.
    Rtds,
    /// The filter, with numbers by CDS.
    Cds,
    /// The filter, which counts endpoints that come by EDS.
    Eds,
    /// The service, over TCP.
    ExtProc,
    /// The service, over a Unix socket.
    ExtProcUnix,
    /// The filter, with failover inside the shard.
    Failover,
    /// Lua, which asks a resolver for the address.
    Lua,
    /// A hash ring.
    RingHash,
    /// A cookie.
    Session,
}

impl Approach {
    /// All that are compared with the bare chain.
    pub const ALL: [Self; 9] = [
        Self::Rtds,
        Self::Cds,
        Self::Eds,
        Self::ExtProc,
        Self::ExtProcUnix,
        Self::Failover,
        Self::Lua,
        Self::RingHash,
        Self::Session,
    ];

    /// For people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Bare => "bare chain",
            Self::Rtds => "RTDS",
            Self::Cds => "CDS",
            Self::Eds => "EDS",
            Self::ExtProc => "ext_proc, TCP",
            Self::ExtProcUnix => "ext_proc, Unix socket",
            Self::Failover => "failover inside the shard",
            Self::Lua => "Lua, `setUpstreamOverrideHost`",
            Self::RingHash => "`ring_hash`",
            Self::Session => "`stateful_session`, cookie",
        }
    }

    /// The shipped file, below `envoy`.
    pub fn file(self) -> &'static str {
        match self {
            Self::Rtds => "shuffle-shard-rtds.yaml",
            Self::Cds => "shuffle-shard-cds.yaml",
            Self::Eds => "shuffle-shard-eds.yaml",
            Self::ExtProc | Self::ExtProcUnix => "shuffle-shard-ext-proc.yaml",
            Self::Failover => "failover.yaml",
            Self::Lua => "rivals/lua-override-host.yaml",
            Self::Bare | Self::RingHash => "rivals/ring-hash.yaml",
            Self::Session => "rivals/stateful-session.yaml",
        }
    }

    /// All files of the configuration.
    pub fn files(self) -> impl Iterator<Item = &'static str> {
        let is_service = matches!(self, Self::ExtProc | Self::ExtProcUnix);
        std::iter::once(self.file()).chain(is_service.then_some(SERVICE))
    }

    /// The options of the control plane, where there is one.
    fn plane(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Cds => Some(&["--numbers=cds"]),
            Self::Eds => Some(&["--numbers=eds"]),
            Self::Rtds | Self::ExtProc | Self::ExtProcUnix => Some(&[]),
            _ => None,
        }
    }
}

/// A running approach.
#[derive(Debug)]
pub struct Stage {
    /// Envoy and its hosts.
    pub env: TestEnv,
    /// The control plane, if it has one.
    pub plane: Option<ControlPlane>,
    /// The external processing service, if it has one.
    pub service: Option<ExtProc>,
    /// The resolver that Lua asks, if it does.
    pub resolver: Option<Process>,
    addresses: Vec<String>,
    _dir: TempDir,
}

impl Stage {
    /// Starts it.
    pub fn start(approach: Approach) -> Result<Self> {
        let dir = TempDir::new()?;
        let dns = Dns::start()?;
        let servers = Servers::start(HOSTS, &ServersOptions::default(), &dns)?;
        let addresses: Vec<String> = (1..=HOSTS).map(|host| servers.addr(host).to_string()).collect();
        let mut env = TestEnv::builder(approach.file()).concurrency(1).admin(free()?);
        let plane = approach.plane().map(ControlPlane::start).transpose()?;
        if let Some(plane) = &plane {
            put(plane, &addresses)?;
            let size = json!({ "values": { "shuffle_sharding.default_shard_size": 2 } });
            plane.call("PATCH", "/v1/runtime", &size)?;
            if !matches!(approach, Approach::ExtProc | Approach::ExtProcUnix) {
                env = env.address(("control-plane", 18000), plane.xds());
            }
        }
        let mut service = None;
        if let (Approach::ExtProc | Approach::ExtProcUnix, Some(plane)) = (approach, &plane) {
            let config = Shipped::load(SERVICE)?;
            let (xds, socket) = (format!("--xds=http://{}", plane.xds()), dir.path().join("ext-proc.sock"));
            let listen = format!("--listen=unix:{}", socket.display());
            let over_unix = approach == Approach::ExtProcUnix;
            let options: &[&str] = if over_unix { &[&xds, &listen] } else { &[&xds] };
            let started = ExtProc::start(config.value(), options)?;
            env = env.address(("ext-proc", 18002), started.address());
            if over_unix {
                env = env.edit(move |shipped| {
                    let cluster = shipped.cluster("ext_proc")?;
                    *cluster.get_mut("type").context("no type")? = json!("STATIC");
                    let cluster = cluster.as_object_mut().context("no cluster")?;
                    cluster.retain(|name, _| !name.contains("dns"));
                    let endpoint = json!({ "endpoint": { "address": { "pipe": { "path": socket } } } });
                    let all =
                        json!({ "cluster_name": "ext_proc", "endpoints": [{ "lb_endpoints": [endpoint] }] });
                    cluster.insert("load_assignment".to_owned(), all);
                    Ok(())
                });
            }
            service = Some(started);
        }
        let mut resolver = None;
        if approach == Approach::Lua {
            let at = free()?;
            env = env.address(("resolver", 8082), at);
            resolver = Some(start_resolver(at, &addresses, &dir)?);
        }
        if approach == Approach::Bare {
            env = env.edit(|shipped| {
                without(shipped.cluster("service_backend")?, "lb_policy");
                shipped.edit(|document| without(document, "hash_policy"));
                Ok(())
            });
        }
        let env = env.with_servers(dns, servers).start()?;
        Ok(Self { env, plane, service, resolver, addresses, _dir: dir })
    }

    /// Makes so many of the hosts known.
    pub fn set_hosts(&self, count: usize) -> Result<()> {
        let plane = self.plane.as_ref().context("there is no control plane")?;
        put(plane, self.addresses.get(..count).context("there are not so many hosts")?)
    }

    /// The processes that take part, hosts aside.
    pub fn processes(&self) -> Vec<u32> {
        let plane = self.plane.as_ref().map(|plane| plane.process().pid());
        let service = self.service.as_ref().map(|service| service.process().pid());
        let resolver = self.resolver.as_ref().map(Process::pid);
        [Some(self.env.envoy.pid()), plane, service, resolver].into_iter().flatten().collect()
    }

    /// The cookie by which `stateful_session` selects the first host.
    pub fn session(&self) -> Result<String> {
        let response = self.env.get("/join?client_id=1")?;
        let cookie = response.header("set-cookie").context("no cookie")?;
        Ok(cookie.split(';').next().unwrap_or_default().to_owned())
    }
}

fn put(plane: &ControlPlane, hosts: &[String]) -> Result<()> {
    plane.call("PUT", "/v1/hosts", &json!({ "hosts": hosts })).map(drop)
}

/// `pinroute server`, which answers with addresses.
fn start_resolver(at: SocketAddr, addresses: &[String], dir: &TempDir) -> Result<Process> {
    let mut command = Command::new(binary()?);
    command.arg("server").env("BIND", at.ip().to_string()).env("PORT", at.port().to_string());
    command.env("SERVER_PEERS", addresses.join(",")).env("HOSTNAME", "resolver");
    for name in ["SERVICE_PREFIX", "SERVER_NAME"] {
        command.env_remove(name);
    }
    Process::spawn("resolver", &mut command, dir.path().join("resolver.log"))
}

fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Removes a member wherever it is.
fn without(value: &mut Value, name: &str) {
    match value {
        Value::Object(members) => {
            members.remove(name);
            members.values_mut().for_each(|member| without(member, name));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| without(item, name)),
        _ => (),
    }
}
