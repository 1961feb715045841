//! A DNS server in this process, for the names of the tests.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use hickory_proto::op::{Edns, Header, HeaderCounts, MessageType, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use tokio::net::{TcpListener, UdpSocket};
use tokio::runtime::Runtime;

use crate::sync::locked;

/// Seconds that a client may cache a response, unless a test sets another number. 0 would mean: do not cache.
const TTL: u32 = 1;
/// Ports to try. A port that is free for TCP may be in use for UDP.
const BIND_ATTEMPTS: usize = 20;
/// An idle TCP connection is closed after this.
const TCP_TIMEOUT: Duration = Duration::from_secs(5);
/// Responses that may wait on a TCP connection.
const TCP_BUFFER: usize = 32;

/// A server on 127.0.0.1, UDP and TCP on the same free port, until it is dropped.
///
/// An `A` query for a known name gets its addresses, a query of another type an empty response. An unknown name gets
/// NXDOMAIN. Names are compared without regard to case or a final dot.
#[derive(Debug)]
pub struct Dns {
    addr: SocketAddr,
    names: Arc<Mutex<Names>>,
    /// Serves as long as it lives.
    _runtime: Runtime,
}

#[derive(Debug)]
struct Names {
    addresses: HashMap<String, Vec<Ipv4Addr>>,
    queries: HashMap<String, usize>,
    ttl: u32,
}

impl Dns {
    /// Starts a server without names.
    ///
    /// # Errors
    /// If no port can be bound.
    pub fn start() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("dns")
            .enable_all()
            .build()?;
        let names =
            Arc::new(Mutex::new(Names { addresses: HashMap::new(), queries: HashMap::new(), ttl: TTL }));
        let handler = Handler { names: Arc::clone(&names) };
        let (listener, socket) = runtime.block_on(bind_both())?;
        let addr = listener.local_addr()?;
        runtime.spawn(async move {
            let mut server = Server::new(handler);
            server.register_socket(socket);
            server.register_listener(listener, TCP_TIMEOUT, TCP_BUFFER);
            server.block_until_done().await
        });
        Ok(Self { addr, names, _runtime: runtime })
    }

    /// The address that it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Gives a name its addresses, in place of those it had.
    pub fn set(&self, name: &str, addresses: &[Ipv4Addr]) {
        locked(&self.names).addresses.insert(canonical(name), addresses.to_vec());
    }

    /// Removes a name: queries for it get NXDOMAIN.
    pub fn remove(&self, name: &str) {
        locked(&self.names).addresses.remove(&canonical(name));
    }

    /// Sets the seconds that a client may cache a response from now on; 1 by default. Docker's DNS server says 600.
    pub fn set_ttl(&self, seconds: u32) {
        locked(&self.names).ttl = seconds;
    }

    /// The number of queries for this name so far, of any type, known or not.
    #[must_use]
    pub fn queries(&self, name: &str) -> usize {
        locked(&self.names).queries.get(&canonical(name)).copied().unwrap_or_default()
    }
}

