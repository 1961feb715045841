//! The parts of a measurement: the servers, an Envoy with its listeners, and the load generator.

use crate::chain::{Bootstrap, Chain};
use crate::load::{Connections, Generator, Keys, Series};
use crate::machine::{Processors, Thread, pin, resident};
use anyhow::{Context, Result, ensure};
use pinroute_testkit::dns::Dns;
use pinroute_testkit::envoy::{Envoy, EnvoyOptions};
use pinroute_testkit::http::Client;
use pinroute_testkit::servers::{Servers, ServersOptions};
use pinroute_testkit::xds::Xds;
use serde::Serialize;
use serde_json::Value;
use std::time::{Duration, Instant};

/// The resolver and the load generator. They serve all Envoys.
#[derive(Debug)]
pub struct Bench {
    /// The load generator.
    pub generator: Generator,
    /// Which processors each part runs on.
    processors: Processors,
    /// Pushes live values.
    pub xds: Xds,
    servers: Servers,
    _dns: Dns,
}

impl Bench {
    /// Starts the resolver.
    pub fn start() -> Result<Self> {
        let processors = Processors::divide()?;
        pin(&processors.servers)?;
        let dns = Dns::start()?;
        let options = ServersOptions {
            environment: vec![("REPLICAS".to_owned(), "8".to_owned())],
            ..ServersOptions::default()
        };
        let servers = Servers::start(1, &options, &dns)?;
        let xds = Xds::start()?;
        pin(&processors.load)?;
        Ok(Self { generator: Generator::new()?, processors, xds, servers, _dns: dns })
    }

    /// The port in the resolver's responses.
    pub fn port(&self) -> u16 {
        self.servers.port()
    }

    /// Starts an Envoy with a listener for each chain. Also returns the time from the start of the process until it was
    /// ready.
    pub fn envoy(&self, workers: u32, chains: &[Chain]) -> Result<(Rig<'_>, Duration)> {
        self.envoy_showing(workers, chains, &[])
    }

    /// As [`envoy`](Self::envoy), with headers on each response.
    pub fn envoy_showing(
        &self,
        workers: u32,
        chains: &[Chain],
        shown: &[(&str, &str)],
    ) -> Result<(Rig<'_>, Duration)> {
        self.envoy_on(&self.processors.envoy, workers, chains, shown)
    }

    /// Starts an Envoy whose workers may run on all processors.
    pub fn envoy_on_all(&self, workers: u32, chains: &[Chain]) -> Result<Rig<'_>> {
        let Processors { envoy, load, servers } = &self.processors;
        Ok(self.envoy_on(&[envoy, load, servers].map(Vec::as_slice).concat(), workers, chains, &[])?.0)
    }

    fn envoy_on(
        &self,
        processors: &[usize],
        workers: u32,
        chains: &[Chain],
        shown: &[(&str, &str)],
    ) -> Result<(Rig<'_>, Duration)> {
        let resolver = self.servers.addr(1).into();
        let options = EnvoyOptions { concurrency: workers, ..EnvoyOptions::default() };
        let document = Bootstrap { chains, resolver, xds: self.xds.envoy_cluster(), shown }.document();
        pin(processors)?;
        let start = Instant::now();
        let started = Envoy::start(&document, &options);
        let took = start.elapsed();
        pin(&self.processors.load)?;
        Ok((Rig { bench: self, envoy: started? }, took))
    }
}

/// A running Envoy.
#[derive(Debug)]
pub struct Rig<'b> {
    bench: &'b Bench,
    envoy: Envoy,
}

/// What was measured in one run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sample {
    /// Processor time of Envoy's worker thread, user and system, in µs for each request.
    pub cpu_us: f64,
    /// Requests answered in a second.
    pub per_second: f64,
    /// The median of the latency, in µs.
    pub p50_us: f64,
    /// The 99th percentile of the latency, in µs.
    pub p99_us: f64,
}

/// Open connections to a chain. They stay open for a whole comparison, so that the figures do not include opening and
/// closing.
#[derive(Debug)]
pub struct Lane<'r> {
    chain: String,
    worker: Thread,
    connections: Connections<'r>,
}

