//! The description of a test environment, and its start.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use anyhow::Result;
use serde_json::Value;

use super::running::{SERVER_PORT, TestEnv};
use crate::config::{Address, AddressMap, Shipped};
use crate::dns::Dns;
use crate::envoy::{Envoy, EnvoyOptions};
use crate::http::Client;
use crate::servers::{Servers, ServersOptions};

/// Addresses in the shipped configurations, beside that of the servers.
const LISTENER_PORT: u16 = 10000;
const ADMIN_PORT: u16 = 9901;
/// Docker's DNS server.
const DOCKER_DNS: (&str, u16) = ("127.0.0.11", 53);
/// Any free port on loopback.
const ANY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
/// The cluster that the filter calls.
const RESOLVER: &str = "resolver";

type Edit = Box<dyn FnOnce(&mut Shipped) -> Result<()>>;

/// Describes a test environment; [`start`](Self::start) starts it.
pub struct TestEnvBuilder {
    config: String,
    replicas: u8,
    envoy: EnvoyOptions,
    servers: ServersOptions,
    running: Option<(Dns, Servers)>,
    listener: String,
    listen: SocketAddr,
    admin: SocketAddr,
    addresses: Vec<(Address, Address)>,
    resolver: Option<Address>,
    edits: Vec<Edit>,
    progress: Option<fn(&str)>,
}

impl TestEnv {
    /// Describes a test environment with a file of the project's folder `envoy/`.
    #[must_use]
    pub fn builder(config: &str) -> TestEnvBuilder {
        TestEnvBuilder {
            config: config.to_owned(),
            replicas: 2,
            envoy: EnvoyOptions { concurrency: 1, ..EnvoyOptions::default() },
            servers: ServersOptions::default(),
            running: None,
            listener: "listener_0".to_owned(),
            listen: ANY,
            admin: ANY,
            addresses: Vec::new(),
            resolver: None,
            edits: Vec::new(),
            progress: None,
        }
    }
}

impl TestEnvBuilder {
    /// How many servers; 2 by default.
    #[must_use]
    pub fn replicas(mut self, count: u8) -> Self {
        self.replicas = count;
        self
    }

    /// Envoy's worker threads; 1 by default.
    #[must_use]
    pub fn concurrency(mut self, workers: u32) -> Self {
        self.envoy.concurrency = workers;
        self
    }

    /// Envoy's log level, except for Wasm; `warning` by default.
    #[must_use]
    pub fn log_level(mut self, level: &str) -> Self {
        level.clone_into(&mut self.envoy.log_level);
        self
    }

    /// The log levels of Envoy's components, such as `wasm:debug`; `wasm:info` by default.
    #[must_use]
    pub fn component_log_level(mut self, levels: &str) -> Self {
        levels.clone_into(&mut self.envoy.component_log_level);
        self
    }

