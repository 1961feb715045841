//! The load generator: one thread, and keep-alive connections with one pending request each.

use anyhow::{Context, Result, bail, ensure};
use pinroute_core::hash::mix;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::{JoinSet, LocalSet};

/// For one series of requests; the longest takes a quarter of it.
const DEADLINE: Duration = Duration::from_secs(120);
/// The digits of a key.
const DIGITS: usize = 9;
/// What a key begins with.
const KEY: &str = "customer-";
/// What the host of requests ends with, behind the key.
pub const HOST: &str = "bench";

/// The keys of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// This many keys, in turn.
    Cycle(u64),
    /// This many keys, at random.
    Random(u64),
    /// A new key in each request.
    New,
}

/// The key of this number.
pub fn key(number: u64) -> String {
    format!("{KEY}{number:0DIGITS$}")
}

/// The result of a series of requests.
#[derive(Clone, Debug)]
pub struct Series {
    /// From the first request to the last response.
    pub took: Duration,
    /// Of each request, sorted.
    latencies: Vec<Duration>,
}

impl Series {
    /// The latency that this share of the requests did not exceed.
    pub fn quantile(&self, share: f64) -> Duration {
        let place = (self.latencies.len() as f64 * share) as usize;
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get(place.min(last)).copied().unwrap_or_default()
    }
}

/// Sends requests.
#[derive(Debug)]
pub struct Generator {
    runtime: Runtime,
    fresh: Cell<u64>,
}

/// Connections to a listener.
#[derive(Debug)]
pub struct Connections<'g> {
    generator: &'g Generator,
    streams: Vec<TcpStream>,
    /// A header line of each request, or nothing.
    header: String,
}

/// What the connections of a series share.
struct Shared {
    next: Cell<u64>,
    end: u64,
    keys: Keys,
    first_fresh: u64,
    latencies: RefCell<Vec<Duration>>,
}

impl Generator {
    /// A generator in this thread.
    pub fn new() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, fresh: Cell::new(1) })
    }

    /// Opens connections.
    pub fn connect(&self, to: SocketAddr, count: usize) -> Result<Connections<'_>> {
        ensure!(to.ip().is_loopback(), "{to} is not on loopback");
        let streams = self.runtime.block_on(async {
            let mut streams = Vec::with_capacity(count);
            for _ in 0..count {
                let stream = TcpStream::connect(to).await?;
                stream.set_nodelay(true)?;
                streams.push(stream);
            }
            anyhow::Ok(streams)
        });
        let streams = streams.with_context(|| format!("cannot reach {to}"))?;
        Ok(Connections { generator: self, streams, header: String::new() })
    }
}

impl Connections<'_> {
    /// Adds a header, as `name: value`, to each request.
    pub fn set_header(&mut self, header: &str) {
        self.header = format!("{header}\r\n");
    }

    /// Sends `count` requests over all connections and waits for the responses. A status other than 200 is an error.
    pub fn send(&mut self, count: u64, keys: Keys) -> Result<Series> {
        let first_fresh = self.generator.fresh.get();
        // Random keys need other numbers in each series too; otherwise all series would have the same keys.
        if !matches!(keys, Keys::Cycle(_)) {
            self.generator.fresh.set(first_fresh + count);
        }
        let shared = Rc::new(Shared {
            next: Cell::new(0),
            end: count,
            keys,
            first_fresh,
            latencies: RefCell::new(Vec::with_capacity(usize::try_from(count)?)),
        });
        let streams = std::mem::take(&mut self.streams);
        let start = Instant::now();
        self.streams = self.generator.runtime.block_on(async {
            let local = LocalSet::new();
            let mut set = JoinSet::new();
            for stream in streams {
                set.spawn_local_on(converse(stream, Request::new(&self.header), Rc::clone(&shared)), &local);
            }
            let all = local.run_until(async {
                let mut back = Vec::new();
                while let Some(done) = set.join_next().await {
                    back.push(done??);
                }
                anyhow::Ok(back)
            });
            tokio::time::timeout(DEADLINE, all).await.context("the requests take too long")?
        })?;
        let took = start.elapsed();
        let mut latencies = shared.latencies.take();
        latencies.sort_unstable();
        Ok(Series { took, latencies })
    }
}

