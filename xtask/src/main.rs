//! The project's own chores: the demo, Envoy, checks of what is shipped, the isolation report.
//!
//! `cargo xtask --help` lists them; the Makefile calls the same program.

mod command;
mod demo;
mod docker;
mod isolation;
mod licenses;
mod manifests;
mod validate;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use pinroute_testkit::envoy::envoy_binary;
use pinroute_testkit::paths::project_root;

/// The project's own chores.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    after_help = "ENVOY=FILE names an Envoy binary, PINROUTE_ENVOY_VERSION=1.39.3 asks for another version."
)]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Start the demo on loopback until Ctrl-C: Envoy on 10000, admin 9901, and another on 10001, admin 9902, for
    /// shuffle sharding
    Run {
        /// How the second Envoy gets its numbers
        #[arg(long, env = "APPROACH", value_enum, default_value_t)]
        approach: demo::Approach,
    },
    /// Print the path of the Envoy binary; install it if there is none
    Envoy,
    /// Have Envoy check every configuration in envoy/
    Validate,
    /// Measure how well customers are isolated; write isolation.md and its plots
    Isolation {
        /// The folder to write to [default: docs]
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Check the licence and the source of every dependency
    Licenses,
    /// Build the container images, also where no base image can be pulled; check what is in them
    Images,
    /// Start the Compose stack, make its parts fail under load, and remove it, if a Docker engine answers
    TestCompose {
        /// Only the steps with this text in their names
        #[arg(default_value = "")]
        only: String,
    },
    /// Check the Kubernetes manifests, if kubectl is installed
    Manifests,
    /// Write the JSON Schemas in docs/, of the plugin configuration and of Envoy configurations with it
    Schema,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().chore {
        Chore::Run { approach } => demo::run(approach),
        Chore::Envoy => print_envoy(),
        Chore::Validate => validate::validate_all(),
        Chore::Isolation { out } => isolation::write(&out.unwrap_or_else(|| project_root().join("docs"))),
        Chore::Licenses => licenses::check(),
        Chore::Images => docker::images::build(),
        Chore::TestCompose { only } => docker::compose::test(&only),
        Chore::Manifests => manifests::check(),
        Chore::Schema => write_schema(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn write_schema() -> Result<()> {
    for (name, schema) in [
        ("pinroute.schema.json", pinroute_core::config::schema()),
        ("envoy.schema.json", pinroute_core::config::envoy_schema()),
    ] {
        fs::write(project_root().join("docs").join(name), serde_json::to_string_pretty(&schema)? + "\n")?;
    }
    Ok(())
}

fn print_envoy() -> Result<()> {
    println!("{}", envoy_binary()?.display());
    Ok(())
}
