//! What is written down: all figures as JSON, a page with tables, and plots.

mod page;
mod plot;

use crate::goals::{goals, Goal};
use crate::growth::{self, Plot};
use crate::machine::Machine;
use crate::peers::{Contest, Measured};
use crate::resources::{self, Resources};
use crate::rig::Bench;
use crate::scale::Scale;
use crate::variants;
use anyhow::{Context, Result};
pub use page::peers;
use serde::Serialize;
use std::fs;
use std::path::Path;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    machine: Machine,
    envoy: String,
    scale: Scale,
    goals: Vec<Goal>,
    peers: Vec<Measured>,
    growth: Vec<Plot>,
    resources: Vec<Resources>,
}

impl Report {
    /// Measures everything.
    pub fn measure(scale: &Scale, progress: &dyn Fn(&str)) -> Result<Self> {
        let bench = Bench::start()?;
        let contest = Contest::new(&bench, variants::all(bench.port())?)?;
        let (peers, envoy) = (contest.run(scale, progress)?, contest.version()?);
        drop(contest);
        let growth = growth::plots(&bench, scale, progress)?;
        let resources = resources::measure(&bench, scale, progress)?;
        let goals = goals(&peers, &growth)?;
        Ok(Self { machine: Machine::this(), envoy, scale: scale.clone(), goals, peers, growth, resources })
    }

    /// The table and the goals, for a terminal.
    pub fn summary(&self) -> String {
        format!("{}\n{}\n{}", peers(&self.peers), page::resources(self), page::goals(self))
    }

    /// Writes everything into a folder.
    pub fn write(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        write(dir, "benchmark.json", &(serde_json::to_string_pretty(self)? + "\n"))?;
        write(dir, "table.md", &peers(&self.peers))?;
        self.publish(dir)
    }

    /// Writes the page and its plots, which is what is published.
    pub fn publish(&self, dir: &Path) -> Result<()> {
        write(dir, "benchmark.md", &page::page(self))?;
        write(dir, "benchmark-cpu.svg", &plot::bars(&self.peers))?;
        write(dir, "benchmark-growth.svg", &plot::growth(&self.growth))
    }
}

fn write(dir: &Path, name: &str, text: &str) -> Result<()> {
    let path = dir.join(name);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}
