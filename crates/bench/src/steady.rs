//! Keeps four workers under a moderate load for a long time, with new configurations, live values and connections in between.
//! The first request that fails ends it.

use crate::chain::{Chain, Filter};
use crate::load::Keys;
use crate::rig::{Bench, Rig};
use crate::variants::{RUNTIME, patient, resolve, shuffle};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Envoy's workers.
const WORKERS: u32 = 4;
/// Connections to each chain.
const CONNECTIONS: usize = 16;
/// How often some requests are sent.
const BEAT: Duration = Duration::from_millis(100);
/// Requests to each chain at each beat.
const REQUESTS: u64 = 15;
/// More keys than expire between two requests for the same: some answers are remembered, others asked for.
const KEYS: Keys = Keys::Random(2_000);
/// After so many changes Envoy has what it needs.
const WARM: u64 = 5;
/// The most that memory may grow after that, in MiB.
const GROWTH: f64 = 16.0;

/// A filter whose configuration Envoy watches.
struct Watched {
    name: &'static str,
    filter: Filter,
    /// The member of the configuration that changes, and its least value.
    member: (&'static str, u64),
    dir: TempDir,
}

impl Watched {
    fn new(name: &'static str, filter: Filter, member: (&'static str, u64)) -> Result<Self> {
        let watched = Self { name, filter, member, dir: TempDir::new()? };
        watched.write(0)?;
        Ok(watched)
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("filter.json")
    }

    fn chain(&self) -> Result<Chain> {
        let document = self.filter.document(self.name).context("there is no filter")?;
        let kind = document.pointer("/typed_config/@type").and_then(Value::as_str).unwrap_or_default();
        let filter = Filter::Watched { name: self.name, file: self.file(), kind: kind.to_owned() };
        Ok(Chain { has_upstream: true, ..Chain::new(self.name, filter) })
    }

    /// Writes a configuration that differs from the one before.
    fn write(&self, change: u64) -> Result<()> {
        let mut document = self.filter.document(self.name).context("there is no filter")?;
        let module = document.get("typed_config").is_some_and(|filter| filter.get("filter_config").is_some());
        let value = if module { "filter_config" } else { "config/configuration" };
        let (name, least) = self.member;
        let member = document.pointer_mut(&format!("/typed_config/{value}/value/{name}"));
        *member.context("the configuration has no such member")? = json!(least + change % 8);
        let resource = json!({ "resources": [{
            "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            "name": self.name,
            "typed_config": document.get("typed_config"),
        }]});
        let new = self.file().with_extension("new");
        std::fs::write(&new, resource.to_string())?;
        Ok(std::fs::rename(&new, self.file())?)
    }

    fn reloads(&self, rig: &Rig<'_>) -> Result<u64> {
        rig.stat(&format!("extension_config_discovery.http_filter.{}.config_reload", self.name))
    }
}

/// Sends some 300 requests a second for so long, with a change every `every`.
pub fn steady(
    bench: &Bench,
    is_native: bool,
    duration: Duration,
    every: Duration,
    progress: &dyn Fn(&str),
) -> Result<()> {
    let adapt = |filter: Filter| if is_native { filter.native() } else { filter };
    let cache = json!({ "ttl": "5s", "negative_ttl": "1s", "max_entries": 10_000 });
    let shards = json!({ "total_hosts": 8, "shard_size": 2 });
    let watched = [
        Watched::new(
            "resolve",
            adapt(patient(&resolve(bench.port(), Some(&cache)))),
            ("resolve/cache/max_entries", 10_000),
        )?,
        Watched::new(
            "shuffle",
            adapt(shuffle(&shards, true, Some(RUNTIME))),
            ("shuffle_shard/shard_size", 1),
        )?,
    ];
    push(bench, 0);
    let chains = watched.iter().map(Watched::chain).collect::<Result<Vec<_>>>()?;
    let rig = bench.envoy_on_all(WORKERS, &chains)?;
    let mib = || anyhow::Ok(rig.memory()? as f64 / f64::from(1 << 20));
    progress(&format!("Envoy takes {:.1} MiB before the first request", mib()?));
    let (start, mut sent, mut changes, mut warm) = (Instant::now(), 0, 0, None);
    while start.elapsed() < duration {
        changes += 1;
        watched.iter().try_for_each(|filter| filter.write(changes))?;
        push(bench, changes);
        let end = (every * u32::try_from(changes)?).min(duration);
        sent += beat(&rig, &watched, start, end)
            .with_context(|| format!("after {sent} requests and {changes} changes"))?;
        progress(&format!("{:.1} MiB after {sent} requests and {changes} changes", mib()?));
        if changes == WARM {
            warm = Some(mib()?);
        }
    }
    rig.check()?;
    for filter in &watched {
        let reloads = filter.reloads(&rig)?;
        // One more for the configuration at the start.
        ensure!(reloads == changes + 1, "{}: {reloads} configurations, not {}", filter.name, changes + 1);
    }
    for what in ["requests", "routed"] {
        let prefix = if is_native { "pinroute." } else { "wasmcustom.pinroute_" };
        let counted = rig.stat(&format!("{prefix}{what}"))?;
        ensure!(counted == sent, "{counted} {what} were counted, and {sent} were sent");
    }
    let (now, bound) = (mib()?, warm.unwrap_or(f64::MAX) + GROWTH);
    ensure!(now <= bound, "Envoy takes {now:.1} MiB, more than {bound:.1} MiB");
    progress(&format!("none of {sent} requests failed"));
    Ok(())
}

/// Sends requests over new connections until the end. Returns how many.
fn beat(rig: &Rig<'_>, watched: &[Watched], start: Instant, end: Duration) -> Result<u64> {
    let mut lanes =
        watched.iter().map(|filter| rig.lane(filter.name, CONNECTIONS)).collect::<Result<Vec<_>>>()?;
    let mut sent = 0;
    while start.elapsed() < end {
        let next = Instant::now() + BEAT;
        for lane in &mut lanes {
            lane.run(0, REQUESTS, KEYS)?;
            sent += REQUESTS;
        }
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(sent)
}

/// Pushes live values.
fn push(bench: &Bench, change: u64) {
    bench.xds.set_runtime(RUNTIME, &json!({ "shuffle_sharding": { "total_hosts": 8 + change % 8 } }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_request_fails_with_either_adapter() {
        let bench = Bench::start().unwrap();
        for is_native in [false, true] {
            let (duration, every) = (Duration::from_secs(3), Duration::from_secs(1));
            steady(&bench, is_native, duration, every, &|line| println!("{line}")).unwrap();
        }
    }
}
