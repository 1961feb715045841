//! What the service must know to start.

use std::fmt;
use std::net::{AddrParseError, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::Uri;
use http::uri::Authority;
use pinroute_core::config::PluginConfig;
use thiserror::Error;

/// How to run the service.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where Envoy connects to.
    pub listen: Listen,
    /// The filter's configuration.
    pub config: PluginConfig,
    /// The server that the configuration calls `resolve.cluster`.
    pub resolver: Option<ServerUrl>,
    /// The server that the configuration calls `runtime.rtds.cluster`.
    pub xds: Option<ServerUrl>,
    /// Where metrics are served; `None` serves none.
    pub metrics: Option<SocketAddr>,
    /// How the service calls itself at the control plane.
    pub node: String,
    /// How long it serves on after a signal to stop, while its health says that it does not.
    pub drain: Option<Duration>,
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A TCP port; 0 takes a free one.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl FromStr for Listen {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, AddrParseError> {
        match text.strip_prefix("unix:") {
            Some(path) if !path.is_empty() => Ok(Self::Unix(path.into())),
            _ => text.parse().map(Self::Tcp),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `http://HOST:PORT`, without a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl(Authority);

/// Why a text is not the URL of a server.
#[derive(Debug, Error)]
#[error("not the URL of a server, such as http://127.0.0.1:8081, without a path")]
pub struct UrlError;

impl ServerUrl {
    /// The URL of a path on this server. `None` if the path cannot stand in a URL.
    pub(crate) fn with_path(&self, path: &str) -> Option<Uri> {
        Uri::builder().scheme("http").authority(self.0.clone()).path_and_query(path).build().ok()
    }
}

impl FromStr for ServerUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let uri: Uri = text.parse().map_err(|_| UrlError)?;
        let is_plain = uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/");
        // `Uri` takes any text of digits for a port, or none behind a colon.
        let is_usable = |authority: &&Authority| {
            let port = authority.as_str().strip_prefix(authority.host());
            port.is_some_and(|port| port.is_empty() || authority.port_u16().is_some())
        };
        let authority = uri.authority().filter(is_usable);
        match authority {
            Some(authority) if is_plain && uri.query().is_none() => Ok(Self(authority.clone())),
            _ => Err(UrlError),
        }
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_ports_or_unix_sockets() {
        assert_eq!("unix:/run/p.sock".parse(), Ok(Listen::Unix("/run/p.sock".into())));
        assert_eq!("127.0.0.1:18002".parse(), Ok(Listen::Tcp("127.0.0.1:18002".parse().unwrap())));
        for text in ["unix:", "localhost:1", "18002", ""] {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
    }

    #[test]
    fn urls_name_a_server_and_nothing_else() {
        for text in ["http://a:1", "http://[::1]:80/", "http://a"] {
            assert!(text.parse::<ServerUrl>().is_ok(), "{text}");
        }
        for text in [
            "a:1",
            "https://a",
            "http://a/b",
            "http://a/?b",
            "http://u@a",
            "",
            "http://",
            "http://a:",
            "http://a:99999",
        ] {
            assert!(text.parse::<ServerUrl>().is_err(), "{text}");
        }
    }
}