    /// More arguments for Envoy, which accepts each only once.
    #[must_use]
    pub fn envoy_arguments(mut self, arguments: &[&str]) -> Self {
        self.envoy.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// `hash` (by default) or `numeric`, for the servers.
    #[must_use]
    pub fn index_mode(mut self, mode: &str) -> Self {
        mode.clone_into(&mut self.servers.index_mode);
        self
    }

    /// An environment variable for the servers.
    #[must_use]
    pub fn server_env(mut self, name: &str, value: &str) -> Self {
        self.servers.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Uses running servers and their DNS instead of new ones, for tests that need the port before Envoy starts.
    #[must_use]
    pub fn with_servers(mut self, dns: Dns, servers: Servers) -> Self {
        self.running = Some((dns, servers));
        self
    }

    /// Fixed addresses in place of free ones: Envoy's listener, its admin interface, and the first server,
    /// with the others on the addresses that follow.
    #[must_use]
    pub fn fixed(mut self, listen: SocketAddr, admin: SocketAddr, first_server: SocketAddrV4) -> Self {
        (self.listen, self.admin, self.servers.first) = (listen, admin, Some(first_server));
        self
    }

    /// A fixed address for Envoy's admin interface, for configurations in which Envoy calls itself.
    #[must_use]
    pub fn admin(mut self, admin: SocketAddr) -> Self {
        self.admin = admin;
        self
    }

    /// The listener of [`TestEnv::get`] and the other request methods; `listener_0` by default.
    #[must_use]
    pub fn listener(mut self, name: &str) -> Self {
        name.clone_into(&mut self.listener);
        self
    }

    /// Replaces one more address of the shipped configuration. It takes precedence over those that are always replaced:
    /// the listener's, the admin interface's, the servers' and that of Docker's DNS.
    #[must_use]
    pub fn address(mut self, from: impl Into<Address>, to: impl Into<Address>) -> Self {
        self.addresses.push((from.into(), to.into()));
        self
    }

    /// Sets the configuration of the filter `pinroute`, as JSON text. `:8081` in it becomes the servers' port.
    #[must_use]
    pub fn plugin(self, config: Value) -> Self {
        self.edit(move |shipped| shipped.plugin_config("pinroute", &config).map(drop))
    }

    /// As [`plugin`](Self::plugin), but any text, for configurations that Envoy must reject.
    #[must_use]
    pub fn plugin_text(self, text: &str) -> Self {
        let text = text.to_owned();
        self.edit(move |shipped| shipped.plugin_config_text("pinroute", &text).map(drop))
    }

    /// As [`plugin`](Self::plugin), but as a `google.protobuf.Struct`.
    #[must_use]
    pub fn plugin_struct(self, config: Value) -> Self {
        self.edit(move |shipped| shipped.plugin_config_struct("pinroute", &config).map(drop))
    }

    /// Points the cluster `resolver` at another address than that of the servers.
    #[must_use]
    pub fn resolver(mut self, address: impl Into<Address>) -> Self {
        self.resolver = Some(address.into());
        self
    }

    /// Changes the configuration in any other way, after the addresses were replaced. Of the addresses that an edit adds,
    /// those that shipped configurations use, such as `server:8081`, are replaced too.
    #[must_use]
    pub fn edit(mut self, edit: impl FnOnce(&mut Shipped) -> Result<()> + 'static) -> Self {
        self.edits.push(Box::new(edit));
        self
    }

    /// Sets a function that gets a line before each step of the start.
    #[must_use]
    pub fn progress(mut self, report: fn(&str)) -> Self {
        self.progress = Some(report);
        self
    }

    /// Starts everything, in the calling thread: see the crate's documentation.
    ///
    /// # Errors
    /// If a part does not start, or if the configuration has an unknown address or file.
    pub fn start(mut self) -> Result<TestEnv> {
        // First, so that a missing file is reported at once.
        let mut shipped = Shipped::load(&self.config)?;
        shipped.replace_files()?;

        let (dns, servers) = match self.running.take() {
            Some(running) => running,
            None => {
                let dns = Dns::start()?;
                self.report(&format!("DNS on {}", dns.addr()));
                let plural = if self.replicas == 1 { "" } else { "s" };
                self.report(&format!("starting {} server{plural}", self.replicas));
                let servers = Servers::start(self.replicas, &self.servers, &dns)?;
                (dns, servers)
            }
        };
        self.configure(&mut shipped, &dns, servers.port())?;
        self.report("starting Envoy");
        let envoy = Envoy::start(shipped.value(), &self.envoy)?;
        let addr = envoy.listener_addr(&self.listener)?;
        Ok(TestEnv { envoy, servers, dns, addr, client: Client::new(addr) })
    }

    fn configure(&mut self, shipped: &mut Shipped, dns: &Dns, port: u16) -> Result<()> {
        let usual = addresses(self.listen, self.admin, dns.addr(), port);
        let own = std::mem::take(&mut self.addresses).into_iter();
        let map = own.fold(AddressMap::new(), |map, (from, to)| map.replace(from, to)).or(usual);
        shipped.replace_addresses(&map)?;
        for edit in std::mem::take(&mut self.edits) {
            edit(shipped)?;
        }
        shipped.replace_known_addresses(&map);
        if let Some(address) = &self.resolver {
            shipped.point_cluster(RESOLVER, address)?;
        }
        shipped.replace_port_in_texts(SERVER_PORT, port);
        shipped.replace_files()?;
        Ok(())
    }

    fn report(&self, line: &str) {
        if let Some(report) = self.progress {
            report(line);
        }
    }
}

impl fmt::Debug for TestEnvBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestEnvBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The replacements for the addresses that every shipped configuration has.
#[must_use]
pub(crate) fn addresses(listen: SocketAddr, admin: SocketAddr, dns: SocketAddr, servers: u16) -> AddressMap {
    AddressMap::new()
        .replace_port(LISTENER_PORT, listen)
        .replace_port(ADMIN_PORT, admin)
        .replace(DOCKER_DNS, dns)
        .keep_host(SERVER_PORT, servers)
}

/// Loads a shipped configuration with its addresses and files replaced, for Envoy to check.
///
/// # Errors
/// If it cannot be read or names a file that does not exist.
pub fn for_validation(config: &str) -> Result<Shipped> {
    let mut shipped = Shipped::load(config)?;
    shipped.replace_known_addresses(&addresses(ANY, ANY, ANY, SERVER_PORT)).replace_files()?;
    Ok(shipped)
}
