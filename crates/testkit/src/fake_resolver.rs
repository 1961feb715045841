//! A fake resolver: an HTTP server whose responses a test chooses byte by byte, faults included.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::sync::locked;

/// A request head longer than this ends the connection.
const HEAD_LIMIT: usize = 256 << 10;

/// A response: bytes and pauses, and how to treat the connection afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeResponse {
    steps: Vec<Step>,
    end: End,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Send(Vec<u8>),
    Pause(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Keep,
    Close,
    Reset,
    Hang,
}

impl FakeResponse {
    /// 200 with this body; the connection stays.
    #[must_use]
    pub fn ok(body: impl AsRef<[u8]>) -> Self {
        Self::status(200, body)
    }

    /// Any status with this body; the connection stays.
    #[must_use]
    pub fn status(code: u16, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let head = format!("HTTP/1.1 {code} Fake\r\ncontent-length: {}\r\n\r\n", body.len());
        Self::raw(head).send(body)
    }

    /// These bytes, which need not be HTTP; the connection stays.
    #[must_use]
    pub fn raw(bytes: impl AsRef<[u8]>) -> Self {
        Self::nothing().send(bytes)
    }

    /// No bytes yet; the connection stays open.
    #[must_use]
    pub fn nothing() -> Self {
        Self { steps: Vec::new(), end: End::Keep }
    }

    /// Adds bytes.
    #[must_use]
    pub fn send(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.steps.push(Step::Send(bytes.as_ref().to_vec()));
        self
    }

    /// Adds a pause.
    #[must_use]
    pub fn pause(mut self, duration: Duration) -> Self {
        self.steps.push(Step::Pause(duration));
        self
    }

    /// Adds a pause before all bytes.
    #[must_use]
    pub fn delayed(mut self, duration: Duration) -> Self {
        self.steps.insert(0, Step::Pause(duration));
        self
    }

    /// Closes the connection at the end.
    #[must_use]
    pub fn close(mut self) -> Self {
        self.end = End::Close;
        self
    }

    /// Resets the connection at the end (RST).
    #[must_use]
    pub fn reset(mut self) -> Self {
        self.end = End::Reset;
        self
    }

    /// Sends nothing more at the end, and keeps the connection open until the server is dropped.
    #[must_use]
    pub fn hang(mut self) -> Self {
        self.end = End::Hang;
        self
    }
}

/// A request that the server received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Path and query, as they were sent.
    pub path: String,
    /// Everything up to and with the empty line.
    pub head: Vec<u8>,
    /// The body.
    pub body: Vec<u8>,
}

impl Recorded {
    /// The first header of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let head = String::from_utf8_lossy(&self.head);
        let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        let (_, value) = fields.find(|(field, _)| field.eq_ignore_ascii_case(name))?;
        Some(value.trim().to_owned())
    }
}

/// A server on a free port of 127.0.0.1, or on any address, until it is dropped.
#[derive(Debug)]
pub struct FakeResolver {
    addr: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    requests: Mutex<Vec<Recorded>>,
    state: Mutex<State>,
    stopped: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stop: bool,
    accepted: usize,
    /// Copies of the open connections, to close them while their threads wait.
    open: HashMap<usize, TcpStream>,
}

type Handler = dyn Fn(&str, &[u8]) -> FakeResponse + Send + Sync;

impl FakeResolver {
    /// Starts a server that responds to each request with the result of `handler`, which gets the path with its query,
    /// and the head as it was sent. A body is read by its `content-length`.
    ///
    /// # Errors
    /// If no port can be bound.
    pub fn start(handler: impl Fn(&str, &[u8]) -> FakeResponse + Send + Sync + 'static) -> Result<Self> {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0)), handler)
    }

    /// As [`start`](Self::start), but on this address; port 0 selects a free one.
    ///
    /// # Errors
    /// If the address cannot be bound; the message names it.
    pub fn start_on(
        address: SocketAddr,
        handler: impl Fn(&str, &[u8]) -> FakeResponse + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let handler: Arc<Handler> = Arc::new(handler);
        let for_acceptor = Arc::clone(&shared);
        let acceptor = thread::spawn(move || accept(&listener, &for_acceptor, &handler));
        Ok(Self { addr, shared, acceptor: Some(acceptor) })
    }

