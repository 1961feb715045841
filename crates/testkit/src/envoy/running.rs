//! One Envoy process and its admin interface.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;

use super::install::envoy_binary;
use crate::adapter::{Adapter, MODULE, for_native};
use crate::http::Client;
use crate::paths;
use crate::poll::eventually;
use crate::process::{Process, die_with_this_thread};
use tempfile::TempDir;

/// From start to LIVE. One Envoy takes about a second; many at once on a small machine take longer.
const READY_DEADLINE: Duration = Duration::from_secs(30);
/// For a line to appear in the log. Envoy flushes warnings at once.
const LOG_DEADLINE: Duration = Duration::from_secs(10);
/// Lines of the log that go into an error: enough for Envoy's longest rejection.
const LOG_TAIL: usize = 60;

/// How to run Envoy.
#[derive(Debug, Clone)]
pub struct EnvoyOptions {
    /// Worker threads.
    pub concurrency: u32,
    /// Level of everything but Wasm, such as `warning` or `debug`.
    pub log_level: String,
    /// Levels of components, such as `wasm:info,dns:trace`.
    pub component_log_level: String,
    /// Further arguments, which Envoy accepts only once each, for instance `["--service-node", "name"]`.
    pub arguments: Vec<String>,
}

impl Default for EnvoyOptions {
    fn default() -> Self {
        Self {
            concurrency: 2,
            log_level: "warning".to_owned(),
            component_log_level: "wasm:info".to_owned(),
            arguments: Vec::new(),
        }
    }
}

/// A running Envoy. Dropping it kills it; in a panicking test its log is printed too.
#[derive(Debug)]
pub struct Envoy {
    process: Process,
    admin: SocketAddr,
    client: Client,
    /// Holds the configuration and the log, so it goes last.
    _dir: TempDir,
}

impl Envoy {
    /// Starts Envoy with a configuration and waits until `/ready` returns LIVE.
    ///
    /// The configuration needs an `admin` listener; port 0 is fine there and for listeners. Envoy ends
    /// with the calling thread, see the crate's documentation.
    ///
    /// # Errors
    /// If Envoy ends before it is ready or is not ready within 30 s, with the last lines of its log.
    pub fn start(config: &Value, options: &EnvoyOptions) -> Result<Self> {
        ensure!(config.get("admin").is_some(), "the Envoy configuration has no `admin`");
        let dir = TempDir::new()?;
        let config_file = write_config(&dir, config)?;
        let admin_file = dir.path().join("admin-address");
        let adapter = Adapter::current();
        let mut command = command()?;
        command.arg("-c").arg(&config_file).arg("--admin-address-path").arg(&admin_file).args([
            "--disable-hot-restart",
            "--concurrency",
            &options.concurrency.to_string(),
            "-l",
            &options.log_level,
            "--component-log-level",
            &adapter.log_levels(&options.component_log_level),
        ]);
        command.args(&options.arguments);
        let process = Process::spawn("envoy", &mut command, dir.path().join("log"))?;

        let ready = eventually(READY_DEADLINE, || {
            match process.exited() {
                Ok(None) => {}
                Ok(Some(status)) => return Ok(Err(format!("Envoy ended with {status}"))),
                Err(error) => return Err(error.to_string()),
            }
            let text = fs::read_to_string(&admin_file).unwrap_or_default();
            let Ok(admin) = text.trim().parse() else { return Err(format!("admin address {text:?}")) };
            let client = Client::new(admin);
            match client.get("/ready") {
                Ok(response) if response.text().trim() == "LIVE" => Ok(Ok((admin, client))),
                Ok(response) => Err(format!("/ready returns {:?}", response.text())),
                Err(error) => Err(format!("{error:#}")),
            }
        });
        match ready {
            Ok(Ok((admin, client))) => Ok(Self { process, admin, client, _dir: dir }),
            Ok(Err(ended)) => bail!("{ended}\n{}", process.log_tail(LOG_TAIL)),
            Err(late) => bail!("Envoy is not ready: {late}\n{}", process.log_tail(LOG_TAIL)),
        }
    }

