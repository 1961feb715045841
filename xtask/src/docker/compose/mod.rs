//! `make test-compose`: the Compose stack as its users start it, and what it does when parts of it fail.

mod events;
mod failover;
mod headless;
mod load;
mod stack;
mod steps;

use std::time::Instant;

use anyhow::{Context, Result};

use super::Docker;
use stack::Stack;

/// Runs all tests, or those whose name has the text `only`, unless no Docker engine answers, and prints the table of events.
///
/// # Errors
/// If something is not as the documentation says.
pub fn test(only: &str) -> Result<()> {
    let Some(docker) = Docker::find()? else {
        println!("no Docker engine answers: the Compose stack is not tested");
        return Ok(());
    };
    let start = Instant::now();
    let stack = Stack::prepare(docker)?;
    let step = |name: &str, run: fn(&Stack) -> Result<()>| {
        if !name.contains(only) {
            return Ok(());
        }
        println!("{:3.0} s  {name}", start.elapsed().as_secs_f64());
        run(&stack).with_context(|| {
            // The stack is removed when it is dropped, so what it logged is shown now.
            format!("{name} failed; the end of the log:\n{}", stack.log_tail())
        })
    };
    step("the commands of the documentation", steps::as_documented)?;
    step("up --wait returns when everything is ready", steps::ready)?;
    step("hardening, limits and ports", steps::hardened)?;
    step("failures under load", events::table)?;
    step("a gap in the numbers", steps::gap)?;
    step("the profile lua", steps::lua)?;
    step("the profile shuffle", steps::shuffle)?;
    step("the profile failover", failover::failover)?;
    step("stop", steps::stop)?;
    step("the names of Kubernetes", headless::names)?;
    drop(stack);
    println!("{:3.0} s  done", start.elapsed().as_secs_f64());
    Ok(())
}
