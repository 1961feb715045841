//! Two builds of the module side by side: the same chains with each, in one Envoy and in the same turns.

use crate::chain::Filter;
use crate::figure::Figure;
use crate::peers::{Contest, Measured};
use crate::report::{resources, spread};
use crate::resources::{Subject, measure, pinroute};
use crate::rig::Bench;
use crate::scale::Scale;
use crate::variants::{Variant, all, named};
use anyhow::{Context, Result, ensure};
use pinroute_report::table;
use std::path::Path;

/// The name of a chain with the old module begins with this.
const OLD: &str = "old-";

/// Compares `dist/pinroute.wasm` with an older build in the chains of these names, or in all with pinroute. Gives
/// tables: what a request costs, and start-up, memory and size.
pub fn compare(
    bench: &Bench,
    old: &Path,
    only: &[String],
    scale: &Scale,
    progress: &dyn Fn(&str),
) -> Result<String> {
    // Envoy has another working directory.
    let old = old.canonicalize().with_context(|| format!("cannot read {}", old.display()))?;
    let variants = if only.is_empty() { all(bench.port())? } else { named(bench.port(), only)? };
    let pairs: Vec<Variant> = variants.into_iter().filter_map(|new| pair(new, &old)).flatten().collect();
    ensure!(!pairs.is_empty(), "none of these chains has pinroute");
    let contest = Contest::new(bench, pairs)?;
    // A pair is measured between two runs of the bare chain, and takes turns in being the first.
    let measured = contest.run(scale, progress)?;
    drop(contest);
    progress("start-up time and memory");
    let both =
        |(new, same): (Subject, Subject)| [new.labelled("new"), same.with_module(&old).labelled("old")];
    let subjects: Vec<Subject> = pinroute(bench).into_iter().zip(pinroute(bench)).flat_map(both).collect();
    let used = measure(bench, scale, subjects)?;
    Ok(format!("{}\n{}", costs(&measured), resources(&used)))
}

/// The chain with the new module, and the same with the old one; none if the chain is not pinroute's.
fn pair(new: Variant, old: &Path) -> Option<[Variant; 2]> {
    let config = new.chain.filter.pinroute_config()?.clone();
    let mut twin = new.clone();
    twin.chain.name.insert_str(0, OLD);
    twin.chain.filter = Filter::Wasm(old.to_owned(), config);
    Some([new, twin])
}

/// The table of what a request costs with each module.
fn costs(measured: &[Measured]) -> String {
    let rows = measured.iter().filter_map(|new| {
        let old = measured.iter().find(|one| one.name.strip_prefix(OLD) == Some(&new.name))?;
        let ratio = Figure::ratio(&new.above_us_by_round, &old.above_us_by_round);
        Some(vec![
            new.label.to_owned(),
            spread(&new.above_us, 2),
            spread(&old.above_us, 2),
            spread(&ratio, 3),
        ])
    });
    table(&["chain", "new, µs", "old, µs", "new / old"], rows)
}
