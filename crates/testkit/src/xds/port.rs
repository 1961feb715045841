//! A TCP port that can be closed and opened again.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Result;
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tonic::codegen::tokio_stream::StreamExt;
use tonic::codegen::tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

use super::wire::Tapped;
use crate::poll::eventually;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;
/// For the port to be free again: another test that starts a process at this moment may hold copies of all sockets.
const BIND_DEADLINE: Duration = Duration::from_secs(10);

/// A port of 127.0.0.1 that stays reserved while nothing listens there.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) addr: SocketAddr,
    /// Bound, but never listening: connections are refused, and no other process gets the port.
    _held: TcpSocket,
}

/// What to do with connections.
#[derive(Debug)]
pub(super) enum Manner {
    Serve(Tapped),
    CloseAtOnce,
}

impl Port {
    pub(super) fn new() -> Result<Self> {
        let held = bound((Ipv4Addr::LOCALHOST, 0).into())?;
        Ok(Self { addr: held.local_addr()?, _held: held })
    }

    /// Listens as long as the returned value lives. Dropping it resets all connections.
    pub(super) fn listen(&self, manner: Manner) -> Result<Runtime> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("xds")
            .enable_all()
            .build()?;
        let listener = {
            let _entered = runtime.enter();
            let listen = || bound(self.addr)?.listen(BACKLOG);
            eventually(BIND_DEADLINE, || listen().map_err(|error| format!("{}: {error}", self.addr)))?
        };
        match manner {
            Manner::Serve(server) => {
                // Fails only if the client has already closed the connection.
                let connections = TcpListenerStream::new(listener)
                    .filter_map(|connection| connection.and_then(prepared).ok().map(Ok::<_, io::Error>));
                drop(runtime.spawn(Server::builder().serve_with_incoming(server, connections)));
            }
            Manner::CloseAtOnce => drop(runtime.spawn(async move {
                loop {
                    drop(listener.accept().await);
                }
            })),
        }
        Ok(runtime)
    }
}

fn bound(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // Two sockets may be bound to one address if both have the option and only one listens.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

fn prepared(connection: TcpStream) -> io::Result<TcpStream> {
    connection.set_nodelay(true)?;
    // With this, a close is a reset.
    connection.set_zero_linger()?;
    Ok(connection)
}
