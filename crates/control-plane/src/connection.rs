//! Connections that end when their client says nothing for long: otherwise clients that are gone, or that only connect, would use up
//! the file descriptors, and no Envoy could connect any more.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep, sleep};
use tonic::codegen::tokio_stream::{Stream, StreamExt};
use tonic::transport::server::{Connected, TcpConnectInfo};

/// How long to wait before accepting again, when that failed: the next attempt may fail at once too, and use up a processor.
const PAUSE: Duration = Duration::from_millis(200);

/// A connection that fails when nothing arrives for some time.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    idle: Duration,
    limit: Pin<Box<Sleep>>,
}

impl Connection {
    /// A connection on which something has to arrive within `idle`, again and again.
    pub fn new(stream: TcpStream, idle: Duration) -> Self {
        Self { stream, idle, limit: Box::pin(sleep(idle)) }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if read.is_ready() {
            this.limit.as_mut().reset(Instant::now() + this.idle);
            return read;
        }
        this.limit.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

/// Such connections of Envoys.
pub fn of_envoys(
    incoming: impl Stream<Item = io::Result<TcpStream>>,
    idle: Duration,
) -> impl Stream<Item = io::Result<Connection>> {
    incoming.then(move |accepted| async move {
        if let Err(error) = &accepted {
            tracing::warn!(%error, "the xDS server cannot accept a connection");
            sleep(PAUSE).await;
        }
        accepted.map(|stream| Connection::new(stream, idle))
    })
}

/// Accepts such connections for the API.
#[derive(Debug)]
pub struct Connections {
    /// The listener.
    pub listener: TcpListener,
    /// How long a client may say nothing.
    pub idle: Duration,
}

impl Listener for Connections {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => return (Connection::new(stream, self.idle), address),
                Err(error) => {
                    tracing::warn!(%error, "the API cannot accept a connection");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn accepting_again_waits_after_a_failure() {
        let failures = (0..5).map(|_| Err(io::Error::from_raw_os_error(24)));
        let started = Instant::now();
        let seen = of_envoys(tonic::codegen::tokio_stream::iter(failures), Duration::from_secs(1));
        assert_eq!(seen.filter(Result::is_err).collect::<Vec<_>>().await.len(), 5);
        assert_eq!(started.elapsed(), 5 * PAUSE);
    }

    #[tokio::test]
    async fn a_connection_ends_when_nothing_arrives() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut connections = Connections { listener, idle: Duration::from_millis(50) };
        let (mut connection, address) = connections.accept().await;
        assert_eq!(
            (address, connection.connect_info().remote_addr),
            (client.local_addr().unwrap(), Some(address))
        );
        for _ in 0..3 {
            client.write_all(b"x").await.unwrap();
            assert_eq!(connection.read_u8().await.unwrap(), b'x');
        }
        assert_eq!(connection.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