impl Shared {
    /// The number of the next request's key, unless there were enough requests.
    fn take(&self) -> Option<u64> {
        let number = self.next.get();
        if number >= self.end {
            return None;
        }
        self.next.set(number + 1);
        Some(match self.keys {
            Keys::Cycle(count) => number % count.max(1),
            Keys::Random(count) => mix(self.first_fresh + number) % count.max(1),
            // Above all keys that are not new.
            Keys::New => 100_000_000 + self.first_fresh + number,
        })
    }
}

/// Sends requests over one connection until there are no more.
async fn converse(mut stream: TcpStream, mut request: Request, shared: Rc<Shared>) -> Result<TcpStream> {
    let mut buffer = Vec::with_capacity(4096);
    while let Some(number) = shared.take() {
        let bytes = request.with_key(number);
        let start = Instant::now();
        stream.write_all(bytes).await?;
        response(&mut stream, &mut buffer).await?;
        shared.latencies.borrow_mut().push(start.elapsed());
    }
    Ok(stream)
}

/// The bytes of a request: the same for every filter.
struct Request {
    bytes: Vec<u8>,
    /// The offsets of the key's digits.
    places: Vec<usize>,
}

impl Request {
    fn new(header: &str) -> Self {
        let text = format!(
            "GET /join?client_id={key} HTTP/1.1\r\nhost: {key}.{HOST}\r\nuser-agent: pinroute-bench\r\nx-customer-id: {key}\r\n{header}\r\n",
            key = key(0)
        );
        let places = text.match_indices(&key(0)).map(|(at, _)| at + KEY.len()).collect();
        Self { bytes: text.into_bytes(), places }
    }

    fn with_key(&mut self, number: u64) -> &[u8] {
        for place in &self.places {
            let mut rest = number;
            for digit in self.bytes.iter_mut().skip(*place).take(DIGITS).rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
        &self.bytes
    }
}

/// Reads a response to its end.
async fn response(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<()> {
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await? == 0 {
            bail!("Envoy closed the connection after {:?}", String::from_utf8_lossy(buffer));
        }
        if let Some(whole) = length(buffer)?
            && buffer.len() >= whole
        {
            return Ok(());
        }
    }
}

/// The length of the response that begins in `buffer`, if its head is complete.
fn length(buffer: &[u8]) -> Result<Option<usize>> {
    let Some(head) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(buffer.get(..head).unwrap_or_default())?;
    ensure!(
        text.starts_with("HTTP/1.1 200 "),
        "not the expected response: {}",
        String::from_utf8_lossy(buffer)
    );
    let body = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let body: usize = body.with_context(|| format!("no content-length in {text}"))?.parse()?;
    Ok(Some(head + 4 + body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_put_into_its_places() {
        let mut request = Request::new("");
        let text = String::from_utf8(request.with_key(1_234_567).to_vec()).unwrap();
        assert!(text.starts_with("GET /join?client_id=customer-001234567 HTTP/1.1\r\n"), "{text}");
        assert!(text.ends_with("\r\nx-customer-id: customer-001234567\r\n\r\n"), "{text}");
        assert_eq!(text.matches(&key(1_234_567)).count(), 3);
    }

    #[test]
    fn a_response_ends_at_its_content_length() {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n";
        assert_eq!(length(head.as_bytes()).unwrap(), Some(head.len() + 3));
        assert_eq!(length(b"HTTP/1.1 200 OK\r\ncontent-le").unwrap(), None);
        assert!(length(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n").is_err());
    }
}
