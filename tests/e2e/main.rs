//! End-to-end tests: the built filter in a real Envoy, with real DNS and real servers.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod cache;
mod configuration;
mod hostcalls;
mod hostile;
mod index;
mod literals;
mod live_admin;
mod live_cds;
mod live_rtds;
mod per_route;
mod requests;
mod routing;
mod shuffle;
mod swap;

use pinroute_testkit::config::Shipped;
use pinroute_testkit::dns::Dns;
use pinroute_testkit::env::{TestEnv, TestEnvBuilder};
use pinroute_testkit::fake_resolver::{FakeResolver, FakeResponse};
use pinroute_testkit::servers::{Servers, ServersOptions};
use serde_json::Value;

/// Enables the filter on every route.
fn everywhere(shipped: &mut Shipped) -> anyhow::Result<()> {
    if let Some(filter) = shipped.http_filter("pinroute")?.as_object_mut() {
        filter.remove("disabled");
    }
    Ok(())
}

/// A test environment with a fake resolver. `response` gets the path of the resolver call and the servers' port.
fn with_resolver(
    plugin: Value,
    response: impl Fn(&str, u16) -> FakeResponse + Send + Sync + 'static,
) -> (TestEnvBuilder, FakeResolver) {
    let dns = Dns::start().unwrap();
    let servers = Servers::start(2, &ServersOptions::default(), &dns).unwrap();
    let port = servers.port();
    let resolver = FakeResolver::start(move |path, _| response(path, port)).unwrap();
    let env =
        TestEnv::builder("envoy.yaml").with_servers(dns, servers).plugin(plugin).resolver(resolver.addr());
    (env, resolver)
}

/// The response of a healthy resolver.
fn hostport(hostport: &str) -> FakeResponse {
    FakeResponse::ok(serde_json::json!({ "client_id": "x", "hostport": hostport }).to_string())
}

/// Fails if a VM has crashed, and with it the worker state.
fn assert_no_reload(env: &TestEnv) {
    let reloads = env.envoy.stats("wasm.pinroute.vm_reload").unwrap();
    assert!(!reloads.is_empty() && reloads.values().all(|count| *count == 0), "{reloads:?}");
}
