//! The demo's resolver and backend in one binary: `/where` names the instance that owns a client,
//! `/join` lands on it.
//!
//! Everything is configured by environment variables, read once at the start; `--help` lists them.
//! The formula behind `/where` is `pinroute_core::index`, the same code the filter runs.

mod config;
mod environment;
mod error;
mod logging;
mod reflect;
mod resolver;
mod routes;
mod serve;

use std::io::Write;
use std::process::ExitCode;

use config::Config;
use environment::ProcessEnvironment;
use error::StartError;

/// What `--help` prints.
const HELP: &str = "\
pinroute-server: names the instance that owns a client (/where) and is one (/join)

Usage: pinroute-server [--help | --version]

Endpoints:
  GET /where?client_id=ID   {\"client_id\":\"ID\",\"hostport\":\"PREFIX-<index>SUFFIX:PORT\"}
  ANY /join?client_id=ID    {\"assigned\":\"HOSTNAME:PORT\",\"client_id\":\"ID\",\"status\":\"ok\"}
  GET /health               ok
  ANY /headers, /, /echo/…  debugging aid: the request as this instance received it, as JSON

Environment (an empty variable counts as unset):
  SERVICE_PREFIX  instances are called PREFIX-<index>SUFFIX:PORT
  SERVICE_SUFFIX  what follows the index, such as a Kubernetes domain
  REPLICAS        number of instances; missing or not positive counts as 1
  INDEX_MODE      hash (default) or numeric: an integer client_id is its own number
  INDEX_BASE      number of the first instance (default 1)
  SERVER_PEERS    host:port,… picked by hash; used without SERVICE_PREFIX.
                  Without either, the instance names itself
  HOSTNAME        this instance's name (default: the system's host name)
  PORT            port to listen on (default 8081; 0 takes a free one)
  BIND            IP address to listen on (default 0.0.0.0)
  LOG_FORMAT      text (default) or json
  RUST_LOG        log filter (default info)
";

fn main() -> ExitCode {
    match std::env::args_os().nth(1) {
        None => match run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(&error.to_string(), 1),
        },
        Some(argument) => match argument.to_str() {
            Some("--help" | "-h") => print(HELP),
            Some("--version" | "-V") => print(concat!("pinroute-server ", env!("CARGO_PKG_VERSION"), "\n")),
            _ => complain(&format!("unknown argument {argument:?}; see --help"), 2),
        },
    }
}

#[tokio::main]
async fn run() -> Result<(), StartError> {
    // Before the configuration, which may have something to warn of.
    logging::install(&ProcessEnvironment)?;
    serve::run(Config::read(&ProcessEnvironment)?).await
}

/// Unlike `print!`, does not panic when the reader has gone (`--help | head -1`).
fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn complain(message: &str, code: u8) -> ExitCode {
    // Nothing is left to do when standard error is closed; the exit code still tells.
    let _ = writeln!(std::io::stderr(), "pinroute-server: {message}");
    ExitCode::from(code)
}
