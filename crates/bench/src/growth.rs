//! Measures how costs grow with the number of keys, hosts, overrides and connections.

use crate::chain::{Chain, Filter, script};
use crate::figure::Figure;
use crate::load::{Keys, key};
use crate::peers::{wait_for_endpoints, wait_for_live};
use crate::pushes;
use crate::rig::{Bench, Rig};
use crate::scale::{Growth, Scale};
use crate::turns::{self, Run, Turns, in_turn};
use crate::variants::{BARE, WARM, failover, lua_shuffle_of, resolve, shuffle};
use anyhow::{Result, ensure};
use pinroute_testkit::eventually;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Requests before the first round, so that JIT compilers are done.
const FIRST_WARM_UP: u64 = 5_000;
/// The most requests to fill a cache: more than the filter's caches hold.
const MOST_FILL: u64 = 200_000;
/// As [`MOST_FILL`], where each request needs a resolver call: three times the size of the cache.
const MOST_RESOLVED: u64 = 30_000;
/// For 100,000 overrides to be fetched and compiled.
const LIVE_DEADLINE: Duration = Duration::from_secs(60);
/// The customers of the figure over overrides.
const CUSTOMERS: u64 = 10_000;

/// A plot: what filters cost over something that grows.
#[derive(Debug, Serialize)]
pub struct Plot {
    /// A name for files.
    pub name: &'static str,
    /// A heading.
    pub title: &'static str,
    /// What grows.
    pub x_label: &'static str,
    /// The lines' names.
    pub lines: Vec<&'static str>,
    /// The points.
    pub points: Vec<Point>,
}

/// All lines at one place.
#[derive(Debug, Serialize)]
pub struct Point {
    /// The place on the x axis.
    pub x: u64,
    /// µs of processor time above the bare chain, for each line.
    pub above_us: Vec<Figure>,
    /// The same in each round.
    pub above_us_by_round: Vec<Vec<f64>>,
    /// The median of the latency in µs, for each line.
    pub p50_us: Vec<Figure>,
    /// The 99th percentile of the latency in µs, for each line.
    pub p99_us: Vec<Figure>,
    /// Resident memory of Envoy afterwards, in MiB.
    pub memory_mib: f64,
}

/// A chain to measure at a point.
struct Line {
    chain: String,
    keys: Keys,
}

fn line(chain: impl Into<String>, keys: Keys) -> Line {
    Line { chain: chain.into(), keys }
}

/// All plots.
pub fn plots(bench: &Bench, scale: &Scale, progress: &dyn Fn(&str)) -> Result<Vec<Plot>> {
    let mut plots = Vec::new();
    for (what, measure) in [
        ("keys", by_keys as fn(&Bench, &Scale) -> Result<Plot>),
        ("hosts", by_hosts),
        ("endpoints", by_endpoints),
        ("overrides", by_overrides),
        ("connections", by_connections),
    ] {
        progress(&format!("growth with the number of {what}"));
        plots.push(measure(bench, scale)?);
    }
    Ok(plots)
}

fn by_keys(bench: &Bench, scale: &Scale) -> Result<Plot> {
    let cache = json!({ "ttl": "600s", "max_entries": 10_000 });
    let chains = [
        Chain::new(BARE, Filter::None),
        Chain::new("rendezvous", shuffle(&json!({ "total_hosts": 8, "shard_size": 2 }), true, None)),
        Chain::new("lua-shuffle", lua_shuffle_of(8)?),
        Chain::new("resolve", resolve(bench.port(), Some(&cache))),
    ];
    let (rig, _) = bench.envoy(1, &chains)?;
    let mut points = Vec::new();
    for &x in &scale.growth.keys {
        let keys = Keys::Random(x);
        let lines = [line("rendezvous", keys), line("lua-shuffle", keys), line("resolve", keys)];
        rig.send("rendezvous", scale.connections, x.min(MOST_FILL), Keys::Cycle(x))?;
        rig.send("resolve", scale.connections, x.min(MOST_RESOLVED), Keys::Cycle(x))?;
        points.push(point(&rig, &scale.growth, x, scale.connections, &lines)?);
    }
    rig.check()?;
    Ok(Plot {
        name: "keys",
        title: "Number of keys",
        x_label: "keys, each request a random one",
        lines: vec!["pinroute, shuffle rendezvous", "Lua, shuffle", "pinroute, resolve, cache of 10,000"],
        points,
    })
}

