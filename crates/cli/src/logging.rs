//! Structured logs on standard output.

use std::io::IsTerminal;

use anyhow::{Result, anyhow};
use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// How a service logs.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logs")]
pub struct Options {
    /// Format of the log lines.
    #[arg(long, env, value_enum, default_value_t)]
    log_format: Format,

    /// What to log: a level, or a filter by module such as `pinroute_server=debug`.
    #[arg(long, env, default_value = "info", value_parser = valid_filter)]
    rust_log: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, ValueEnum)]
enum Format {
    /// One line of text for each event.
    #[default]
    Text,
    /// One JSON object for each event.
    Json,
}

impl Options {
    /// Installs the logger for the whole process.
    pub fn install(&self) -> Result<()> {
        let builder = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::builder().parse(&self.rust_log)?)
            .with_ansi(std::io::stdout().is_terminal());
        let installed = match self.log_format {
            Format::Text => builder.finish().try_init(),
            Format::Json => builder.json().finish().try_init(),
        };
        installed.map_err(|error| anyhow!("cannot install the logger: {error}"))
    }
}

/// The filter as text, as an `EnvFilter` cannot be cloned, which clap requires of values.
fn valid_filter(text: &str) -> Result<String, String> {
    match EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
