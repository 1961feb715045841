//! The comparison: all variants in one Envoy, in turn.

use crate::chain::{Chain, Filter};
use crate::figure::Figure;
use crate::pushes;
use crate::rig::{Bench, Rig};
use crate::scale::Scale;
use crate::turns::{Line, Run, Turns, WARM_UP, in_turn};
use crate::variants::{self, BARE, Variant, WARM};
use anyhow::{Context, Result, ensure};
use pinroute_testkit::eventually;
use serde::Serialize;
use std::time::{Duration, Instant};

/// For live values to arrive.
const LIVE_DEADLINE: Duration = Duration::from_secs(30);

/// How many chains are measured between two runs of the bare chain.
const BETWEEN_BARES: usize = 2;

/// How long a chain gets requests for a profiler.
const BUSY: Duration = Duration::from_secs(20);

/// A chain in all rounds.
#[derive(Debug, Serialize)]
pub struct Measured {
    /// Its name.
    pub name: String,
    /// For people.
    pub label: &'static str,
    /// The cost of its filter: µs of Envoy's processor time for each request, above the bare chain just before and
    /// after.
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

/// Sends requests to one chain for a while, so that it can be profiled.
pub fn load(bench: &Bench, scale: &Scale, chain: &str) -> Result<()> {
    let variant = variants::named(bench.port(), &[chain.to_owned()])?;
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
        Self::start(bench, variants, false)
    }

    /// As [`new`](Self::new), but a host behind Envoy answers all requests.
    pub fn with_upstream(bench: &'b Bench, variants: Vec<Variant>) -> Result<Self> {
        Self::start(bench, variants, true)
    }

    fn start(bench: &'b Bench, variants: Vec<Variant>, has_upstream: bool) -> Result<Self> {
        let chains: Vec<Chain> = std::iter::once(bare().chain)
            .chain(variants.iter().map(|variant| variant.chain.clone()))
            .map(|chain| Chain { has_upstream, ..chain })
            .collect();
        bench.xds.set_runtime(variants::RUNTIME, &variants::runtime());
        pushes::set(bench, variants::FLEET, 8, 0);
        let (rig, _) = bench.envoy(1, &chains)?;
        let live = variants.iter().filter(|variant| variant.chain.name.ends_with("-live")).count();
        wait_for_live(&rig, live as u64)?;
        wait_for_endpoints(&rig, &chains)?;
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

    /// All chains in turn, the bare one first.
    fn rounds(
        &self,
        connections: usize,
        rounds: usize,
        first_warm_up: u64,
        requests: u64,
    ) -> Result<Vec<Vec<Run>>> {
        let lines: Vec<Line<'_>> =
            self.variants.iter().map(|variant| (variant.chain.name.as_str(), variant.keys)).collect();
        let between_bares = BETWEEN_BARES;
        in_turn(&self.rig, &lines, &Turns { connections, rounds, first_warm_up, requests, between_bares })
    }
}

fn bare() -> Variant {
    Variant { chain: Chain::new(BARE, Filter::None), label: "bare chain, no filter", keys: WARM }
}

/// Waits until this many plugins have received their live values.
pub fn wait_for_live(rig: &Rig<'_>, plugins: u64) -> Result<()> {
    eventually(LIVE_DEADLINE, || match rig.stat("wasmcustom.pinroute_runtime.updates") {
        Ok(updates) if updates >= plugins => Ok(()),
        other => Err(format!("{other:?} of {plugins} updates")),
    })
}

/// Waits until all chains with the endpoints of a cluster have them.
pub fn wait_for_endpoints(rig: &Rig<'_>, chains: &[Chain]) -> Result<()> {
    for chain in chains.iter().filter(|chain| chain.filter.has_endpoints()) {
        let client = rig.client(&chain.name)?;
        eventually(LIVE_DEADLINE, || {
            let response = client.request("GET", "/join", &[("x-customer-id", "any")], b"");
            match response.as_ref().map(|response| response.status) {
                Ok(200) => Ok(()),
                _ => Err(format!("{}: {response:?}", chain.name)),
            }
        })?;
    }
    Ok(())
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
    let (of, to) = (find(of)?, find(to)?);
    ensure!(of.above_us_by_round.len() == to.above_us_by_round.len(), "rounds are missing");
    Ok(Figure::ratio(&of.above_us_by_round, &to.above_us_by_round))
}
