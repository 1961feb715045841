//! The stack of docker-compose.yaml, removed at the end.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use pinroute_testkit::http::Client;

use crate::command::{output, run};
use crate::docker::Docker;
use crate::docker::images::{self, Arguments};

/// The ports that the stack publishes.
pub const LISTEN: SocketAddr = local(10000);
pub const SHARDS: SocketAddr = local(10001);
pub const LUA: SocketAddr = local(10002);
pub const FAILOVER: SocketAddr = local(10003);
pub const ADMIN: SocketAddr = local(9901);
pub const API: SocketAddr = local(18001);

const PROJECT: &str = "label=com.docker.compose.project=poc-routing";
/// For whatever is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port)
}

/// The stack.
pub struct Stack {
    pub docker: Docker,
    arguments: Arguments,
}

impl Stack {
    /// Checks that nobody uses the stack, and finds out what its images are built from.
    pub fn prepare(docker: Docker) -> Result<Self> {
        let containers = output(&mut docker.command(&["ps", "--all", "--quiet", "--filter", PROJECT]))?;
        ensure!(
            containers.is_empty(),
            "the stack is in use; remove it with `docker compose --profile '*' down -v`"
        );
        let arguments = images::arguments(&docker, stripped_command_line)?;
        Ok(Self { docker, arguments })
    }

    /// `docker compose`, with what the images are built from.
    pub fn compose(&self, arguments: &[&str]) -> Command {
        self.with_arguments(self.docker.command(&[&["compose", "--progress", "quiet"], arguments].concat()))
    }

    /// A line of shell, as documentation has it.
    pub fn shell(&self, line: &str) -> Result<String> {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]);
        output(&mut self.with_arguments(self.docker.equip(shell)))
    }

    fn with_arguments(&self, mut command: Command) -> Command {
        for (name, value) in &self.arguments {
            command.env(name, value);
        }
        command
    }

    /// Starts the stack from images that are built, and waits until it is healthy.
    pub fn up(&self, replicas: u8) -> Result<()> {
        let mut up = self.compose(&["up", "--detach", "--no-build", "--wait"]);
        output(up.env("REPLICAS", replicas.to_string())).map(drop)
    }

    pub fn down(&self) -> Result<()> {
        output(&mut self.compose(&["--profile", "*", "down", "--volumes", "--timeout", "5"])).map(drop)
    }

    /// What Docker knows about a container, by a template.
    pub fn inspect(&self, container: &str, template: &str) -> Result<String> {
        output(&mut self.docker.command(&["inspect", "--format", template, container]))
    }

    /// Runs a command of Docker, quietly.
    pub fn run(&self, arguments: &[&str]) -> Result<()> {
        output(&mut self.docker.command(arguments)).map(drop)
    }

    pub fn address(&self, container: &str) -> Result<String> {
        self.inspect(container, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
    }

    /// Kills the process of a container, as a crash does: Docker does not restart what `docker kill` has stopped. Where
    /// the process cannot be reached, that has to do, and the container is started again.
    pub fn crash(&self, container: &str) -> Result<()> {
        let described = self.inspect(container, "{{.State.Pid}} {{.Id}}")?;
        let (pid, id) = described.split_once(' ').context("no process")?;
        let is_its = fs::read_to_string(format!("/proc/{pid}/cgroup"))
            .is_ok_and(|groups| groups.contains(id))
            || fs::read_to_string(format!("/proc/{pid}/mountinfo")).is_ok_and(|mounts| mounts.contains(id));
        if is_its && output(Command::new("kill").args(["-KILL", pid])).is_ok() {
            return Ok(());
        }
        self.run(&["kill", container])?;
        self.run(&["start", container])
    }

    /// Waits for what an address responds.
    pub fn wait_for(&self, what: &str, addr: SocketAddr, path: &str, expected: u16) -> Result<()> {
        let (client, start) = (Client::new(addr), Instant::now());
        loop {
            let response = client.get(path).map(|response| response.status);
            if response.as_ref().is_ok_and(|status| *status == expected) {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                bail!("{what} is not ready: {response:?}");
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn log_tail(&self) -> String {
        let log = output(&mut self.compose(&["--profile", "*", "logs", "--no-color", "--tail", "15"]));
        // Envoy's lines may be very long.
        let lines = log
            .unwrap_or_default()
            .lines()
            .map(|line| line.chars().take(300).collect())
            .collect::<Vec<String>>();
        lines.join("\n")
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if let Err(error) = self.down() {
            eprintln!("cannot remove the stack: {error:#}");
        }
    }
}

/// The command line that was compiled with this program, without what debuggers need.
fn stripped_command_line() -> Result<PathBuf> {
    let built = std::env::current_exe()?.with_file_name("pinroute");
    let stripped = built.with_file_name("pinroute-stripped");
    run(Command::new("strip").arg("-o").arg(&stripped).arg(&built).stdout(Stdio::null()))?;
    Ok(stripped)
}
