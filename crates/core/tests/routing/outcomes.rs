//! Keys of several kinds, targets of the key alone, other resolvers, and what happens otherwise.

use crate::{Bench, Fake, complete, get, shown, with_header};
use pinroute_core::decision::{Decision, Verdict};
use pinroute_core::live::compile::Compiler;
use pinroute_core::live::snapshot::Snapshot;
use pinroute_core::live::value::Scalar;
use pinroute_core::metrics::Counter;
use pinroute_core::request::Reply;
use pinroute_core::response::{Headers, Response};
use std::borrow::Cow;
use std::sync::Arc;

fn to(authority: &str, path: &str) -> Fake {
    with_header(get(path), ":authority", authority)
}

fn decided(config: &str, request: &Fake) -> String {
    shown(Bench::new(config).verdict(request))
}

#[test]
fn a_template_makes_the_target_of_the_key_alone() {
    let config = r#"{"key":{"host":"{port}-{id}.sandbox.test"},"template":{},
        "target":{"authority":"engine-{id}.pool.svc:{port}"}}"#;
    assert_eq!(decided(config, &to("3000-Ab.Sandbox.test:80", "/")), "engine-ab.pool.svc:3000");
    for authority in [
        "0-a.sandbox.test",
        "99999-a.sandbox.test",
        "http-a.sandbox.test",
        "80-a_b.sandbox.test",
        "80-a-.sandbox.test",
    ] {
        assert_eq!(decided(config, &to(authority, "/")), "400 invalid host", "{authority}");
    }
    for authority in ["a.sandbox.test", "80-a.b.sandbox.test", "80-a.sandbox.test.evil", "127.0.0.1"] {
        assert_eq!(decided(config, &to(authority, "/")), "400 missing host", "{authority}");
    }
    let config =
        r#"{"key":{"host":"{Id}.Sandbox.test"},"template":{},"target":{"authority":"{Id}.pool.svc:80"}}"#;
    assert_eq!(decided(config, &to("A.sandbox.test", "/")), "a.pool.svc:80", "the case of a name matters");
    let Verdict::Route(route) = Bench::new(config).verdict(&to("A.sandbox.test", "/")) else { panic!() };
    assert_eq!(route.to_string(), "a.pool.svc:80", "the log says where a request goes");
    // A client must not be able to write an address.
    let config = r#"{"template":{},"target":{"authority":"{key}:80"}}"#;
    assert_eq!(decided(config, &get("/?client_id=2130706433")), "400 invalid client_id");
    let config = r#"{"template":{},"target":{"authority":"{key}"},"allowed_targets":["a-*:80"]}"#;
    assert_eq!(decided(config, &get("/?client_id=a-1:80")), "a-1:80");
    assert_eq!(decided(config, &get("/?client_id=b-1:80")), "502 target not allowed");
    assert_eq!(decided(config, &get("/?client_id=a-1")), "400 invalid client_id");
    let config = r#"{"template":{},"target":{"header":{"name":"x-cell","value":"cell-{key}"}}}"#;
    assert_eq!(decided(config, &get("/?client_id=A.b_c|d")), "x-cell: cell-A.b_c|d");
    assert_eq!(decided(config, &get("/?client_id=a%20b")), "400 invalid client_id");
}

#[test]
fn the_first_source_that_is_there_counts() {
    let config = r#"{"key":{"first":[{"cookie":"force-cell"},{"header":"x-cell","match":"cell-{key}"}]},
        "template":{},"target":{"authority":"s-{key}:80"}}"#;
    assert!(decided(config, &get("/")).starts_with("400 missing force-cell"));
    let config = config.replace("cell-{key}", "{key}-*");
    assert_eq!(decided(&config, &with_header(get("/"), "x-cell", "7-x")), "s-7:80");
    assert_eq!(decided(&config, &with_header(get("/"), "x-cell", "7")), "400 missing force-cell");
    let both = with_header(with_header(get("/"), "x-cell", "7-x"), "cookie", "force-cell=3");
    assert_eq!(decided(&config, &both), "s-3:80");
}

