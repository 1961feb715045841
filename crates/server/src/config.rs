//! From environment variables to a configuration that cannot be wrong any more.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use pinroute_core::index::IndexMode;

use crate::environment::Environment;
use crate::error::StartError;
use crate::resolver::{Numbered, Resolver};

/// The contract's default for `PORT`.
const DEFAULT_PORT: u16 = 8081;
/// The contract's default for `INDEX_BASE`: Docker Compose counts containers from 1.
const DEFAULT_INDEX_BASE: u32 = 1;

/// Everything the server needs to know to start.
#[derive(Debug, PartialEq)]
pub struct Config {
    /// The address to listen on. Port 0 takes a free one.
    pub address: SocketAddr,
    /// This instance's host name.
    pub host: String,
    /// How `/where` answers.
    pub resolver: Resolver,
}

impl Config {
    /// Reads the contract's variables.
    pub fn read(env: &impl Environment) -> Result<Self, StartError> {
        let bind = parsed(env, "BIND", "an IP address such as 127.0.0.1 or ::")?;
        let port = parsed(env, "PORT", "a port from 0 to 65535")?;
        let host = match env.variable("HOSTNAME") {
            Some(host) => host,
            None => env.system_hostname().map_err(StartError::Hostname)?,
        };
        Ok(Self {
            address: SocketAddr::new(
                bind.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
                port.unwrap_or(DEFAULT_PORT),
            ),
            host,
            resolver: read_resolver(env)?,
        })
    }
}

fn read_resolver(env: &impl Environment) -> Result<Resolver, StartError> {
    // Read even where no prefix makes use of them: a typo should not wait for the day one is set.
    let mode = match env.variable("INDEX_MODE") {
        None => IndexMode::default(),
        Some(value) => IndexMode::from_name(&value).ok_or(StartError::Variable {
            name: "INDEX_MODE",
            value,
            allowed: "hash or numeric",
        })?,
    };
    let base = parsed(env, "INDEX_BASE", "a whole number from 0 to 4294967295")?;
    let replicas = read_replicas(env);

    if let Some(prefix) = env.variable("SERVICE_PREFIX") {
        return Ok(Resolver::Numbered(Numbered {
            prefix,
            suffix: env.variable("SERVICE_SUFFIX").unwrap_or_default(),
            replicas,
            mode,
            base: base.unwrap_or(DEFAULT_INDEX_BASE),
        }));
    }
    let peers = env.variable("SERVER_PEERS").unwrap_or_default();
    let peers: Vec<String> =
        peers.split(',').map(str::trim).filter(|peer| !peer.is_empty()).map(str::to_owned).collect();
    Ok(if peers.is_empty() { Resolver::Itself } else { Resolver::Peers(peers) })
}

/// The one variable that is never refused: the contract says what a bad value counts as.
fn read_replicas(env: &impl Environment) -> u32 {
    let Some(value) = env.variable("REPLICAS") else { return 1 };
    match value.parse() {
        Ok(replicas) if replicas > 0 => replicas,
        _ => {
            tracing::warn!(REPLICAS = value.as_str(), "not a whole number from 1 to 4294967295: counts as 1");
            1
        }
    }
}

fn parsed<T: FromStr>(
    env: &impl Environment,
    name: &'static str,
    allowed: &'static str,
) -> Result<Option<T>, StartError> {
    let Some(value) = env.variable(name) else { return Ok(None) };
    match value.parse() {
        Ok(parsed) => Ok(Some(parsed)),
        Err(_) => Err(StartError::Variable { name, value, allowed }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::fake::Fake;

    fn read(variables: &[(&str, &str)]) -> Config {
        Config::read(&Fake(variables)).unwrap()
    }

    fn numbered(variables: &[(&str, &str)]) -> Numbered {
        let mut all = vec![("SERVICE_PREFIX", "server")];
        all.extend(variables);
        match read(&all).resolver {
            Resolver::Numbered(numbered) => numbered,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nothing_set_is_an_instance_that_names_itself() {
        let expected = Config {
            address: "0.0.0.0:8081".parse().unwrap(),
            host: "box".to_owned(),
            resolver: Resolver::Itself,
        };
        assert_eq!(read(&[]), expected);
        assert_eq!(read(&[("HOSTNAME", ""), ("PORT", ""), ("SERVER_PEERS", " , ")]), expected);
    }

    #[test]
    fn address_and_name_are_settable() {
        let config = read(&[("BIND", "::1"), ("PORT", "0"), ("HOSTNAME", "server-0")]);
        assert_eq!(config.address, "[::1]:0".parse().unwrap());
        assert_eq!(config.host, "server-0");
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
    fn every_part_of_a_numbered_name_is_settable() {
        let expected = Numbered {
            prefix: "server".to_owned(),
            suffix: ".svc.local".to_owned(),
            replicas: 5,
            mode: IndexMode::Numeric,
            base: 0,
        };
        let variables = [
            ("SERVICE_SUFFIX", ".svc.local"),
            ("REPLICAS", "5"),
            ("INDEX_MODE", "numeric"),
            ("INDEX_BASE", "0"),
        ];
        assert_eq!(numbered(&variables), expected);
    }

    #[test]
    fn replicas_that_are_no_positive_number_count_as_one() {
        for value in ["", "0", "-3", "two", "1.5", "4294967296"] {
            assert_eq!(numbered(&[("REPLICAS", value)]).replicas, 1, "{value}");
        }
    }

    #[test]
    fn peers_count_only_without_a_prefix() {
        let peers = ("SERVER_PEERS", "a:1, b:2,");
        assert_eq!(read(&[peers]).resolver, Resolver::Peers(vec!["a:1".to_owned(), "b:2".to_owned()]));
        assert!(matches!(read(&[peers, ("SERVICE_PREFIX", "s")]).resolver, Resolver::Numbered(_)));
    }

    #[test]
    fn a_value_that_makes_no_sense_is_refused_by_name() {
        let cases = [
            ("PORT", "abc", r#"PORT="abc": must be a port from 0 to 65535"#),
            ("PORT", "65536", r#"PORT="65536": must be a port from 0 to 65535"#),
            ("BIND", "localhost", r#"BIND="localhost": must be an IP address such as 127.0.0.1 or ::"#),
            ("INDEX_MODE", "foo\n", r#"INDEX_MODE="foo\n": must be hash or numeric"#),
            ("INDEX_MODE", "Hash", r#"INDEX_MODE="Hash": must be hash or numeric"#),
            ("INDEX_BASE", "x", r#"INDEX_BASE="x": must be a whole number from 0 to 4294967295"#),
            ("INDEX_BASE", "-1", r#"INDEX_BASE="-1": must be a whole number from 0 to 4294967295"#),
        ];
        for (name, value, message) in cases {
            let error = Config::read(&Fake(&[(name, value)])).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }
}
