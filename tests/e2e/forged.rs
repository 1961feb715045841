//! A client's values of headers that the filter owns have no effect: whichever option makes a header the filter's own,
//! however a client sends it, and whatever happens to the request.

use crate::recipes_by_pattern::{fields, read_head};
use crate::{assert_no_reload, one_route, with_resolver};
use pinroute_testkit::env::TestEnv;
use pinroute_testkit::fake_resolver::FakeResponse;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The header that the option of a case owns.
const OWNED: &str = "x-owned";

/// What a client sends, as lines of the request. A header's name stands there in three cases.
const FORGERIES: [(&str, &str); 6] = [
    ("nothing", ""),
    ("a value", "{name}: forged\r\n"),
    ("a repeated value", "{name}: forged\r\n{name}: forged\r\n{name}: forged-too\r\n"),
    ("another case", "{NAME}: forged\r\n"),
    ("each case", "{Name}: forged\r\n{name}: forged-too\r\n{NAME}: forged\r\n"),
    // Asks a proxy to remove the header.
    ("a name in connection", "connection: keep-alive, {name}\r\n{name}: forged\r\n"),
];

fn forge(lines: &str, name: &str) -> String {
    let title = name.replacen('x', "X", 1);
    lines.replace("{name}", name).replace("{Name}", &title).replace("{NAME}", &name.to_uppercase())
}

/// What is expected of a request.
#[derive(Clone, Copy)]
enum Expected {
    /// A host receives this value, exactly once.
    Value(&'static str),
    /// A host receives no such header.
    Nothing,
    /// Status and body of an error.
    Error(u16, &'static str),
}
use Expected::{Error, Nothing, Value as Is};

/// An option that owns [`OWNED`], in a configuration, with what is expected of requests by their paths.
struct Case {
    option: &'static str,
    plugin: Value,
    expected: &'static [(&'static str, Expected)],
}

const NO_KEY: &str = "/headers";
const WRONG_KEY: &str = "/headers?client_id=%00";
const OUTSIDE: &str = "/echo?client_id=ok";
/// The resolver knows the owner, and says that there is none, and fails.
const KNOWN: &str = "/headers?client_id=ok";
const UNKNOWN: &str = "/headers?client_id=none";
const FAILS: &str = "/headers?client_id=fails";
const INVALID: Expected = Error(400, "invalid client_id");

fn own(value: &str) -> Value {
    json!({ "header": { "name": OWNED, "value": value } })
}

fn cases() -> [Case; 9] {
    // `more` comes on top of this.
    let resolve = |more: Value| {
        let mut plugin = json!({
            "resolve": { "answer": { "name": "/tenant" } }, "target": { "header": { "name": "x-other", "value": "{name}" } },
            "on_missing_key": "continue", "on_error": "continue",
        });
        plugin.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        plugin
    };
    [
        Case {
            option: "target of resolve",
            plugin: resolve(json!({ "target": own("{name}") })),
            expected: &[
                (KNOWN, Is("t1")),
                (UNKNOWN, Error(502, "resolver returned 404")),
                (FAILS, Nothing),
                (NO_KEY, Nothing),
                (WRONG_KEY, INVALID),
                (OUTSIDE, Nothing),
            ],
        },
        Case {
            option: "target of resolve with a cache",
            plugin: resolve(json!({
                "resolve": { "answer": { "name": "/tenant" }, "cache": { "negative_ttl": "600s" } }, "target": own("{name}"),
            })),
            expected: &[
                (KNOWN, Is("t1")),
                (UNKNOWN, Error(502, "resolver returned 404")),
                (FAILS, Nothing),
                (OUTSIDE, Nothing),
            ],
        },
        Case {
            option: "target of index",
            plugin: json!({
                "index": { "names": ["a"] }, "target": own("{name}"), "allowed_targets": ["a"], "on_missing_key": "continue",
            }),
            expected: &[(KNOWN, Is("a")), (NO_KEY, Nothing), (WRONG_KEY, INVALID), (OUTSIDE, Nothing)],
        },
        Case {
            option: "target of template",
            plugin: json!({ "template": {}, "target": own("{key}"), "allowed_targets": ["ok"], "on_error": "continue" }),
            expected: &[
                (KNOWN, Is("ok")),
                (UNKNOWN, Nothing),
                (NO_KEY, Error(400, "missing client_id")),
                (WRONG_KEY, INVALID),
                (OUTSIDE, Nothing),
            ],
        },
        Case {
            option: "target of fallback",
            plugin: resolve(json!({ "fallback": { "template": {}, "target": own("f-{key}") } })),
            expected: &[
                (KNOWN, Nothing),
                (UNKNOWN, Error(502, "resolver returned 404")),
                (FAILS, Is("f-fails")),
                (NO_KEY, Nothing),
                (WRONG_KEY, INVALID),
                (OUTSIDE, Nothing),
            ],
        },
        Case {
            option: "target of on_missing_key",
            plugin: resolve(json!({ "on_missing_key": { "target": own("default") } })),
            expected: &[
                (KNOWN, Nothing),
                (UNKNOWN, Error(502, "resolver returned 404")),
                (FAILS, Nothing),
                (NO_KEY, Is("default")),
                (WRONG_KEY, INVALID),
                (OUTSIDE, Nothing),
            ],
        },
        Case {
            option: "target of on_not_found",
            plugin: resolve(
                json!({ "on_not_found": { "target": own("default") }, "on_missing_key": "reject" }),
            ),
            expected: &[
                (KNOWN, Nothing),
                (UNKNOWN, Is("default")),
                (FAILS, Nothing),
                (NO_KEY, Error(400, "missing client_id")),
                (WRONG_KEY, INVALID),
                (OUTSIDE, Nothing),
            ],
        },
        Case {
            option: "target of on_error",
            plugin: resolve(json!({ "on_error": { "target": own("default") }, "on_not_found": "continue" })),
            expected: &[
                (KNOWN, Nothing),
                (UNKNOWN, Nothing),
                (FAILS, Is("default")),
                (NO_KEY, Nothing),
                (WRONG_KEY, INVALID),
                (OUTSIDE, Nothing),
            ],
        },
        Case {
            option: "set_headers",
            plugin: resolve(json!({
                "resolve": { "answer": { "name": "/tenant" }, "set_headers": { "X-Owned": "/plan" } },
                "on_not_found": { "target": { "header": { "name": "x-other", "value": "default" } } },
            })),
            expected: &[
                (KNOWN, Is("gold")),
                (UNKNOWN, Nothing),
                (FAILS, Nothing),
                (NO_KEY, Nothing),
                (WRONG_KEY, INVALID),
                (OUTSIDE, Nothing),
            ],
        },
    ]
}

