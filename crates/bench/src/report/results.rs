//! Everything that was measured.

use crate::goals::{Goal, goals};
use crate::growth::{self, Plot};
use crate::machine::Machine;
use crate::peers::{Contest, Measured};
use crate::pushes::{self, Push};
use crate::resources::{self, Resources};
use crate::rig::Bench;
use crate::scale::Scale;
use crate::variants;
use anyhow::Result;
use serde::Serialize;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// Envoy's version.
    pub envoy: String,
    /// How much was measured.
    pub scale: Scale,
    /// The goals, met or missed.
    pub goals: Vec<Goal>,
    /// The chains.
    pub peers: Vec<Measured>,
    /// Some chains with a host behind Envoy.
    pub upstream: Vec<Measured>,
    /// How costs grow.
    pub growth: Vec<Plot>,
    /// What pushes of endpoints cost.
    pub pushes: Vec<Push>,
    /// Start-up, memory, size.
    pub resources: Vec<Resources>,
}

impl Report {
    /// Measures everything.
    pub fn measure(scale: &Scale, progress: &dyn Fn(&str)) -> Result<Self> {
        let bench = Bench::start()?;
        let contest = Contest::new(&bench, variants::all(bench.port())?)?;
        let (peers, envoy) = (contest.run(scale, progress)?, contest.version()?);
        drop(contest);
        progress("with a host behind Envoy");
        let contest = Contest::with_upstream(&bench, variants::with_upstream(bench.port())?)?;
        let upstream = contest.run(scale, progress)?;
        drop(contest);
        let growth = growth::plots(&bench, scale, progress)?;
        progress("pushes of endpoints");
        let pushes = pushes::measure(&bench, scale)?;
        progress("start-up time and memory");
        let resources = resources::measure(&bench, scale, resources::subjects(&bench)?)?;
        let goals = goals(&peers, &growth)?;
        Ok(Self {
            machine: Machine::this(),
            envoy,
            scale: scale.clone(),
            goals,
            peers,
            upstream,
            growth,
            pushes,
            resources,
        })
    }
}
