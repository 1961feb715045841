//! What a filter costs besides processor time: start-up time, memory, and the size of its module.

use crate::chain::{Chain, Filter, script};
use crate::figure::Figure;
use crate::rig::Bench;
use crate::scale::Scale;
use crate::variants::{BARE, WARM, resolve, shuffle};
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

/// The figures of one filter.
#[derive(Debug, Serialize)]
pub struct Resources {
    /// A name for machines.
    pub name: &'static str,
    /// For people.
    pub label: String,
    /// From the start of Envoy's process until it was ready, with one worker, in ms.
    pub start_ms: Figure,
    /// Resident memory that each further worker takes, in MiB.
    pub worker_mib: Figure,
    /// Resident memory of Envoy with one worker, in MiB.
    pub resident_mib: Figure,
    /// The size of the module, in bytes.
    pub module_bytes: Option<u64>,
}

/// A filter to measure.
pub struct Subject {
    name: &'static str,
    label: String,
    filter: Filter,
}

impl Subject {
    /// A filter, with a name for machines and one for people.
    pub fn new(name: &'static str, label: impl Into<String>, filter: Filter) -> Self {
        Self { name, label: label.into(), filter }
    }

    /// The same with a word behind its label.
    pub fn labelled(self, word: &str) -> Self {
        Self { label: format!("{}: {word}", self.label), ..self }
    }

    /// The same with another module, if it has one.
    pub fn with_module(self, module: &Path) -> Self {
        match self.filter {
            Filter::Wasm(_, config) => Self { filter: Filter::Wasm(module.to_owned(), config), ..self },
            Filter::None | Filter::Lua(_) | Filter::Native(_) | Filter::Watched { .. } => self,
        }
    }
}

/// pinroute with `shuffle_shard`, and with `resolve` and a cache.
pub fn pinroute(bench: &Bench) -> [Subject; 2] {
    let cache = json!({ "ttl": "60s", "max_entries": 10_000 });
    let two_of_eight = shuffle(&json!({ "total_hosts": 8, "shard_size": 2 }), true, None);
    [
        Subject::new("shuffle", "pinroute, shuffle", two_of_eight),
        Subject::new("resolve", "pinroute, resolve, cached", resolve(bench.port(), Some(&cache))),
    ]
}

/// The filters of the report.
pub fn subjects(bench: &Bench) -> Result<Vec<Subject>> {
    let lua = Filter::Lua(script("envoy/lua/shuffle_shard.lua")?);
    let mut all = vec![
        Subject::new("bare", "no filter", Filter::None),
        Subject::new("lua", "Lua, shuffle", lua),
        Subject::new("wasm-empty", "Wasm, empty", Filter::least("nothing")),
    ];
    all.extend(pinroute(bench));
    let two_of_eight = shuffle(&json!({ "total_hosts": 8, "shard_size": 2 }), true, None);
    all.push(Subject::new("native", "native, shuffle", two_of_eight.native()));
    Ok(all)
}

/// Measures some filters in turn.
pub fn measure(bench: &Bench, scale: &Scale, subjects: Vec<Subject>) -> Result<Vec<Resources>> {
    let mut rounds: Vec<Vec<[f64; 3]>> = subjects.iter().map(|_| Vec::new()).collect();
    for _ in 0..scale.starts {
        for (Subject { filter, .. }, rounds) in subjects.iter().zip(&mut rounds) {
            let chains = [Chain::new(BARE, filter.clone())];
            let (took, one) = started(bench, 1, &chains)?;
            let (_, many) = started(bench, WORKERS, &chains)?;
            rounds.push([took, (many - one) / f64::from(WORKERS - 1), one]);
        }
    }
    let resources = |(Subject { name, label, filter }, rounds): (Subject, Vec<[f64; 3]>)| {
        let module_bytes = match filter {
            Filter::Wasm(module, _) => Some(size(&module)?),
            Filter::Native(_) => Some(size(&paths::native())?),
            Filter::None | Filter::Lua(_) | Filter::Watched { .. } => None,
        };
        Ok(Resources {
            name,
            label,
            start_ms: Figure::of(rounds.iter().map(|[start, _, _]| *start)),
            worker_mib: Figure::of(rounds.iter().map(|[_, worker, _]| *worker)),
            resident_mib: Figure::of(rounds.iter().map(|[_, _, resident]| *resident)),
            module_bytes,
        })
    };
    subjects.into_iter().zip(rounds).map(resources).collect()
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
