//! `pinroute`: the services and tools around the filter, one subcommand each.
//!
//! This crate reads options and starts what they describe; the work is done in a library for each service.

mod client;
mod control_plane;
mod duration;
mod ext_proc;
mod inspect;
mod logging;
mod server;

use std::io::Write;
use std::process::ExitCode;

use clap::builder::Resettable;
use clap::{Arg, CommandFactory, FromArgMatches, Parser, Subcommand};

/// Pin every request to the host that owns it: the services and tools around the Envoy filter pinroute.wasm.
#[derive(Debug, Parser)]
#[command(
    name = "pinroute",
    version,
    after_help = "Each option is also an environment variable; an empty one counts as unset.\n\n\
                  Exits with 1 if a command fails, with 2 if its options are wrong.\n\n\
                  Examples:\n  \
                  SERVICE_PREFIX=server REPLICAS=2 pinroute server\n  \
                  pinroute control-plane --data /var/lib/pinroute\n  \
                  pinroute ext-proc --config pinroute.yaml\n  \
                  pinroute check envoy/envoy.yaml\n  \
                  pinroute explain --config envoy/index.yaml --key 123"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Server(server::Arguments),
    Client(client::Arguments),
    ControlPlane(Box<control_plane::Arguments>),
    ExtProc(Box<ext_proc::Arguments>),
    Check(inspect::Check),
    Explain(Box<inspect::Explain>),
    Preview(inspect::Preview),
    Schema(inspect::Schema),
}

fn main() -> ExitCode {
    let command = without_empty_variables(Cli::command());
    let parsed = command.try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        // Also `--help` and `--version`; exits with 2 after a usage error.
        Err(error) => error.exit(),
    };
    let result = match cli.command {
        Command::Server(arguments) => arguments.run().map(|()| ExitCode::SUCCESS),
        Command::Client(arguments) => arguments.run(),
        Command::ControlPlane(arguments) => arguments.run().map(|()| ExitCode::SUCCESS),
        Command::ExtProc(arguments) => arguments.run().map(|()| ExitCode::SUCCESS),
        Command::Check(arguments) => arguments.run(),
        Command::Explain(arguments) => arguments.run(),
        Command::Preview(arguments) => arguments.run(),
        Command::Schema(arguments) => arguments.run(),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            // If standard error is closed, the exit code still reports the failure.
            let _ = writeln!(std::io::stderr(), "pinroute: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Makes clap ignore the variables that are set but empty, in every subcommand: Docker Compose passes an
/// unset variable as an empty one (`${REPLICAS:-}`).
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let keep_filled = |arg: Arg| {
        let empty = arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
        // The name follows from the option's, which the help says once.
        let is_plain =
            arg.get_env().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("PINROUTE_"));
        let arg = if is_plain { arg.hide_env(true) } else { arg };
        if empty { arg.env(Resettable::Reset) } else { arg }
    };
    command.mut_args(keep_filled).mut_subcommands(without_empty_variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
