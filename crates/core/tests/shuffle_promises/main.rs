//! What shuffle sharding promises, each promise a test over several families of keys.
//!
//! The keys are fixed, so the tests always come out the same. Their bounds are two-sided and follow from
//! theory; a measured value is never an expectation. `--nocapture` shows the measurements.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod broken;
mod checks;
mod exact;
mod families;
mod rendezvous;
mod stats;
#[path = "../../../../xtask/src/isolation/theory.rs"]
mod theory;

use pinroute_core::shard::{Algorithm, Assigner, Hosts, Scratch};

/// Numbered hosts.
fn assigner(algorithm: Algorithm, seed: Option<&str>) -> impl FnMut(&str, u32, u32) -> Vec<u32> {
    let (assigner, mut scratch) = (Assigner::new(algorithm, &Hosts::Numbered, seed), Scratch::default());
    move |key, hosts, size| {
        let mut shard = Vec::new();
        assigner.assign(key.as_bytes(), hosts, size, &mut scratch, &mut shard);
        shard
    }
}

/// Fails unless the verdict is good, and shows it.
#[track_caller]
fn holds(what: &str, verdict: stats::Verdict) {
    match verdict {
        Ok(measured) => println!("{what}: {measured}"),
        Err(measured) => panic!("{what}: {measured}"),
    }
}
