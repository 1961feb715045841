//! Tests of each kind of response.

use std::io::ErrorKind;

use super::*;
use crate::http::Client;
use crate::poll::eventually;

const LONG: Duration = Duration::from_secs(10);

fn connect(server: &FakeResolver) -> TcpStream {
    let mut stream = TcpStream::connect(server.addr()).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.write_all(b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    stream
}

#[test]
fn keeps_the_connection_and_records() {
    let server = FakeResolver::start(|path, _| match path {
        "/one" => FakeResponse::ok("1"),
        _ => FakeResponse::status(503, "busy"),
    })
    .unwrap();
    let client = Client::new(server.addr());
    let response = client.get("/one").unwrap();
    assert_eq!((response.status, response.text().as_str()), (200, "1"));
    let response = client.request("POST", "/two?a=b", &[("x-name", "value")], b"body").unwrap();
    assert_eq!((response.status, response.header("Content-Length")), (503, Some("4")));

    let requests = server.requests();
    assert_eq!(requests.iter().map(|r| r.path.as_str()).collect::<Vec<_>>(), ["/one", "/two?a=b"]);
    assert_eq!(requests[1].header("X-Name").as_deref(), Some("value"));
    assert!(
        requests[0].head.starts_with(b"GET /one HTTP/1.1\r\n") && requests[0].head.ends_with(b"\r\n\r\n")
    );
    assert_eq!(server.connections(), 1);
}

#[test]
fn closes_in_the_middle_of_a_body() {
    let server = FakeResolver::start(|_, _| {
        FakeResponse::raw("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").close()
    });
    let server = server.unwrap();
    let mut text = String::new();
    connect(&server).read_to_string(&mut text).unwrap();
    assert!(text.ends_with("\r\n\r\nhalf"), "{text:?}");
    Client::new(server.addr()).get("/x").unwrap_err();
}

#[test]
fn resets() {
    let server = FakeResolver::start(|_, _| FakeResponse::nothing().reset()).unwrap();
    let error = connect(&server).read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn pauses_between_bytes() {
    let pause = Duration::from_millis(50);
    let server =
        FakeResolver::start(move |_, _| FakeResponse::raw("a").pause(pause).send("b").close()).unwrap();
    let start = Instant::now();
    let mut text = String::new();
    connect(&server).read_to_string(&mut text).unwrap();
    assert_eq!(text, "ab");
    assert!(start.elapsed() >= pause);
}

#[test]
fn hangs_until_dropped() {
    let server = FakeResolver::start(|_, _| FakeResponse::nothing().hang()).unwrap();
    let mut stream = connect(&server);
    eventually(LONG, || match server.requests().len() {
        1 => Ok(()),
        count => Err(count.to_string()),
    })
    .unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let error = stream.read(&mut [0; 8]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");

    let addr = server.addr();
    drop(server);
    stream.set_read_timeout(Some(LONG)).unwrap();
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
    // Another test that starts a process at this moment may hold copies of all sockets.
    eventually(LONG, || match TcpStream::connect(addr) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .unwrap();
}
