//! Measures chains in turn, with the bare chain between them, because the machine's speed drifts within seconds by
//! more than some filters cost.

use crate::load::Keys;
use crate::rig::{Lane, Rig, Sample};
use crate::variants::{BARE, WARM};
use anyhow::Result;

/// Requests before each measurement; as many as there are connections if those are more.
pub const WARM_UP: u64 = 50;

/// A chain with the keys of its requests.
pub type Line<'c> = (&'c str, Keys);

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Turns {
    /// Connections to each chain.
    pub connections: usize,
    /// Each runs every chain once.
    pub rounds: usize,
    /// Requests to each chain before the first round, so that JIT compilers are done and caches are full.
    pub first_warm_up: u64,
    /// Requests that one run measures.
    pub requests: u64,
    /// How many chains are measured between two runs of the bare one.
    pub between_bares: usize,
}

/// One chain in one round.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// What was measured.
    pub sample: Sample,
    /// What the filter costs, in µs for each request; 0 if there is none.
    pub above_us: f64,
}

/// Measures some chains. The bare one's samples come first, then those of each line.
pub fn in_turn(rig: &Rig<'_>, lines: &[Line<'_>], turns: &Turns) -> Result<Vec<Vec<Run>>> {
    let warm_up = WARM_UP.max(turns.connections as u64);
    let mut bare = rig.lane(BARE, turns.connections)?;
    bare.run(turns.first_warm_up, 1, WARM)?;
    let mut lanes: Vec<(Lane<'_>, Keys, Vec<Run>)> = Vec::with_capacity(lines.len());
    for &(chain, keys) in lines {
        let mut lane = rig.lane(chain, turns.connections)?;
        lane.run(turns.first_warm_up, 1, keys)?;
        lanes.push((lane, keys, Vec::with_capacity(turns.rounds)));
    }
    let mut bares = Vec::new();
    for round in 0..turns.rounds {
        let mut before = bare.run(warm_up, turns.requests, WARM)?;
        for few in lanes.chunks_mut(turns.between_bares.max(1)) {
            // Every second round in the opposite order, so that no chain of a group is always the first.
            let mut order: Vec<_> = few.iter_mut().collect();
            if round % 2 == 1 {
                order.reverse();
            }
            let measured: Vec<Sample> = order
                .iter_mut()
                .map(|(lane, keys, _)| lane.run(warm_up, turns.requests, *keys))
                .collect::<Result<_>>()?;
            let after = bare.run(warm_up, turns.requests, WARM)?;
            let base = (before.cpu_us + after.cpu_us) / 2.0;
            for ((_, _, runs), sample) in order.into_iter().zip(measured) {
                runs.push(Run { sample, above_us: sample.cpu_us - base });
            }
            bares.push(Run { sample: before, above_us: 0.0 });
            before = after;
        }
    }
    Ok(std::iter::once(bares).chain(lanes.into_iter().map(|(_, _, runs)| runs)).collect())
}