impl Lane<'_> {
    /// Sends `warm_up` requests, and then `requests` that are measured.
    pub fn run(&mut self, warm_up: u64, requests: u64, keys: Keys) -> Result<Sample> {
        self.measure(warm_up, requests, keys).with_context(|| format!("the chain {:?}", self.chain))
    }

    fn measure(&mut self, warm_up: u64, requests: u64, keys: Keys) -> Result<Sample> {
        self.connections.send(warm_up, keys)?;
        let before = self.worker.used()?;
        let series: Series = self.connections.send(requests, keys)?;
        let used = self.worker.used()?.saturating_sub(before);
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        Ok(Sample {
            cpu_us: used as f64 / 1e3 / requests as f64,
            per_second: requests as f64 / series.took.as_secs_f64(),
            p50_us: micros(series.quantile(0.5)),
            p99_us: micros(series.quantile(0.99)),
        })
    }
}

impl Rig<'_> {
    /// Opens connections to a chain.
    pub fn lane(&self, chain: &str, connections: usize) -> Result<Lane<'_>> {
        let address = self.envoy.listener_addr(chain)?;
        Ok(Lane {
            chain: chain.to_owned(),
            worker: Thread::worker(self.envoy.pid())?,
            connections: self.bench.generator.connect(address, connections)?,
        })
    }

    /// Sends requests without measuring.
    pub fn send(&self, chain: &str, connections: usize, count: u64, keys: Keys) -> Result<()> {
        let address = self.envoy.listener_addr(chain)?;
        self.bench.generator.connect(address, connections)?.send(count, keys)?;
        Ok(())
    }

    /// A client for a chain.
    pub fn client(&self, chain: &str) -> Result<Client> {
        Ok(Client::new(self.envoy.listener_addr(chain)?))
    }

    /// Envoy's process id.
    pub fn process(&self) -> u32 {
        self.envoy.pid()
    }

    /// Envoy's resident memory, in bytes.
    pub fn memory(&self) -> Result<u64> {
        resident(self.envoy.pid())
    }

    /// Fails if pinroute let a request pass undecided, or if a VM was lost. An error response fails a measurement at once.
    pub fn check(&self) -> Result<()> {
        for (namespace, what) in ["wasmcustom.pinroute_", "pinroute."]
            .into_iter()
            .flat_map(|namespace| ["continued", "passed"].map(|what| (namespace, what)))
        {
            let odd = self.envoy.stats(&format!("{namespace}{what}"))?;
            ensure!(odd.values().all(|count| *count == 0), "pinroute did not route every request: {odd:?}");
        }
        let reloads = self.envoy.stats("wasm.")?;
        let lost = reloads.iter().find(|(name, count)| name.contains("vm_reload") && **count > 0);
        ensure!(lost.is_none(), "a VM was lost: {lost:?}\n{}", self.envoy.log());
        Ok(())
    }

    /// Envoy's version.
    pub fn version(&self) -> Result<String> {
        // HASH/1.40.0/Clean/RELEASE/BoringSSL
        let info: Value = serde_json::from_str(&self.envoy.admin_get("/server_info")?)?;
        let version = info.get("version").and_then(Value::as_str).and_then(|text| text.split('/').nth(1));
        Ok(version.context("Envoy does not report its version")?.to_owned())
    }

    /// A counter or gauge of Envoy's.
    pub fn stat(&self, name: &str) -> Result<u64> {
        self.envoy.stat(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::{Filter, script};
    use crate::load::key;
    use crate::variants::index;
    use pinroute_core::mode::IndexMode;

    #[test]
    fn the_lua_index_is_that_of_the_formula() {
        let bench = Bench::start().unwrap();
        let lua = Filter::Lua(script("bench/lua/index.lua").unwrap());
        let chains = [Chain::new("lua", lua), Chain::new("pinroute", index(None))];
        let shown = [("x-authority", "%REQ(:authority)%")];
        let (rig, _) = bench.envoy_showing(1, &chains, &shown).unwrap();
        let clients = ["lua", "pinroute"].map(|chain| rig.client(chain).unwrap());
        let keys =
            (0..500).map(|number| key(number * 7_919)).chain(["a%20b+c", "%c3%bc", "x"].map(str::to_owned));
        for raw in keys {
            let decoded = pinroute_core::key::percent::decode_form(raw.as_bytes());
            let slot = IndexMode::Hash.slot(&decoded, 8) + 1;
            for client in &clients {
                let response = client.get(&format!("/join?client_id={raw}")).unwrap();
                let expected = format!("poc-routing-server-{slot}:8081");
                assert_eq!(response.header("x-authority"), Some(expected.as_str()), "{raw}");
            }
        }
        rig.check().unwrap();
    }
}
