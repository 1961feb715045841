//! `pinroute server`: its options, and the variables they may come from.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use pinroute_core::mode::IndexMode;
use pinroute_server::{Numbered, Options, Resolver};

use crate::logging;

/// Run the demo's resolver (/where) and backend (/join).
///
/// Each option is also an environment variable; an empty one counts as unset.
// Values keep clap's own names, such as INDEX_MODE: so a message about a bad value names the variable too.
#[derive(Args, Debug)]
#[command(after_help = "\
Endpoints:
  GET /where?client_id=ID   {\"client_id\":\"ID\",\"hostport\":\"PREFIX-<index>SUFFIX:PORT\"}
  ANY /join?client_id=ID    {\"assigned\":\"NAME:PORT\",\"client_id\":\"ID\",\"status\":\"ok\"}
  GET /health               ok
  ANY /headers, /, /echo/…  for debugging: the request as this server received it, as JSON

Examples:
  pinroute server --service-prefix server --replicas 2 --bind 127.0.0.1
  pinroute server --health   # exits 0 if the server on this machine is healthy")]
pub struct Arguments {
    /// Hosts are called PREFIX-<index>SUFFIX.
    #[arg(long, env)]
    service_prefix: Option<String>,

    /// What follows the index in a host's name, such as a Kubernetes domain.
    #[arg(long, env)]
    service_suffix: Option<String>,

    /// Number of hosts; counts as 1 if it is not a positive whole number.
    #[arg(long, env, allow_negative_numbers = true)]
    replicas: Option<String>,

    /// How a client becomes a number: by hash, or an integer client_id by its value.
    #[arg(long, env, default_value = "hash", value_parser = index_mode())]
    index_mode: IndexMode,

    /// Number of the first host.
    #[arg(long, env, default_value_t = 1)]
    index_base: u32,

    /// Hosts to choose from by hash if there is no prefix, as HOST:PORT,… Without either, /where names this
    /// server.
    #[arg(long, env)]
    server_peers: Option<String>,

    /// This server's name; if unset, HOSTNAME or the reverse look-up of an own address, whichever is PREFIX-<n>.
    #[arg(long, env)]
    server_name: Option<String>,

    /// This server's host name; if unset, the system's.
    #[arg(long, env)]
    hostname: Option<String>,

    /// Port to listen on; 0 takes a free one.
    #[arg(long, env, default_value_t = 8081)]
    port: u16,

    /// IP address to listen on.
    #[arg(long, env, default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    bind: IpAddr,

    /// Start nothing: exit with 0 if the server at BIND and PORT is healthy, with 1 if not.
    #[arg(long)]
    health: bool,

    #[command(flatten)]
    log: logging::Options,
}

impl Arguments {
    /// Runs the server, or checks the one that runs.
    pub fn run(self) -> Result<()> {
        if self.health {
            return Ok(pinroute_server::check_health(self.address(), "/health")?);
        }
        // First, as the options may have something to warn of.
        self.log.install()?;
        let runtime = tokio::runtime::Runtime::new().context("cannot start the async runtime")?;
        Ok(runtime.block_on(pinroute_server::run(self.options()))?)
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::new(self.bind, self.port)
    }

    fn options(self) -> Options {
        Options {
            address: self.address(),
            name: filled(self.server_name.clone()),
            hostname: filled(self.hostname.clone()),
            resolver: self.resolver(),
        }
    }

    fn resolver(self) -> Resolver {
        let replicas = self.replicas.as_deref().map_or(1, positive_or_one);
        if let Some(prefix) = filled(self.service_prefix) {
            return Resolver::Numbered(Numbered {
                prefix,
                suffix: self.service_suffix.unwrap_or_default(),
                replicas,
                mode: self.index_mode,
                base: self.index_base,
            });
        }
        let peers = self.server_peers.unwrap_or_default();
        let peers: Vec<String> =
            peers.split(',').map(str::trim).filter(|peer| !peer.is_empty()).map(str::to_owned).collect();
        if peers.is_empty() { Resolver::Itself } else { Resolver::Peers(peers) }
    }
}

fn filled(value: Option<String>) -> Option<String> {
    value.filter(|value| !value.is_empty())
}

fn index_mode() -> impl TypedValueParser<Value = IndexMode> {
    PossibleValuesParser::new(["hash", "numeric"])
        .try_map(|name| IndexMode::from_name(&name).ok_or("not an index mode"))
}

/// The one value that is never refused: the contract says what a bad one counts as.
fn positive_or_one(value: &str) -> u32 {
    match value.parse() {
        Ok(replicas) if replicas > 0 => replicas,
        _ => {
            tracing::warn!(REPLICAS = value, "not a whole number from 1 to 4294967295: counts as 1");
            1
        }
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

    /// Options only: the variables are tested with the process, which has an environment of its own.
    fn read(options: &[&str]) -> Options {
        Line::try_parse_from([&["server"], options].concat()).unwrap().arguments.options()
    }

    fn numbered(options: &[&str]) -> Numbered {
        match read(&[&["--service-prefix=server"], options].concat()).resolver {
            Resolver::Numbered(numbered) => numbered,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_options_the_server_names_itself() {
        let options = read(&["--hostname=", "--server-name="]);
        assert_eq!(options.address, "0.0.0.0:8081".parse().unwrap());
        assert_eq!((options.name, options.hostname), (None, None));
        assert_eq!(options.resolver, Resolver::Itself);
        assert_eq!(read(&["--server-peers= , ", "--service-prefix="]).resolver, Resolver::Itself);
    }

    #[test]
    fn address_and_name_can_be_set() {
        let options = read(&["--bind=::1", "--port=0", "--hostname=server-0", "--server-name=server-1"]);
        assert_eq!(options.name.as_deref(), Some("server-1"));
        assert_eq!(options.address, "[::1]:0".parse().unwrap());
        assert_eq!(options.hostname.as_deref(), Some("server-0"));
    }

    #[test]
    fn a_prefix_alone_has_the_contracts_defaults() {
        let expected = Numbered {
            prefix: "server".to_owned(),
            suffix: String::new(),
            replicas: 1,
            mode: IndexMode::Hash,
            base: 1,
        };
        assert_eq!(numbered(&[]), expected);
    }

    #[test]
    fn every_part_of_a_numbered_name_can_be_set() {
        let expected = Numbered {
            prefix: "server".to_owned(),
            suffix: ".svc.local".to_owned(),
            replicas: 5,
            mode: IndexMode::Numeric,
            base: 0,
        };
        let options =
            ["--service-suffix=.svc.local", "--replicas=5", "--index-mode=numeric", "--index-base=0"];
        assert_eq!(numbered(&options), expected);
    }

    #[test]
    fn replicas_that_are_not_a_positive_number_count_as_one() {
        for value in ["", "0", "-3", "two", "1.5", "4294967296"] {
            assert_eq!(numbered(&["--replicas", value]).replicas, 1, "{value}");
        }
    }

    #[test]
    fn peers_count_only_without_a_prefix() {
        let peers = "--server-peers=a:1, b:2,";
        assert_eq!(read(&[peers]).resolver, Resolver::Peers(vec!["a:1".to_owned(), "b:2".to_owned()]));
        assert!(matches!(read(&[peers, "--service-prefix=s"]).resolver, Resolver::Numbered(_)));
    }

    #[test]
    fn a_bad_value_is_refused() {
        for option in [
            "--port=abc",
            "--port=65536",
            "--bind=localhost",
            "--index-mode=foo",
            "--index-mode=Hash",
            "--index-base=x",
            "--index-base=-1",
            "--log-format=xml",
            "--rust-log=a=b=c",
        ] {
            let error = Line::try_parse_from(["server", option]).err().unwrap();
            let (name, value) = option.split_once('=').unwrap();
            let expected = format!("error: invalid value '{value}' for '{name} <");
            assert!(error.to_string().starts_with(&expected), "{error}");
            assert_eq!(error.exit_code(), 2);
        }
    }
}