    /// The address of the admin interface.
    #[must_use]
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin
    }

    /// The body of an admin page, such as `/config_dump`.
    ///
    /// # Errors
    /// If it is not answered with 200.
    pub fn admin_get(&self, path: &str) -> Result<String> {
        self.admin_call("GET", path)
    }

    /// Calls an admin page that changes something, such as `/runtime_modify?key=value`.
    ///
    /// # Errors
    /// If it is not answered with 200.
    pub fn admin_post(&self, path: &str) -> Result<String> {
        self.admin_call("POST", path)
    }

    fn admin_call(&self, method: &str, path: &str) -> Result<String> {
        let response = self.client.request(method, path, &[], b"")?;
        ensure!(response.status == 200, "admin {method} {path}: {} {}", response.status, response.text());
        Ok(response.text())
    }

    /// A counter or gauge by its exact name; 0 if Envoy has none of that name.
    ///
    /// # Errors
    /// If the admin interface does not respond.
    pub fn stat(&self, name: &str) -> Result<u64> {
        Ok(self.stats(name)?.get(name).copied().unwrap_or_default())
    }

    /// Counters and gauges whose names begin with `prefix`. The filter's have their names under Wasm, whatever the adapter.
    ///
    /// # Errors
    /// If the admin interface does not respond.
    pub fn stats(&self, prefix: &str) -> Result<BTreeMap<String, u64>> {
        let adapter = Adapter::current();
        let (asked, prefix) = (prefix, adapter.stat(prefix));
        // Reduces the thousands of lines that Envoy prints. A dot replaces every character with a meaning in a regular
        // expression or a URL; `parse_stats` compares the exact prefix.
        let pattern: String =
            prefix.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '.' }).collect();
        let stats = parse_stats(&self.admin_get(&format!("/stats?filter=^{pattern}"))?, &prefix);
        let name = |name: String| if prefix == asked { name } else { adapter.stat_under_wasm(&name) };
        Ok(stats.into_iter().map(|(stat, value)| (name(stat), value)).collect())
    }

    /// The address of the listener of this name, also if the configuration has port 0.
    ///
    /// # Errors
    /// If there is no such listener.
    pub fn listener_addr(&self, name: &str) -> Result<SocketAddr> {
        let text = self.admin_get("/listeners?format=json")?;
        let listeners: Value = serde_json::from_str(&text)?;
        find_listener(&listeners, name).with_context(|| format!("no listener {name:?} in {text}"))
    }

    /// Envoy's log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Waits up to 10 s until the log holds `text`.
    ///
    /// # Errors
    /// If it does not, with the log's last lines.
    pub fn wait_for_log(&self, text: &str) -> Result<()> {
        eventually(LOG_DEADLINE, || {
            if self.log().contains(text) { Ok(()) } else { Err(self.process.log_tail(LOG_TAIL)) }
        })
        .with_context(|| format!("{text:?} is not in Envoy's log"))
    }

    /// The process: its id, its end, signals to it.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Its resident memory, in bytes.
    ///
    /// # Errors
    /// If the process has ended.
    pub fn resident_memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// `kill -9`, then waits until it has ended.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn kill(&self) -> Result<()> {
        self.process.kill()
    }
}

/// Has Envoy check a configuration without serving it.
///
/// # Errors
/// If Envoy rejects it, with Envoy's output.
pub fn validate(config: &Value) -> Result<()> {
    let dir = TempDir::new()?;
    let mut command = command()?;
    command.args(["--mode", "validate", "-l", "warning", "-c"]).arg(write_config(&dir, config)?);
    die_with_this_thread(&mut command);
    let output = command.output().context("cannot run Envoy")?;
    if !output.status.success() {
        let output_text =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        bail!("Envoy rejects it ({})\n{}", output.status, output_text.concat().trim_end());
    }
    Ok(())
}

