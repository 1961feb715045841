//! Every wrong configuration is refused with one message that names the field, the value and what is
//! allowed. The whole message is asserted: it is what a user has to find the mistake by.

use pinroute_core::config::Config;

const CASES: &[(&str, &str)] = &[
    // The document.
    ("nonsense", "the configuration: not JSON: expected ident at line 1 column 2; allowed: a JSON object"),
    (
        "{\"key\":",
        "the configuration: not JSON: EOF while parsing a value at line 1 column 7; allowed: a JSON object",
    ),
    (
        "{} {}",
        "the configuration: not JSON: trailing characters at line 1 column 4; allowed: a JSON object",
    ),
    ("[]", "the configuration: got []; allowed: an object with FIELDS"),
    ("\"x\"", "the configuration: got \"x\"; allowed: an object with FIELDS"),
    ("null", "the configuration: got null; allowed: an object with FIELDS"),
    (r#"{"keys":{}}"#, "keys: unknown field; allowed: FIELDS"),
    // key
    (r#"{"key":"client_id"}"#, "key: got \"client_id\"; allowed: an object with query, header, cookie, path_segment"),
    (r#"{"key":{}}"#, "key: got none of its fields; allowed: exactly one of query, header, cookie, path_segment"),
    (
        r#"{"key":{"query":"a","header":"b"}}"#,
        "key.header: cannot stand beside `query`; got both `query` and `header`; allowed: exactly one of query, header, cookie, path_segment",
    ),
    (r#"{"key":{"param":"a"}}"#, "key.param: unknown field; allowed: query, header, cookie, path_segment"),
    (r#"{"key":{"query":5}}"#, "key.query: got 5; allowed: a query parameter's name as it stands in a URL"),
    (r#"{"key":{"query":""}}"#, "key.query: got \"\"; allowed: a query parameter's name as it stands in a URL"),
    (r#"{"key":{"query":"a&b"}}"#, "key.query: got \"a&b\"; allowed: a query parameter's name as it stands in a URL"),
    (r#"{"key":{"header":"x y"}}"#, "key.header: got \"x y\"; allowed: a header's name"),
    (r#"{"key":{"header":":path"}}"#, "key.header: got \":path\"; allowed: a header's name"),
    (r#"{"key":{"cookie":"a=b"}}"#, "key.cookie: got \"a=b\"; allowed: a cookie's name"),
    (r#"{"key":{"path_segment":-1}}"#, "key.path_segment: got -1; allowed: a whole number from 0 to 63"),
    (r#"{"key":{"path_segment":1.5}}"#, "key.path_segment: got 1.5; allowed: a whole number from 0 to 63"),
    (r#"{"key":{"path_segment":"1"}}"#, "key.path_segment: got \"1\"; allowed: a whole number from 0 to 63"),
    // path_prefix
    (
        r#"{"path_prefix":"join"}"#,
        "path_prefix: got \"join\"; allowed: a path that starts with `/`, without white space or `#`",
    ),
    (
        r#"{"path_prefix":7}"#,
        "path_prefix: got 7; allowed: a path that starts with `/`, without white space or `#`",
    ),
    // resolve
    (r#"{"resolve":null}"#, "resolve: got null; allowed: an object with RESOLVE"),
    (r#"{"resolve":{"cluster":""}}"#, "resolve.cluster: got \"\"; allowed: the name of an Envoy cluster"),
    (r#"{"resolve":{"cluster":["a"]}}"#, "resolve.cluster: got [\"a\"]; allowed: the name of an Envoy cluster"),
    (
        r#"{"resolve":{"path":"where"}}"#,
        "resolve.path: got \"where\"; allowed: a path that starts with `/`, without white space or `#`",
    ),
    (
        r#"{"resolve":{"path":"/a b"}}"#,
        "resolve.path: got \"/a b\"; allowed: a path that starts with `/`, without white space or `#`",
    ),
    (
        r#"{"resolve":{"query":"a=b"}}"#,
        "resolve.query: got \"a=b\"; allowed: a query parameter's name as it stands in a URL",
    ),
    (r#"{"resolve":{"timeout":1}}"#, "resolve.timeout: got 1; allowed: DURATION"),
    (r#"{"resolve":{"timeout":"1"}}"#, "resolve.timeout: got \"1\"; allowed: DURATION"),
    (r#"{"resolve":{"timeout":"0s"}}"#, "resolve.timeout: got \"0s\"; allowed: DURATION"),
    (r#"{"resolve":{"timeout":"0.5ms"}}"#, "resolve.timeout: got \"0.5ms\"; allowed: DURATION"),
    (r#"{"resolve":{"timeout":"2h"}}"#, "resolve.timeout: got \"2h\"; allowed: DURATION"),
    (
        r#"{"resolve":{"max_in_flight":0}}"#,
        "resolve.max_in_flight: got 0; allowed: a whole number from 1 to 1000000",
    ),
    (
        r#"{"resolve":{"max_in_flight":"many"}}"#,
        "resolve.max_in_flight: got \"many\"; allowed: a whole number from 1 to 1000000",
    ),
    (r#"{"resolve":{"retries":3}}"#, "resolve.retries: unknown field; allowed: RESOLVE"),
    // target
    (r#"{"target":"a"}"#, "target: got \"a\"; allowed: an object with TARGETS"),
    (r#"{"target":{}}"#, "target: got none of its fields; allowed: exactly one of TARGETS"),
    (
        r#"{"target":{"authority":"server-{index}:80"}}"#,
        "target.authority: unknown placeholder {index}; allowed: a text with {hostport}",
    ),
    (
        r#"{"target":{"authority":"server:80"}}"#,
        "target.authority: got \"server:80\"; allowed: a text with {hostport}",
    ),
    (
        r#"{"target":{"authority":"{hostport"}}"#,
        "target.authority: a brace without its partner; allowed: a text with {hostport}",
    ),
    (r#"{"target":{"authority":true}}"#, "target.authority: got true; allowed: a text with {hostport}"),
    // allowed_targets
    (r#"{"allowed_targets":"a:80"}"#, "allowed_targets: got \"a:80\"; allowed: LIST"),
    (r#"{"allowed_targets":[]}"#, "allowed_targets: got []; allowed: LIST"),
    (r#"{"allowed_targets":["a:80",8]}"#, "allowed_targets[1]: got 8; allowed: LIST"),
    (
        r#"{"allowed_targets":["http://a:80"]}"#,
        "allowed_targets[0]: got \"http://a:80\"; allowed: host:port with `*` for part of a label, but a host has letters, digits, `-`, `_`, `.` and `*` only",
    ),
    (
        r#"{"allowed_targets":["a:99999"]}"#,
        "allowed_targets[0]: got \"a:99999\"; allowed: host:port with `*` for part of a label, but a port is a number from 1 to 65535",
    ),
    // on_error
    (r#"{"on_error":"ignore"}"#, "on_error: got \"ignore\"; allowed: reject or continue"),
    (r#"{"on_error":{"a":[1,null]}}"#, "on_error: got {\"a\":[1,null]}; allowed: reject or continue"),
];

/// Lists that recur in the messages.
const SHORTHANDS: &[(&str, &str)] = &[
    ("FIELDS", "key, path_prefix, resolve, target, allowed_targets, on_error"),
    ("RESOLVE", "cluster, path, query, timeout, max_in_flight"),
    ("TARGETS", "authority"),
    ("DURATION", "a duration such as \"1s\", \"0.25s\" or \"250ms\", from 1ms to 3600s"),
    ("LIST", "a list of at least one host:port, in which `*` stands for part of a label"),
];

#[test]
fn every_mistake_is_named() {
    for (text, expected) in CASES {
        let expected =
            SHORTHANDS.iter().fold((*expected).to_owned(), |text, (name, list)| text.replace(name, list));
        let error = Config::parse(text.as_bytes()).expect_err(text);
        assert_eq!(error.to_string(), expected, "{text}");
    }
    assert!(CASES.len() >= 30);
}

#[test]
fn a_long_value_is_cut_in_the_message() {
    let text = format!(r#"{{"on_error":"{}"}}"#, "é".repeat(10_000));
    let message = Config::parse(text.as_bytes()).expect_err("refused").to_string();
    assert!(message.len() < 400 && message.contains('…'), "{message}");
}

#[test]
fn bytes_that_are_not_text_are_refused() {
    assert!(Config::parse(b"{\"on_error\":\"\xff\"}").is_err());
}