fn canonical(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

async fn bind_both() -> Result<(TcpListener, UdpSocket)> {
    let mut last = None;
    for _ in 0..BIND_ATTEMPTS {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        match UdpSocket::bind(listener.local_addr()?).await {
            Ok(socket) => return Ok((listener, socket)),
            Err(error) => last = Some(error),
        }
    }
    Err(last.context("no attempt was made")?).context("no port is free for both UDP and TCP")
}

struct Handler {
    names: Arc<Mutex<Names>>,
}

impl Handler {
    /// The response to the one question of `request`.
    fn response(&self, request: &Request) -> (ResponseCode, Vec<Record>) {
        let Ok(info) = request.request_info() else { return (ResponseCode::FormErr, Vec::new()) };
        if request.metadata.op_code != OpCode::Query {
            return (ResponseCode::NotImp, Vec::new());
        }
        let name = canonical(&info.query.name().to_string());
        let mut names = locked(&self.names);
        *names.queries.entry(name.clone()).or_default() += 1;
        let ttl = names.ttl;
        let Some(addresses) = names.addresses.get(&name) else { return (ResponseCode::NXDomain, Vec::new()) };
        if info.query.query_type() != RecordType::A {
            return (ResponseCode::NoError, Vec::new());
        }
        // In the upper and lower case of the query: some clients vary it at random and compare.
        let owner: Name = info.query.original().name().clone();
        let record = |address: &Ipv4Addr| Record::from_rdata(owner.clone(), ttl, RData::A((*address).into()));
        (ResponseCode::NoError, addresses.iter().map(record).collect())
    }
}

#[async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut response_handle: R,
    ) -> ResponseInfo {
        let (code, records) = self.response(request);
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = code;
        metadata.authoritative = true;
        metadata.recursion_available = true;
        // A client that sends EDNS names the largest response it accepts, and expects EDNS in the response.
        let edns = request.edns.as_ref().map(|asked| {
            let mut edns = Edns::new();
            edns.set_max_payload(asked.max_payload());
            edns
        });
        let builder = MessageResponseBuilder::new(&request.queries, edns.as_ref());
        let response = builder.build(metadata, &records, [], [], []);
        match response_handle.send_response(response).await {
            Ok(info) => info,
            // The client is gone. It repeats the query if it still needs the response.
            Err(_) => {
                let mut metadata = Metadata::new(request.metadata.id, MessageType::Response, OpCode::Query);
                metadata.response_code = ResponseCode::ServFail;
                Header { metadata, counts: HeaderCounts::default() }.into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpStream, UdpSocket};

    use hickory_proto::op::{Message, Query};

    use super::*;
    use crate::poll::eventually;

    fn query(name: &str, kind: RecordType) -> Vec<u8> {
        let mut message = Message::query();
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        message.to_vec().unwrap()
    }

    fn ask(dns: &Dns, name: &str, kind: RecordType) -> (ResponseCode, Vec<Ipv4Addr>) {
        parsed(&response(dns, name, kind))
    }

    fn response(dns: &Dns, name: &str, kind: RecordType) -> Vec<u8> {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket.send_to(&query(name, kind), dns.addr()).unwrap();
        let mut buffer = [0; 4096];
        let (length, _) = socket.recv_from(&mut buffer).unwrap();
        buffer[..length].to_vec()
    }

    fn parsed(bytes: &[u8]) -> (ResponseCode, Vec<Ipv4Addr>) {
        parsed_with_ttl(bytes, TTL)
    }

    fn parsed_with_ttl(bytes: &[u8], ttl: u32) -> (ResponseCode, Vec<Ipv4Addr>) {
        let message = Message::from_vec(bytes).unwrap();
        assert!(message.answers.iter().all(|record| record.ttl == ttl), "{message:?}");
        let address = |record: &Record| match &record.data {
            RData::A(a) => a.0,
            other => panic!("not an address: {other}"),
        };
        (message.metadata.response_code, message.answers.iter().map(address).collect())
    }

    #[test]
    fn answers_over_udp() {
        let dns = Dns::start().unwrap();
        let addresses = [Ipv4Addr::new(127, 1, 2, 3), Ipv4Addr::new(127, 1, 2, 4)];
        dns.set("Server", &addresses);
        assert_eq!(ask(&dns, "server.", RecordType::A), (ResponseCode::NoError, addresses.to_vec()));
        assert_eq!(ask(&dns, "SERVER.", RecordType::A), (ResponseCode::NoError, addresses.to_vec()));
        assert_eq!(ask(&dns, "server.", RecordType::AAAA), (ResponseCode::NoError, vec![]));
        assert_eq!(ask(&dns, "else.", RecordType::A), (ResponseCode::NXDomain, vec![]));
        assert_eq!((dns.queries("server"), dns.queries("else"), dns.queries("never")), (3, 1, 0));

        dns.set_ttl(600);
        let long = parsed_with_ttl(&response(&dns, "server.", RecordType::A), 600);
        assert_eq!(long, (ResponseCode::NoError, addresses.to_vec()));
        dns.set_ttl(TTL);

        dns.set("server", &addresses[..1]);
        assert_eq!(ask(&dns, "server.", RecordType::A).1, addresses[..1]);
        dns.remove("SERVER.");
        assert_eq!(ask(&dns, "server.", RecordType::A).0, ResponseCode::NXDomain);
    }

    #[test]
    fn answers_over_tcp_what_is_too_long_for_udp() {
        let dns = Dns::start().unwrap();
        let addresses: Vec<Ipv4Addr> = (1..=100).map(|i| Ipv4Addr::new(127, 1, 2, i)).collect();
        dns.set("many", &addresses);
        let asked = query("many.", RecordType::A);
        let mut stream = TcpStream::connect(dns.addr()).unwrap();
        stream.write_all(&u16::try_from(asked.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(&asked).unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(parsed(&answer), (ResponseCode::NoError, addresses));
    }

    #[test]
    fn stops_when_dropped() {
        let dns = Dns::start().unwrap();
        let addr = dns.addr();
        drop(dns);
        // Another test that starts a process at this moment may hold copies of all sockets.
        eventually(Duration::from_secs(10), || UdpSocket::bind(addr).map(drop).map_err(|e| e.to_string()))
            .unwrap();
    }
}
