//! `pinroute explain`

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use clap::builder::BoolishValueParser;
use pinroute_inspect::explain::{ExplainError, Question};
use pinroute_inspect::{Live, SetValue};

use super::{load, open, print, print_list, read, read_stdin_once};

/// Say where a key goes and why, and who shares its hosts.
///
/// Without --key and --part, the key is taken from the request that --path and
/// --header describe.
#[derive(Args, Debug)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Each option is also an environment variable, such as PINROUTE_KEY for --key.
Exits with 0 if there is an answer, also if it is an error response; with 1 if
not.

Examples:
  pinroute explain --config envoy/index.yaml --key 123
  pinroute explain --config plugin.yaml --key customer-A --keys customers.txt
  pinroute explain --config plugin.yaml --path '/join?client_id=7' --json
  pinroute explain --config plugin.yaml --header 'Host: acme.example.com'
  pinroute explain --config envoy/per-route.yaml --name pinroute-orders \\
    --header 'x-customer-id: 7'
  curl -s http://127.0.0.1:9902/runtime > runtime.json
  pinroute explain --config plugin.yaml --key customer-A --runtime runtime.json"
)]
pub struct Explain {
    /// The plugin configuration, or an Envoy configuration with pinroute filters
    #[arg(long, env = "PINROUTE_CONFIG", value_name = "FILE")]
    config: PathBuf,

    /// Which configuration, if the file has several: by its name as `pinroute
    /// check` shows it (`pinroute-orders`, `route …`), or by its line
    #[arg(long, env = "PINROUTE_NAME", verbatim_doc_comment)]
    name: Option<String>,

    /// The key
    #[arg(long, env = "PINROUTE_KEY", allow_hyphen_values = true)]
    key: Option<std::ffi::OsString>,

    /// A part of the key; may be repeated
    #[arg(long, env = "PINROUTE_PART", value_name = "NAME=VALUE", value_parser = part)]
    part: Vec<(String, String)>,

    /// The path of the request with its query; by it, hosts of a shard are
    /// picked. If unset, path_prefix or /
    #[arg(long, env = "PINROUTE_PATH", verbatim_doc_comment)]
    path: Option<String>,

    /// A header of the request; may be repeated. Host is the same as :authority
    #[arg(long, env = "PINROUTE_HEADER", value_name = "NAME:VALUE", value_parser = header)]
    header: Vec<(String, String)>,

    /// Keys to compare, one on each line, several parts separated by tabs;
    /// - reads standard input
    #[arg(long, env = "PINROUTE_KEYS", value_name = "FILE", verbatim_doc_comment)]
    keys: Option<PathBuf>,

    /// Print only a list: each key of --keys, a tab, and whether it shares all,
    /// some or none of the hosts
    #[arg(long, env = "PINROUTE_LIST", value_parser = BoolishValueParser::new(),
        requires = "keys", conflicts_with = "json", verbatim_doc_comment)]
    list: bool,

    /// Runtime values, whose names begin with the configuration's prefix: an
    /// object of names and values, the answer of GET /v1/runtime, or that of
    /// Envoy's /runtime
    #[arg(long, env = "PINROUTE_RUNTIME", value_name = "FILE", verbatim_doc_comment)]
    runtime: Option<PathBuf>,

    /// The endpoints of the cluster in hosts_from: the answer of Envoy's
    /// /clusters?format=json
    #[arg(long, env = "PINROUTE_ENDPOINTS", value_name = "FILE", verbatim_doc_comment)]
    endpoints: Option<PathBuf>,

    /// A number from another source, such as cluster_metadata.total_hosts=12;
    /// may be repeated
    #[arg(long, env = "PINROUTE_SET", value_name = "SOURCE.NUMBER=VALUE", verbatim_doc_comment)]
    set: Vec<SetValue>,

    /// Print JSON
    #[arg(long, env = "PINROUTE_JSON", value_parser = BoolishValueParser::new())]
    json: bool,
}

impl Explain {
    /// Answers the question.
    pub fn run(self) -> Result<ExitCode> {
        let (runtime, endpoints) = (self.runtime.as_deref(), self.endpoints.as_deref());
        read_stdin_once([
            Some(&self.config),
            self.keys.as_ref(),
            self.runtime.as_ref(),
            self.endpoints.as_ref(),
        ]);
        let files = [runtime.map(read).transpose()?, endpoints.map(read).transpose()?];
        let [of_runtime, of_endpoints] = files;
        let live = Live { runtime: of_runtime, set: self.set, endpoints: of_endpoints };
        let mut subject = load(&self.config, self.name.as_deref(), &live, runtime, endpoints)?;
        let question = Question {
            key: self.key.map(|key| key.into_encoded_bytes()),
            parts: self.part,
            path: self.path,
            headers: self.header,
        };
        let others = self.keys.as_deref().map(open).transpose()?;
        match others {
            Some(others) if self.list => print_list(
                |out| pinroute_inspect::explain::list(&mut subject, &question, others, out),
                |error| matches!(error, ExplainError::Write(error) if error.kind() == io::ErrorKind::BrokenPipe),
            )?,
            others => {
                let report = pinroute_inspect::explain::explain(&mut subject, &question, others)?;
                print(&report, self.json, report.to_string())?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Reads `NAME=VALUE`.
fn part(text: &str) -> Result<(String, String), &'static str> {
    pair(text, text.find('=')).ok_or("allowed: NAME=VALUE")
}

/// Reads `NAME:VALUE`; the name may begin with a colon, as that of `:authority` does.
fn header(text: &str) -> Result<(String, String), &'static str> {
    let after = usize::from(text.starts_with(':'));
    let colon = text.get(after..).and_then(|rest| rest.find(':')).map(|place| place + after);
    pair(text, colon.filter(|colon| *colon > after)).ok_or("allowed: NAME:VALUE")
}

/// The texts around a separator at this place.
fn pair(text: &str, separator: Option<usize>) -> Option<(String, String)> {
    let (name, value) = (text.get(..separator?)?.trim(), text.get(separator? + 1..)?.trim());
    (!name.is_empty()).then(|| (name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_may_be_a_pseudo_header() {
        let expect = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(header(":authority: a.example:80"), expect(":authority", "a.example:80"));
        assert_eq!(header("x-id:7"), expect("x-id", "7"));
        for wrong in ["", ":", "::", ": x", ":authority", "x", " : x"] {
            assert!(header(wrong).is_err(), "{wrong}");
        }
    }
}
