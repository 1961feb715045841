//! The benchmark: pinroute, its Lua peers and an empty filter side by side in one Envoy with one worker.
//!
//! [`peers`] compares them, [`growth`] measures how costs grow, [`resources`] measures start-up and memory, and
//! [`report`] writes the results. [`compare`] compares two builds of the module. [`control_plane`] measures the control
//! plane instead, and [`approaches`] the ways beside the filter. The main figure is the processor time
//! of Envoy's worker thread for a request, above that of a chain without a filter just before and after: it depends
//! less than latency on what else the machine does.

mod approaches;
mod chain;
mod compare;
mod control_plane;
mod figure;
mod goals;
mod growth;
mod load;
mod machine;
mod peers;
mod pushes;
mod report;
mod resources;
mod rig;
mod scale;
mod soak;
mod steady;
mod turns;
mod variants;

use anyhow::Result;
use clap::Parser;
use control_plane::Size;
use peers::Contest;
use pinroute_testkit::paths::project_root;
use report::Report;
use rig::Bench;
use scale::Scale;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Measures pinroute, its Lua peers and an empty filter side by side in one Envoy.
#[derive(Parser)]
#[command(name = "pinroute-bench")]
struct Options {
    /// Fewer rounds and points: a minute or two
    #[arg(long, conflicts_with = "smoke")]
    quick: bool,
    /// Very few requests: only checks that everything works
    #[arg(long)]
    smoke: bool,
    /// Where figures, table and plots are written [default: bench/results]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Also write docs/benchmark.md and docs/benchmark-*.svg
    #[arg(long)]
    publish: bool,
    /// Only compare these chains, and write nothing
    #[arg(long, value_name = "CHAIN,...", value_delimiter = ',')]
    only: Vec<String>,
    /// With --only: a host behind Envoy answers, instead of Envoy itself
    #[arg(long, requires = "only")]
    upstream: bool,
    /// Only compare dist/pinroute.wasm with another build of it, in the same run; write nothing. With --only some chains
    #[arg(long, value_name = "OLD.wasm", conflicts_with_all = ["publish", "out"])]
    compare: Option<PathBuf>,
    /// Only keep a chain busy for 20 s, for a profiler, and print what it costs
    #[arg(long, value_name = "CHAIN", conflicts_with_all = ["publish", "out", "only", "compare"])]
    load: Option<String>,
    /// Only send ten million keys through each cache, and print Envoy's memory: a quarter of an hour
    #[arg(long, conflicts_with_all = ["publish", "out", "only", "compare", "load"])]
    soak: bool,
    /// Only send 300 requests a second to four workers for so many seconds, with a change of the configuration each minute;
    /// the first request that fails ends it
    #[arg(long, value_name = "SECONDS", conflicts_with_all = ["publish", "out", "only", "compare", "load", "soak"])]
    steady: Option<u64>,
    /// With --soak or --steady: the dynamic module in place of the Wasm filter
    #[arg(long, conflicts_with_all = ["publish", "out", "only", "compare", "load"])]
    native: bool,
    /// Only measure the control plane, and print a table: a minute or two. With --smoke only a check that it works
    #[arg(long, conflicts_with_all = ["quick", "publish", "out", "only", "compare", "load", "soak", "steady", "native"])]
    control_plane: bool,
    /// Only measure the approaches side by side: a few minutes. With --smoke only a check that they work
    #[arg(long, conflicts_with_all = ["quick", "out", "only", "compare", "load", "soak", "control_plane"])]
    approaches: bool,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pinroute-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Processes start from the main thread, so that they end with it in every case.
fn run(options: &Options) -> Result<()> {
    let scale = match (options.quick, options.smoke) {
        (true, _) => Scale::quick(),
        (_, true) => Scale::smoke(),
        _ => Scale::full(),
    };
    let start = Instant::now();
    let progress = |line: &str| println!("{:5.0} s  {line}", start.elapsed().as_secs_f64());
    if options.control_plane {
        let size = if options.smoke { Size::smoke() } else { Size::full() };
        println!("\n{}", control_plane::measure(size, &progress)?);
        Ok(())
    } else if options.approaches {
        let size = if options.smoke { approaches::Size::smoke() } else { approaches::Size::full() };
        let part = approaches::measure(size, &progress)?;
        println!("\n{part}");
        if options.publish { approaches::publish(&part) } else { Ok(()) }
    } else if let Some(chain) = &options.load {
        peers::load(&Bench::start()?, &scale, chain)
    } else if options.soak {
        soak::soak(&Bench::start()?, options.native, &progress)
    } else if let Some(seconds) = options.steady {
        let (duration, every) = (Duration::from_secs(seconds), Duration::from_secs(60));
        steady::steady(&Bench::start()?, options.native, duration, every, &progress)
    } else if let Some(old) = &options.compare {
        println!("\n{}", compare::compare(&Bench::start()?, old, &options.only, &scale, &progress)?);
        Ok(())
    } else if options.only.is_empty() {
        measure_all(options, &scale, &progress)
    } else {
        let bench = Bench::start()?;
        let new = if options.upstream { Contest::with_upstream } else { Contest::new };
        let contest = new(&bench, variants::named(bench.port(), &options.only)?)?;
        println!("\n{}", report::peers(&contest.run(&scale, &progress)?));
        Ok(())
    }
}

fn measure_all(options: &Options, scale: &Scale, progress: &dyn Fn(&str)) -> Result<()> {
    let report = Report::measure(scale, progress)?;
    println!("\n{}", report::summary(&report));
    let write = |dir: &Path, all: bool| {
        report::write(&report, dir, all)?;
        progress(&format!("wrote {}", dir.display()));
        anyhow::Ok(())
    };
    let root = project_root();
    write(options.out.as_deref().unwrap_or(&root.join("bench/results")), true)?;
    if options.publish {
        write(&root.join("docs"), false)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_parsed_or_rejected() {
        let parse = |words: &str| Options::try_parse_from(words.split(' '));
        let quick = parse("bench --quick --out x --publish").unwrap();
        assert_eq!((quick.quick, quick.out, quick.publish), (true, Some(PathBuf::from("x")), true));
        assert_eq!(parse("bench --compare old.wasm --only a,b").unwrap().only, ["a", "b"]);
        for wrong in [
            "--only",
            "--out",
            "--fast",
            "--quick --smoke",
            "--soak --publish",
            "--steady",
            "--soak --steady 1",
            "--compare x --out y",
            "--control-plane --soak",
            "--approaches --soak",
        ] {
            assert!(parse(&format!("bench {wrong}")).is_err(), "{wrong}");
        }
    }
}
