//! What can go wrong, each in one line.

use std::io;
use std::net::SocketAddr;

/// Why the server did not start, or stopped serving.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The signal handlers could not be installed.
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    /// The address is taken, or does not belong to this machine.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The listening socket failed after the start.
    #[error("stopped serving")]
    Serve(#[source] io::Error),
}

/// Why the server at an address is not healthy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HealthError {
    /// Port 0 stands for a free port, so nothing can be asked there.
    #[error("cannot check the server's health without its port: it is 0")]
    NoPort,
    /// No complete response came in time.
    #[error("no response from {url}")]
    NoResponse {
        /// What was asked for.
        url: String,
        /// The reason.
        source: Box<ureq::Error>,
    },
    /// The response was another one than 200 `ok`.
    #[error("{url} responded with status {status}: {body:?}")]
    Unhealthy {
        /// What was asked for.
        url: String,
        /// The response's status.
        status: u16,
        /// The beginning of the response's body.
        body: String,
    },
}
