//! Random configurations of keys and answers against random requests: nothing may panic, nor take long.

use crate::{Bench, Fake, get, with_header};
use pinroute_core::decision::{Decision, Verdict};
use pinroute_core::response::{Headers, Response};
use pinroute_core::target::Target;
use proptest::prelude::*;
use std::time::Instant;

const CONFIGS: &[&str] = &[
    r#"{"key":{"host":"{a}-{b}.*.test"},"template":{},"target":{"authority":"x-{a}.{b}:80"}}"#,
    r#"{"key":{"path":"/{a}/x-{b}/**"},"template":{},"target":{"header":{"name":"x-a","value":"{a}|{b}"}}}"#,
    r#"{"key":{"parts":{"a":{"cookie":"c","match":"*.{x}-*"},"b":{"query":"q","default":"d"}}},
        "resolve":{"path":"/{a}/{b}","body":["{a}"],"headers":{"x-b":"{b}"}}}"#,
    r#"{"key":{"first":[{"cookie":"c"},{"query":"q"},{"header":"x-h"}]},"resolve":{"answer":{"host":"/a/b","port":"/a/p"}}}"#,
    r#"{"resolve":{"answer":{"name":"text"},"set_headers":{"x-s":"/a"}},"target":{"header":{"name":"x-a","value":"{name}"}}}"#,
];

/// Decides a request, and lets a response follow if it needs one.
fn run(config: &str, request: &Fake, body: &[u8]) -> Option<Verdict> {
    let mut bench = Bench::new(config);
    match bench.decide(request) {
        Decision::Verdict(verdict) => Some(verdict),
        Decision::Wait => None,
        Decision::Call(call) => {
            assert!(call.path.bytes().all(|byte| matches!(byte, 0x21..=0x7e)), "{}", call.path);
            bench.worker.on_sent(&bench.router, call, 1);
            let response = Response::Complete { status: 200, body, headers: Headers::default() };
            let resolved = bench.worker.on_response(1, response, bench.now)?;
            Some(bench.router.on_resolved(&mut bench.worker, &resolved.answer, request, &bench.live))
        }
    }
}

proptest! {
    #[test]
    fn no_request_and_no_response_makes_a_wrong_target(
        path in "/[a-c/%2F.x?&=q-]{0,30}", host in "[a-c.:@\\[\\]-]{0,20}(\\.test)?", cookie in "[c=.; a-]{0,20}",
        body in "([{}\\[\\]\":,abp0-9 ]|\\\\u0061){0,30}|[a-z.:0-9]{1,12}|\\{\"a\":\\{\"b\":\"[a-z.:0-9]{0,6}\",\"p\":[0-9]{1,6}\\}\\}",
    ) {
        let request = with_header(with_header(get(&path), ":authority", &host), "cookie", &cookie);
        for config in CONFIGS {
            if let Some(Verdict::Route(route)) = run(config, &request, body.as_bytes()) {
                let text = match route.host.target.as_ref().unwrap() {
                    Target::Authority(text) | Target::Header { value: text, .. } => text,
                    Target::DynamicHost { host, .. } => host,
                };
                let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._|:[]".contains(&byte);
                prop_assert!(!text.is_empty() && text.bytes().all(is_allowed), "{}", text);
            }
        }
    }
}

#[test]
fn long_input_takes_time_in_proportion() {
    // 100,000 bytes. Each takes less than a millisecond; a quadratic one would take seconds.
    let long = "a-".repeat(50_000);
    let started = Instant::now();
    for config in CONFIGS {
        let path = format!("/{long}/x-{long}?q={long}");
        let request =
            with_header(with_header(get(&path), ":authority", &long), "cookie", &format!("c={long}"));
        let body = format!("{}1{}", "[".repeat(50_000), "]".repeat(50_000));
        let _ = run(config, &request, body.as_bytes());
        let _ = run(config, &request, format!("{{\"a\":{{\"b\":\"{long}\"}}}}").as_bytes());
    }
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
}
