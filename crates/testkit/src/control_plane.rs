//! A real control plane: the process, with a store in a folder of its own.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::http::{Client, Response};
use crate::poll::eventually;
use crate::process::Process;
use crate::servers::binary;

/// From start to ready.
const READY_DEADLINE: Duration = Duration::from_secs(20);

/// A running control plane. Dropping it kills it.
#[derive(Debug)]
pub struct ControlPlane {
    process: Process,
    arguments: Vec<String>,
    xds: SocketAddr,
    api: Client,
    starts: u32,
    /// Holds the store and the logs, so it goes last.
    dir: TempDir,
}

impl ControlPlane {
    /// Starts a control plane with an empty store and these options.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn start(options: &[&str]) -> Result<Self> {
        Self::start_on(free()?, free()?, options)
    }

    /// The same on these addresses, in place of free ones.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn start_on(xds: SocketAddr, api: SocketAddr, options: &[&str]) -> Result<Self> {
        let dir = TempDir::new()?;
        let data = dir.path().join("data").to_string_lossy().into_owned();
        let fixed = ["control-plane", "--xds", &xds.to_string(), "--api", &api.to_string(), "--data", &data];
        let arguments: Vec<_> = fixed.iter().chain(options).map(|&text| text.to_owned()).collect();
        let process = spawn(&arguments, &dir, 0)?;
        let plane = Self { process, arguments, xds, api: Client::new(api), starts: 0, dir };
        plane.wait()?;
        Ok(plane)
    }

    /// The address of the xDS server.
    #[must_use]
    pub fn xds(&self) -> SocketAddr {
        self.xds
    }

    /// A client of the API.
    #[must_use]
    pub fn api(&self) -> &Client {
        &self.api
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// A call of the API with a JSON body, which has to succeed.
    ///
    /// # Errors
    /// If it is refused.
    pub fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let response = self.api.request(method, path, &[], body.to_string().as_bytes())?;
        let Response { status, .. } = response;
        ensure!(status < 300, "{method} {path}: {status} {}", response.text());
        if response.body.is_empty() { Ok(Value::Null) } else { response.json() }
    }

    /// Kills it as a power failure would, and starts it again on the same store and ports.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn crash(&mut self) -> Result<()> {
        self.process.kill()?;
        self.starts += 1;
        self.process = spawn(&self.arguments, &self.dir, self.starts)?;
        self.wait()
    }

    fn wait(&self) -> Result<()> {
        let ready = eventually(READY_DEADLINE, || match (self.process.exited(), self.api.get("/readyz")) {
            (Ok(Some(status)), _) => Ok(Err(status)),
            (_, Ok(answer)) if answer.status == 200 => Ok(Ok(())),
            (_, answer) => Err(format!("/readyz gives {answer:?}")),
        });
        let ended = ready.with_context(|| self.process.log_tail(20))?;
        ended.map_err(|status| anyhow::anyhow!("ended with {status}\n{}", self.process.log_tail(20)))
    }
}

fn spawn(arguments: &[String], dir: &TempDir, starts: u32) -> Result<Process> {
    let mut command = Command::new(binary()?);
    command.args(arguments).env_remove("PINROUTE_API_TOKEN");
    Process::spawn("control-plane", &mut command, dir.path().join(format!("log-{starts}")))
}

fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
