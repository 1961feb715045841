//! `pinroute check`, `explain`, `preview` and `schema`: their options.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use clap::builder::BoolishValueParser;
use clap::error::ErrorKind;
use pinroute_inspect::explain::Question;
use pinroute_inspect::{Live, SetValue, Subject};
use serde::Serialize;

/// Find the mistakes in a configuration before Envoy does.
///
/// The file is a plugin configuration in JSON or YAML, or an Envoy configuration: then every pinroute filter in it is checked,
/// with the configurations of its routes. Messages are those of the filter.
#[derive(Args, Debug)]
#[command(after_help = "\
Each finding is one line, FILE:LINE: KIND: MESSAGE, where KIND is ok, warning or error.
Exits with 0 if there is no error, with 1 if there is one or the file cannot be read.

Example: pinroute check envoy/envoy.yaml")]
pub struct Check {
    /// The file; - reads standard input.
    file: PathBuf,

    /// Print JSON.
    #[arg(long, env = "PINROUTE_JSON", value_parser = BoolishValueParser::new())]
    json: bool,
}

impl Check {
    /// Checks the file.
    pub fn run(self) -> Result<ExitCode> {
        let bytes = read(&self.file)?;
        let name = self.file.display().to_string();
        let report = pinroute_inspect::check::check(&name, &bytes).with_context(|| name)?;
        print(&report, self.json, report.to_string())?;
        Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Say where a key goes and why, and who shares its hosts.
#[derive(Args, Debug)]
#[command(after_help = "\
Without --key and --part, the key is taken from the request: --path and --header.
Exits with 0 if there is an answer, also if it is an error response; with 1 if not.

Examples:
  pinroute explain --config envoy/index.yaml --key 123
  pinroute explain --config plugin.yaml --key customer-A --keys customers.txt
  pinroute explain --config plugin.yaml --path '/join?client_id=7' --json
  curl -s http://127.0.0.1:9902/runtime > runtime.json
  pinroute explain --config plugin.yaml --key customer-A --runtime runtime.json")]
pub struct Explain {
    /// The plugin configuration, or an Envoy configuration with pinroute filters.
    #[arg(long, env = "PINROUTE_CONFIG", value_name = "FILE")]
    config: PathBuf,

    /// Which configuration of the file, by its name as `pinroute check` shows it, if there are several.
    #[arg(long, env = "PINROUTE_NAME")]
    name: Option<String>,

    /// The key.
    #[arg(long, env = "PINROUTE_KEY", allow_hyphen_values = true)]
    key: Option<std::ffi::OsString>,

    /// A part of the key, as NAME=VALUE; may be repeated.
    #[arg(long, env = "PINROUTE_PART", value_name = "NAME=VALUE", value_parser = pair('='))]
    part: Vec<(String, String)>,

    /// The path of the request with its query; by it, hosts of a shard are picked. If unset, path_prefix or /.
    #[arg(long, env = "PINROUTE_PATH")]
    path: Option<String>,

    /// A header of the request, as NAME:VALUE; may be repeated.
    #[arg(long, env = "PINROUTE_HEADER", value_name = "NAME:VALUE", value_parser = pair(':'))]
    header: Vec<(String, String)>,

    /// Keys to compare, one on each line, several parts separated by tabs; - reads standard input.
    #[arg(long, env = "PINROUTE_KEYS", value_name = "FILE")]
    keys: Option<PathBuf>,

    /// Runtime values: an object of names and values, the answer of GET /v1/runtime, or that of Envoy's /runtime.
    #[arg(long, env = "PINROUTE_RUNTIME", value_name = "FILE")]
    runtime: Option<PathBuf>,

    /// A number from another source, such as cluster_metadata.total_hosts=12; may be repeated.
    #[arg(long, env = "PINROUTE_SET", value_name = "SOURCE.NUMBER=VALUE")]
    set: Vec<SetValue>,

    /// Print JSON.
    #[arg(long, env = "PINROUTE_JSON", value_parser = BoolishValueParser::new())]
    json: bool,
}

impl Explain {
    /// Answers the question.
    pub fn run(self) -> Result<ExitCode> {
        read_stdin_once([Some(&self.config), self.keys.as_ref(), self.runtime.as_ref()]);
        let live = Live { runtime: self.runtime.as_deref().map(read).transpose()?, set: self.set };
        let mut subject = load(&self.config, self.name.as_deref(), &live)?;
        let question = Question {
            key: self.key.map(|key| key.into_encoded_bytes()),
            parts: self.part,
            path: self.path,
            headers: self.header,
        };
        let others = self.keys.as_deref().map(open).transpose()?;
        let report = pinroute_inspect::explain::explain(&mut subject, &question, others)?;
        print(&report, self.json, report.to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Say who moves from one configuration to another.
///
/// Compares where each key goes by both configurations. A key moves if the set of hosts that it may use changes.
#[derive(Args, Debug)]
#[command(after_help = "\
Exits with 0 if the keys were compared, with 1 if not.

Example:
  seq 100000 | pinroute preview --from now.yaml --to next.yaml --keys -")]
pub struct Preview {
    /// The configuration before: a plugin configuration, or an Envoy configuration with pinroute filters.
    #[arg(long, env = "PINROUTE_FROM", value_name = "FILE")]
    from: PathBuf,

    /// The configuration after.
    #[arg(long, env = "PINROUTE_TO", value_name = "FILE")]
    to: PathBuf,

    /// The keys, one on each line, several parts separated by tabs; - reads standard input.
    #[arg(long, env = "PINROUTE_KEYS", value_name = "FILE")]
    keys: PathBuf,

    /// Which configuration of each file, by its name as `pinroute check` shows it, if there are several.
    #[arg(long, env = "PINROUTE_NAME")]
    name: Option<String>,

    /// Runtime values before, in the forms that `explain --runtime` reads.
    #[arg(long, env = "PINROUTE_FROM_RUNTIME", value_name = "FILE")]
    from_runtime: Option<PathBuf>,

    /// Runtime values after.
    #[arg(long, env = "PINROUTE_TO_RUNTIME", value_name = "FILE")]
    to_runtime: Option<PathBuf>,

    /// Print JSON.
    #[arg(long, env = "PINROUTE_JSON", value_parser = BoolishValueParser::new())]
    json: bool,
}

impl Preview {
    /// Compares the configurations.
    pub fn run(self) -> Result<ExitCode> {
        let (before, after) = (self.from_runtime.as_ref(), self.to_runtime.as_ref());
        read_stdin_once([Some(&self.from), Some(&self.to), Some(&self.keys), before, after]);
        let side = |file: &Path, runtime: Option<&Path>| {
            let live = Live { runtime: runtime.map(read).transpose()?, set: Vec::new() };
            load(file, self.name.as_deref(), &live)
        };
        let mut from = side(&self.from, self.from_runtime.as_deref())?;
        let mut to = side(&self.to, self.to_runtime.as_deref())?;
        let report = pinroute_inspect::preview::preview(&mut from, &mut to, open(&self.keys)?)?;
        print(&report, self.json, report.to_string())?;
        Ok(ExitCode::SUCCESS)
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

fn load(file: &Path, name: Option<&str>, live: &Live) -> Result<Subject> {
    Subject::load(&read(file)?, name, live).with_context(|| file.display().to_string())
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

/// A parser of NAME and VALUE, with this between them.
fn pair(
    separator: char,
) -> impl Fn(&str) -> Result<(String, String), String> + Clone + Send + Sync + 'static {
    move |text| match text.split_once(separator) {
        Some((name, value)) if !name.is_empty() => Ok((name.trim().to_owned(), value.trim().to_owned())),
        _ => Err(format!("allowed: NAME{separator}VALUE")),
    }
}
