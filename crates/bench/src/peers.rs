//! The comparison: all variants in one Envoy, in turn.

use crate::chain::{Chain, Filter};
use crate::figure::Figure;
use crate::rig::{Bench, Load, Rig, Sample};
use crate::scale::Scale;
use crate::variants::{self, Variant, BARE, WARM};
use anyhow::{ensure, Context, Result};
use pinroute_testkit::eventually;
use serde::Serialize;
use std::time::{Duration, Instant};

/// For live values to be fetched.
const LIVE_DEADLINE: Duration = Duration::from_secs(30);

/// How many chains are measured between two runs of the bare chain. The machine's speed drifts within seconds
/// by more than some filters cost.
const BETWEEN_BARES: usize = 2;

/// How long a chain is kept busy for a profiler.
const BUSY: Duration = Duration::from_secs(20);

/// A chain in all rounds.
#[derive(Debug, Serialize)]
pub struct Measured {
    /// Its name.
    pub name: String,
    /// For people.
    pub label: &'static str,
    /// What its filter costs: µs of Envoy's processor time for each request, above the bare chain just before
    /// and after.
    pub above_us: Figure,
    /// The same in each round.
    pub above_us_by_round: Vec<f64>,
    /// Processor time with the chain, in µs for each request.
    pub cpu_us: Figure,
    /// Requests in a second.
    pub per_second: Figure,
    /// Latency with all connections, in µs.
    pub p50_us: Figure,
    /// Latency with all connections, in µs.
    pub p99_us: Figure,
    /// Latency of a request that has Envoy for itself, in µs.
    pub alone_p50_us: Figure,
    /// Latency of a request that has Envoy for itself, in µs.
    pub alone_p99_us: Figure,
}

/// One chain in one round.
struct Both {
    loaded: Sample,
    alone: Sample,
    /// What the filter costs; 0 if there is none.
    above_us: f64,
}

/// Keeps one chain busy for a while, so that it can be profiled.
pub fn load(bench: &Bench, scale: &Scale, chain: &str) -> Result<()> {
    let mut variants = variants::all(bench.port())?;
    variants.push(bare());
    let names: Vec<&str> = variants.iter().map(|variant| variant.chain.name.as_str()).collect();
    let names = names.join(", ");
    let variant = variants.iter().find(|variant| variant.chain.name == chain);
    let variant = variant.with_context(|| format!("no chain {chain:?}; there are {names}"))?;
    bench.xds.set_runtime(variants::RUNTIME, &variants::runtime())?;
    let (rig, _) = bench.envoy(1, &[bare().chain, variant.chain.clone()])?;
    println!("Envoy is process {}; its worker is the thread wrk:worker_0", rig.process());
    let start = Instant::now();
    while start.elapsed() < BUSY {
        let [bare, loaded] = [&bare(), variant].map(|one| run(&rig, one, scale, scale.warm_up));
        let (bare, loaded) = (bare?.loaded, loaded?.loaded);
        println!("{:.1} µs above the bare chain's {:.1} µs", loaded.cpu_us - bare.cpu_us, bare.cpu_us);
    }
    Ok(())
}

fn bare() -> Variant {
    Variant { chain: Chain::new(BARE, Filter::None), label: "bare chain, no filter", keys: WARM }
}

/// Compares all variants. Envoy's version comes with it.
pub fn compare(bench: &Bench, scale: &Scale, progress: &dyn Fn(&str)) -> Result<(Vec<Measured>, String)> {
    let variants = variants::all(bench.port())?;
    let chains: Vec<Chain> =
        std::iter::once(bare().chain).chain(variants.iter().map(|variant| variant.chain.clone())).collect();
    bench.xds.set_runtime(variants::RUNTIME, &variants::runtime())?;
    let (rig, _) = bench.envoy(1, &chains)?;
    let live = variants.iter().filter(|variant| variant.chain.name.ends_with("-live")).count();
    wait_for_live(&rig, live as u64)?;

    let bare = bare();
    let mut bares = Vec::new();
    let mut rounds: Vec<Vec<Both>> = variants.iter().map(|_| Vec::new()).collect();
    for round in 1..=scale.rounds {
        progress(&format!("round {round} of {}: {} chains", scale.rounds, chains.len()));
        // JIT compilers are done after the first.
        let warm_up = if round == 1 { scale.first_warm_up } else { scale.warm_up };
        let mut before = run(&rig, &bare, scale, warm_up)?;
        for (few, samples) in variants.chunks(BETWEEN_BARES).zip(rounds.chunks_mut(BETWEEN_BARES)) {
            let measured: Vec<Both> =
                few.iter().map(|variant| run(&rig, variant, scale, warm_up)).collect::<Result<_>>()?;
            let after = run(&rig, &bare, scale, scale.warm_up)?;
            let base = (before.loaded.cpu_us + after.loaded.cpu_us) / 2.0;
            for (one, samples) in measured.into_iter().zip(samples) {
                samples.push(Both { above_us: one.loaded.cpu_us - base, ..one });
            }
            bares.push(std::mem::replace(&mut before, after));
        }
    }
    rig.check()?;

    let mut all = vec![measured(&bare, &bares)];
    all.extend(variants.iter().zip(&rounds).map(|(variant, samples)| measured(variant, samples)));
    Ok((all, rig.version()?))
}

/// Waits until so many plugins have fetched their live values.
pub fn wait_for_live(rig: &Rig<'_>, plugins: u64) -> Result<()> {
    eventually(LIVE_DEADLINE, || match rig.stat("wasmcustom.pinroute_runtime.updates") {
        Ok(updates) if updates >= plugins => Ok(()),
        other => Err(format!("{other:?} of {plugins} updates")),
    })
}

fn run(rig: &Rig<'_>, variant: &Variant, scale: &Scale, warm_up: u64) -> Result<Both> {
    let name = &variant.chain.name;
    let load = Load { connections: scale.connections, warm_up, requests: scale.requests, keys: variant.keys };
    let loaded = rig.run(name, &load)?;
    let alone = rig.run(name, &Load { connections: 1, warm_up: 20, requests: scale.alone, ..load })?;
    Ok(Both { loaded, alone, above_us: 0.0 })
}

fn measured(variant: &Variant, samples: &[Both]) -> Measured {
    let figure = |of: fn(&Both) -> f64| Figure::of(samples.iter().map(of));
    Measured {
        name: variant.chain.name.clone(),
        label: variant.label,
        above_us: figure(|both| both.above_us),
        above_us_by_round: samples.iter().map(|both| both.above_us).collect(),
        cpu_us: figure(|both| both.loaded.cpu_us),
        per_second: figure(|both| both.loaded.per_second),
        p50_us: figure(|both| both.loaded.p50_us),
        p99_us: figure(|both| both.loaded.p99_us),
        alone_p50_us: figure(|both| both.alone.p50_us),
        alone_p99_us: figure(|both| both.alone.p99_us),
    }
}

/// The ratio of what two filters cost: of their medians, with the quartiles of the rounds' own.
pub fn ratio(all: &[Measured], of: &str, to: &str) -> Result<Figure> {
    let find = |name: &str| all.iter().find(|one| one.name == name).with_context(|| format!("no {name:?}"));
    let (of, to) = (find(of)?, find(to)?);
    ensure!(of.above_us_by_round.len() == to.above_us_by_round.len(), "rounds are missing");
    let by_round = of.above_us_by_round.iter().zip(&to.above_us_by_round).map(|(of, to)| of / to);
    Ok(Figure { median: of.above_us.median / to.above_us.median, ..Figure::of(by_round) })
}
