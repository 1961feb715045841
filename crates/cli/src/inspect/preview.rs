//! `pinroute preview`

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use clap::builder::BoolishValueParser;
use pinroute_inspect::Live;
use pinroute_inspect::preview::PreviewError;

use super::{load, open, print, print_list, read, read_stdin_once};

/// Say who moves from one configuration to another.
///
/// Compares where each key goes by both configurations. A key moves if the set
/// of hosts that it may use changes.
#[derive(Args, Debug)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Each option is also an environment variable, such as PINROUTE_KEYS for --keys.
Exits with 0 if the keys were compared, with 1 if not.

Examples:
  seq 100000 | pinroute preview --from now.yaml --to next.yaml --keys -
  pinroute preview --from now.yaml --to next.yaml --keys tenants.txt --list"
)]
pub struct Preview {
    /// The configuration before: a plugin configuration, or an Envoy
    /// configuration with pinroute filters
    #[arg(long, env = "PINROUTE_FROM", value_name = "FILE", verbatim_doc_comment)]
    from: PathBuf,

    /// The configuration after
    #[arg(long, env = "PINROUTE_TO", value_name = "FILE")]
    to: PathBuf,

    /// The keys, one on each line, several parts separated by tabs; - reads
    /// standard input
    #[arg(long, env = "PINROUTE_KEYS", value_name = "FILE", verbatim_doc_comment)]
    keys: PathBuf,

    /// Print only a list: each key that moves, its hosts before, and its hosts
    /// after, separated by tabs
    #[arg(long, env = "PINROUTE_LIST", value_parser = BoolishValueParser::new(),
        conflicts_with = "json", verbatim_doc_comment)]
    list: bool,

    /// Which configuration of each file, if there are several: by its name as
    /// `pinroute check` shows it (`pinroute-orders`, `route …`), or by its line
    #[arg(long, env = "PINROUTE_NAME", verbatim_doc_comment)]
    name: Option<String>,

    /// Runtime values before, in the forms that `explain --runtime` reads
    #[arg(long, env = "PINROUTE_FROM_RUNTIME", value_name = "FILE")]
    from_runtime: Option<PathBuf>,

    /// Runtime values after
    #[arg(long, env = "PINROUTE_TO_RUNTIME", value_name = "FILE")]
    to_runtime: Option<PathBuf>,

    /// The endpoints before, in the form that `explain --endpoints` reads
    #[arg(long, env = "PINROUTE_FROM_ENDPOINTS", value_name = "FILE")]
    from_endpoints: Option<PathBuf>,

    /// The endpoints after
    #[arg(long, env = "PINROUTE_TO_ENDPOINTS", value_name = "FILE")]
    to_endpoints: Option<PathBuf>,

    /// Print JSON
    #[arg(long, env = "PINROUTE_JSON", value_parser = BoolishValueParser::new())]
    json: bool,
}

impl Preview {
    /// Compares the configurations.
    pub fn run(self) -> Result<ExitCode> {
        let (before, after) = (self.from_runtime.as_ref(), self.to_runtime.as_ref());
        let endpoints = [self.from_endpoints.as_ref(), self.to_endpoints.as_ref()];
        let [first, second] = endpoints;
        read_stdin_once([Some(&self.from), Some(&self.to), Some(&self.keys), before, after, first, second]);
        let side = |file: &Path, runtime: Option<&PathBuf>, endpoints: Option<&PathBuf>| {
            let read = |file: &PathBuf| read(file);
            let live = Live {
                runtime: runtime.map(read).transpose()?,
                set: Vec::new(),
                endpoints: endpoints.map(read).transpose()?,
            };
            let (runtime, endpoints) = (runtime.map(PathBuf::as_path), endpoints.map(PathBuf::as_path));
            load(file, self.name.as_deref(), &live, runtime, endpoints)
        };
        let mut from = side(&self.from, before, first)?;
        let mut to = side(&self.to, after, second)?;
        let keys = open(&self.keys)?;
        if self.list {
            print_list(
                |out| pinroute_inspect::preview::list(&mut from, &mut to, keys, out),
                |error| matches!(error, PreviewError::Write(error) if error.kind() == io::ErrorKind::BrokenPipe),
            )?;
        } else {
            let report = pinroute_inspect::preview::preview(&mut from, &mut to, keys)?;
            print(&report, self.json, report.to_string())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
