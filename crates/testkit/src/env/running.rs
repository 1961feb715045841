//! A running test environment.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::dns::Dns;
use crate::envoy::Envoy;
use crate::http::{Client, Response};
use crate::servers::Servers;

/// The port of the servers in the shipped configurations and in the documentation. A test environment replaces `:8081`
/// in a configuration by the real port.
pub const SERVER_PORT: u16 = 8081;

/// How long [`TestEnv::raw`] reads from a connection that stays open.
const RAW_DEADLINE: Duration = Duration::from_secs(5);

/// A running env. Dropping it stops all of it.
#[derive(Debug)]
pub struct TestEnv {
    /// The Envoy; it goes first.
    pub envoy: Envoy,
    /// The servers.
    pub servers: Servers,
    /// The DNS server, with the names of the servers.
    pub dns: Dns,
    pub(super) addr: SocketAddr,
    pub(super) client: Client,
}

impl TestEnv {
    /// The address of Envoy's listener.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://HOST:PORT` of Envoy's listener, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> &str {
        self.client.url()
    }

    /// A client for Envoy's listener, with connections of its own.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.addr)
    }

    /// `GET path` through Envoy.
    ///
    /// # Errors
    /// If no complete response came.
    pub fn get(&self, path: &str) -> Result<Response> {
        self.client.get(path)
    }

    /// Any request through Envoy.
    ///
    /// # Errors
    /// If no complete response came, or if the client cannot express the request: then use [`raw`](Self::raw).
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response> {
        self.client.request(method, path, headers, body)
    }

    /// Writes these bytes to Envoy's listener and reads until Envoy closes the connection, for at most
    /// 5 s. With `connection: close` in the request it returns at once.
    ///
    /// # Errors
    /// If the connection fails. What was read before a reset or the 5 s is not lost.
    pub fn raw(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        let deadline = Instant::now() + RAW_DEADLINE;
        let mut stream = TcpStream::connect(self.addr)?;
        stream.write_all(bytes)?;
        let mut response = Vec::new();
        let mut chunk = [0; 8192];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            stream.set_read_timeout(Some(left))?;
            match stream.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => response.extend(chunk.iter().take(count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The time is up, or Envoy has reset the connection: both are an end.
                Err(_) => break,
            }
        }
        let _ = stream.shutdown(Shutdown::Both);
        Ok(response)
    }
}
