//! `pinroute check`, `explain`, `preview` and `schema`: their options.

mod explain;
mod preview;

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use clap::builder::BoolishValueParser;
use clap::error::ErrorKind;
use pinroute_inspect::check::Report;
use pinroute_inspect::{Live, LiveError, Subject, SubjectError};
use serde::Serialize;

pub use explain::Explain;
pub use preview::Preview;

/// Find the mistakes in pinroute configurations before Envoy does.
///
/// Each file is a plugin configuration in JSON or YAML, or an Envoy
/// configuration: then every pinroute filter in it is checked, with the
/// configurations of its routes. Messages are those of the filter.
/// `envoy --mode validate` checks the rest of an Envoy configuration.
#[derive(Args, Debug)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Each finding is one line, FILE:LINE: KIND: MESSAGE, where KIND is ok, warning
or error. With --json and several files, the output is a list.
Each option is also an environment variable, such as PINROUTE_JSON.
Exits with 0 if there is no error, with 1 if there is one or a file cannot be
read. Among several files, one without a pinroute filter is only a warning.

Examples:
  pinroute check envoy/envoy.yaml
  pinroute check envoy/*.yaml"
)]
pub struct Check {
    /// The files; - reads standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Print JSON.
    #[arg(long, env = "PINROUTE_JSON", value_parser = BoolishValueParser::new())]
    json: bool,
}

impl Check {
    /// Checks the files.
    pub fn run(self) -> Result<ExitCode> {
        let is_one = self.files.len() == 1;
        let check = |file: &PathBuf| -> Result<Report> {
            let (name, bytes) = (file.display().to_string(), read(file)?);
            let report = pinroute_inspect::check::check(&name, &bytes);
            Ok(report.unwrap_or_else(|error| Report::unreadable(&name, &error, !is_one)))
        };
        let reports = self.files.iter().map(check).collect::<Result<Vec<Report>>>()?;
        let text = reports.iter().map(ToString::to_string).collect();
        match reports.as_slice() {
            [only] => print(only, self.json, text)?,
            several => print(&several, self.json, text)?,
        }
        let is_ok = reports.iter().all(|report| report.ok);
        Ok(if is_ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Print the JSON Schema of the plugin configuration.
#[derive(Args, Debug)]
#[command(after_help = "Example: pinroute schema > pinroute.schema.json")]
pub struct Schema {
    /// Print the schema of Envoy configurations with pinroute filters in them, which editors use.
    #[arg(long, env = "PINROUTE_ENVOY", value_parser = BoolishValueParser::new())]
    envoy: bool,
}

impl Schema {
    /// Prints the schema.
    pub fn run(self) -> Result<ExitCode> {
        let schema =
            if self.envoy { pinroute_core::config::envoy_schema() } else { pinroute_core::config::schema() };
        print(&schema, true, String::new())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The configuration in a file, with the values in another one. An error names the file that has it.
fn load(
    file: &Path,
    name: Option<&str>,
    live: &Live,
    runtime: Option<&Path>,
    endpoints: Option<&Path>,
) -> Result<Subject> {
    Subject::load(&read(file)?, name, live).map_err(|error| {
        let file = match (&error, runtime, endpoints) {
            (SubjectError::Live(LiveError::Runtime(_)), Some(runtime), _) => runtime,
            (SubjectError::Live(LiveError::Endpoints(_)), _, Some(endpoints)) => endpoints,
            _ => file,
        };
        let file = file.display().to_string();
        anyhow::Error::new(error).context(file)
    })
}

fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}

/// Refuses options by which several files are the standard input: the second reader would find it empty.
fn read_stdin_once<const N: usize>(files: [Option<&PathBuf>; N]) {
    if files.into_iter().flatten().filter(|file| is_stdin(file)).count() > 1 {
        let message = "more than one file is -, and standard input can be read only once\n";
        clap::Error::raw(ErrorKind::ArgumentConflict, message).exit();
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let bytes = if is_stdin(file) {
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::stdin(), &mut bytes).map(|_| bytes)
    } else {
        fs::read(file)
    };
    bytes.with_context(|| format!("cannot read {}", file.display()))
}

fn open(file: &Path) -> Result<Box<dyn BufRead>> {
    if is_stdin(file) {
        return Ok(Box::new(io::stdin().lock()));
    }
    let opened = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(Box::new(BufReader::new(opened)))
}

/// Prints a report. A reader that has seen enough closes the pipe, which is no failure.
fn print(report: &impl Serialize, as_json: bool, text: String) -> Result<()> {
    let text = if as_json { serde_json::to_string_pretty(report)? + "\n" } else { text };
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// Prints a list as it is made, and then how many lines were skipped. `is_closed` is an error because its reader has seen enough.
fn print_list<E: std::error::Error + Send + Sync + 'static>(
    list: impl FnOnce(&mut BufWriter<io::StdoutLock<'static>>) -> Result<u64, E>,
    is_closed: impl FnOnce(&E) -> bool,
) -> Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let skipped = match list(&mut out) {
        Err(error) if is_closed(&error) => return Ok(()),
        listed => listed?,
    };
    match out.flush() {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        flushed => flushed?,
    }
    if skipped > 0 {
        // The list is complete without this line.
        let _ = writeln!(io::stderr(), "pinroute: skipped {skipped} lines that are no key or not routed");
    }
    Ok(())
}
