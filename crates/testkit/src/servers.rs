//! The demo's servers, as processes that each have a loopback address of their own.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{env, io, process};

use anyhow::{Context, Result, bail, ensure};

use crate::dns::Dns;
use crate::http::Client;
use crate::poll::eventually;
use crate::process::{Process, Signal};
use tempfile::TempDir;

/// Names are `PREFIX-1`, `PREFIX-2`, …, as Docker Compose would number containers.
pub const PREFIX: &str = "poc-routing-server";
/// The name that stands for all of them.
pub const SERVICE: &str = "server";

/// The file to look for; built by `make build`.
const BINARY: &str = "pinroute";
/// From start to the first healthy answer.
const READY_DEADLINE: Duration = Duration::from_secs(15);
/// Ports to try. One fails only if somebody takes it between our test and the server's start.
const PORT_ATTEMPTS: usize = 5;
/// Last bytes of the addresses are 1 to this.
const MAX_COUNT: u8 = 254;

/// How to run the servers.
#[derive(Debug, Clone)]
pub struct ServersOptions {
    /// `hash` or `numeric`.
    pub index_mode: String,
    /// Further environment variables; they win over the usual ones.
    pub environment: Vec<(String, String)>,
    /// The first server's address, the others following it, in place of free ones.
    pub first: Option<SocketAddrV4>,
}

impl Default for ServersOptions {
    fn default() -> Self {
        Self { index_mode: "hash".to_owned(), environment: Vec::new(), first: None }
    }
}

/// Running servers. Dropping this kills them.
#[derive(Debug)]
pub struct Servers {
    binary: PathBuf,
    options: ServersOptions,
    first: SocketAddrV4,
    processes: Vec<Process>,
    /// Holds the logs, so it goes last.
    dir: TempDir,
}

impl Servers {
    /// Starts `count` servers, all on the same port, waits until each is healthy, and gives them their
    /// names in `dns`: [`SERVICE`] has all addresses, `poc-routing-server-N` its own.
    ///
    /// They end with the calling thread, see the crate's documentation.
    ///
    /// # Errors
    /// If the program is missing or a server does not come up.
    pub fn start(count: u8, options: &ServersOptions, dns: &Dns) -> Result<Self> {
        ensure!((1..=MAX_COUNT).contains(&count), "cannot start {count} servers, only 1 to {MAX_COUNT}");
        let binary = binary()?;
        let mut last = None;
        for _ in 0..PORT_ATTEMPTS {
            let first = match options.first {
                Some(first) => first,
                None => free_addresses(count)?,
            };
            let dir = TempDir::new()?;
            let (binary, options) = (binary.clone(), options.clone());
            let mut servers = Self { binary, options, first, processes: Vec::new(), dir };
            match servers.start_all(count) {
                Ok(()) => {
                    servers.register(dns);
                    return Ok(servers);
                }
                Err(error) if servers.options.first.is_some() => return Err(error),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("no attempt was made")?)
    }

    fn start_all(&mut self, count: u8) -> Result<()> {
        for number in 1..=count {
            let process = self.spawn(number, count)?;
            self.processes.push(process);
        }
        (1..=count).try_for_each(|number| self.wait(number))
    }

    fn spawn(&self, number: u8, count: u8) -> Result<Process> {
        let name = name(number);
        let mut command = Command::new(&self.binary);
        command
            .arg("server")
            // On the command line, so that whoever looks for the process of an address finds it.
            .arg(format!("--bind={}", self.addr(number).ip()))
            .env("SERVICE_PREFIX", PREFIX)
            .env("REPLICAS", count.to_string())
            .env("INDEX_BASE", "1")
            .env("INDEX_MODE", &self.options.index_mode)
            .env("PORT", self.port().to_string())
            .env("HOSTNAME", &name)
            // Whatever the user has set for a server of his own.
            .env_remove("SERVER_NAME")
            .env_remove("SERVICE_SUFFIX")
            .env_remove("SERVER_PEERS")
            .envs(self.options.environment.iter().map(|(name, value)| (name, value)));
        Process::spawn(&name, &mut command, self.dir.path().join(&name))
    }

    /// Waits until this server answers. Its end is noticed at once.
    fn wait(&self, number: u8) -> Result<()> {
        let process = self.process(number)?;
        let client = Client::new(self.addr(number).into());
        let healthy = eventually(READY_DEADLINE, || match (process.exited(), client.get("/health")) {
            (Ok(Some(status)), _) => Ok(Err(status)),
            (_, Ok(answer)) if answer.status == 200 && answer.text().trim() == "ok" => Ok(Ok(())),
            (_, answer) => Err(format!("/health gives {answer:?}")),
        });
        match healthy {
            Ok(Ok(())) => Ok(()),
            Ok(Err(status)) => bail!("{} ended with {status}\n{}", name(number), process.log()),
            Err(late) => bail!("{} is not healthy: {late}\n{}", name(number), process.log()),
        }
    }

    fn register(&self, dns: &Dns) {
        let addresses: Vec<Ipv4Addr> = (1..=self.count()).map(|number| *self.addr(number).ip()).collect();
        for (number, address) in (1..).zip(&addresses) {
            dns.set(&name(number), &[*address]);
        }
        dns.set(SERVICE, &addresses);
    }

    fn process(&self, number: u8) -> Result<&Process> {
        let index = usize::from(number).checked_sub(1);
        index
            .and_then(|index| self.processes.get(index))
            .with_context(|| format!("no server {number}; they are numbered from 1 to {}", self.count()))
    }

    /// How many there are, killed ones included.
    #[must_use]
    pub fn count(&self) -> u8 {
        u8::try_from(self.processes.len()).unwrap_or(u8::MAX)
    }

    /// The port that all of them listen on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.first.port()
    }

