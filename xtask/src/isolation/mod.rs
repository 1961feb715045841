//! The isolation report: how well the algorithms isolate customers from each other, measured and compared with
//! theory.
//!
//! Every run writes the same documents: the customers are fixed, and so are the groups of customers.

mod measure;
mod page;
mod plot;
mod theory;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use pinroute_core::shard::Algorithm;

use measure::{Compared, Fleet, GROWING_SIZE, Measured, moved};

/// The fleets measured: hosts, and hosts per customer.
const FLEETS: [Fleet; 3] =
    [Fleet { hosts: 8, size: 2 }, Fleet { hosts: 20, size: 4 }, Fleet { hosts: 32, size: 12 }];

/// The fleets of the plot of moves: the numbers of hosts, and the hosts per customer.
const GROWING: [u32; 15] = [5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 63];

/// A file of `docs/`.
struct Document {
    /// Its name, without a folder.
    name: &'static str,
    text: String,
}

/// Measures everything and writes the page and its plots into a folder.
pub fn write(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    for document in documents(|line| println!("measuring {line}"))? {
        let path = dir.join(document.name);
        fs::write(&path, document.text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

/// The page and its plots. Takes a few seconds.
fn documents(progress: impl Fn(&str)) -> Result<Vec<Document>> {
    let fleets: Vec<Compared> = FLEETS
        .into_iter()
        .map(|fleet| {
            let Fleet { hosts, size } = fleet;
            progress(&format!("{hosts} hosts, {size} per customer"));
            Compared {
                fleet,
                rendezvous: Measured::of(Algorithm::Rendezvous, fleet),
                lua: Measured::of(Algorithm::LuaDjb2, fleet),
            }
        })
        .collect();
    progress(&format!("fleets of up to {} hosts that get one more", GROWING.iter().max().unwrap_or(&0)));
    let growing = |algorithm| {
        let share = |hosts| (f64::from(hosts), moved(algorithm, Fleet { hosts, size: GROWING_SIZE }));
        GROWING.into_iter().map(share).collect::<Vec<_>>()
    };
    let moves = plot::moved(growing(Algorithm::Rendezvous), growing(Algorithm::LuaDjb2))?;
    Ok(vec![
        Document { name: "isolation.md", text: page::page(&fleets) },
        Document { name: "isolation-cover.svg", text: plot::cover(&fleets)? },
        Document { name: "isolation-moved.svg", text: moves },
    ])
}

#[cfg(test)]
mod tests;