    /// The address that it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The requests so far, in order. A request is recorded before its handler is called.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        locked(&self.shared.requests).clone()
    }

    /// Connections so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        locked(&self.shared.state).accepted
    }
}

impl Drop for FakeResolver {
    fn drop(&mut self) {
        {
            let mut state = locked(&self.shared.state);
            state.stop = true;
            for stream in state.open.values() {
                // It may be closed already.
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        self.shared.stopped.notify_all();
        // Wakes the acceptor, which then sees `stop`.
        if TcpStream::connect(self.addr).is_ok()
            && let Some(acceptor) = self.acceptor.take()
        {
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    /// Waits until the time is up or the server stops. Returns whether the server still runs.
    fn pause(&self, duration: Option<Duration>) -> bool {
        let until = duration.map(|duration| Instant::now() + duration);
        let mut state = locked(&self.state);
        while !state.stop {
            let left = until.map_or(Duration::from_secs(60), |t| t.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return true;
            }
            state = self.stopped.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, handler: &Arc<Handler>) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        let number = {
            let mut state = locked(&shared.state);
            if state.stop {
                return;
            }
            let Ok(twin) = stream.try_clone() else { continue };
            state.accepted += 1;
            let number = state.accepted;
            state.open.insert(number, twin);
            number
        };
        let (shared, handler) = (Arc::clone(shared), Arc::clone(handler));
        thread::spawn(move || {
            let end = converse(&stream, &shared, &handler).unwrap_or(End::Close);
            // Otherwise the copy would keep the connection open.
            locked(&shared.state).open.remove(&number);
            if end == End::Reset {
                let _ = rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
            }
        });
    }
}

/// Serves one connection, and returns how to end it.
fn converse(mut stream: &TcpStream, shared: &Shared, handler: &Arc<Handler>) -> Result<End> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    loop {
        let Some(head) = read_head(stream, &mut buffer)? else { return Ok(End::Close) };
        let text = String::from_utf8_lossy(&head);
        let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut request = Recorded { path, head: head.clone(), body: Vec::new() };
        let length = request.header("content-length").and_then(|length| length.parse().ok());
        request.body = read_body(stream, &mut buffer, length.unwrap_or(0))?;
        locked(&shared.requests).push(request.clone());

        let script = handler(&request.path, &head);
        for step in &script.steps {
            match step {
                Step::Send(bytes) => stream.write_all(bytes)?,
                Step::Pause(duration) if shared.pause(Some(*duration)) => {}
                Step::Pause(_) => return Ok(End::Close),
            }
        }
        match script.end {
            End::Keep => {}
            End::Hang => {
                shared.pause(None);
                return Ok(End::Close);
            }
            end => return Ok(end),
        }
    }
}

/// Takes a request's head out of the stream; `None` if it ends or the head is too long.
fn read_head(stream: &TcpStream, buffer: &mut Vec<u8>) -> Result<Option<Vec<u8>>> {
    loop {
        if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = buffer.split_off(at + 4);
            return Ok(Some(std::mem::replace(buffer, rest)));
        }
        if buffer.len() > HEAD_LIMIT || !read_more(stream, buffer)? {
            return Ok(None);
        }
    }
}

fn read_body(stream: &TcpStream, buffer: &mut Vec<u8>, length: usize) -> Result<Vec<u8>> {
    while buffer.len() < length && read_more(stream, buffer)? {}
    Ok(buffer.drain(..length.min(buffer.len())).collect())
}

fn read_more(mut stream: &TcpStream, buffer: &mut Vec<u8>) -> Result<bool> {
    let mut chunk = [0; 8192];
    let count = stream.read(&mut chunk)?;
    buffer.extend(chunk.iter().take(count));
    Ok(count > 0)
}

#[cfg(test)]
mod tests;
