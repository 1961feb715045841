//! The demo of failover: servers that end come back after a while, and meanwhile others of their shard answer.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use pinroute_testkit::env::TestEnv;
use pinroute_testkit::eventually;
use pinroute_testkit::servers::{self, Servers};

use super::{SHARDS, SHARDS_ADMIN};

/// How long a server is down after it has ended.
const DOWN: Duration = Duration::from_secs(20);
/// Until the filter knows the endpoints.
const READY: Duration = Duration::from_secs(10);
/// The customer whose servers are to be killed.
const CUSTOMER: &str = "customer-A";

/// When servers have ended.
#[derive(Default)]
pub struct Ended(BTreeMap<u8, Instant>);

impl Ended {
    /// Starts each server again some time after it has ended.
    pub fn revive(&mut self, servers: &mut Servers) -> Result<()> {
        for number in servers.ended()? {
            let name = servers::name(number);
            match self.0.get(&number) {
                None => {
                    println!("{name} has ended; it starts again in {} s", DOWN.as_secs());
                    self.0.insert(number, Instant::now());
                }
                Some(since) if since.elapsed() >= DOWN => {
                    servers.restart(number)?;
                    self.0.remove(&number);
                    println!("{name} is running again");
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// What to kill, and what to see.
pub fn invitation(env: &TestEnv) -> Result<String> {
    let numbers = shard(env)?;
    let names: Vec<_> = numbers.iter().map(|number| servers::name(*number)).collect();
    let kills: Vec<_> = numbers
        .iter()
        .map(|number| format!("pkill -KILL -f 'server --bind={}$'", env.servers.addr(*number).ip()))
        .collect();
    Ok(format!(
        "
Failover: each customer has 2 of 8 servers. Those of {CUSTOMER} are {}. See which one answers:

  n=0; while sleep 0.2; do n=$((n+1)); curl -sI -H 'x-customer-id: {CUSTOMER}' http://{SHARDS}/echo/$n | grep -E '^HTTP|x-served-by'; done

Kill one of them in another terminal: every request still gets 200, from the other one. The killed one starts
again after {} s, and takes its part of the requests:

  {}

Kill both: 503, because no other server is ever tried; other customers are not affected:

  {}
  curl -sI -H 'x-customer-id: customer-B' http://{SHARDS}/headers | grep -E '^HTTP|x-served-by|x-shard'
  curl -s 'http://{SHARDS_ADMIN}/stats?filter=pinroute_endpoints'",
        names.join(" and "),
        DOWN.as_secs(),
        kills.first().map_or("", String::as_str),
        kills.join("; "),
    ))
}

/// The numbers of the customer's servers, when the filter knows all of them.
fn shard(env: &TestEnv) -> Result<Vec<u8>> {
    let header = |name: &str| {
        let response = env.request("HEAD", "/headers", &[("x-customer-id", CUSTOMER)], b"");
        let value = response.map(|response| response.header(name).unwrap_or_default().to_owned());
        value.map_err(|error| format!("{error:#}"))
    };
    let all = format!("2/{}", env.servers.count());
    let wait = || match header("x-shard-config")? {
        config if config == all => header("x-shard-assignment"),
        config => Err(format!("the filter uses {config:?}, not {all}")),
    };
    let assigned = eventually(READY, wait).map_err(|error| anyhow!("{error}"))?;
    Ok((1..=env.servers.count())
        .filter(|number| assigned.split(',').any(|name| name == servers::name(*number)))
        .collect())
}
