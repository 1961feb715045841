//! The comparison: all variants in one Envoy, in turn.

use crate::chain::{Chain, Filter};
use crate::figure::Figure;
use crate::rig::{Bench, Lane, Rig, Sample};
use crate::scale::Scale;
use crate::variants::{self, Variant, BARE, WARM};
use anyhow::{Context, Result};
use pinroute_testkit::eventually;
use serde::Serialize;
use std::time::{Duration, Instant};

/// For live values to be fetched.
const LIVE_DEADLINE: Duration = Duration::from_secs(30);

/// How many chains are measured between two runs of the bare chain. The machine's speed drifts within seconds
/// by more than some filters cost.
const BETWEEN_BARES: usize = 2;

/// Requests before each measurement.
const WARM_UP: u64 = 50;

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

/// Keeps one chain busy for a while, so that it can be profiled.
pub fn load(bench: &Bench, scale: &Scale, chain: &str) -> Result<()> {
    let variant = variants::named(bench.port(), &[chain.to_owned()])?;
    bench.xds.set_runtime(variants::RUNTIME, &variants::runtime())?;
    let contest = Contest::new(bench, variant)?;
    println!("Envoy is process {}; its worker is the thread wrk:worker_0", contest.rig.process());
    let start = Instant::now();
    let scale = Scale { rounds: scale.rounds.div_ceil(10), ..scale.clone() };
    while start.elapsed() < BUSY {
        for one in contest.run(&scale, &|_| ())? {
            println!(
                "{}: {:.1} µs, {:.1} above the bare chain",
                one.name, one.cpu_us.median, one.above_us.median
            );
        }
    }
    Ok(())
}

/// Chains in one Envoy.
pub struct Contest<'b> {
    rig: Rig<'b>,
    variants: Vec<Variant>,
}

impl<'b> Contest<'b> {
    /// Starts an Envoy with these chains and a bare one.
    pub fn new(bench: &'b Bench, variants: Vec<Variant>) -> Result<Self> {
        let chains: Vec<Chain> = std::iter::once(bare().chain)
            .chain(variants.iter().map(|variant| variant.chain.clone()))
            .collect();
        bench.xds.set_runtime(variants::RUNTIME, &variants::runtime())?;
        let (rig, _) = bench.envoy(1, &chains)?;
        let live = variants.iter().filter(|variant| variant.chain.name.ends_with("-live")).count();
        wait_for_live(&rig, live as u64)?;
        Ok(Self { rig, variants })
    }

    /// Envoy's version.
    pub fn version(&self) -> Result<String> {
        self.rig.version()
    }

    /// Compares the chains.
    pub fn run(&self, scale: &Scale, progress: &dyn Fn(&str)) -> Result<Vec<Measured>> {
        let count = self.variants.len() + 1;
        progress(&format!("{count} chains over {} connections: {} rounds", scale.connections, scale.rounds));
        let loaded = self.rounds(scale.connections, scale.rounds, scale.first_warm_up, scale.requests)?;
        progress(&format!("{count} chains over one connection: {} rounds", scale.alone_rounds));
        let alone = self.rounds(1, scale.alone_rounds, WARM_UP, scale.alone)?;
        self.rig.check()?;
        let bare = bare();
        let variants = std::iter::once(&bare).chain(&self.variants);
        Ok(variants
            .zip(loaded)
            .zip(alone)
            .map(|((one, loaded), alone)| measured(one, &loaded, &alone))
            .collect())
    }

    /// All chains in turn, round after round. First come the samples of the bare chain.
    fn rounds(&self, connections: usize, rounds: usize, first: u64, requests: u64) -> Result<Vec<Vec<Run>>> {
        let lane = |variant: &Variant| self.rig.lane(&variant.chain.name, connections);
        let mut bare_lane = lane(&bare())?;
        let mut lanes: Vec<Lane<'_>> = self.variants.iter().map(lane).collect::<Result<_>>()?;
        // JIT compilers and memories are done after this.
        bare_lane.run(first, 1, WARM)?;
        for (lane, variant) in lanes.iter_mut().zip(&self.variants) {
            lane.run(first, 1, variant.keys)?;
        }
        let mut bares = Vec::new();
        let mut samples: Vec<Vec<Run>> = self.variants.iter().map(|_| Vec::new()).collect();
        for _ in 0..rounds {
            let mut before = bare_lane.run(WARM_UP, requests, WARM)?;
            let groups = lanes.chunks_mut(BETWEEN_BARES).zip(self.variants.chunks(BETWEEN_BARES));
            for ((lanes, variants), samples) in groups.zip(samples.chunks_mut(BETWEEN_BARES)) {
                let measured: Vec<Sample> = lanes
                    .iter_mut()
                    .zip(variants)
                    .map(|(lane, variant)| lane.run(WARM_UP, requests, variant.keys))
                    .collect::<Result<_>>()?;
                let after = bare_lane.run(WARM_UP, requests, WARM)?;
                let base = (before.cpu_us + after.cpu_us) / 2.0;
                for (sample, samples) in measured.into_iter().zip(samples) {
                    samples.push(Run { sample, above_us: sample.cpu_us - base });
                }
                bares.push(Run { sample: before, above_us: 0.0 });
                before = after;
            }
        }
        samples.insert(0, bares);
        Ok(samples)
    }
}

/// One chain in one round.
struct Run {
    sample: Sample,
    /// What the filter costs; 0 if there is none.
    above_us: f64,
}

fn bare() -> Variant {
    Variant { chain: Chain::new(BARE, Filter::None), label: "bare chain, no filter", keys: WARM }
}

/// Waits until so many plugins have fetched their live values.
pub fn wait_for_live(rig: &Rig<'_>, plugins: u64) -> Result<()> {
    eventually(LIVE_DEADLINE, || match rig.stat("wasmcustom.pinroute_runtime.updates") {
        Ok(updates) if updates >= plugins => Ok(()),
        other => Err(format!("{other:?} of {plugins} updates")),
    })
}

fn measured(variant: &Variant, loaded: &[Run], alone: &[Run]) -> Measured {
    let figure = |runs: &[Run], of: fn(&Run) -> f64| Figure::of(runs.iter().map(of));
    Measured {
        name: variant.chain.name.clone(),
        label: variant.label,
        above_us: figure(loaded, |run| run.above_us),
        above_us_by_round: loaded.iter().map(|run| run.above_us).collect(),
        cpu_us: figure(loaded, |run| run.sample.cpu_us),
        per_second: figure(loaded, |run| run.sample.per_second),
        p50_us: figure(loaded, |run| run.sample.p50_us),
        p99_us: figure(loaded, |run| run.sample.p99_us),
        alone_p50_us: figure(alone, |run| run.sample.p50_us),
        alone_p99_us: figure(alone, |run| run.sample.p99_us),
    }
}

/// The ratio of what two filters cost: of the medians of all rounds.
pub fn ratio(all: &[Measured], of: &str, to: &str) -> Result<Figure> {
    let find = |name: &str| all.iter().find(|one| one.name == name).with_context(|| format!("no {name:?}"));
    Ok(Figure::ratio(&find(of)?.above_us_by_round, &find(to)?.above_us_by_round))
}
