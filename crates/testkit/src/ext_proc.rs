//! A real `pinroute ext-proc`: the process, with its configuration in a file of its own.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;
use tempfile::TempDir;

use crate::http::Client;
use crate::poll::eventually;
use crate::process::Process;
use crate::servers::binary;

/// From start to ready.
const READY_DEADLINE: Duration = Duration::from_secs(20);

/// A running service. Dropping it kills it.
#[derive(Debug)]
pub struct ExtProc {
    process: Process,
    arguments: Vec<String>,
    address: SocketAddr,
    metrics: Client,
    config: PathBuf,
    starts: u32,
    /// Holds the configuration and the logs, so it goes last.
    dir: TempDir,
}

impl ExtProc {
    /// Starts a service with this configuration of the filter, and more options.
    ///
    /// # Errors
    /// If it does not come up, with the end of its log.
    pub fn start(config: &Value, options: &[&str]) -> Result<Self> {
        Self::start_on(free()?, config, options)
    }

    /// The same on this address, in place of a free one.
    ///
    /// # Errors
    /// If it does not come up, with the end of its log.
    pub fn start_on(address: SocketAddr, config: &Value, options: &[&str]) -> Result<Self> {
        let (dir, metrics) = (TempDir::new()?, free()?);
        let file = dir.path().join("pinroute.json");
        fs::write(&file, config.to_string())?;
        let fixed =
            ["ext-proc".to_owned(), format!("--config={}", file.display()), format!("--metrics={metrics}")];
        let mut arguments = Vec::from(fixed);
        if !options.iter().any(|option| option.starts_with("--listen")) {
            arguments.push(format!("--listen={address}"));
        }
        arguments.extend(options.iter().map(|&option| option.to_owned()));
        let process = spawn(&arguments, &dir, 0)?;
        let metrics = Client::new(metrics);
        let service = Self { process, arguments, address, metrics, config: file, starts: 0, dir };
        service.wait()?;
        Ok(service)
    }

    /// Where Envoy connects to, unless an option says otherwise.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Where it serves metrics.
    #[must_use]
    pub fn metrics_url(&self) -> String {
        format!("{}/metrics", self.metrics.url())
    }

    /// A counter or gauge; 0 if there is none of that name.
    ///
    /// # Errors
    /// If metrics are not served.
    pub fn metric(&self, name: &str) -> Result<u64> {
        let text = self.metrics.get("/metrics")?.text();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.map(str::parse).transpose()?.unwrap_or_default())
    }

    /// Kills it.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn kill(&self) -> Result<()> {
        self.process.kill()
    }

    /// Kills it if it runs, and starts it again on the same ports; with another configuration, if there is one.
    ///
    /// # Errors
    /// If it does not come up, with the end of its log.
    pub fn restart(&mut self, config: Option<&Value>) -> Result<()> {
        self.process.kill()?;
        if let Some(config) = config {
            fs::write(&self.config, config.to_string())?;
        }
        self.starts += 1;
        self.process = spawn(&self.arguments, &self.dir, self.starts)?;
        self.wait()
    }

    fn wait(&self) -> Result<()> {
        let ready =
            eventually(READY_DEADLINE, || match (self.process.exited(), self.metrics.get("/healthz")) {
                (Ok(Some(status)), _) => Ok(Err(status)),
                (_, Ok(answer)) if answer.status == 200 => Ok(Ok(())),
                (_, answer) => Err(format!("/healthz gives {answer:?}")),
            });
        let ended = ready.with_context(|| self.process.log_tail(20))?;
        ended.map_err(|status| anyhow!("ended with {status}\n{}", self.process.log_tail(20)))
    }
}

fn spawn(arguments: &[String], dir: &TempDir, starts: u32) -> Result<Process> {
    let mut command = Command::new(binary()?);
    command.args(arguments);
    Process::spawn("ext-proc", &mut command, dir.path().join(format!("log-{starts}")))
}

fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
