//! The binary as a process: its arguments, its start, its logs, and how it stops.

#[cfg(test)]
mod support;

use std::process::Output;
use std::time::{Duration, Instant};

use support::{finish, Server};

#[test]
fn help_names_every_variable() {
    let output = finish(&[], &["--help"]);
    let help = String::from_utf8(output.stdout).unwrap();
    for name in [
        "SERVICE_PREFIX",
        "SERVICE_SUFFIX",
        "REPLICAS",
        "INDEX_MODE",
        "INDEX_BASE",
        "SERVER_PEERS",
        "HOSTNAME",
        "PORT",
        "BIND",
        "LOG_FORMAT",
        "RUST_LOG",
    ] {
        assert!(help.contains(&format!("\n  {name} ")), "{name} is missing in\n{help}");
    }
    assert!(output.status.success());
}

#[test]
fn version_is_the_packages() {
    let output = finish(&[], &["--version"]);
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        concat!("pinroute-server ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn what_cannot_start_says_why_in_one_line() {
    let taken = Server::start(&[]);
    let port = taken.address.port().to_string();
    let address_in_use = format!("cannot listen on 127.0.0.1:{port}: Address already in use (os error 98)");
    let cases = [
        ("PORT", "abc", r#"PORT="abc": must be a port from 0 to 65535"#),
        ("INDEX_MODE", "foo", r#"INDEX_MODE="foo": must be hash or numeric"#),
        ("LOG_FORMAT", "xml", r#"LOG_FORMAT="xml": must be text or json"#),
        ("PORT", &port, &address_in_use),
    ];
    for (name, value, message) in cases {
        assert_refused(finish(&[("BIND", "127.0.0.1"), (name, value)], &[]), 1, message);
    }
    assert_refused(finish(&[], &["--port=1"]), 2, r#"unknown argument "--port=1"; see --help"#);
}

fn assert_refused(output: Output, code: i32, message: &str) {
    assert_eq!(String::from_utf8_lossy(&output.stderr), format!("pinroute-server: {message}\n"));
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert!(output.stdout.is_empty(), "{message}");
}

#[test]
fn the_start_line_tells_what_runs_where() {
    let server = Server::start(&[("SERVICE_PREFIX", "s"), ("REPLICAS", "3"), ("INDEX_MODE", "numeric")]);
    let line: serde_json::Value = serde_json::from_str(&server.start[0]).unwrap();
    let fields = serde_json::json!({
        "message": "listening",
        "address": server.address.to_string(),
        "instance": server.name(),
        "replicas": 3,
        "mode": "numeric",
    });
    assert_eq!(line["fields"], fields);
}

#[test]
fn replicas_that_make_no_sense_are_warned_of() {
    let server = Server::start(&[("REPLICAS", "0"), ("LOG_FORMAT", "text")]);
    let warning = &server.start[0];
    assert!(warning.contains("WARN") && warning.contains(r#"REPLICAS="0""#), "{warning}");
}

#[test]
fn a_client_cannot_forge_a_line_of_the_log() {
    let server = Server::start(&[("LOG_FORMAT", "text")]);
    server.get("/join?client_id=a%0A%1B%5B31mb%22");
    let line = server.log();
    assert!(line.contains(r#"client_id="a\n\u{1b}[31mb\"""#), "{line}");
}

#[test]
fn rust_log_is_honoured() {
    let server = Server::start(&[("RUST_LOG", "pinroute_server=info,pinroute_server::routes=warn")]);
    server.get("/join?client_id=1");
    server.signal("TERM");
    assert!(server.log().contains("stopping"));
}

#[test]
fn a_stop_closes_idle_connections_at_once() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::start(&[]);
        let mut idle = server.connect();
        idle.send(b"GET /health HTTP/1.1\r\nhost: test\r\n\r\n");
        assert_eq!(idle.answer().body, "ok");

        let asked = Instant::now();
        server.signal(signal);
        assert!(idle.is_closed());
        assert_eq!(server.exit().code(), Some(0), "{signal}");
        assert!(asked.elapsed() < Duration::from_secs(4), "waited for an idle connection");
    }
}

#[test]
fn a_stop_lets_a_request_in_flight_finish() {
    let mut server = Server::start(&[]);
    let mut in_flight = server.connect();
    // The server asks for the body only once it is at work on the request.
    in_flight.send(b"POST /join?client_id=1 HTTP/1.1\r\nhost: test\r\n");
    in_flight.send(b"expect: 100-continue\r\ncontent-length: 4\r\n\r\n");
    assert_eq!(in_flight.line(), "HTTP/1.1 100 Continue");
    assert_eq!(in_flight.line(), "");

    server.signal("TERM");
    server.until_closed();
    in_flight.send(b"body");
    assert_eq!(in_flight.answer().status, 200);
    assert!(in_flight.is_closed());
    assert_eq!(server.exit().code(), Some(0));
}

#[test]
fn a_stop_does_not_wait_for_ever() {
    let mut server = Server::start(&[]);
    let mut stuck = server.connect();
    stuck.send(b"POST /headers HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n");
    assert_eq!(stuck.line(), "HTTP/1.1 100 Continue");

    let asked = Instant::now();
    server.signal("TERM");
    assert_eq!(server.exit().code(), Some(0));
    assert!(asked.elapsed() > Duration::from_secs(4), "did not wait for the request");
}