#[test]
fn the_call_carries_parts_in_its_path_its_body_and_its_headers() {
    let config = r#"{"key":{"parts":{"id":{"header":"x-id"},"ns":{"header":"x-ns","default":"prod"}}},
        "resolve":{"path":"/tenants/{ns}/{id}?v=2","body":{"type":"tenant","n":[1,true,null,"{id}/{ns}"],"{id}":"\"x"},
        "headers":{"x-api-key":"secret-{ns}"},"forward_headers":["Authorization"]}}"#;
    let request = with_header(with_header(get("/"), "x-id", "a/b\"é"), "authorization", "Bearer t");
    let call = Bench::new(config).call(&request);
    assert_eq!(call.path, "/tenants/prod/a%2Fb%22%C3%A9?v=2");
    let body: serde_json::Value = serde_json::from_str(&call.body.unwrap()).unwrap();
    assert_eq!(body, serde_json::json!({"type":"tenant","n":[1,true,null,"a/b\"é/prod"],"{id}":"\"x"}));
    let header = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
    assert_eq!(call.headers, [header("x-api-key", "secret-prod"), header("authorization", "Bearer t")]);
    let with_parameter = r#"{"resolve":{"path":"/{key};v=1/shard"}}"#;
    assert_eq!(decided(with_parameter, &get("/?client_id=..")), "400 invalid client_id");
    for (name, value, at) in [("x-id", "..", "x-id"), ("x-id", ".", "x-id"), ("x-ns", "a b", "x-id")] {
        let request = with_header(with_header(get("/"), "x-id", "1"), name, value);
        assert_eq!(decided(config, &request), format!("400 invalid {at}"), "{name}: {value}");
    }
    let several = r#"{"key":{"host":"{a}-{b}.test"},"resolve":{"path":"/where?v=1"}}"#;
    assert_eq!(Bench::new(several).call(&to("x-y.test", "/")).path, "/where?v=1&a=x&b=y");
    let matched = r#"{"key":{"query":"id","match":"{key}-*"},"resolve":{}}"#;
    assert_eq!(Bench::new(matched).call(&get("/?id=a%20b-c")).path, "/where?id=a%20b");
}

#[test]
fn an_answer_for_one_credential_is_never_given_to_another() {
    let config = r#"{"resolve":{"forward_headers":["authorization"],"cache":{}}}"#;
    let mut bench = Bench::new(config);
    let as_user = |user: Option<&str>| match user {
        Some(user) => with_header(get("/?client_id=1"), "authorization", user),
        None => get("/?client_id=1"),
    };
    bench.send(&as_user(Some("a")), 1);
    for other in [None, Some(""), Some("b")] {
        assert!(matches!(bench.decide(&as_user(other)), Decision::Call(_)), "{other:?}");
    }
    assert!(matches!(bench.decide(&as_user(Some("a"))), Decision::Wait));
    bench.respond(1, 200, r#"{"hostport":"a:80"}"#);
    assert_eq!(shown(bench.verdict(&as_user(Some("a")))), "a:80");
    for other in [None, Some(""), Some("b")] {
        assert!(matches!(bench.decide(&as_user(other)), Decision::Call(_)), "{other:?}");
    }
}

#[test]
fn a_target_of_key_and_answer_belongs_to_its_key() {
    let config = r#"{"key":{"parts":{"id":{"header":"x-id"},"ns":{"header":"x-ns"}}},
        "resolve":{"path":"/{id}","answer":{"host":"text"},"cache":{}},"target":{"authority":"{host}-{ns}:80"}}"#;
    let mut bench = Bench::new(config);
    let request = |ns| with_header(with_header(get("/"), "x-id", "1"), "x-ns", ns);
    bench.send(&request("a"), 1);
    assert_eq!(bench.respond(1, 200, " pool \n"), [(1, "pool-a:80".to_owned())]);
    bench.send(&request("b"), 2);
    assert_eq!(bench.respond(2, 200, "pool"), [(2, "pool-b:80".to_owned())]);
    assert_eq!(shown(bench.verdict(&request("a"))), "pool-a:80");
    assert_eq!(shown(bench.verdict(&request("a.b"))), "400 invalid x-id", "found before anything is called");
}

