//! What a filter takes beside processor time: time to start, memory, and the size of its module.

use crate::chain::{empty_wasm, script, Chain, Filter};
use crate::figure::Figure;
use crate::rig::Bench;
use crate::scale::Scale;
use crate::variants::{resolve, shuffle, BARE, WARM};
use anyhow::{Context, Result};
use pinroute_testkit::paths;
use serde::Serialize;
use serde_json::json;
use std::fs;
use std::path::Path;

/// Workers of the larger Envoy. Memory per worker is what each of the additional ones takes.
const WORKERS: u32 = 5;
/// Requests before memory is read, over as many connections that each worker gets some.
const REQUESTS: u64 = 2_000;
const CONNECTIONS: usize = 64;

/// One filter's.
#[derive(Debug, Serialize)]
pub struct Resources {
    /// A name for machines.
    pub name: &'static str,
    /// For people.
    pub label: &'static str,
    /// From the start of Envoy's process until it was ready, with one worker, in ms.
    pub start_ms: Figure,
    /// Resident memory that each further worker takes, in MiB.
    pub worker_mib: Figure,
    /// Resident memory of Envoy with one worker, in MiB.
    pub resident_mib: Figure,
    /// The size of the module, in bytes.
    pub module_bytes: Option<u64>,
}

/// Measures them.
pub fn measure(bench: &Bench, scale: &Scale, progress: &dyn Fn(&str)) -> Result<Vec<Resources>> {
    progress("start-up time and memory");
    let cache = json!({ "ttl": "60s", "max_entries": 10_000 });
    let subjects = [
        ("bare", "no filter", Filter::None, None),
        ("lua", "Lua, shuffle", Filter::Lua(script("envoy/lua/shuffle_shard.lua")?), None),
        ("wasm-empty", "Wasm, empty", Filter::Least("nothing"), Some(size(&empty_wasm())?)),
        (
            "shuffle",
            "pinroute, shuffle",
            shuffle(&json!({ "total_hosts": 8, "shard_size": 2 }), true, None),
            Some(size(&paths::wasm())?),
        ),
        (
            "resolve",
            "pinroute, resolve, cached",
            resolve(bench.port(), Some(&cache)),
            Some(size(&paths::wasm())?),
        ),
    ];
    let mut rounds: Vec<Vec<[f64; 3]>> = subjects.iter().map(|_| Vec::new()).collect();
    for _ in 0..scale.starts {
        for ((_, _, filter, _), rounds) in subjects.iter().zip(&mut rounds) {
            let chains = [Chain::new(BARE, filter.clone())];
            let (took, one) = started(bench, 1, &chains)?;
            let (_, many) = started(bench, WORKERS, &chains)?;
            rounds.push([took, (many - one) / f64::from(WORKERS - 1), one]);
        }
    }
    let all = subjects.into_iter().zip(rounds).map(|((name, label, _, module_bytes), rounds)| Resources {
        name,
        label,
        start_ms: Figure::of(rounds.iter().map(|[start, _, _]| *start)),
        worker_mib: Figure::of(rounds.iter().map(|[_, worker, _]| *worker)),
        resident_mib: Figure::of(rounds.iter().map(|[_, _, resident]| *resident)),
        module_bytes,
    });
    Ok(all.collect())
}

/// The time that an Envoy takes to start, in ms, and its memory after some requests, in MiB.
fn started(bench: &Bench, workers: u32, chains: &[Chain]) -> Result<(f64, f64)> {
    let (rig, took) = bench.envoy(workers, chains)?;
    rig.send(BARE, CONNECTIONS, REQUESTS, WARM)?;
    Ok((took.as_secs_f64() * 1e3, rig.memory()? as f64 / f64::from(1 << 20)))
}

fn size(file: &Path) -> Result<u64> {
    Ok(fs::metadata(file).with_context(|| format!("no {}: run `make bench`", file.display()))?.len())
}
