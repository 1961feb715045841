//! From a call of the API to its effect on a request, in a real Envoy.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use pinroute_testkit::config::Shipped;
use pinroute_testkit::control_plane::ControlPlane;
use pinroute_testkit::env::TestEnv;
use pinroute_testkit::http::Client;
use serde_json::json;

use super::{Row, spread};

/// For one change.
const LIMIT: Duration = Duration::from_secs(60);
/// The number of hosts, as many as the shipped configuration has.
const HOSTS: u32 = 12;

/// A real Envoy with the shipped configuration, whose route responds by itself.
pub fn envoy(plane: &ControlPlane) -> Result<TestEnv> {
    let respond = |shipped: &mut Shipped| {
        let mut is_there = false;
        shipped.edit(|config| {
            let hosts = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts";
            let route = json!({ "match": { "prefix": "/" }, "direct_response": { "status": 200 } });
            if let Some(hosts) = config.pointer_mut(hosts) {
                *hosts = json!([{ "name": "all", "domains": ["*"], "routes": [route] }]);
                is_there = true;
            }
        });
        is_there.then_some(()).context("the shipped configuration has no routes where they were")
    };
    TestEnv::builder("shuffle-shard-rtds.yaml")
        .replicas(1)
        .concurrency(1)
        .address(("control-plane", 18000), plane.xds())
        .edit(respond)
        .start()
}

/// Sets the shard size of a customer; the times until the API has answered, and until a request shows it, in ms.
pub fn change(plane: &ControlPlane, client: &Client, customer: &str, size: u32) -> Result<(f64, f64)> {
    let start = Instant::now();
    let millis = || start.elapsed().as_secs_f64() * 1e3;
    plane.call("PUT", &format!("/v1/customers/{customer}"), &json!({ "shard_size": size }))?;
    let answered = millis();
    let expected = format!("{size}/{HOSTS}");
    while start.elapsed() < LIMIT {
        let response = client.request("GET", "/", &[("x-customer-id", customer)], b"")?;
        if response.header("x-shard-config") == Some(expected.as_str()) {
            return Ok((answered, millis()));
        }
    }
    bail!("{customer} has not got {expected} within {LIMIT:?}")
}

/// A control plane with a number of hosts, and an Envoy that has it.
pub fn start() -> Result<(ControlPlane, TestEnv)> {
    let plane = ControlPlane::start(&[])?;
    let values = json!({ "values": { "shuffle_sharding.total_hosts": HOSTS } });
    plane.call("PUT", "/v1/runtime", &values)?;
    let env = envoy(&plane)?;
    change(&plane, &env.client(), "customer-A", 2)?;
    Ok((plane, env))
}

/// Times some changes.
pub fn measure(changes: usize) -> Result<Vec<Row>> {
    let (plane, env) = start()?;
    let client = env.client();
    let times = (0..changes).map(|turn| change(&plane, &client, "customer-A", 3 + turn as u32 % 2));
    let times: Vec<(f64, f64)> = times.collect::<Result<_>>()?;
    let [answered, shown] =
        [times.iter().map(|time| time.0).collect(), times.iter().map(|time| time.1).collect()]
            .map(|times: Vec<f64>| spread(&times));
    Ok(vec![
        ("`PUT /v1/customers/customer-A` until it is answered, and so durable".to_owned(), answered),
        ("the same until a request through an Envoy has the new `x-shard-config`".to_owned(), shown),
    ])
}
