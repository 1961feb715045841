//! `pinroute ext-proc`: its options, and the variables they may come from.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use pinroute_ext_proc::{Listen, Options, ServerUrl};

use crate::{duration, logging};

/// Run the filter's decisions as a gRPC service for Envoy's external processing (ext_proc).
///
/// The configuration is the filter's, and so are decisions, errors and metrics. What external processing cannot do is
/// refused at the start. Each option is also an environment variable, such as PINROUTE_LISTEN for --listen; an empty one
/// counts as unset.
#[derive(Args, Debug)]
#[command(after_help = "\
Stop it with SIGTERM or Ctrl-C: requests in flight end, and it exits with 0 within 3 s after --drain. A second signal ends
--drain at once.

Examples:
  pinroute ext-proc --config envoy/ext-proc/shuffle-shard.yaml --xds http://127.0.0.1:18000
  pinroute ext-proc --listen unix:/run/pinroute/ext-proc.sock --config pinroute.yaml --resolver http://resolver:8081

envoy/shuffle-shard-ext-proc.yaml shows the other side.")]
pub struct Arguments {
    /// Where Envoy connects to (gRPC): IP:PORT, where port 0 takes a free one, or unix:PATH.
    #[arg(long, env = "PINROUTE_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:18002")]
    listen: Listen,

    /// File with the filter's configuration, in JSON or YAML, or an Envoy configuration with the filter in it.
    #[arg(long, env = "PINROUTE_CONFIG", value_name = "FILE")]
    config: PathBuf,

    /// Which configuration of a file that has several, by its name or the line where it begins.
    #[arg(long, env = "PINROUTE_NAME")]
    name: Option<String>,

    /// URL of the resolver, such as http://127.0.0.1:8081: the server that `resolve.cluster` stands for.
    #[arg(long, env = "PINROUTE_RESOLVER", value_name = "URL")]
    resolver: Option<ServerUrl>,

    /// URL of the control plane, such as http://127.0.0.1:18000: the server that `runtime.rtds.cluster` stands for.
    #[arg(long, env = "PINROUTE_XDS", value_name = "URL")]
    xds: Option<ServerUrl>,

    /// Where to serve Prometheus metrics, /metrics, and /healthz (HTTP): IP:PORT. Without it they are not served.
    #[arg(long, env = "PINROUTE_METRICS", value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,

    /// How this service calls itself at the control plane.
    #[arg(long, env = "PINROUTE_NODE", value_name = "ID", default_value = "pinroute-ext-proc")]
    node: String,

    /// How long to go on serving after SIGTERM or Ctrl-C, while gRPC health says NOT_SERVING, such as 5s: longer than Envoy's
    /// health check takes to notice. Without it the service stops at once.
    #[arg(long, env = "PINROUTE_DRAIN", value_parser = duration::parse)]
    drain: Option<Duration>,

    #[command(flatten)]
    log: logging::Options,
}

impl Arguments {
    /// Runs the service.
    pub fn run(self) -> Result<()> {
        self.log.install()?;
        let runtime = tokio::runtime::Runtime::new().context("cannot start the async runtime")?;
        let options = self.options()?;
        let result = runtime.block_on(pinroute_ext_proc::run(options));
        // An address look-up may still keep a thread busy: nobody waits for it any more.
        runtime.shutdown_background();
        Ok(result?)
    }

    fn options(self) -> Result<Options> {
        let file = self.config.display().to_string();
        let bytes = fs::read(&self.config).with_context(|| format!("cannot read {file}"))?;
        let config = pinroute_inspect::plugin(&bytes, self.name.as_deref()).with_context(|| file)?;
        Ok(Options {
            listen: self.listen,
            config,
            resolver: self.resolver,
            xds: self.xds,
            metrics: self.metrics,
            node: self.node,
            drain: self.drain,
        })
    }
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

    fn read(options: &[&str]) -> Result<Options> {
        Line::try_parse_from([&["ext-proc"], options].concat()).unwrap().arguments.options()
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let file = file("index: { replicas: 2 }\ntarget: { authority: \"a-{index}:1\" }\n");
        let options = read(&["--config", file.path().to_str().unwrap()]).unwrap();
        assert_eq!(options.listen, "127.0.0.1:18002".parse().unwrap());
        assert_eq!((options.resolver, options.xds, options.metrics, options.drain), (None, None, None, None));
        assert_eq!(options.node, "pinroute-ext-proc");
        assert!(matches!(options.config.config.strategy, pinroute_core::config::Strategy::Index(_)));
    }

    #[test]
    fn everything_can_be_set() {
        let file = file("{}");
        let options = read(&[
            "--config",
            file.path().to_str().unwrap(),
            "--listen=unix:/run/p.sock",
            "--resolver=http://a:1",
            "--xds=http://b:2",
            "--metrics=127.0.0.1:9",
            "--node=n",
            "--drain=5s",
        ])
        .unwrap();
        assert_eq!(options.listen, Listen::Unix("/run/p.sock".into()));
        assert_eq!(options.resolver.unwrap().to_string(), "http://a:1");
        assert_eq!(options.xds.unwrap().to_string(), "http://b:2");
        assert_eq!((options.metrics, options.node.as_str()), ("127.0.0.1:9".parse().ok(), "n"));
        assert_eq!(options.drain, Some(Duration::from_secs(5)));
    }

    #[test]
    fn a_bad_file_or_value_is_named() {
        let error = read(&["--config=/no/such/file"]).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /no/such/file");
        let file = file("index: { replicas: 0 }");
        let name = file.path().to_str().unwrap();
        let error = format!("{:#}", read(&["--config", name]).unwrap_err());
        assert!(error.starts_with(&format!("{name}: index.replicas: got 0; allowed: ")), "{error}");
        for option in
            ["--listen=localhost:1", "--resolver=a:1", "--xds=https://a", "--metrics=1", "--drain=5"]
        {
            let error = Line::try_parse_from(["ext-proc", "--config=x", option]).err().unwrap();
            let (name, value) = option.split_once('=').unwrap();
            let expected = format!("error: invalid value '{value}' for '{name} <");
            assert!(error.to_string().starts_with(&expected), "{error}");
            assert_eq!(error.exit_code(), 2);
        }
    }
}
