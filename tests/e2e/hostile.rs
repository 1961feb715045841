//! A hostile resolver: each fault leads to the documented response, and the next request succeeds on the same worker
//! and in the same VM.

use crate::{assert_no_reload, hostport, with_resolver};
use pinroute_testkit::fake_resolver::FakeResponse;
use serde_json::{Value, json};
use std::time::Duration;

const FAILED: &str = "resolver httpCall failed";
const NOTHING: &str = "no hostport in resolver body";
const FORBIDDEN: &str = "target not allowed";

struct Case {
    name: &'static str,
    response: fn(u16) -> FakeResponse,
    /// Status and body, or none if the request reaches its host.
    expected: Option<(u16, &'static str)>,
}

const fn rejected(name: &'static str, response: fn(u16) -> FakeResponse, body: &'static str) -> Case {
    Case { name, response, expected: Some((502, body)) }
}

const fn routed(name: &'static str, response: fn(u16) -> FakeResponse) -> Case {
    Case { name, response, expected: None }
}

fn body_of(text: impl AsRef<[u8]>) -> FakeResponse {
    FakeResponse::ok(text)
}

const CASES: &[Case] = &[
    rejected(
        "status 500",
        |port| FakeResponse::status(500, format!(r#"{{"hostport":"poc-routing-server-1:{port}"}}"#)),
        "resolver returned 500",
    ),
    rejected(
        "status 302",
        |_| FakeResponse::raw("HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n"),
        "resolver returned 302",
    ),
    rejected("status 204", |_| FakeResponse::raw("HTTP/1.1 204 No Content\r\n\r\n"), "resolver returned 204"),
    rejected(
        "too slow",
        |port| hostport(&format!("poc-routing-server-1:{port}")).delayed(Duration::from_secs(2)),
        "resolver returned 504",
    ),
    rejected("silent", |_| FakeResponse::nothing().hang(), "resolver returned 504"),
    rejected("reset before a byte", |_| FakeResponse::nothing().reset(), "resolver returned 503"),
    rejected("closed before a byte", |_| FakeResponse::nothing().close(), "resolver returned 503"),
    rejected(
        "reset in mid-head",
        |_| FakeResponse::raw("HTTP/1.1 200 OK\r\nconte").reset(),
        "resolver returned 502",
    ),
    rejected(
        "cut in mid-body",
        |_| FakeResponse::raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"hostport\":").close(),
        FAILED,
    ),
    rejected(
        "reset in mid-body",
        |_| FakeResponse::raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"hostport\":").reset(),
        FAILED,
    ),
    rejected(
        "stalled in mid-body",
        |_| FakeResponse::raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"hostport\":").hang(),
        FAILED,
    ),
    rejected(
        "broken chunk",
        |_| FakeResponse::raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
        FAILED,
    ),
    rejected("not HTTP", |_| FakeResponse::raw("220 mail ready\r\n").close(), "resolver returned 502"),
    rejected("empty body", |_| body_of(""), NOTHING),
    rejected("HTML", |_| body_of("<html><body>\"hostport\":\"a:1\"</body></html>"), NOTHING),
    rejected(
        "truncated JSON",
        |port| body_of(format!(r#"{{"hostport":"poc-routing-server-1:{port}""#)),
        NOTHING,
    ),
    rejected("null", |_| body_of("null"), NOTHING),
    rejected("a null hostport", |_| body_of(r#"{"hostport":null}"#), NOTHING),
    rejected("a number", |_| body_of(r#"{"hostport":8081}"#), NOTHING),
    rejected(
        "an array",
        |port| body_of(format!(r#"{{"hostport":["poc-routing-server-1:{port}"]}}"#)),
        NOTHING,
    ),
    rejected("an empty string", |_| body_of(r#"{"hostport":""}"#), NOTHING),
    rejected("no hostport", |_| body_of(r#"{"client_id":"1"}"#), NOTHING),
    rejected(
        "a duplicate member",
        |port| {
            body_of(format!(
                r#"{{"hostport":"poc-routing-server-1:{port}","hostport":"poc-routing-server-2:{port}"}}"#
            ))
        },
        NOTHING,
    ),
    rejected("deep nesting without an end", |_| body_of("[".repeat(100_000)), NOTHING),
    routed("deep nesting beside it", |port| {
        body_of(format!(
            r#"{{"x":{}{},"hostport":"poc-routing-server-1:{port}"}}"#,
            "[".repeat(50_000),
            "]".repeat(50_000)
        ))
    }),
    rejected("3 MB of nothing", |_| body_of("x".repeat(3_000_000)), NOTHING),
    routed("3 MB around it", |port| {
        body_of(format!(r#"{{"x":"{}","hostport":"poc-routing-server-1:{port}"}}"#, "y".repeat(3_000_000)))
    }),
    rejected("a hostport that is not UTF-8", |_| body_of(b"{\"hostport\":\"a\xff:1\"}"), NOTHING),
    routed("bytes that are not UTF-8 beside it", |port| {
        let body = [
            b"{\"x\":\"\xff\xfe\",\"hostport\":\"poc-routing-server-1:",
            port.to_string().as_bytes(),
            b"\"}",
        ]
        .concat();
        FakeResponse::raw(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nx-bad: ", body.len()))
            .send(b"\xff\xfe\r\n\r\n")
            .send(body)
    }),
    rejected("no port", |_| hostport("poc-routing-server-1"), FORBIDDEN),
    rejected("port 99999", |_| hostport("poc-routing-server-1:99999"), FORBIDDEN),
    rejected("port 0", |_| hostport("poc-routing-server-1:0"), FORBIDDEN),
    rejected("CR LF", |port| hostport(&format!("poc-routing-server-1:{port}\r\nx-evil: 1")), FORBIDDEN),
    rejected(
        "user information",
        |port| hostport(&format!("poc-routing-server-1@evil.example:{port}")),
        FORBIDDEN,
    ),
    rejected("a path", |port| hostport(&format!("poc-routing-server-1:{port}/admin")), FORBIDDEN),
    rejected("a scheme", |port| hostport(&format!("http://poc-routing-server-1:{port}")), FORBIDDEN),
    rejected("loopback", |port| hostport(&format!("127.0.0.1:{port}")), FORBIDDEN),
    rejected("loopback in IPv6", |port| hostport(&format!("[::1]:{port}")), FORBIDDEN),
    rejected("loopback as a number", |port| hostport(&format!("2130706433:{port}")), FORBIDDEN),
    rejected("the metadata service", |_| hostport("169.254.169.254:80"), FORBIDDEN),
    rejected("a name that is not allowed", |port| hostport(&format!("evil.example:{port}")), FORBIDDEN),
    rejected(
        "an allowed name's child",
        |port| hostport(&format!("poc-routing-server-1.evil.example:{port}")),
        FORBIDDEN,
    ),
    rejected("another port", |_| hostport("poc-routing-server-1:22"), FORBIDDEN),
    routed("upper case", |port| hostport(&format!("POC-Routing-Server-1:{port}"))),
];

fn check_every_case(
    plugin: Value,
    cases: impl Iterator<Item = &'static Case> + Clone + Send + Sync + 'static,
) {
    let script = cases.clone();
    let (env, _resolver) = with_resolver(plugin, move |path, port| {
        let name = path.rsplit('=').next().unwrap_or_default().replace('+', " ");
        match script.clone().find(|case| case.name == name) {
            Some(case) => (case.response)(port),
            None => hostport(&format!("poc-routing-server-2:{port}")),
        }
    });
    let env = env.start().unwrap();
    for case in cases {
        let response = env.get(&format!("/join?client_id={}", case.name.replace(' ', "+"))).unwrap();
        match case.expected {
            Some((status, body)) => {
                assert_eq!((response.status, response.text().as_str()), (status, body), "{}", case.name);
            }
            None => assert_eq!(response.status, 200, "{}: {}", case.name, response.text()),
        }
        let next = env.get("/join?client_id=good").unwrap();
        assert_eq!(next.status, 200, "after {}: {}", case.name, next.text());
        assert_eq!(next.json().unwrap()["assigned"], env.servers.hostport(2), "after {}", case.name);
    }
    assert_no_reload(&env);
}

#[test]
fn allowed_targets_stop_a_hostile_resolver() {
    let plugin = json!({
        "resolve": { "timeout": "0.5s" },
        "allowed_targets": ["poc-routing-server-*:8081"],
    });
    check_every_case(plugin, CASES.iter());
}

#[test]
fn dangerous_targets_are_rejected_without_allowed_targets_too() {
    let forbidden = CASES.iter().filter(|case| match case.expected {
        // Only `allowed_targets` can reject these.
        Some((_, FORBIDDEN)) => {
            !["a name that is not allowed", "an allowed name's child", "another port"].contains(&case.name)
        }
        _ => false,
    });
    check_every_case(json!({ "resolve": { "timeout": "0.5s" } }), forbidden);
}
