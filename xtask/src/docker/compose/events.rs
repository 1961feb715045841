//! What fails, and for how long, when parts of the stack fail.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::load::{Outcome, during};
use super::stack::{ADMIN, Stack};
use crate::command::output;

const SERVERS: [&str; 2] = ["poc-routing-server-1", "poc-routing-server-2"];
const ENVOY: &str = "poc-routing-envoy-1";
const NETWORK: &str = "poc-routing_default";
/// How long a server is paused or cut off.
const DOWN: Duration = Duration::from_secs(3);
/// The most seconds until everything works again. An idle machine takes less than 3; this one may be slow. What waits
/// for DNS to be asked again by the clock, or for a connection to time out, takes longer.
const LIMIT: f64 = 15.0;
/// How often addresses are swapped: Docker need not hand them out as expected.
const TRIES: usize = 5;

type Event = fn(&Stack) -> Result<Instant>;

const EVENTS: [(&str, Event); 9] = [
    ("one server killed", |stack| crash(stack, SERVERS[1])),
    ("one server paused for 3 s", paused),
    ("one server cut off from the network for 3 s", cut_off),
    ("Envoy killed", |stack| crash(stack, ENVOY)),
    ("both servers killed, and back with each other's address", swapped),
    ("a name first asked for while its server is down", first_asked_while_down),
    ("scaled from 2 to 3 servers", |stack| scaled(stack, &[&["--wait"]], "3")),
    ("scaled from 3 to 2 servers", |stack| {
        // Of servers that have to be replaced, Compose may remove any: first it removes the last one, and replaces none.
        scaled(stack, &[&["--no-recreate"], &["--wait"]], "2")
    }),
    ("everything restarted", restarted),
];

/// Prints the table of docs/docker.md.
pub fn table(stack: &Stack) -> Result<()> {
    println!("| event | sent | failed | misrouted | failing for | back after |\n|---|--:|--:|--:|--:|--:|");
    let mut wrong = Vec::new();
    for (name, event) in EVENTS {
        let outcome = during(|| event(stack))?;
        let Outcome { sent, failed, misrouted, outage, back, report } = &outcome;
        println!("| {name} | {sent} | {failed} | {misrouted} | {outage:.1} s | {back:.1} s |");
        if *misrouted > 0 || *back > LIMIT || *sent == *failed {
            wrong.push(format!("{name}: {report:#}"));
        }
    }
    ensure!(wrong.is_empty(), "misrouted, or back later than {LIMIT} s:\n{}", wrong.join("\n"));
    Ok(())
}

/// The restart policy has to mend it: counted from the crash.
fn crash(stack: &Stack, container: &str) -> Result<Instant> {
    let crashed = Instant::now();
    stack.crash(container)?;
    Ok(crashed)
}

fn paused(stack: &Stack) -> Result<Instant> {
    stack.run(&["pause", SERVERS[1]])?;
    thread::sleep(DOWN);
    stack.run(&["unpause", SERVERS[1]])?;
    Ok(Instant::now())
}

fn cut_off(stack: &Stack) -> Result<Instant> {
    stack.run(&["network", "disconnect", NETWORK, SERVERS[1]])?;
    thread::sleep(DOWN);
    // Compose gave it this alias, which is gone with the connection.
    stack.run(&["network", "connect", "--alias", "server", NETWORK, SERVERS[1]])?;
    Ok(Instant::now())
}

fn swapped(stack: &Stack) -> Result<Instant> {
    let addresses =
        || -> Result<[String; 2]> { Ok([stack.address(SERVERS[0])?, stack.address(SERVERS[1])?]) };
    let before = addresses()?;
    for _ in 0..TRIES {
        let mut order = SERVERS;
        // Docker hands out the lowest free address first.
        order.sort_by_key(|server| last_byte(before.get(usize::from(*server == SERVERS[1]))));
        stack.run(&["kill", SERVERS[0], SERVERS[1]])?;
        stack.run(&["start", order[1]])?;
        stack.run(&["start", order[0]])?;
        let after = addresses()?;
        if after[0] == before[1] && after[1] == before[0] {
            return Ok(Instant::now());
        }
    }
    anyhow::bail!("the addresses {before:?} were not swapped in {TRIES} attempts")
}

fn last_byte(address: Option<&String>) -> u8 {
    let byte = address.and_then(|address| address.rsplit('.').next()).and_then(|byte| byte.parse().ok());
    byte.unwrap_or_default()
}

fn first_asked_while_down(stack: &Stack) -> Result<Instant> {
    stack.run(&["stop", SERVERS[1]])?;
    // A new Envoy has asked for no name yet.
    stack.run(&["restart", "--time", "1", ENVOY])?;
    stack.wait_for("Envoy", ADMIN, "/ready", 200)?;
    thread::sleep(DOWN);
    stack.run(&["start", SERVERS[1]])?;
    Ok(Instant::now())
}

/// By the commands of docs/docker.md. Without `--no-deps`, Compose replaces Envoy too.
fn scaled(stack: &Stack, options: &[&[&str]], replicas: &str) -> Result<Instant> {
    for options in options {
        let up = [&["up", "--detach", "--no-build", "--no-deps"], *options, &["server"]].concat();
        output(stack.compose(&up).env("REPLICAS", replicas))?;
    }
    Ok(Instant::now())
}

fn restarted(stack: &Stack) -> Result<Instant> {
    output(&mut stack.compose(&["restart"]))?;
    Ok(Instant::now())
}
