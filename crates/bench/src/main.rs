//! The benchmark: pinroute, its Lua peers and an empty filter side by side in one Envoy with one worker.
//!
//! [`peers`] compares them, [`growth`] looks at how costs grow, [`resources`] at start-up and memory, and
//! [`report`] writes it all down. What counts is the processor time of Envoy's worker thread for a request,
//! above that of a chain without a filter just before and after: it does not depend on how busy the machine is
//! otherwise as much as latency does.

mod chain;
mod figure;
mod goals;
mod growth;
mod load;
mod machine;
mod peers;
mod report;
mod resources;
mod rig;
mod scale;
mod soak;
mod turns;
mod variants;

use anyhow::{bail, Result};
use peers::Contest;
use pinroute_testkit::paths::project_root;
use report::Report;
use rig::Bench;
use scale::Scale;
use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

const USAGE: &str = "\
usage: pinroute-bench [--quick | --smoke] [--out DIR] [--publish]
       pinroute-bench [--quick | --smoke] --only CHAIN,CHAIN,...
       pinroute-bench --load CHAIN
       pinroute-bench --soak
  --quick      fewer rounds and points: a minute or two, for a look
  --smoke      hardly any requests: whether it works at all
  --out DIR    where figures, table and plots go; bench/results if not said
  --publish    also to docs/benchmark.md and docs/benchmark-*.svg
  --only ...   only compare these, and write nothing
  --load CHAIN only keep a chain busy for 20 s, for a profiler, and print what it costs
  --soak       only send ten million keys through each cache, and print Envoy's memory: a quarter of an hour";

struct Options {
    scale: Scale,
    out: PathBuf,
    publish: bool,
    only: Option<Vec<String>>,
    load: Option<String>,
    soak: bool,
}

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    if words.iter().any(|word| word == "--help" || word == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let options = match options(words) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("pinroute-bench: {error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pinroute-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn options(words: Vec<String>) -> Result<Options> {
    let mut options = Options {
        scale: Scale::full(),
        out: project_root().join("bench/results"),
        publish: false,
        only: None,
        load: None,
        soak: false,
    };
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        match (word.as_str(), words.len()) {
            ("--quick", _) => options.scale = Scale::quick(),
            ("--smoke", _) => options.scale = Scale::smoke(),
            ("--soak", _) => options.soak = true,
            ("--publish", _) => options.publish = true,
            ("--out", 1..) => options.out = words.next().unwrap_or_default().into(),
            ("--only", 1..) => {
                options.only = words.next().map(|names| names.split(',').map(str::to_owned).collect());
            }
            ("--only", _) => bail!("--only needs the names of chains"),
            ("--load", 1..) => options.load = words.next(),
            ("--load", _) => bail!("--load needs the name of a chain"),
            ("--out", _) => bail!("--out needs a folder"),
            (other, _) => bail!("unknown argument {other:?}"),
        }
    }
    Ok(options)
}

/// Processes are started from the main thread, so they end with it however that ends.
fn run(options: &Options) -> Result<()> {
    if let Some(chain) = &options.load {
        return peers::load(&Bench::start()?, &options.scale, chain);
    }
    let start = Instant::now();
    let progress = |line: &str| println!("{:5.0} s  {line}", start.elapsed().as_secs_f64());
    if options.soak {
        return soak::soak(&Bench::start()?, &progress);
    }
    if let Some(only) = &options.only {
        let bench = Bench::start()?;
        let contest = Contest::new(&bench, variants::named(bench.port(), only)?)?;
        println!("\n{}", report::peers(&contest.run(&options.scale, &progress)?));
        return Ok(());
    }
    let report = Report::measure(&options.scale, &progress)?;
    println!("\n{}", report.summary());
    report.write(&options.out)?;
    println!("wrote {} after {:.0} s", options.out.display(), start.elapsed().as_secs_f64());
    if options.publish {
        let docs = project_root().join("docs");
        report.publish(&docs)?;
        println!("wrote {}", docs.join("benchmark.md").display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_or_refused() {
        let read = |words: &[&str]| options(words.iter().map(|word| (*word).to_owned()).collect());
        let quick = read(&["--quick", "--out", "x", "--publish"]).unwrap();
        assert_eq!((quick.scale.rounds, quick.out, quick.publish), (20, PathBuf::from("x"), true));
        assert_eq!(read(&["--only", "a,b"]).unwrap().only.unwrap(), ["a", "b"]);
        assert_eq!(read(&["--only"]).err().unwrap().to_string(), "--only needs the names of chains");
        assert_eq!(read(&["--out"]).err().unwrap().to_string(), "--out needs a folder");
        assert_eq!(read(&["--fast"]).err().unwrap().to_string(), r#"unknown argument "--fast""#);
    }
}
