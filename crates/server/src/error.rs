//! Why the server did not start, each in one line.

use std::fmt;
use std::io;
use std::net::SocketAddr;

/// A reason not to start, or to stop serving.
#[derive(Debug)]
pub enum StartError {
    /// A variable's value makes no sense.
    Variable {
        /// The variable's name.
        name: &'static str,
        /// What it was set to.
        value: String,
        /// What it may be set to.
        allowed: &'static str,
    },
    /// `HOSTNAME` is unset and the system does not tell its name either.
    Hostname(io::Error),
    /// Another log subscriber is installed already.
    Logging(String),
    /// The signal handlers could not be installed.
    Signals(io::Error),
    /// The address is taken, or not ours.
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The listening socket failed after the start.
    Serve(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable { name, value, allowed } => write!(f, "{name}={value:?}: must be {allowed}"),
            Self::Hostname(source) => write!(f, "HOSTNAME is unset and the host name is unknown: {source}"),
            Self::Logging(reason) => write!(f, "cannot install the logger: {reason}"),
            Self::Signals(source) => write!(f, "cannot listen for signals: {source}"),
            Self::Bind { address, source } => write!(f, "cannot listen on {address}: {source}"),
            Self::Serve(source) => write!(f, "stopped serving: {source}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Variable { .. } | Self::Logging(_) => None,
            Self::Hostname(source) | Self::Signals(source) | Self::Serve(source) => Some(source),
            Self::Bind { source, .. } => Some(source),
        }
    }
}
