//! `pinroute client` at a steady rate while something happens.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use pinroute_testkit::http::Client;
use serde_json::Value;

use super::stack::LISTEN;
use crate::command::{at, output};

const RATE: &str = "200";
/// How long one response may take. A host that is cut off answers nothing.
const TIMEOUT: &str = "2s";
/// Before the event, to see that everything works.
const BEFORE: Duration = Duration::from_millis(1500);
/// After it, to see that everything works again, and goes on working.
const AFTER: Duration = Duration::from_millis(2500);
/// How long to wait for that.
const PATIENCE: Duration = Duration::from_secs(30);
/// As many clients have all owners.
const PROBES: u8 = 20;

/// The server that is removed again.
const SURPLUS: &str = "poc-routing-server-3:";

/// What came of the requests around an event.
#[derive(Debug)]
pub struct Outcome {
    pub sent: u64,
    pub failed: u64,
    pub misrouted: u64,
    /// From the first failure to the success after the last one.
    pub outage: f64,
    /// From the end of the event to that success.
    pub back: f64,
    /// For messages.
    pub report: Value,
}

/// Sends requests while something happens. `event` returns when its cause was over.
pub fn during(event: impl FnOnce() -> Result<Instant>) -> Result<Outcome> {
    let start = Instant::now();
    let client = start_client()?;
    thread::sleep(BEFORE);
    let over = event();
    wait_until_all_is_well();
    thread::sleep(AFTER);
    let report = stop(client)?;
    let over = over?.duration_since(start).as_secs_f64();
    Outcome::new(report, over)
}

/// The report says whether it really is.
fn wait_until_all_is_well() {
    let (probe, start) = (Client::new(LISTEN), Instant::now());
    let is_well = || {
        (0..PROBES).all(|id| {
            probe.get(&format!("/join?client_id={id}")).is_ok_and(|response| response.status == 200)
        })
    };
    while !is_well() && start.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(100));
    }
}

/// The command line that was compiled with this program.
pub fn command_line() -> Result<Command> {
    Ok(Command::new(std::env::current_exe()?.with_file_name("pinroute")))
}

fn start_client() -> Result<Child> {
    let url = format!("http://{LISTEN}");
    let mut client = command_line()?;
    client.args(["client", "--json", "--clients", "200", "--concurrency", "1000", "--duration", "120s"]);
    client.args(["--url", &url, "--rate", RATE, "--timeout", TIMEOUT]).stdout(Stdio::piped());
    client.spawn().context("cannot run the client")
}

fn stop(client: Child) -> Result<Value> {
    output(Command::new("kill").args(["-TERM", &client.id().to_string()]))?;
    let printed = client.wait_with_output()?;
    Ok(serde_json::from_slice(&printed.stdout)?)
}

impl Outcome {
    fn new(report: Value, over: f64) -> Result<Self> {
        let (mut first, mut last) = (f64::MAX, 0_f64);
        for outage in at(&report, "/outages").as_array().context("no outages")? {
            let is_gone = at(outage, "/host").as_str().is_some_and(|host| host.starts_with(SURPLUS));
            ensure!(is_gone || *at(outage, "/recovered") == true, "a host did not recover: {outage}");
            let seconds = |name: &str| outage.get(name).and_then(Value::as_f64).unwrap_or_default();
            first = first.min(seconds("first_failure_seconds"));
            last = last.max(seconds("last_failure_seconds") + seconds("time_to_recover_seconds"));
        }
        let count =
            |name: &str| report.get(name).and_then(Value::as_u64).with_context(|| format!("no {name}"));
        Ok(Self {
            sent: count("requests")?,
            failed: count("failed")?,
            misrouted: count("misrouted")?,
            outage: (last - first).max(0.0),
            back: if last > 0.0 { (last - over).max(0.0) } else { 0.0 },
            report,
        })
    }
}
