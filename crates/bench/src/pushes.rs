//! What a push of a cluster's endpoints costs Envoy's threads.

use crate::chain::Chain;
use crate::figure::Figure;
use crate::machine::Thread;
use crate::rig::Bench;
use crate::scale::Scale;
use crate::variants::{FLEET, failover};
use anyhow::{Context, Result};
use pinroute_testkit::eventually;
use pinroute_testkit::xds::{Kind, Pushed};
use serde::Serialize;
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

/// One of them receives the push and hands the endpoints to the others.
const WORKERS: u32 = 4;
/// Until every worker has surely seen what one of them has received.
const SPREAD: Duration = Duration::from_millis(250);
/// Until a push is accepted.
const DEADLINE: Duration = Duration::from_secs(10);
/// The most endpoints.
const MOST: u16 = 1_000;

/// What pushes of so many endpoints cost.
#[derive(Debug, Serialize)]
pub struct Push {
    /// The filter.
    pub label: &'static str,
    /// The endpoints in each push; one of them has another address than before.
    pub endpoints: u16,
    /// Processor time of the thread that receives it, in µs.
    pub receiver_us: Figure,
    /// Processor time of each of the other workers, in µs.
    pub other_us: Figure,
}

/// Measures pushes to either adapter.
pub fn measure(bench: &Bench, scale: &Scale) -> Result<Vec<Push>> {
    let filters = [("pinroute", failover(FLEET)), ("native", failover(FLEET).native())];
    let mut pushes = Vec::new();
    for (label, filter) in filters {
        set(bench, FLEET, 1, 0);
        let (rig, _) = bench.envoy(WORKERS, &[Chain::new("fleet", filter)])?;
        let threads = Thread::all(rig.process())?;
        let used = || threads.iter().map(Thread::used).collect::<Result<Vec<_>>>();
        let during = |push: Option<Pushed>| {
            let before = used()?;
            if let Some(Pushed { version, .. }) = push {
                eventually(DEADLINE, || match bench.xds.acked_version(Kind::Endpoints) {
                    Some(acked) if acked == version => Ok(()),
                    acked => Err(format!("{version} is not accepted, but {acked:?}")),
                })?;
            }
            thread::sleep(SPREAD);
            let times = before.into_iter().zip(used()?).map(|(before, after)| after.saturating_sub(before));
            anyhow::Ok(times.map(|nanos| nanos as f64 / 1e3).collect::<Vec<_>>())
        };
        for endpoints in [MOST / 10, MOST] {
            // The first push has all addresses new.
            during(Some(set(bench, FLEET, endpoints, 0)))?;
            let mut rounds = Vec::new();
            for round in 1..=scale.pushes {
                let idle = during(None)?;
                let busy = during(Some(set(bench, FLEET, endpoints, round)))?;
                rounds.push(busy.into_iter().zip(idle).map(|(busy, idle)| busy - idle).collect::<Vec<_>>());
            }
            let (receiver, others) = split(&threads, &rounds)?;
            pushes.push(Push {
                label,
                endpoints,
                receiver_us: Figure::of(receiver),
                other_us: Figure::of(others),
            });
        }
        rig.check()?;
    }
    Ok(pushes)
}

/// The times of the thread with the most, and those of the workers beside it.
fn split(threads: &[Thread], rounds: &[Vec<f64>]) -> Result<(Vec<f64>, Vec<f64>)> {
    let of = |place: usize| rounds.iter().filter_map(move |times| times.get(place).copied());
    let sum = |place: &usize| of(*place).sum::<f64>();
    let receiver = (0..threads.len()).max_by(|one, other| sum(one).total_cmp(&sum(other)));
    let receiver = receiver.context("Envoy has no threads")?;
    let is_other = |(place, thread): &(usize, &Thread)| *place != receiver && thread.is_worker();
    let others = threads.iter().enumerate().filter(is_other).flat_map(|(place, _)| of(place));
    Ok((of(receiver).collect(), others.collect()))
}

/// Pushes so many endpoints of a cluster, numbered, the first at an address of its own in each round.
pub fn set(bench: &Bench, cluster: &str, endpoints: u16, round: u8) -> Pushed {
    let address = |host: u16| match host {
        0 => SocketAddr::from((Ipv4Addr::new(10, 1, 0, round), 80)),
        _ => SocketAddr::from((Ipv4Addr::new(10, 0, (host >> 8) as u8, host as u8), 80)),
    };
    let all: Vec<_> = (0..endpoints).map(|host| (address(host), json!({ "host_id": host }))).collect();
    bench.xds.set_endpoints(cluster, &all)
}
