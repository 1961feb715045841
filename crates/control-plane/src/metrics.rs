//! What is counted, as Prometheus text.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::xds::{Kind, Verdict};

/// All counters.
#[derive(Debug, Default)]
pub struct Metrics {
    pushes: [AtomicU64; 4],
    acks: [AtomicU64; 4],
    nacks: [AtomicU64; 4],
}

impl Metrics {
    /// A response was sent.
    pub fn pushed(&self, kind: Kind) {
        add(&self.pushes, kind);
    }

    /// A client accepted or refused a response.
    pub fn judged(&self, verdict: &Verdict, _since: Instant) {
        match verdict {
            Verdict::Accepted(kind) => add(&self.acks, *kind),
            Verdict::Rejected(kind, _) => add(&self.nacks, *kind),
        }
    }
}

fn add(counters: &[AtomicU64; 4], kind: Kind) {
    if let Some(counter) = Kind::ALL.iter().position(|known| *known == kind).and_then(|at| counters.get(at)) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
