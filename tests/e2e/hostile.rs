//! A resolver that does everything it can to hurt: each time the documented answer, and the next good
//! request works on the same worker and in the same VM.

use crate::{assert_no_reload, hostport, with_resolver};
use pinroute_testkit::fake_resolver::FakeResponse;
use serde_json::{json, Value};
use std::time::Duration;

const FAILED: &str = "resolver httpCall failed";
const NOTHING: &str = "no hostport in resolver body";
const FORBIDDEN: &str = "target not allowed";

struct Case {
    name: &'static str,
    answer: fn(u16) -> FakeResponse,
    /// Status and body, or none where the request is to reach its instance.
    expected: Option<(u16, &'static str)>,
}

const fn refused(name: &'static str, answer: fn(u16) -> FakeResponse, body: &'static str) -> Case {
    Case { name, answer, expected: Some((502, body)) }
}

const fn routed(name: &'static str, answer: fn(u16) -> FakeResponse) -> Case {
    Case { name, answer, expected: None }
}

fn body_of(text: impl AsRef<[u8]>) -> FakeResponse {
    FakeResponse::ok(text)
}

const CASES: &[Case] = &[
    refused(
        "status 500",
        |port| FakeResponse::status(500, format!(r#"{{"hostport":"poc-routing-server-1:{port}"}}"#)),
        "resolver returned 500",
    ),
    refused(
        "status 302",
        |_| FakeResponse::raw("HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n"),
        "resolver returned 302",
    ),
    refused("status 204", |_| FakeResponse::raw("HTTP/1.1 204 No Content\r\n\r\n"), "resolver returned 204"),
    refused(
        "too slow",
        |port| hostport(&format!("poc-routing-server-1:{port}")).delayed(Duration::from_secs(2)),
        "resolver returned 504",
    ),
    refused("silent", |_| FakeResponse::nothing().hang(), "resolver returned 504"),
    refused("reset before a byte", |_| FakeResponse::nothing().reset(), "resolver returned 503"),
    refused("closed before a byte", |_| FakeResponse::nothing().close(), "resolver returned 503"),
    refused(
        "reset in mid-head",
        |_| FakeResponse::raw("HTTP/1.1 200 OK\r\nconte").reset(),
        "resolver returned 502",
    ),
    refused(
        "cut in mid-body",
        |_| FakeResponse::raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"hostport\":").close(),
        FAILED,
    ),
    refused(
        "reset in mid-body",
        |_| FakeResponse::raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"hostport\":").reset(),
        FAILED,
    ),
    refused(
        "stalled in mid-body",
        |_| FakeResponse::raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"hostport\":").hang(),
        FAILED,
    ),
    refused(
        "broken chunk",
        |_| FakeResponse::raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
        FAILED,
    ),
    refused("not HTTP", |_| FakeResponse::raw("220 mail ready\r\n").close(), "resolver returned 502"),
    refused("empty body", |_| body_of(""), NOTHING),
    refused("HTML", |_| body_of("<html><body>\"hostport\":\"a:1\"</body></html>"), NOTHING),
    refused(
        "truncated JSON",
        |port| body_of(format!(r#"{{"hostport":"poc-routing-server-1:{port}""#)),
        NOTHING,
    ),
    refused("null", |_| body_of("null"), NOTHING),
    refused("a null hostport", |_| body_of(r#"{"hostport":null}"#), NOTHING),
    refused("a number", |_| body_of(r#"{"hostport":8081}"#), NOTHING),
    refused(
        "an array",
        |port| body_of(format!(r#"{{"hostport":["poc-routing-server-1:{port}"]}}"#)),
        NOTHING,
    ),
    refused("an empty string", |_| body_of(r#"{"hostport":""}"#), NOTHING),
    refused("no hostport", |_| body_of(r#"{"client_id":"1"}"#), NOTHING),
    refused(
        "a duplicate member",
        |port| {
            body_of(format!(
                r#"{{"hostport":"poc-routing-server-1:{port}","hostport":"poc-routing-server-2:{port}"}}"#
            ))
        },
        NOTHING,
    ),
    refused("deep nesting without an end", |_| body_of("[".repeat(100_000)), NOTHING),
    routed("deep nesting beside it", |port| {
        body_of(format!(
            r#"{{"x":{}{},"hostport":"poc-routing-server-1:{port}"}}"#,
            "[".repeat(50_000),
            "]".repeat(50_000)
        ))
    }),
    refused("3 MB of nothing", |_| body_of("x".repeat(3_000_000)), NOTHING),
    routed("3 MB around it", |port| {
        body_of(format!(r#"{{"x":"{}","hostport":"poc-routing-server-1:{port}"}}"#, "y".repeat(3_000_000)))
    }),
    refused("a hostport that is not UTF-8", |_| body_of(b"{\"hostport\":\"a\xff:1\"}"), NOTHING),
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
    refused("no port", |_| hostport("poc-routing-server-1"), FORBIDDEN),
    refused("port 99999", |_| hostport("poc-routing-server-1:99999"), FORBIDDEN),
    refused("port 0", |_| hostport("poc-routing-server-1:0"), FORBIDDEN),
    refused("CR LF", |port| hostport(&format!("poc-routing-server-1:{port}\r\nx-evil: 1")), FORBIDDEN),
    refused(
        "user information",
        |port| hostport(&format!("poc-routing-server-1@evil.example:{port}")),
        FORBIDDEN,
    ),
    refused("a path", |port| hostport(&format!("poc-routing-server-1:{port}/admin")), FORBIDDEN),
    refused("a scheme", |port| hostport(&format!("http://poc-routing-server-1:{port}")), FORBIDDEN),
    refused("loopback", |port| hostport(&format!("127.0.0.1:{port}")), FORBIDDEN),
    refused("loopback in IPv6", |port| hostport(&format!("[::1]:{port}")), FORBIDDEN),
    refused("loopback as a number", |port| hostport(&format!("2130706433:{port}")), FORBIDDEN),
    refused("the metadata service", |_| hostport("169.254.169.254:80"), FORBIDDEN),
    refused("a name that is not allowed", |port| hostport(&format!("evil.example:{port}")), FORBIDDEN),
    refused(
        "an allowed name's child",
        |port| hostport(&format!("poc-routing-server-1.evil.example:{port}")),
        FORBIDDEN,
    ),
    refused("another port", |_| hostport("poc-routing-server-1:22"), FORBIDDEN),
    routed("upper case", |port| hostport(&format!("POC-Routing-Server-1:{port}"))),
];

fn survives_everything(
    plugin: Value,
    cases: impl Iterator<Item = &'static Case> + Clone + Send + Sync + 'static,
) {
    let script = cases.clone();
    let (env, _resolver) = with_resolver(plugin, move |path, port| {
        let name = path.rsplit('=').next().unwrap_or_default().replace('+', " ");
        match script.clone().find(|case| case.name == name) {
            Some(case) => (case.answer)(port),
            None => hostport(&format!("poc-routing-server-2:{port}")),
        }
    });
    let env = env.start().unwrap();
    for case in cases {
        let answer = env.get(&format!("/join?client_id={}", case.name.replace(' ', "+"))).unwrap();
        match case.expected {
            Some((status, body)) => {
                assert_eq!((answer.status, answer.text().as_str()), (status, body), "{}", case.name);
            }
            None => assert_eq!(answer.status, 200, "{}: {}", case.name, answer.text()),
        }
        let next = env.get("/join?client_id=good").unwrap();
        assert_eq!(next.status, 200, "after {}: {}", case.name, next.text());
        assert_eq!(next.json().unwrap()["assigned"], env.servers.hostport(2), "after {}", case.name);
    }
    assert_no_reload(&env);
}

#[test]
fn a_hostile_resolver_meets_a_list_of_allowed_targets() {
    let plugin = json!({
        "resolve": { "timeout": "0.5s" },
        "allowed_targets": ["poc-routing-server-*:8081"],
    });
    survives_everything(plugin, CASES.iter());
}

#[test]
fn without_a_list_dangerous_literals_are_refused_all_the_same() {
    let forbidden = CASES.iter().filter(|case| match case.expected {
        // Only the list could refuse these.
        Some((_, FORBIDDEN)) => {
            !["a name that is not allowed", "an allowed name's child", "another port"].contains(&case.name)
        }
        _ => false,
    });
    survives_everything(json!({ "resolve": { "timeout": "0.5s" } }), forbidden);
}
