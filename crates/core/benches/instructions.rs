//! How many instructions the decisions take in native code, counted by Valgrind's callgrind: what the noise of a
//! shared machine would hide. `make bench-core` runs it after the times.
//!
//! Each case runs in a process of its own, so many times and twice as many: the difference is the work, without
//! its preparation.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod cases;

use cases::{CASES, Case};
use std::env;
use std::process::{Command, ExitCode};

/// How a process is told that it is to do the work: with the case's number and how often.
const RUN: &str = "--run";

fn main() -> ExitCode {
    let words: Vec<String> = env::args().collect();
    if let Some(at) = words.iter().position(|word| word == RUN) {
        let number = |place: usize| words.get(at + place).and_then(|word| word.parse::<u64>().ok());
        let (Some(case), Some(times)) = (number(1), number(2)) else { return ExitCode::from(2) };
        let Some(case) = CASES.get(case as usize) else { return ExitCode::from(2) };
        let mut work = (case.prepare)();
        (0..times).for_each(|_| work());
        return ExitCode::SUCCESS;
    }
    // `cargo test --benches` runs benchmarks with this word, to see that they run.
    if words.iter().any(|word| word == "--test") {
        CASES.iter().for_each(|case| (case.prepare)()());
        return ExitCode::SUCCESS;
    }
    println!("{:<42} instructions", "");
    for (place, case) in CASES.iter().enumerate() {
        match instructions(place, case) {
            Ok(count) => println!("{:<42} {count:>12}", case.name),
            Err(error) => {
                eprintln!("{}: {error}", case.name);
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// The instructions of a case.
fn instructions(place: usize, case: &Case) -> Result<u64, String> {
    let (once, twice) = (counted(place, case.times)?, counted(place, case.times * 2)?);
    Ok(twice.saturating_sub(once) / case.times)
}

/// The instructions of a process that does the work so many times.
fn counted(place: usize, times: u64) -> Result<u64, String> {
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([RUN, &place.to_string(), &times.to_string()])
        .output()
        .map_err(|error| {
            format!("cannot run valgrind ({error}): install it, or run `cargo bench --bench core`")
        })?;
    let said = String::from_utf8_lossy(&output.stderr);
    // "==7== Collected : 123456"
    let collected = said.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    collected.ok_or_else(|| format!("valgrind says no number: {said}"))
}