fn by_hosts(bench: &Bench, scale: &Scale) -> Result<Plot> {
    let mut chains = vec![Chain::new(BARE, Filter::None)];
    for hosts in &scale.growth.hosts {
        let of = |algorithm| json!({ "total_hosts": hosts, "shard_size": 2, "algorithm": algorithm });
        chains.push(Chain::new(format!("rendezvous-{hosts}"), shuffle(&of("rendezvous"), true, None)));
        chains.push(Chain::new(format!("djb2-{hosts}"), shuffle(&of("lua_djb2"), true, None)));
        chains.push(Chain::new(format!("lua-{hosts}"), lua_shuffle_of(*hosts)?));
    }
    let (rig, _) = bench.envoy(1, &chains)?;
    let mut points = Vec::new();
    for &x in &scale.growth.hosts {
        let lines = [
            line(format!("rendezvous-{x}"), WARM),
            line(format!("lua-{x}"), Keys::New),
            line(format!("rendezvous-{x}"), Keys::New),
            line(format!("djb2-{x}"), Keys::New),
        ];
        points.push(point(&rig, &scale.growth, x, scale.connections, &lines)?);
    }
    rig.check()?;
    Ok(Plot {
        name: "hosts",
        title: "Number of hosts",
        x_label: "hosts, two for each customer",
        lines: vec![
            "pinroute, rendezvous, 100 keys",
            "Lua, shuffle, every key new",
            "pinroute, rendezvous, every key new",
            "pinroute, lua_djb2, every key new",
        ],
        points,
    })
}

fn by_endpoints(bench: &Bench, scale: &Scale) -> Result<Plot> {
    let counts = &scale.growth.endpoints;
    let cluster = |count: u16| format!("endpoints-{count}");
    let mut chains = vec![Chain::new(BARE, Filter::None)];
    for &count in counts {
        pushes::set(bench, &cluster(count), count, 0);
        let filter = failover(&cluster(count));
        chains.push(Chain::new(format!("native-{}", cluster(count)), filter.clone().native()));
        chains.push(Chain::new(cluster(count), filter));
    }
    let (rig, _) = bench.envoy(1, &chains)?;
    wait_for_endpoints(&rig, &chains)?;
    let mut points = Vec::new();
    for &x in counts {
        let (wasm, native) = (cluster(x), format!("native-{}", cluster(x)));
        let lines =
            [line(&wasm, WARM), line(&wasm, Keys::New), line(&native, WARM), line(&native, Keys::New)];
        points.push(point(&rig, &scale.growth, x.into(), scale.connections, &lines)?);
    }
    rig.check()?;
    Ok(Plot {
        name: "endpoints",
        title: "Number of endpoints",
        x_label: "endpoints, two for each customer, in the order in which they are to be tried",
        lines: vec![
            "pinroute, 100 keys",
            "pinroute, every key new",
            "native, 100 keys",
            "native, every key new",
        ],
        points,
    })
}

