//! End-to-end tests: the built filter in a real Envoy, with real DNS and real servers.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod adapter;
mod answers;
mod approaches;
mod authority;
mod cache;
mod client;
mod configuration;
mod control_plane;
mod differential;
mod explain;
mod ext_proc;
mod failover;
mod failover_moves;
mod forged;
mod hostcalls;
mod hostile;
mod index;
mod keys;
mod literals;
mod live_admin;
mod live_cds;
mod live_lost_vm;
mod live_reconnect;
mod live_rtds;
mod memory;
mod native;
mod per_route;
mod poison;
mod recipes_by_pattern;
mod recipes_with_envoy;
mod recipes_with_redis;
mod recipes_with_tls;
mod requests;
mod rivals;
mod routing;
mod shuffle;
mod swap;
mod untouched;
mod verify;

use pinroute_testkit::adapter::Adapter;
use pinroute_testkit::config::Shipped;
use pinroute_testkit::dns::Dns;
use pinroute_testkit::env::{TestEnv, TestEnvBuilder};
use pinroute_testkit::envoy::ENVOY_VERSION;
use pinroute_testkit::fake_resolver::{FakeResolver, FakeResponse};
use pinroute_testkit::servers::{Servers, ServersOptions};
use serde_json::{Value, json};

/// Whether the Envoy of these tests is older than this minor version of 1.
fn is_older_than(minor: u32) -> bool {
    let selected = std::env::var("PINROUTE_ENVOY_VERSION");
    let version = selected.as_deref().unwrap_or(ENVOY_VERSION);
    version.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok()).unwrap() < minor
}

/// Enables the filter on every route.
fn everywhere(shipped: &mut Shipped) -> anyhow::Result<()> {
    if let Some(filter) = shipped.http_filter("pinroute")?.as_object_mut() {
        filter.remove("disabled");
    }
    Ok(())
}

/// Enables the filter on one route for all paths, to this cluster.
fn one_route(cluster: &'static str) -> impl FnOnce(&mut Shipped) -> anyhow::Result<()> {
    move |shipped| {
        everywhere(shipped)?;
        let routes = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/routes";
        shipped.edit(|config| {
            let route = json!([{ "match": { "prefix": "/" }, "route": { "cluster": cluster } }]);
            *config.pointer_mut(routes).unwrap() = route;
        });
        Ok(())
    }
}

/// The module in which a request with the header `x-provoke-trap` ends its VM.
fn crashing_module(shipped: &mut Shipped) -> anyhow::Result<()> {
    let module = pinroute_testkit::paths::wasm().with_file_name("pinroute-trap.wasm");
    assert!(module.exists(), "{} is missing: run `make trap`", module.display());
    shipped.http_filter("pinroute")?["typed_config"]["config"]["vm_config"]["code"] =
        json!({ "local": { "filename": module } });
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

/// Fails if a VM has crashed, and with it the worker state; of the dynamic module, if a hook has panicked.
fn assert_no_reload(env: &TestEnv) {
    if Adapter::current() == Adapter::Native {
        assert!(!env.envoy.log().contains("panicked"), "a hook has panicked");
        return;
    }
    let reloads = env.envoy.stats("wasm.pinroute.vm_reload").unwrap();
    assert!(!reloads.is_empty() && reloads.values().all(|count| *count == 0), "{reloads:?}");
}
