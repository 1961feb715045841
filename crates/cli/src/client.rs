//! `pinroute client`: its options, its progress bar and its exit code.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use clap::builder::BoolishValueParser;
use indicatif::{ProgressBar, ProgressStyle};
use pinroute_client::{BaseUrl, Options, Progress, Rate};
use tokio::signal::unix::{SignalKind, signal};

use crate::duration;

/// Steps of the progress bar.
const STEPS: u64 = 1000;

/// Check that every request reaches the host that owns it, and measure.
///
/// For each client id, asks /where for the owner, calls /join, and compares the
/// host that answers. Two hosts are the same if their first labels and ports are.
#[derive(Args, Debug)]
#[command(
    verbatim_doc_comment,
    after_help = "\
The result also counts requests that are
  moved    the owner changed between the calls, and /join reached the new one
  unsent   due by --rate within --duration, but earlier requests were late

Exit codes:
  0  there was a request, and all reached their owners
  1  a request was misrouted or failed, or there was none
  2  the command line is wrong

Ctrl-C ends the run, and prints what it found so far. The exit code is then 0 or
1 by what was found, and the result says `Interrupted` and not `Passed`.
Each option is also an environment variable, such as PINROUTE_URL for --url; an
empty one counts as unset.

Examples:
  pinroute client --url http://127.0.0.1:10000
  pinroute client --url http://127.0.0.1:10000 --rate 200 --duration 60s --json"
)]
pub struct Arguments {
    /// Where Envoy listens: http://HOST:PORT.
    #[arg(long, env = "PINROUTE_URL")]
    url: BaseUrl,

    /// Number of client ids: 1, 2, 3, …
    #[arg(long, env = "PINROUTE_CLIENTS", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    clients: u32,

    /// Requests in flight at most.
    #[arg(long, env = "PINROUTE_CONCURRENCY", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,

    /// Requests to start per second, in all. Then latency counts from the time a
    /// request was due, so that a slow server cannot hide by delaying the next
    /// one. If unset, as many as there can be
    #[arg(long, env = "PINROUTE_RATE", verbatim_doc_comment)]
    rate: Option<Rate>,

    /// How long to start requests, such as 60s; if unset, until each client had one.
    #[arg(long, env = "PINROUTE_DURATION", value_parser = duration::parse)]
    duration: Option<Duration>,

    /// How long one response may take.
    #[arg(long, env = "PINROUTE_TIMEOUT", default_value = "5s", value_parser = duration::parse)]
    timeout: Duration,

    /// Print the result as JSON.
    #[arg(long, env = "PINROUTE_JSON", value_parser = BoolishValueParser::new())]
    json: bool,
}

impl Arguments {
    /// Makes the requests, and prints the result.
    pub fn run(self) -> Result<ExitCode> {
        let json = self.json;
        let runtime = tokio::runtime::Runtime::new().context("cannot start the async runtime")?;
        let report = runtime.block_on(async {
            // Before the first request, so that a signal cannot end the process without a result.
            let (mut interrupt, mut terminate) =
                (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
            let stop = async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            };
            let bar = bar()?;
            let report = pinroute_client::run(self.options(), |progress| show(&bar, progress), stop).await;
            bar.finish_and_clear();
            anyhow::Ok(report?)
        })?;
        let text = if json { serde_json::to_string_pretty(&report)? } else { report.to_string() };
        match writeln!(std::io::stdout(), "{text}") {
            // A reader that has seen enough closes the pipe; the exit code still tells.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            written => written.context("cannot print the result")?,
        }
        Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn options(self) -> Options {
        Options {
            url: self.url,
            clients: (1..=self.clients).map(|id| id.to_string()).collect(),
            concurrency: self.concurrency.into(),
            rate: self.rate,
            duration: self.duration,
            timeout: self.timeout,
        }
    }
}

/// On standard error, if that is a terminal.
fn bar() -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}")?;
    Ok(ProgressBar::new(STEPS).with_style(style))
}

fn show(bar: &ProgressBar, progress: Progress) {
    if bar.is_hidden() {
        return;
    }
    bar.set_position((progress.fraction * STEPS as f64) as u64);
    let Progress { requests, misrouted, failed, .. } = progress;
    bar.set_message(format!("{requests} requests, {misrouted} misrouted, {failed} failed"));
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn read(options: &[&str]) -> Result<Arguments, clap::Error> {
        let line = [&["client", "--url=http://a:1"], options].concat();
        Line::try_parse_from(line).map(|line| line.arguments)
    }

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let options = read(&[]).unwrap().options();
        assert_eq!((options.clients.len(), options.concurrency), (1000, 16));
        assert_eq!((options.rate, options.duration), (None, None));
        assert_eq!(options.timeout, Duration::from_secs(5));
        assert_eq!(options.clients.last().unwrap(), "1000");
    }

    #[test]
    fn a_bad_value_is_refused() {
        for option in ["--clients=0", "--concurrency=0", "--rate=0", "--duration=60", "--timeout=0s"] {
            let error = read(&[option]).err().unwrap();
            let (name, value) = option.split_once('=').unwrap();
            let expected = format!("error: invalid value '{value}' for '{name} <");
            assert!(error.to_string().starts_with(&expected), "{error}");
            assert_eq!(error.exit_code(), 2);
        }
    }
}