    /// Where the server of this number, counted from 1, listens.
    #[must_use]
    pub fn addr(&self, number: u8) -> SocketAddrV4 {
        nth(self.first, number)
    }

    /// What `/where` answers and `/join` reports for the server of this number: `NAME:PORT`.
    #[must_use]
    pub fn hostport(&self, number: u8) -> String {
        format!("{}:{}", name(number), self.port())
    }

    /// Kills the server of this number with `kill -9`. Its name stays in the DNS.
    ///
    /// # Errors
    /// If there is none.
    pub fn kill(&self, number: u8) -> Result<()> {
        self.process(number)?.kill()
    }

    /// Sends a signal to the server of this number: `STOP` pauses it, and `CONT` lets it go on.
    ///
    /// # Errors
    /// If there is none.
    pub fn signal(&self, number: u8, signal: Signal) -> Result<()> {
        self.process(number)?.signal(signal)
    }

    /// Starts the server of this number again, killing it first, and waits until it is healthy.
    ///
    /// # Errors
    /// If there is none, or if it does not come up.
    pub fn restart(&mut self, number: u8) -> Result<()> {
        self.kill(number)?;
        let fresh = self.spawn(number, self.count())?;
        if let Some(process) = self.processes.get_mut(usize::from(number).saturating_sub(1)) {
            *process = fresh;
        }
        self.wait(number)
    }

    /// All that the server of this number has written, across restarts.
    ///
    /// # Errors
    /// If there is none.
    pub fn log(&self, number: u8) -> Result<String> {
        Ok(self.process(number)?.log())
    }

    /// The numbers of the servers that have ended by themselves or were killed.
    ///
    /// # Errors
    /// If the system cannot tell.
    pub fn ended(&self) -> Result<Vec<u8>> {
        let mut ended = Vec::new();
        for (number, process) in (1..).zip(&self.processes) {
            if process.exited()?.is_some() {
                ended.push(number);
            }
        }
        Ok(ended)
    }
}

/// The name of the server of this number, counted from 1.
#[must_use]
pub fn name(number: u8) -> String {
    format!("{PREFIX}-{number}")
}

/// The address `number - 1` after `first`, on the same port.
fn nth(first: SocketAddrV4, number: u8) -> SocketAddrV4 {
    let ip = u32::from(*first.ip()).saturating_add(u32::from(number).saturating_sub(1));
    SocketAddrV4::new(ip.into(), first.port())
}

/// `$PINROUTE_BINARY`, else the one that was built beside the running program.
///
/// # Errors
/// If there is none.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("PINROUTE_BINARY").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        ensure!(path.is_file(), "PINROUTE_BINARY={} does not exist", path.display());
        return Ok(path);
    }
    let running = env::current_exe()?;
    above(&running, BINARY).with_context(|| {
        format!("no {BINARY} above {}: run `make build`, or set PINROUTE_BINARY", running.display())
    })
}

/// Tests run in `target/PROFILE/deps`, binaries in `target/PROFILE`.
fn above(path: &Path, file: impl AsRef<OsStr>) -> Option<PathBuf> {
    let file = file.as_ref();
    path.ancestors().skip(1).map(|dir| dir.join(file)).find(|found| found.is_file())
}

/// The first of `count` addresses that nobody listens on, in a network of this call's own.
fn free_addresses(count: u8) -> Result<SocketAddrV4> {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let mut last = None;
    for _ in 0..PORT_ATTEMPTS {
        // 127.64.0.0 to 127.127.255.0, spread by process. Two that meet still get different ports.
        let step = COUNTER.fetch_add(1, Ordering::Relaxed);
        let network = (process::id().wrapping_mul(97).wrapping_add(step)) & 0x3fff;
        let first = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 64, 0, 1)) + (network << 8));
        match common_port(first, count) {
            Ok(port) => return Ok(SocketAddrV4::new(first, port)),
            Err(error) => last = Some(error),
        }
    }
    Err(last.context("no attempt was made")?).context("no port is free on all loopback addresses")
}

/// A port that is free on each of `count` addresses from `first` on.
fn common_port(first: Ipv4Addr, count: u8) -> io::Result<u16> {
    let lead = TcpListener::bind((first, 0))?;
    let port = lead.local_addr()?.port();
    let first = SocketAddrV4::new(first, port);
    let rest: io::Result<Vec<_>> =
        (2..=count).map(|number| TcpListener::bind(SocketAddr::V4(nth(first, number)))).collect();
    rest.map(|_| port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_two_calls_do_not_meet() {
        let (a, b) = (free_addresses(3).unwrap(), free_addresses(3).unwrap());
        assert_ne!(a.ip(), b.ip());
        assert_eq!(a.ip().octets()[3], 1);
        assert_eq!(nth(a, 3).ip().octets()[3], 3);
    }

    #[test]
    fn a_taken_address_rules_the_port_out() {
        let first = free_addresses(2).unwrap();
        let taken = TcpListener::bind((*nth(first, 2).ip(), 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert_ne!(common_port(*first.ip(), 2).ok(), Some(port));
    }

    #[test]
    fn the_count_has_bounds() {
        let dns = Dns::start().unwrap();
        let error = Servers::start(0, &ServersOptions::default(), &dns).unwrap_err();
        assert_eq!(error.to_string(), "cannot start 0 servers, only 1 to 254");
    }

    #[test]
    fn looks_above_the_running_program() {
        let dir = TempDir::new().unwrap();
        std::fs::create_dir(dir.path().join("deps")).unwrap();
        std::fs::write(dir.path().join(BINARY), "").unwrap();
        let test = dir.path().join("deps/test-123");
        assert_eq!(above(&test, BINARY), Some(dir.path().join(BINARY)));
        assert_eq!(above(&test, "no-such-program"), None);
    }
}
