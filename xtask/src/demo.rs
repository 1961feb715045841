//! The demo: two Envoys on fixed loopback ports, with the servers behind them, and the control plane of the second.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use pinroute_testkit::control_plane::ControlPlane;
use pinroute_testkit::env::{SERVER_PORT, TestEnv};
use pinroute_testkit::envoy::envoy_binary;
use tokio::signal::unix::{SignalKind, signal};

const LISTEN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 10000));
const ADMIN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9901));
/// The same for shuffle sharding.
const SHARDS: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 10001));
const SHARDS_ADMIN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9902));

/// The control plane.
const XDS: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 18000));
const API: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 18001));

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
    Demo { config: "shuffle-shard-rtds.yaml", listen: SHARDS, admin: SHARDS_ADMIN, network: 1, servers: 12 },
];

/// How often the demo checks that all processes still run.
const WATCH_INTERVAL: Duration = Duration::from_millis(200);

/// Runs the demo until Ctrl-C. Processes start from the main thread, so that they end with it in every case.
pub fn run() -> Result<()> {
    ensure_free("the control plane", XDS)?;
    ensure_free("the control plane's API", API)?;
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
    // Last, so that its time line begins when everything else runs.
    let plane = ControlPlane::start_on(XDS, API, &["--demo"])?;
    println!("{}", invitation());
    let watched: Result<()> = runtime.block_on(async {
        loop {
            tokio::select! {
                _ = interrupt.recv() => return Ok(()),
                _ = terminate.recv() => return Ok(()),
                () = tokio::time::sleep(WATCH_INTERVAL) => {
                    envs.iter().try_for_each(still_running)?;
                    if let Some(status) = plane.process().exited()? {
                        bail!("the control plane has ended ({status})\n{}", plane.process().log_tail(20));
                    }
                }
            }
        }
    });
    drop((envs, plane));
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
        envoy.into_iter().chain(servers).try_for_each(|(what, addr)| ensure_free(&what, addr))
    }

    fn start(&self) -> Result<TestEnv> {
        println!("envoy/{}:", self.config);
        TestEnv::builder(self.config)
            .replicas(self.servers)
            .concurrency(2)
            .fixed(self.listen, self.admin, self.server(1))
            .address(("control-plane", XDS.port()), XDS)
            .progress(|line| println!("  {line}"))
            .start()
    }
}

fn ensure_free(what: &str, addr: SocketAddr) -> Result<()> {
    let listening = TcpListener::bind(addr);
    listening
        .map(drop)
        .with_context(|| format!("{what} needs {addr}, which is in use; stop the program that listens there"))
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

Shuffle sharding: each customer has 2 of 8 servers. 30 s after the start there are 12, and customer-A has 3; after 60 s customer-B has 4:

  while sleep 1; do for c in A B; do curl -sI -H \"x-customer-id: customer-$c\" http://{SHARDS}/headers | grep x-shard-config; done; done
  curl -X PUT -d '{{\"shard_size\": 5}}' http://{API}/v1/customers/customer-A  # in effect at once
  curl -s http://{API}/v1/nodes  # which Envoy has what

  curl -sI -H 'x-customer-id: customer-A' http://{SHARDS}/headers | grep -E 'x-(shard|target)'
  for n in 1 2 3 4 5 6; do curl -sI -H 'x-customer-id: customer-A' http://{SHARDS}/echo/$n | grep x-target; done
  curl -s -H 'x-customer-id: customer-A' -H 'x-target-cluster: backend_0' http://{SHARDS}/headers  # replaced
  curl -s 'http://{SHARDS_ADMIN}/stats?filter=pinroute'

Ctrl-C stops it."
    )
}
