//! How well the algorithms isolate customers from each other: measured, and set against theory.
//!
//! The documents are the same on every run: the customers are fixed, and so are the groups they are put in.

mod measure;
mod page;
mod plot;
mod theory;

use pinroute_core::shuffle::Algorithm;

use measure::{moved, Fleet, Measured};

/// The fleets measured: hosts, and hosts per customer.
const FLEETS: [Fleet; 3] =
    [Fleet { hosts: 8, size: 2 }, Fleet { hosts: 20, size: 4 }, Fleet { hosts: 32, size: 12 }];

/// The fleets of the plot of moves: so many hosts, this many per customer.
const GROWING: [u32; 15] = [5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 63];
const GROWING_SIZE: u32 = 4;

/// A file of `docs/`.
#[derive(Debug)]
pub struct Document {
    /// Its name, without a folder.
    pub name: &'static str,
    /// What it says.
    pub text: String,
}

/// A fleet under both algorithms.
struct Compared {
    fleet: Fleet,
    rendezvous: Measured,
    lua: Measured,
}

/// Measures everything and describes it: a page and its plots. Takes a few seconds.
#[must_use]
pub fn documents(progress: impl Fn(&str)) -> Vec<Document> {
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
    vec![
        Document { name: "isolation.md", text: page::page(&fleets) },
        Document { name: "isolation-cover.svg", text: plot::cover(&fleets) },
        Document {
            name: "isolation-moved.svg",
            text: plot::moved(growing(Algorithm::Rendezvous), growing(Algorithm::LuaDjb2)),
        },
    ]
}
