//! One change of a runtime layer with many customers. RTDS sends the whole layer.

use anyhow::{Context, Result, ensure};
use pinroute_testkit::control_plane::ControlPlane;
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::effect::{change, start};
use super::fleet::{follow, wait};
use super::{Row, Usage, spread, usage};

/// Customers that one call sets: a body may have 1 MiB.
const BATCH: usize = 10_000;

fn fill(plane: &ControlPlane, overrides: usize) -> Result<()> {
    let all: Vec<usize> = (0..overrides).collect();
    for batch in all.chunks(BATCH) {
        let value =
            |number: &usize| (format!("shuffle_sharding.customer.customer-{number:06}.shard_size"), json!(3));
        let values: Map<String, Value> = batch.iter().map(value).collect();
        plane.call("PATCH", "/v1/runtime", &json!({ "values": values }))?;
    }
    Ok(())
}

/// Changes one of so many customers, some times.
pub fn measure(overrides: usize, changes: usize) -> Result<Vec<Row>> {
    let (plane, env) = start()?;
    let (client, pid) = (env.client(), env.envoy.pid());
    let before = [usage(&plane)?, Usage::of(pid)?];
    fill(&plane, overrides)?;
    // Until Envoy has all of them.
    change(&plane, &client, "customer-000000", 5)?;
    let filled = [usage(&plane)?, Usage::of(pid)?];

    let turns = |changes: usize| {
        (0..changes).map(|turn| change(&plane, &client, "customer-000000", 6 + turn as u32 % 2))
    };
    let times: Vec<(f64, f64)> = turns(changes).collect::<Result<_>>()?;
    let after = [usage(&plane)?, Usage::of(pid)?];
    let [answered, shown] =
        [times.iter().map(|time| time.0).collect(), times.iter().map(|time| time.1).collect()]
            .map(|times: Vec<f64>| spread(&times));

    // A second Envoy, of which only the length of what it gets counts.
    let runtime = Runtime::new()?;
    let (sender, mut accepted) = mpsc::unbounded_channel();
    runtime.spawn(follow(plane.xds(), 0, sender));
    wait(&runtime, &mut accepted, 1)?;
    change(&plane, &client, "customer-000000", 8)?;
    let bytes = wait(&runtime, &mut accepted, 1)?.first().context("no response")?.bytes;
    let rejected = env.envoy.stat("wasmcustom.pinroute_runtime.invalid").unwrap_or_default();
    ensure!(rejected == 0, "the filter rejected {rejected} updates");

    let of = format!("one of {overrides} customers changes:");
    let cpu = |place: usize| {
        let pair = after.get(place).zip(filled.get(place));
        pair.map_or(f64::NAN, |(after, filled)| after.since(*filled, changes))
    };
    let mib = |usages: &[Usage; 2], place: usize| usages.get(place).map_or(f64::NAN, |usage| usage.mib);
    let memory = |place: usize| {
        format!("{:.0}, {:.0} and {:.0} MiB", mib(&before, place), mib(&filled, place), mib(&after, place))
    };
    Ok(vec![
        (format!("{of} sent to each Envoy"), format!("{:.2} MB", bytes as f64 / 1e6)),
        (format!("{of} until the API has answered"), answered),
        (format!("{of} until a request through an Envoy shows it"), shown),
        (
            format!("{of} processor time of the control plane, and of Envoy"),
            format!("{:.1} ms and {:.1} ms", cpu(0), cpu(1)),
        ),
        (format!("memory of the control plane: without them, with them, after {changes} changes"), memory(0)),
        (format!("memory of Envoy: without them, with them, after {changes} changes"), memory(1)),
    ])
}
