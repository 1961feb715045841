//! The demo: two Envoys on fixed loopback ports, with the servers behind them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use pinroute_testkit::env::{SERVER_PORT, TestEnv};
use pinroute_testkit::envoy::envoy_binary;
use tokio::signal::unix::{SignalKind, signal};

const LISTEN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 10000));
const ADMIN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9901));
/// The same for shuffle sharding.
const SHARDS: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 10001));
const SHARDS_ADMIN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9902));

/// One Envoy of the demo, with the servers behind it.
struct Demo {
    /// A file in `envoy/`.
    config: &'static str,
    listen: SocketAddr,
    admin: SocketAddr,
    /// The third byte of the servers' addresses.
    network: u8,
    /// How many servers.
    servers: u8,
}

const DEMOS: [Demo; 2] = [
    Demo { config: "envoy.yaml", listen: LISTEN, admin: ADMIN, network: 0, servers: 2 },
    Demo { config: "shuffle-shard.yaml", listen: SHARDS, admin: SHARDS_ADMIN, network: 1, servers: 8 },
];

/// How often the demo checks that all processes still run.
const WATCH_INTERVAL: Duration = Duration::from_millis(200);

/// Runs the demo until Ctrl-C. Processes start from the main thread, so that they end with it in every case.
pub fn run() -> Result<()> {
    DEMOS.iter().try_for_each(Demo::ensure_free)?;
    // The download may take minutes. Ctrl-C ends it, because signals are handled only from the next step on.
    let envoy = envoy_binary()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = runtime.block_on(async {
        Ok::<_, io::Error>((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))
    })?;
    println!("Envoy is {}", envoy.display());
    // Outside of the runtime: a test environment has one of its own.
    let envs = DEMOS.iter().map(Demo::start).collect::<Result<Vec<_>>>()?;
    println!("{}", invitation());
    let watched: Result<()> = runtime.block_on(async {
        loop {
            tokio::select! {
                _ = interrupt.recv() => return Ok(()),
                _ = terminate.recv() => return Ok(()),
                () = tokio::time::sleep(WATCH_INTERVAL) => envs.iter().try_for_each(still_running)?,
            }
        }
    });
    drop(envs);
    watched?;
    println!("stopped");
    Ok(())
}

impl Demo {
    /// Where the server of this number, counted from 1, listens.
    fn server(&self, number: u8) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(127, 77, self.network, number), SERVER_PORT)
    }

    fn ensure_free(&self) -> Result<()> {
        let servers =
            (1..=self.servers).map(|number| (format!("server {number}"), self.server(number).into()));
        let envoy = [("Envoy".to_owned(), self.listen), ("Envoy's admin interface".to_owned(), self.admin)];
        for (what, addr) in envoy.into_iter().chain(servers) {
            TcpListener::bind(addr).with_context(|| {
                format!("{what} needs {addr}, which is in use; stop the program that listens there")
            })?;
        }
        Ok(())
    }

    fn start(&self) -> Result<TestEnv> {
        println!("envoy/{}:", self.config);
        TestEnv::builder(self.config)
            .replicas(self.servers)
            .concurrency(2)
            .fixed(self.listen, self.admin, self.server(1))
            .progress(|line| println!("  {line}"))
            .start()
    }
}

fn still_running(env: &TestEnv) -> Result<()> {
    if let Some(status) = env.envoy.process().exited()? {
        bail!("Envoy has ended ({status}); the end of its log:\n{}", env.envoy.process().log_tail(20));
    }
    let ended = env.servers.ended()?;
    ensure!(ended.is_none(), "{} has ended", ended.unwrap_or_default());
    Ok(())
}

fn invitation() -> String {
    format!(
        "
The demo is running. In another terminal:

  curl 'http://{LISTEN}/where?client_id=123'    # who owns client 123
  curl 'http://{LISTEN}/join?client_id=123'     # lands exactly there, every time
  curl 'http://{LISTEN}/join'                   # refused: no client_id
  curl -s 'http://{ADMIN}/stats?filter=pinroute'  # what the filter counted
  target/debug/pinroute client --url http://{LISTEN}  # checks that every request reaches its owner

Shuffle sharding, 2 of 8 servers for each customer:

  curl -sI -H 'x-customer-id: customer-A' http://{SHARDS}/headers | grep -E 'x-(shard|target)'
  for n in 1 2 3 4 5 6; do curl -sI -H 'x-customer-id: customer-A' http://{SHARDS}/echo/$n | grep x-target; done
  curl -s -H 'x-customer-id: customer-A' -H 'x-target-cluster: backend_0' http://{SHARDS}/headers  # replaced
  curl -s 'http://{SHARDS_ADMIN}/stats?filter=pinroute'

Ctrl-C stops it."
    )
}