/// Envoy's command, which finds the dynamic module in `dist/`.
fn command() -> Result<Command> {
    let mut command = Command::new(envoy_binary()?);
    command.env("ENVOY_DYNAMIC_MODULES_SEARCH_PATH", paths::native().with_file_name(""));
    Ok(command)
}

/// Writes the configuration as JSON, which Envoy recognises by the file's extension, for the adapter that tests run with.
fn write_config(dir: &TempDir, config: &Value) -> Result<PathBuf> {
    let file = dir.path().join("envoy.json");
    let mut config = config.clone();
    if Adapter::current() == Adapter::Native {
        for_native(&mut config);
    }
    let text = serde_json::to_string_pretty(&config)?;
    if text.contains(MODULE) {
        let native = paths::native();
        ensure!(native.exists(), "{} is missing: run `make native`", native.display());
    }
    fs::write(&file, text)?;
    Ok(file)
}

/// Reads lines of `NAME: NUMBER`; others are histograms and texts.
fn parse_stats(text: &str, prefix: &str) -> BTreeMap<String, u64> {
    let lines = text.lines().filter_map(|line| line.rsplit_once(": "));
    let same = lines.filter(|(name, _)| name.starts_with(prefix));
    same.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
}

fn find_listener(listeners: &Value, name: &str) -> Option<SocketAddr> {
    let all = listeners.get("listener_statuses")?.as_array()?;
    let listener = all.iter().find(|listener| listener.get("name").and_then(Value::as_str) == Some(name))?;
    let address = listener.pointer("/local_address/socket_address")?;
    let port = u16::try_from(address.get("port_value")?.as_u64()?).ok()?;
    Some(SocketAddr::new(address.get("address")?.as_str()?.parse().ok()?, port))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config() -> Value {
        json!({
            "admin": { "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } } },
            "static_resources": { "listeners": [{
                "name": "front",
                "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } },
                "filter_chains": [{ "filters": [{
                    "name": "echo",
                    "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo" },
                }] }],
            }] },
        })
    }

    #[test]
    fn starts_answers_and_ends() {
        let options = EnvoyOptions { concurrency: 1, ..EnvoyOptions::default() };
        let envoy = Envoy::start(&config(), &options).unwrap();
        assert_ne!(envoy.listener_addr("front").unwrap().port(), 0);
        assert!(
            envoy.listener_addr("back").unwrap_err().to_string().starts_with("no listener \"back\" in {")
        );
        assert_eq!(envoy.stat("server.concurrency").unwrap(), 1);
        assert_eq!(envoy.stat("server.concurrency.none").unwrap(), 0);
        assert!(envoy.stats("listener_manager.").unwrap().len() > 3);
        envoy.admin_post("/runtime_modify?a=b").unwrap_err();
        envoy.kill().unwrap();
        envoy.admin_get("/ready").unwrap_err();
    }

    #[test]
    fn a_rejection_shows_envoys_output() {
        let mut broken = config();
        broken["static_resources"]["listeners"][0]["no_such_field"] = json!(1);
        let error = Envoy::start(&broken, &EnvoyOptions::default()).unwrap_err().to_string();
        assert!(error.starts_with("Envoy ended with exit status: 1\n"), "{error}");
        assert!(error.contains("no_such_field"), "{error}");

        let error = validate(&broken).unwrap_err().to_string();
        assert!(error.contains("no_such_field"), "{error}");
        validate(&config()).unwrap();
    }

    #[test]
    fn stats_are_numbers_of_that_prefix() {
        let text = "a.b: 1\na.c: \"text\"\na.d: P0(nan,1)\naxb: 2\na.b.c: 3\n";
        let expected = BTreeMap::from([("a.b".to_owned(), 1), ("a.b.c".to_owned(), 3)]);
        assert_eq!(parse_stats(text, "a.b"), expected);
    }
}
