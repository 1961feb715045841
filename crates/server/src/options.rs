//! What the server must know to start.

use std::net::SocketAddr;

use crate::resolver::Resolver;

/// How to run the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The address to listen on. Port 0 takes a free one.
    pub address: SocketAddr,
    /// This server's name. If `None`, the host name if that is `PREFIX-<n>`, else the first label of the reverse
    /// look-up of an own address if that is, else the host name.
    pub name: Option<String>,
    /// This server's host name; if `None`, the system's.
    pub hostname: Option<String>,
    /// How `/where` answers.
    pub resolver: Resolver,
}

impl Options {
    /// The host name, which in a container is often the container's id.
    pub(crate) fn hostname(&self) -> String {
        let system = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        self.hostname.clone().unwrap_or_else(system)
    }
}
