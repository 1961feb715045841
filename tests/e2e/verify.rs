//! `verify`: a response of another host than the one that the request was sent to.

use crate::{assert_no_reload, hostport, one_route, with_resolver};
use pinroute_testkit::env::{TestEnv, TestEnvBuilder};
use pinroute_testkit::servers::name;
use serde_json::{Value, json};

const DFP: &str = "dynamic_forward_proxy_cluster";
const WRONG: (u16, &str) = (502, "wrong host");

fn stats(env: &TestEnv) -> [u64; 3] {
    ["routed", "misrouted", "unverified"]
        .map(|stat| env.envoy.stat(&format!("wasmcustom.pinroute_{stat}")).unwrap())
}

/// The response to a request that the formula sends to this server of two.
fn ask(env: &TestEnv, server: u8) -> (u16, String) {
    let id = if server == 1 { "0" } else { "1" };
    let response = env.get(&format!("/echo?client_id={id}")).unwrap();
    (response.status, response.text())
}

fn index(target: Value, verify: Value) -> TestEnvBuilder {
    let plugin = json!({ "index": { "mode": "numeric", "replicas": 2 }, "target": target, "verify": verify });
    TestEnv::builder("preserve-host.yaml").replicas(2).plugin(plugin).edit(one_route(DFP))
}

#[test]
fn another_hosts_response_does_not_reach_the_client() {
    for (target, verify) in [
        ("authority", json!({ "response_header": "X-Served-By" })),
        ("dynamic_host", json!({ "response_header": "x-served-by" })),
        ("authority", json!({ "response_header": "x-served-by", "value": "POC-routing-server-{index}" })),
    ] {
        let env = index(json!({ target: "poc-routing-server-{index}:8081" }), verify).start().unwrap();
        // The name of the first server leads to the second one.
        env.dns.set(&name(1), &[*env.servers.addr(2).ip()]);
        for _ in 0..3 {
            assert_eq!(ask(&env, 1), (WRONG.0, WRONG.1.to_owned()), "{target}");
            let (status, body) = ask(&env, 2);
            assert!(status == 200 && body.contains(&name(2)), "{target}: {status} {body}");
        }
        assert_eq!(stats(&env), [6, 3, 0]);
        assert_no_reload(&env);
    }
}

#[test]
fn a_response_without_the_header_passes_and_is_counted() {
    let verify = json!({ "response_header": "x-instance" });
    let env = index(json!({ "authority": "poc-routing-server-{index}:8081" }), verify).start().unwrap();
    assert_eq!(ask(&env, 1).0, 200);
    assert_eq!(stats(&env), [1, 0, 1]);
}

#[test]
fn envoys_own_replies_are_not_compared() {
    let verify = json!({ "response_header": "x-served-by" });
    let env = index(json!({ "authority": "poc-routing-server-{index}:8081" }), verify).start().unwrap();
    env.servers.kill(1).unwrap();
    let (status, body) = ask(&env, 1);
    assert!(status == 503 && body != WRONG.1, "{status} {body}");
    assert_eq!(stats(&env), [1, 0, 0]);
}

#[test]
fn the_answer_that_led_to_the_wrong_host_is_forgotten() {
    let plugin = json!({
        "resolve": { "cache": { "ttl": "600s" } }, "verify": { "response_header": "x-served-by" },
    });
    let (env, resolver) = with_resolver(plugin, |_, port| hostport(&format!("poc-routing-server-1:{port}")));
    let env = env.edit(one_route(DFP)).start().unwrap();
    env.dns.set(&name(1), &[*env.servers.addr(2).ip()]);
    for _ in 0..2 {
        let response = env.get("/echo?client_id=7").unwrap();
        assert_eq!((response.status, response.text().as_str()), WRONG);
    }
    assert_eq!(resolver.requests().len(), 2, "the resolver is asked again");
    assert_eq!(stats(&env), [2, 2, 0]);
}

#[test]
fn a_final_dot_makes_no_other_host() {
    let dns = pinroute_testkit::dns::Dns::start().unwrap();
    let servers = pinroute_testkit::servers::Servers::start(1, &Default::default(), &dns).unwrap();
    let plugin = json!({
        "index": { "hosts": [format!("{}.:{}", name(1), servers.port())] },
        "verify": { "response_header": "x-served-by" },
    });
    let env = TestEnv::builder("index.yaml").with_servers(dns, servers).plugin(plugin).edit(one_route(DFP));
    let env = env.start().unwrap();
    assert_eq!(env.get("/echo?client_id=1").unwrap().status, 200);
    assert_eq!(stats(&env), [1, 0, 0]);
}
