//! What is written: all figures as JSON, a page with tables, and plots.

mod page;
mod plot;
mod results;

use anyhow::{Context, Result};
pub use page::{peers, resources, spread};
pub use results::Report;
use std::fs;
use std::path::Path;

/// The tables for a terminal.
pub fn summary(report: &Report) -> String {
    let Report { peers: measured, resources: used, .. } = report;
    format!("{}\n{}\n{}", peers(measured), resources(used), page::goals(report))
}

/// Writes the page and its plots into a folder, and with `all` the figures as JSON and the table of the chains too.
pub fn write(report: &Report, dir: &Path, all: bool) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let mut files = vec![
        ("benchmark.md", page::page(report)),
        ("benchmark-cpu.svg", plot::bars(&report.peers)?),
        ("benchmark-growth.svg", plot::growth(&report.growth)?),
    ];
    if all {
        files.push(("benchmark.json", serde_json::to_string_pretty(report)? + "\n"));
        files.push(("table.md", peers(&report.peers)));
    }
    for (name, text) in files {
        let path = dir.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
