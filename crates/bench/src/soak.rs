//! Checks that memory stays bounded with any number of keys.

use crate::chain::Chain;
use crate::load::Keys;
use crate::rig::Bench;
use crate::variants::{patient, resolve, shuffle};
use anyhow::{Result, ensure};
use serde_json::json;

/// Keys for each chain, all different.
const KEYS: u64 = 10_000_000;
/// The number of keys between two readings of the memory.
const STEP: u64 = 1_000_000;
/// Requests of one series, which has a deadline.
const SERIES: u64 = 20_000;
/// The most that memory may grow after the first million keys, in MiB: an entry of 20 bytes for each key would be ten
/// times as much.
const GROWTH: f64 = 16.0;
/// Connections.
const CONNECTIONS: usize = 16;

/// Sends every key once to a chain with a cache, and checks Envoy's memory.
pub fn soak(bench: &Bench, is_native: bool, progress: &dyn Fn(&str)) -> Result<()> {
    let cache = json!({ "ttl": "600s", "max_entries": 10_000 });
    let filters = [
        ("resolve", patient(&resolve(bench.port(), Some(&cache)))),
        ("rendezvous", shuffle(&json!({ "total_hosts": 8, "shard_size": 2 }), true, None)),
    ];
    for (name, filter) in filters {
        let chain = Chain::new(name, if is_native { filter.native() } else { filter });
        let (rig, _) = bench.envoy(1, std::slice::from_ref(&chain))?;
        let mib = || anyhow::Ok(rig.memory()? as f64 / f64::from(1 << 20));
        progress(&format!("{}: Envoy takes {:.1} MiB before the first request", chain.name, mib()?));
        let mut lane = rig.lane(&chain.name, CONNECTIONS)?;
        let mut full = None;
        for million in 1..=KEYS / STEP {
            for _ in 0..STEP / SERIES {
                lane.run(0, SERIES, Keys::New)?;
            }
            let (now, name) = (mib()?, &chain.name);
            progress(&format!("{name}: {now:.1} MiB after {million} million keys"));
            // The caches are full long before the first million.
            let bound = *full.get_or_insert(now) + GROWTH;
            ensure!(now <= bound, "{name}: Envoy takes {now:.1} MiB, more than {bound:.1} MiB");
        }
        rig.check()?;
    }
    Ok(())
}