/// Status and body. The client has a host that Envoy reaches also if the filter lets the request pass.
fn ask(env: &TestEnv, path: &str, lines: &str) -> (u16, String) {
    let host = env.servers.hostport(1);
    let mut stream = TcpStream::connect(env.addr()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\n{lines}\r\n").unwrap();
    let head = read_head(&mut stream);
    let length = fields(&head, "content-length")[0].parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), String::from_utf8(body).unwrap())
}

/// The values of a header as the host received them.
fn received(body: &str, header: &str) -> Vec<String> {
    let seen: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
    let headers = seen["headers"].as_array().unwrap().iter();
    headers.filter(|pair| pair[0] == header).map(|pair| pair[1].as_str().unwrap().to_owned()).collect()
}

#[test]
fn no_option_lets_a_client_set_the_header_that_it_owns() {
    for Case { option, mut plugin, expected } in cases() {
        plugin["path_prefix"] = json!("/headers");
        let (env, resolver) =
            with_resolver(plugin, |path, _| match path.rsplit('=').next().unwrap_or_default() {
                "ok" => FakeResponse::ok(r#"{"tenant":"t1","plan":"gold"}"#),
                "none" => FakeResponse::status(404, ""),
                _ => FakeResponse::status(500, ""),
            });
        let env = env.edit(one_route("dynamic_forward_proxy_cluster")).start().unwrap();
        for (path, expected) in expected {
            for (forgery, lines) in FORGERIES {
                let place = format!("{option}, {path}, {forgery}");
                let (status, body) = ask(&env, path, &forge(lines, OWNED));
                assert!(!body.contains("forged"), "{place}: {body}");
                match expected {
                    Is(value) => assert_eq!(
                        (status, received(&body, OWNED)),
                        (200, vec![(*value).to_owned()]),
                        "{place}"
                    ),
                    Nothing => assert_eq!((status, received(&body, OWNED)), (200, vec![]), "{place}"),
                    Error(code, text) => assert_eq!((status, body.as_str()), (*code, *text), "{place}"),
                }
            }
        }
        for call in resolver.requests() {
            let head = String::from_utf8_lossy(&call.head);
            assert!(!head.to_lowercase().contains(OWNED), "{option}: the resolver received {head}");
        }
        assert_no_reload(&env);
    }
}

#[test]
fn a_client_cannot_set_the_headers_of_a_shard() {
    const SHARD: [&str; 4] = ["x-shard-assignment", "x-shard-config", "x-target-host", OWNED];
    let plugin = json!({
        "path_prefix": "/headers", "on_missing_key": "continue", "target": own("{name}"),
        "shuffle_shard": { "names": ["a"], "shard_size": 1 }, "allowed_targets": ["a"],
    });
    let (env, _resolver) = with_resolver(plugin, |_, _| FakeResponse::status(500, ""));
    let env = env.edit(one_route("dynamic_forward_proxy_cluster")).start().unwrap();
    for (forgery, lines) in FORGERIES {
        let lines = SHARD.map(|name| forge(lines, name)).concat();
        let all = |path| {
            let (status, body) = ask(&env, path, &lines);
            assert_eq!(status, 200, "{path}, {forgery}: {body}");
            assert!(!body.contains("forged"), "{path}, {forgery}: {body}");
            SHARD.map(|name| received(&body, name).join("|"))
        };
        assert_eq!(all(KNOWN), ["a", "1/1", "a", "a"], "{forgery}");
        assert_eq!(all(NO_KEY), [""; 4], "{forgery}");
        assert_eq!(all(OUTSIDE), [""; 4], "{forgery}");
        assert_eq!(ask(&env, WRONG_KEY, &lines), (400, "invalid client_id".to_owned()), "{forgery}");
    }
    assert_no_reload(&env);
}
