//! The profile `failover`: while a server is down, the other one of its shard answers.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use pinroute_testkit::http::{Client, Response};

use super::stack::{FAILOVER, Stack};
use crate::command::output;

/// Each customer has 2 of them.
const SERVERS: &str = "8";
/// Until everything is as it should be.
const LIMIT: Duration = Duration::from_secs(30);
/// How long requests go on while a server is down.
const DOWN: Duration = Duration::from_secs(5);
/// Between two requests.
const PAUSE: Duration = Duration::from_millis(5);

pub fn failover(stack: &Stack) -> Result<()> {
    let service = "envoy-failover";
    let mut up = stack.compose(&["--profile", "failover", "up", "--detach", "--no-build", "--wait", service]);
    output(up.env("REPLICAS", SERVERS))?;
    let customer = Customer { client: Client::new(FAILOVER), id: "customer-A" };
    let config = format!("2/{SERVERS}");
    let is_ready =
        |response: &Response| header(response, "x-shard-config") == config && response.status == 200;
    let shard = shard(&customer.wait(is_ready)?);
    let [first, second] = shard.as_slice() else { bail!("the shard is {shard:?}") };

    // Docker does not restart what `docker kill` has stopped.
    stack.run(&["kill", first])?;
    let (sent, failed) = customer.during(DOWN)?;
    println!("| one server of a shard killed ({service}) | {sent} | {failed} | 0 | 0.0 s | 0.0 s |");
    ensure!(failed <= 1, "more failed than what was in flight");
    stack.run(&["start", first])?;
    customer.wait(|response| is_ready(response) && served_by(response) == first)?;

    // Both: nothing outside the shard is tried, as long as it is the shard.
    stack.run(&["kill", first, second])?;
    let down = customer.wait(|response| response.status == 503)?;
    ensure!(self::shard(&down) == shard, "the shard has become {:?}", self::shard(&down));
    let other = other_customer(&shard)?;
    let (_, failed) = other.during(Duration::from_secs(1))?;
    ensure!(failed == 0, "{} is harmed: {failed} requests failed", other.id);
    stack.run(&["start", first, second])?;
    customer.wait(|response| is_ready(response) && self::shard(response) == shard)?;
    output(&mut stack.compose(&["--profile", "failover", "rm", "--stop", "--force", service])).map(drop)
}

struct Customer {
    client: Client,
    id: &'static str,
}

impl Customer {
    fn ask(&self, number: u32) -> Result<Response> {
        self.client.request("GET", &format!("/echo/{number}"), &[("x-customer-id", self.id)], b"")
    }

    fn wait(&self, is_expected: impl Fn(&Response) -> bool) -> Result<Response> {
        let start = Instant::now();
        for number in 0.. {
            let response = self.ask(number)?;
            if is_expected(&response) {
                return Ok(response);
            }
            ensure!(start.elapsed() < LIMIT, "after {LIMIT:?}: {} {:?}", response.status, response.headers);
            std::thread::sleep(PAUSE);
        }
        bail!("no request is left")
    }

    /// How many requests were sent, and how many of them failed. None may leave its shard.
    fn during(&self, time: Duration) -> Result<(u32, u32)> {
        let (start, mut sent, mut failed) = (Instant::now(), 0, 0);
        while start.elapsed() < time {
            let response = self.ask(sent)?;
            sent += 1;
            if response.status == 200 {
                let (server, shard) = (served_by(&response).to_owned(), shard(&response));
                ensure!(shard.contains(&server), "{server} answered, which is outside of {shard:?}");
            } else {
                failed += 1;
            }
            std::thread::sleep(PAUSE);
        }
        Ok((sent, failed))
    }
}

/// A customer without a server of this shard.
fn other_customer(shard: &[String]) -> Result<Customer> {
    for id in ["customer-B", "customer-C", "customer-D", "customer-E", "customer-F", "customer-G"] {
        let customer = Customer { client: Client::new(FAILOVER), id };
        if self::shard(&customer.ask(0)?).iter().all(|server| !shard.contains(server)) {
            return Ok(customer);
        }
    }
    bail!("each customer has a server of {shard:?}")
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.header(name).unwrap_or_default()
}

fn served_by(response: &Response) -> &str {
    header(response, "x-served-by")
}

fn shard(response: &Response) -> Vec<String> {
    header(response, "x-shard-assignment").split(',').map(str::to_owned).collect()
}
