//! Each endpoint, asked over HTTP at the real binary.

use crate::support::{Answer, Server};
use serde_json::{Value, json};

fn numbered() -> Server {
    Server::start(&[("SERVICE_PREFIX", "server"), ("SERVICE_SUFFIX", ".svc"), ("REPLICAS", "2")])
}

fn assert_missing(answer: &Answer) {
    assert_eq!((answer.status, answer.body.as_str()), (400, "missing client_id"));
    assert!(answer.header("content-type").starts_with("text/plain"), "{answer:?}");
}

#[test]
fn where_names_the_owner() {
    let server = numbered();
    let answer = server.get("/where?client_id=123");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/json");
    let port = server.address.port();
    assert_eq!(answer.body, format!(r#"{{"client_id":"123","hostport":"server-2.svc:{port}"}}"#));

    assert_eq!(server.get("/where?x=1&client_id=caf%C3%A9+%22").json()["client_id"], "café \"");
    assert_eq!(server.request("POST", "/where?client_id=1", "", b"").status, 405);
}

#[test]
fn a_client_that_is_not_utf8_is_hashed_as_bytes() {
    let server = Server::start(&[("SERVICE_PREFIX", "s"), ("REPLICAS", "1000003")]);
    let (one, other) = (server.get("/where?client_id=%FF"), server.get("/where?client_id=%FE"));
    assert_eq!(one.json()["client_id"], "\u{fffd}");
    assert_eq!(other.json()["client_id"], "\u{fffd}");
    assert_ne!(one.json()["hostport"], other.json()["hostport"]);
}

#[test]
fn where_follows_the_peers_without_a_prefix() {
    // In spite of the mode: 123 would be slot 0 by its number and is slot 2 by its hash.
    let server = Server::start(&[("SERVER_PEERS", "a:1,b:2,c:3"), ("INDEX_MODE", "numeric")]);
    assert_eq!(server.get("/where?client_id=123").json()["hostport"], "c:3");
}

#[test]
fn where_without_prefix_and_peers_is_this_instance() {
    let server = Server::start(&[]);
    assert_eq!(server.get("/where?client_id=123").json()["hostport"], server.name());
}

#[test]
fn join_takes_any_method_and_logs() {
    let server = numbered();
    let expected = format!(r#"{{"assigned":"{}","client_id":"a b","status":"ok"}}"#, server.name());
    for (method, body) in [("GET", ""), ("POST", "ignored"), ("DELETE", "")] {
        let answer = server.request(method, "/join?client_id=a+b", "", body.as_bytes());
        assert_eq!((answer.status, &answer.body), (200, &expected), "{method}");

        let line: serde_json::Value = serde_json::from_str(&server.log()).unwrap();
        assert_eq!(line["level"], "INFO");
        let fields = json!({"message": "/join", "client_id": "a b", "instance": server.name()});
        assert_eq!(line["fields"], fields);
    }
}

#[test]
fn join_serves_requests_for_this_host_and_for_unknown_ones() {
    for environment in [[("SERVER_NAME", "server-1")], [("HOSTNAME", "server-1")]] {
        let all = [&[("SERVICE_PREFIX", "server"), ("SERVICE_SUFFIX", ".svc")][..], &environment].concat();
        let server = Server::start(&all);
        let port = server.address.port();
        for host in ["server-1.svc".to_owned(), format!("SERVER-1.svc:{port}"), "localhost".to_owned()] {
            let answer = server.get_from(&host, "/join?client_id=7");
            assert_eq!(
                (answer.status, answer.json()["assigned"].clone()),
                (200, json!(format!("server-1:{port}")))
            );
        }
    }
}

#[test]
fn join_refuses_a_request_for_another_host() {
    let environment = [("SERVICE_PREFIX", "server"), ("SERVICE_SUFFIX", ".svc"), ("SERVER_NAME", "server-1")];
    let server = Server::start(&environment);
    let answer = server.get_from("Server-2.svc:8081", "/join?client_id=7");
    let port = server.address.port();
    assert_eq!((answer.status, answer.body), (421, format!("misdirected request: this is server-1:{port}")));
    let line: Value = serde_json::from_str(&server.log()).unwrap();
    assert_eq!(line["fields"]["message"], "/join refused: the request is for another host");
    assert_eq!(line["fields"]["host"], "Server-2.svc:8081");
}

#[test]
fn a_connection_survives_a_long_body() {
    let server = numbered();
    let mut connection = server.connect();
    let body = vec![b'x'; 3_000_000];
    for path in ["/join?client_id=1", "/join", "/headers"] {
        let head = format!("POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n", body.len());
        connection.send(head.as_bytes());
        connection.send(&body);
        let answer = connection.answer();
        assert_eq!(answer.status, if path == "/join" { 400 } else { 200 }, "{path}");
    }
}

#[test]
fn a_missing_or_empty_client_is_refused() {
    let server = numbered();
    for path in ["/where", "/where?", "/where?client_id=", "/where?client_id", "/where?my_client_id=1"] {
        assert_missing(&server.get(path));
        assert_missing(&server.get(&path.replace("where", "join")));
    }
    assert_missing(&server.request("POST", "/join", "", b"client_id=1"));
}

#[test]
fn health_is_ok_and_the_unknown_is_not_found() {
    let server = numbered();
    let answer = server.get("/health");
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    for path in ["/nowhere", "/where/", "/echoes", "/headers/x"] {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.body.as_str()), (404, "not found"), "{path}");
    }
}

#[test]
fn a_reflection_shows_what_arrived() {
    let server = numbered();
    for path in ["/headers?x=%20&x", "/", "/?a", "/echo", "/echo/", "/echo/a//b?c=d"] {
        let answer = server.request("PATCH", path, "X-Twice: 1\r\nX-Twice: 2\r\n", b"12345");
        assert_eq!(answer.status, 200, "{path}");
        let headers = json!([["host", "test"], ["x-twice", "1"], ["x-twice", "2"], ["content-length", "5"]]);
        assert_eq!(
            answer.json(),
            json!({"instance": server.name(), "method": "PATCH", "path": path, "headers": headers, "body_bytes": 5})
        );
        assert!(answer.body.starts_with(r#"{"instance":"box:"#), "{}", answer.body);
    }
}

#[test]
fn a_header_that_is_not_utf8_is_shown_with_replacements() {
    let server = numbered();
    let mut connection = server.connect();
    connection.send(b"GET /headers HTTP/1.1\r\nhost: test\r\nx-odd: \xff\r\n\r\n");
    assert_eq!(connection.answer().json()["headers"][1], json!(["x-odd", "\u{fffd}"]));
}
