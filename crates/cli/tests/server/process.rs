//! Options, start, logs, and how the server stops.

use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Server, finish};

#[test]
fn help_names_every_option_and_variable() {
    let output = finish(&[], &["--help"]);
    let help = String::from_utf8(output.stdout).unwrap();
    for (option, variable) in [
        ("service-prefix", "SERVICE_PREFIX"),
        ("service-suffix", "SERVICE_SUFFIX"),
        ("replicas", "REPLICAS"),
        ("index-mode", "INDEX_MODE"),
        ("index-base", "INDEX_BASE"),
        ("server-peers", "SERVER_PEERS"),
        ("server-name", "SERVER_NAME"),
        ("hostname", "HOSTNAME"),
        ("port", "PORT"),
        ("bind", "BIND"),
        ("log-format", "LOG_FORMAT"),
        ("rust-log", "RUST_LOG"),
    ] {
        assert!(help.contains(&format!("--{option} <")), "{option} is missing in\n{help}");
        assert!(help.contains(&format!("[env: {variable}=")), "{variable} is missing in\n{help}");
    }
    assert!(help.contains("\nExamples:\n  pinroute server "), "{help}");
    assert!(output.status.success());
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let taken = Server::start(&[]);
    let port = taken.address.port().to_string();
    let output = finish(&[("BIND", "127.0.0.1"), ("PORT", &port)], &[]);
    let message =
        format!("pinroute: cannot listen on 127.0.0.1:{port}: Address already in use (os error 98)\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), message);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
}

#[test]
fn a_bad_value_or_option_is_a_usage_error() {
    for (variable, value, message) in [
        ("PORT", "abc", "invalid value 'abc' for '--port <PORT>'"),
        ("BIND", "localhost", "invalid value 'localhost' for '--bind <BIND>'"),
        (
            "INDEX_MODE",
            "foo",
            "invalid value 'foo' for '--index-mode <INDEX_MODE>'\n  [possible values: hash, numeric]",
        ),
        ("LOG_FORMAT", "xml", "invalid value 'xml' for '--log-format <LOG_FORMAT>'"),
        ("RUST_LOG", "a=b=c", "invalid value 'a=b=c' for '--rust-log <RUST_LOG>'"),
    ] {
        assert_usage_error(finish(&[(variable, value)], &[]), message);
    }
    assert_usage_error(finish(&[], &["--colour=red"]), "unexpected argument '--colour' found");
}

fn assert_usage_error(output: Output, message: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.starts_with(&format!("error: {message}")), "{error}");
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(output.stdout.is_empty(), "{message}");
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let empty = ["SERVICE_PREFIX", "REPLICAS", "INDEX_MODE", "INDEX_BASE", "SERVER_PEERS", "RUST_LOG"];
    let server = Server::start(&empty.map(|name| (name, "")));
    let line: Value = serde_json::from_str(&server.start[0]).unwrap();
    assert_eq!(line["fields"]["mode"], "itself", "{line}");
}

#[test]
fn an_option_wins_over_its_variable() {
    let server = Server::start_with(&[("SERVICE_PREFIX", "s"), ("REPLICAS", "3")], &["--replicas", "5"]);
    let line: Value = serde_json::from_str(server.start.last().unwrap()).unwrap();
    assert_eq!(line["fields"]["replicas"], 5, "{line}");
}

#[test]
fn health_is_that_of_the_server_on_this_machine() {
    let mut server = Server::start(&[]);
    let port = server.address.port().to_string();
    // A wildcard stands for loopback.
    for bind in ["127.0.0.1", "0.0.0.0"] {
        let output = finish(&[("BIND", bind), ("PORT", &port)], &["--health"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    }
    server.signal("TERM");
    server.exit();
    let output = finish(&[("PORT", &port)], &["--health"]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.starts_with(&format!("pinroute: no response from http://127.0.0.1:{port}/health: ")),
        "{error}"
    );
}

#[test]
fn the_start_line_describes_the_server() {
    let server = Server::start(&[("SERVICE_PREFIX", "s"), ("REPLICAS", "3"), ("INDEX_MODE", "numeric")]);
    let line: Value = serde_json::from_str(server.start.last().unwrap()).unwrap();
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
fn a_bad_number_of_replicas_is_logged() {
    let server = Server::start(&[("REPLICAS", "0"), ("LOG_FORMAT", "text")]);
    let warning = &server.start[0];
    assert!(warning.contains("WARN") && warning.contains(r#"REPLICAS="0""#), "{warning}");
}

#[test]
fn a_server_without_a_number_logs_why() {
    for (name, reason) in [
        ("SERVER_NAME", "SERVER_NAME is not PREFIX-<n>"),
        ("HOSTNAME", "HOSTNAME is not PREFIX-<n>, and there is no address but loopback"),
    ] {
        let server = Server::start(&[("SERVICE_PREFIX", "server"), (name, "alpha")]);
        let line: Value = serde_json::from_str(&server.start[0]).unwrap();
        assert_eq!(line["level"], "WARN");
        let message = "the server's number is unknown: /join accepts requests for any host";
        let fields = serde_json::json!({"message": message, "name": "alpha", "reason": reason});
        assert_eq!(line["fields"], fields);
    }
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
