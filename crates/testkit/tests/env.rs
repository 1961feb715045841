//! A test environment with the Lua script instead of the filter. It needs the servers (`make build`) and no Wasm.

use std::time::Duration;

use pinroute_testkit::dns::Dns;
use pinroute_testkit::env::TestEnv;
use pinroute_testkit::eventually;
use pinroute_testkit::fake_resolver::{FakeResolver, FakeResponse};
use pinroute_testkit::servers::{Servers, ServersOptions};

const DEADLINE: Duration = Duration::from_secs(15);

#[test]
fn a_request_goes_all_the_way() {
    let env = TestEnv::builder("envoy-lua.yaml").replicas(2).start().unwrap();
    let response = env.get("/join?client_id=123").unwrap();
    assert_eq!(response.status, 200, "{}", response.text());
    let owner = env.get("/where?client_id=123").unwrap().json().unwrap()["hostport"].clone();
    assert_eq!(response.json().unwrap()["assigned"], owner);

    let raw = env.raw(b"GET /where?client_id=123 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    assert!(raw.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&raw));
    assert!(env.dns.queries("server") > 0);
    assert!(env.envoy.stat("cluster.resolver.upstream_rq_200").unwrap() >= 2);
    assert_eq!(env.url(), format!("http://{}", env.addr()));
}

#[test]
fn a_fake_resolver_can_replace_the_resolver() {
    let dns = Dns::start().unwrap();
    let servers = Servers::start(3, &ServersOptions::default(), &dns).unwrap();
    let response = format!(r#"{{"hostport":"{}"}}"#, servers.hostport(3));
    let resolver = FakeResolver::start(move |_, _| FakeResponse::ok(&response)).unwrap();
    let env = TestEnv::builder("envoy-lua.yaml")
        .with_servers(dns, servers)
        .resolver(resolver.addr())
        .start()
        .unwrap();
    let response = env.get("/join?client_id=123").unwrap();
    assert_eq!(response.json().unwrap()["assigned"], env.servers.hostport(3));
    assert_eq!(resolver.requests()[0].path, "/where?client_id=123");
}

#[test]
fn a_server_can_be_killed_and_restarted() {
    let dns = Dns::start().unwrap();
    let mut servers = Servers::start(2, &ServersOptions::default(), &dns).unwrap();
    assert!(servers.ended().unwrap().is_empty());
    servers.kill(2).unwrap();
    assert_eq!(servers.ended().unwrap(), [2]);
    servers.restart(2).unwrap();
    assert!(servers.ended().unwrap().is_empty());
    let error = servers.kill(3).unwrap_err().to_string();
    assert_eq!(error, "no server 3; they are numbered from 1 to 2");
}

#[test]
fn a_failing_server_reports_the_reason() {
    let dns = Dns::start().unwrap();
    let options = ServersOptions { index_mode: "nonsense".to_owned(), ..ServersOptions::default() };
    let error = Servers::start(1, &options, &dns).unwrap_err().to_string();
    assert!(error.starts_with("poc-routing-server-1 ended with exit status: "), "{error}");
    assert!(error.contains("INDEX_MODE"), "{error}");
}

#[test]
fn logs_can_be_waited_for() {
    let env = TestEnv::builder("envoy-lua.yaml").replicas(1).log_level("info").start().unwrap();
    env.envoy.wait_for_log("all dependencies initialized. starting workers").unwrap();
    eventually(DEADLINE, || match env.envoy.stat("server.live") {
        Ok(1) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .unwrap();
}