#[test]
fn nobody_but_the_operator_chooses_an_address_of_the_proxys_own_machine() {
    let config =
        r#"{"resolve":{"answer":{"name":"text"}},"target":{"header":{"name":"x-dst","value":"{name}:81"}}}"#;
    for (config, expected) in [
        (config.to_owned(), "502 target not allowed"),
        (config.replace("\"target\"", r#""allowed_targets":["127.0.0.1"],"target""#), "x-dst: 127.0.0.1:81"),
    ] {
        let mut bench = Bench::new(&config);
        bench.send(&get("/?client_id=1"), 1);
        assert_eq!(bench.respond(1, 200, "127.0.0.1"), [(1, expected.to_owned())]);
    }
    let config = r#"{"template":{},"target":{"header":{"name":"x-dst","value":"{key}:81"}}}"#;
    assert_eq!(decided(config, &get("/?client_id=169.254.169.254")), "502 target not allowed");
    assert_eq!(decided(config, &get("/?client_id=10.0.0.1")), "x-dst: 10.0.0.1:81");
    let without_port = r#"{"key":{"query":"id","match":"{a}-{b}-{c}-{d}"},"template":{},
        "target":{"dynamic_host":"{a}.{b}.{c}.{d}"}}"#;
    assert_eq!(decided(without_port, &get("/?id=127-0-0-1")), "502 target not allowed");
    assert_eq!(decided(without_port, &get("/?id=10-0-0-1")), "10.0.0.1 ");
}

#[test]
fn parts_that_do_not_fit_together_are_found_before_anything_is_called() {
    let long = "x".repeat(40);
    let config =
        r#"{"key":{"query":"id","match":"{a}.{b}"},"resolve":{"answer":{"host":"text"}},"target":TARGET}"#;
    for (target, fits, unfit) in [
        (r#"{"authority":"{a}-{b}.{host}:80"}"#, format!("{long}.x"), format!("{long}.{long}")),
        (r#"{"dynamic_host":"{host}:{a}{b}"}"#, "808.1".to_owned(), "65535.1".to_owned()),
    ] {
        let config = config.replace("TARGET", target);
        assert!(matches!(Bench::new(&config).decide(&get(&format!("/?id={fits}"))), Decision::Call(_)));
        assert_eq!(decided(&config, &get(&format!("/?id={unfit}"))), "400 invalid id");
    }
}

#[test]
fn requests_that_share_a_call_have_fallbacks_of_their_own() {
    let config = r#"{"key":{"parts":{"id":{"header":"x-id"},"ns":{"header":"x-ns"}}},
        "resolve":{"path":"/{id}","cache":{}},"fallback":{"template":{},"target":{"authority":"{id}.{ns}:80"}}}"#;
    let mut bench = Bench::new(config);
    let request = |ns| with_header(with_header(get("/"), "x-id", "a"), "x-ns", ns);
    bench.send(&request("b"), 1);
    assert!(matches!(bench.decide(&request("c")), Decision::Wait), "the same is sent for both");
    assert!(matches!(bench.decide(&request("d_")), Decision::Wait), "unfit for the fallback alone");
    let unfit = "502 resolver returned 500".to_owned();
    assert_eq!(bench.respond(1, 500, ""), [(1, "a.b:80".to_owned()), (2, "a.c:80".to_owned()), (3, unfit)]);
    assert_eq!(shown(bench.verdict(&request("e"))), "a.e:80", "out of the cache");
}

#[test]
fn each_kind_of_answer_becomes_a_target() {
    let answered = |config: &str, body: &str, headers: &[(String, Vec<u8>)]| {
        let mut bench = Bench::new(config);
        bench.send(&get("/?client_id=1"), 1);
        let response = Response::Complete { status: 200, body: body.as_bytes(), headers: Headers(headers) };
        bench.respond_by(1, response).remove(0).1
    };
    let nested = r#"{"resolve":{"answer":{"hostport":"/proxy/address"}}}"#;
    assert_eq!(answered(nested, r#"{"proxy":{"address":"a:1"}}"#, &[]), "a:1");
    assert_eq!(answered(nested, r#"{"hostport":"a:1"}"#, &[]), "502 no hostport in resolver body");
    let parts = r#"{"resolve":{"answer":{"host":"/server","port":"/port"}}}"#;
    assert_eq!(answered(parts, r#"{"server":"a","port":81}"#, &[]), "a:81");
    assert_eq!(answered(parts, r#"{"server":"2001:db8::1","port":"81"}"#, &[]), "[2001:db8::1]:81");
    assert_eq!(answered(parts, r#"{"server":"127.0.0.1","port":"81"}"#, &[]), "502 target not allowed");
    assert_eq!(answered(parts, r#"{"server":"a","port":0}"#, &[]), "502 target not allowed");
    assert_eq!(answered(parts, r#"{"server":"a"}"#, &[]), "502 no port in resolver body");
    let name = r#"{"resolve":{"answer":{"name":"text"}},"target":{"header":{"name":"x-shard","value":"shard_{name}"}},
        "allowed_targets":["shard_*"]}"#;
    assert_eq!(answered(name, "eu-1\n", &[]), "x-shard: shard_eu-1");
    for bad in ["a b", "a/b", &"a".repeat(129), "a.b"] {
        assert_eq!(answered(name, bad, &[]), "502 target not allowed", "{bad}");
    }
    assert_eq!(answered(name, "", &[]), "502 no name in resolver body");
    let header = r#"{"resolve":{"answer":{"hostport":{"header":"X-Owner"}}}}"#;
    assert_eq!(answered(header, "", &[("x-owner".to_owned(), b"a:1".to_vec())]), "a:1");
    assert_eq!(answered(header, "", &[]), "502 no hostport in resolver body");
}

#[test]
fn headers_out_of_an_answer_are_set_and_owned() {
    let mut bench = Bench::new(r#"{"resolve":{"set_headers":{"X-Tenant":"/tenant"},"cache":{}}}"#);
    assert_eq!(bench.router.owned_headers().iter().map(|name| &**name).collect::<Vec<_>>(), ["x-tenant"]);
    bench.send(&get("/?client_id=1"), 1);
    bench.respond(1, 200, r#"{"hostport":"a:1","tenant":42}"#);
    let Verdict::Route(route) = bench.verdict(&get("/?client_id=1")) else { panic!("cached") };
    assert_eq!(route.host.headers, [("x-tenant".into(), "42".to_owned())]);
    bench.send(&get("/?client_id=2"), 2);
    let lacking = bench.respond(2, 200, r#"{"hostport":"a:1"}"#);
    assert_eq!(lacking, [(3, "502 no x-tenant in resolver body".to_owned())]);
}

#[test]
fn each_outcome_has_its_reason() {
    let config = r#"{"resolve":{"not_found":[404,410],"cache":{}},"fallback":{"template":{},"target":{"authority":"f-{key}:1"}},
        "on_missing_key":{"target":{"authority":"default:1"}},"on_not_found":{"reject":404},"on_error":{"reject":599}}"#;
    let mut bench = Bench::new(config);
    assert_eq!(shown(bench.verdict(&get("/"))), "default:1");
    assert_eq!(shown(bench.verdict(&get("/?client_id=%00"))), "400 invalid client_id");
    bench.send(&get("/?client_id=a"), 1);
    assert_eq!(bench.respond(1, 410, ""), [(3, "404 resolver returned 410".to_owned())]);
    bench.send(&get("/?client_id=b"), 2);
    assert_eq!(bench.respond(2, 403, ""), [(4, "f-b:1".to_owned())]);
    bench.send(&get("/?client_id=b_c"), 3);
    assert_eq!(
        bench.respond(3, 503, ""),
        [(5, "599 resolver returned 503".to_owned())],
        "unfit for the fallback"
    );
    bench.counted();
    assert_eq!(shown(bench.verdict(&get("/?client_id=a"))), "404 resolver returned 410");
    assert_eq!(bench.counted(), [Counter::CacheNegative]);
    let continued = r#"{"resolve":{},"on_not_found":"continue","allow_untouched":true}"#;
    let mut bench = Bench::new(continued);
    bench.send(&get("/?client_id=a"), 1);
    assert_eq!(bench.respond_by(1, complete(404, "")), [(1, "continue: resolver returned 404".to_owned())]);
    assert_eq!(shown(bench.verdict(&get("/"))), "400 missing client_id", "each outcome defaults to reject");
    let mut bench = Bench::new(
        r#"{"resolve":{"not_found":[]},"fallback":{"template":{},"target":{"authority":"f-{key}:1"}}}"#,
    );
    bench.send(&get("/?client_id=a"), 1);
    assert_eq!(bench.respond(1, 404, ""), [(1, "f-a:1".to_owned())]);
}

#[test]
fn names_are_hosts_too() {
    let config = r#"{"index":{"names":["eu","us"]},"target":{"header":{"name":"x-pool","value":"pool-{name}"}},
        "allowed_targets":["pool-eu"]}"#;
    assert_eq!(decided(config, &get("/?client_id=124")), "x-pool: pool-eu");
    assert_eq!(decided(config, &get("/?client_id=123")), "502 target not allowed");
    let config = r#"{"shuffle_shard":{"names":["a","b","c"],"shard_size":2},
        "target":{"header":{"name":"x-pool","value":"{name}"}}}"#;
    assert!(decided(config, &get("/?client_id=1")).starts_with("x-pool: "));
    let config =
        r#"{"key":{"host":"{id}.test"},"index":{"replicas":2},"target":{"authority":"s-{index}-{id}:80"}}"#;
    let [one, other] = ["a", "b"].map(|id| decided(config, &to(&format!("{id}.test"), "/")));
    assert!(one.ends_with("-a:80") && other.ends_with("-b:80"), "{one} {other}");
}

/// A response of a host with this status.
struct Status(&'static str);

impl Reply for Status {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        (name == ":status").then_some(Cow::Borrowed(self.0.as_bytes()))
    }

    fn is_from_upstream(&self) -> bool {
        true
    }
}

#[test]
fn an_owner_that_moved_is_asked_for_again() {
    let mut bench = Bench::new(r#"{"resolve":{"cache":{"drop_on":[421]}}}"#);
    assert!(bench.router.needs_reply());
    bench.send(&get("/?client_id=1"), 1);
    bench.respond(1, 200, r#"{"hostport":"a:1"}"#);
    for (status, is_dropped) in [("200", false), ("503", false), ("421", true)] {
        let Verdict::Route(route) = bench.verdict(&get("/?client_id=1")) else { panic!("cached") };
        bench.router.on_reply(&mut bench.worker, &route, &Status(status));
        assert_eq!(matches!(bench.decide(&get("/?client_id=1")), Decision::Call(_)), is_dropped, "{status}");
    }
}

#[test]
fn a_change_of_the_generation_empties_the_caches() {
    let generation = |number: f64| {
        let last = Snapshot::default();
        let mut compiler = Compiler::new("p", &last);
        compiler.add("p.cache_generation", Scalar::Number(number));
        Some(Arc::new(compiler.finish(1).snapshot))
    };
    let mut bench = Bench::new(r#"{"resolve":{"cache":{}}}"#);
    for (token, runtime) in [(1, None), (2, generation(1.0)), (3, generation(2.0))] {
        bench.live.runtime = runtime;
        bench.send(&get("/?client_id=1"), token);
        bench.respond(token, 200, r#"{"hostport":"a:1"}"#);
        assert_eq!(shown(bench.verdict(&get("/?client_id=1"))), "a:1");
    }
}