fn by_overrides(bench: &Bench, scale: &Scale) -> Result<Plot> {
    // In each chain every customer has three hosts. The source of that value differs: the configuration, or the
    // runtime for the first `count` customers.
    let counts = &scale.growth.overrides;
    let resource = |count: u64| format!("overrides-{count}");
    let mut chains = vec![Chain::new(BARE, Filter::None)];
    for &count in counts {
        let customers: Map<String, Value> =
            (0..count).map(|number| (key(number), json!({ "shard_size": 3 }))).collect();
        let runtime = json!({ "shuffle_sharding": { "total_hosts": 8, "customer": customers } });
        bench.xds.set_runtime(&resource(count), &runtime);
        let size = if count == 0 { 3 } else { 2 };
        let strategy = json!({ "total_hosts": 8, "shard_size": size });
        chains.push(Chain::new(resource(count), shuffle(&strategy, true, Some(&resource(count)))));
    }
    let (rig, _) = bench.envoy(1, &chains)?;
    wait_for_live(&rig, counts.len() as u64)?;
    for &count in counts {
        let customer = key(count.saturating_sub(1));
        let client = rig.client(&resource(count))?;
        eventually(LIVE_DEADLINE, || {
            let response = client.request("GET", "/join", &[("x-customer-id", &customer)], b"");
            match response.as_ref().ok().and_then(|response| response.header("x-shard-config")) {
                Some("3/8") => Ok(()),
                _ => Err(format!("{customer} of {count} gets {response:?}")),
            }
        })?;
    }
    let mut points = Vec::new();
    for &x in counts {
        rig.send(&resource(x), scale.connections, CUSTOMERS, Keys::Cycle(CUSTOMERS))?;
    }
    // Here the points are lines of one measurement, in turn, because the goal is that they hardly differ.
    let lines: Vec<Line> = counts.iter().map(|&x| line(resource(x), Keys::Random(CUSTOMERS))).collect();
    let turns = Growth { rounds: scale.rounds, ..scale.growth.clone() };
    let all = point(&rig, &turns, 0, scale.connections, &lines)?;
    for (place, &x) in counts.iter().enumerate() {
        let one = |figures: &[Figure]| figures.get(place).copied().into_iter().collect();
        let rounds = all.above_us_by_round.get(place).cloned().into_iter().collect();
        points.push(Point {
            x,
            above_us: one(&all.above_us),
            above_us_by_round: rounds,
            p50_us: one(&all.p50_us),
            p99_us: one(&all.p99_us),
            memory_mib: all.memory_mib,
        });
    }
    rig.check()?;
    Ok(Plot {
        name: "overrides",
        title: "Number of customers with overrides",
        x_label: "overrides in the runtime; requests of 10,000 customers",
        lines: vec!["pinroute, shuffle rendezvous, live runtime"],
        points,
    })
}

fn by_connections(bench: &Bench, scale: &Scale) -> Result<Plot> {
    let chains = [
        Chain::new(BARE, Filter::None),
        Chain::new("lua-resolve", Filter::Lua(script("envoy/lua/routing.lua")?)),
        Chain::new("resolve", resolve(bench.port(), None)),
        Chain::new("lua-shuffle", lua_shuffle_of(8)?),
        Chain::new("rendezvous", shuffle(&json!({ "total_hosts": 8, "shard_size": 2 }), true, None)),
    ];
    let (rig, _) = bench.envoy(1, &chains)?;
    let mut points = Vec::new();
    for &x in &scale.growth.connections {
        let lines = ["resolve", "lua-resolve", "rendezvous", "lua-shuffle"].map(|name| line(name, WARM));
        points.push(point(&rig, &scale.growth, x, usize::try_from(x)?, &lines)?);
    }
    rig.check()?;
    Ok(Plot {
        name: "connections",
        title: "Number of connections",
        x_label: "connections, with one pending request each",
        lines: vec![
            "pinroute, resolve, no cache",
            "Lua, resolve",
            "pinroute, shuffle rendezvous",
            "Lua, shuffle",
        ],
        points,
    })
}

/// Measures some chains in turn, and the bare one between them.
fn point(rig: &Rig<'_>, growth: &Growth, x: u64, connections: usize, lines: &[Line]) -> Result<Point> {
    ensure!(!lines.is_empty(), "nothing to measure");
    let lines: Vec<turns::Line<'_>> = lines.iter().map(|line| (line.chain.as_str(), line.keys)).collect();
    let turns = Turns {
        connections,
        rounds: growth.rounds,
        first_warm_up: FIRST_WARM_UP.min(growth.requests * 10),
        requests: growth.requests,
        between_bares: 1,
    };
    let mut runs = in_turn(rig, &lines, &turns)?;
    let runs = runs.split_off(1);
    let figures = |of: fn(&Run) -> f64| runs.iter().map(|runs| Figure::of(runs.iter().map(of))).collect();
    Ok(Point {
        x,
        above_us: figures(|run| run.above_us),
        above_us_by_round: runs.iter().map(|runs| runs.iter().map(|run| run.above_us).collect()).collect(),
        p50_us: figures(|run| run.sample.p50_us),
        p99_us: figures(|run| run.sample.p99_us),
        memory_mib: rig.memory()? as f64 / f64::from(1 << 20),
    })
}
