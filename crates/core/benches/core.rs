//! How long the decisions take in native code: `make bench-core`. What a request costs in Envoy is measured by
//! `make bench`; this tells how much of it is ours.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

#[allow(dead_code)] // Each benchmark uses its part.
mod cases;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for case in cases::CASES {
        criterion.bench_function(case.name, |bencher| {
            let mut work = (case.prepare)();
            bencher.iter(&mut work);
        });
    }
    criterion.final_summary();
}
