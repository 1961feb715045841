//! The demo: two Envoys on fixed loopback ports, with the servers behind them, and the control plane of the second.

mod failover;

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use pinroute_testkit::config::Shipped;
use pinroute_testkit::control_plane::ControlPlane;
use pinroute_testkit::env::{SERVER_PORT, TestEnv};
use pinroute_testkit::envoy::envoy_binary;
use pinroute_testkit::ext_proc::ExtProc;
use pinroute_testkit::paths::shipped_configs;
use pinroute_testkit::process::Process;
use pinroute_testkit::servers;
use tokio::signal::unix::{SignalKind, signal};

const LISTEN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 10000));
const ADMIN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9901));
/// The same for shuffle sharding.
const SHARDS: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 10001));
const SHARDS_ADMIN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9902));

/// The control plane.
const XDS: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 18000));
const API: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 18001));

/// The service that decides for the second Envoy, with `ext-proc`.
const EXT_PROC: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 18002));
/// The port of the first host of the control plane's demo, on 127.0.0.1; the others follow.
const FIRST_HOST_PORT: u16 = 9001;
/// How many hosts the control plane's demo has in the end.
const HOSTS: u8 = 12;

/// How the second Envoy gets its numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, ValueEnum)]
pub enum Approach {
    /// The filter subscribes to the runtime.
    #[default]
    Rtds,
    /// The number of hosts comes with the cluster.
    Cds,
    /// The number of hosts is that of the endpoints.
    Eds,
    /// A service decides.
    ExtProc,
    /// The hosts are the endpoints of one cluster, and those of a shard stand in for each other.
    Failover,
}

impl Approach {
    /// The configuration of the second Envoy, and how many servers it has by itself. The hosts of the other ones come from the
    /// control plane.
    fn envoy(self) -> (&'static str, u8) {
        match self {
            Self::Rtds => ("shuffle-shard-rtds.yaml", HOSTS),
            Self::Cds => ("shuffle-shard-cds.yaml", 1),
            Self::Eds => ("shuffle-shard-eds.yaml", 1),
            Self::ExtProc => ("shuffle-shard-ext-proc.yaml", HOSTS),
            Self::Failover => ("failover.yaml", 8),
        }
    }

    /// The options of the control plane; `None` without one.
    fn options(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Rtds | Self::ExtProc => Some(&["--demo"]),
            Self::Cds => Some(&["--demo", "--numbers=cds"]),
            Self::Eds => Some(&["--demo", "--numbers=eds"]),
            Self::Failover => None,
        }
    }
}

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

fn demos(approach: Approach) -> [Demo; 2] {
    let (config, servers) = approach.envoy();
    [
        Demo { config: "envoy.yaml", listen: LISTEN, admin: ADMIN, network: 0, servers: 2 },
        Demo { config, listen: SHARDS, admin: SHARDS_ADMIN, network: 1, servers },
    ]
}

/// How often the demo checks that all processes still run.
const WATCH_INTERVAL: Duration = Duration::from_millis(200);

/// Runs the demo until Ctrl-C. Processes start from the main thread, so that they end with it in every case.
pub fn run(approach: Approach) -> Result<()> {
    let demos = demos(approach);
    ensure_free("the control plane", XDS)?;
    ensure_free("the control plane's API", API)?;
    demos.iter().try_for_each(Demo::ensure_free)?;
    let logs = tempfile::tempdir()?;
    // The download may take minutes. Ctrl-C ends it, because signals are handled only from the next step on.
    let envoy = envoy_binary()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = runtime.block_on(async {
        Ok::<_, io::Error>((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))
    })?;
    println!("Envoy is {}", envoy.display());
    let hosts = match approach {
        Approach::Cds | Approach::Eds => start_hosts(logs.path())?,
        Approach::Rtds | Approach::ExtProc | Approach::Failover => Vec::new(),
    };
    // An Envoy that misses its control plane waits for up to 30 s before it connects again. The filter does not, nor does the
    // service: then the time line begins when everything else runs.
    let start_plane =
        || approach.options().map(|options| ControlPlane::start_on(XDS, API, options)).transpose();
    let early = if matches!(approach, Approach::Cds | Approach::Eds) { start_plane()? } else { None };
    // Outside of the runtime: a test environment has one of its own.
    let mut envs = demos.iter().map(Demo::start).collect::<Result<Vec<_>>>()?;
    let plane = if early.is_some() { early } else { start_plane()? };
    let service = (approach == Approach::ExtProc).then(start_service).transpose()?;
    let second = match envs.last() {
        Some(env) if approach == Approach::Failover => failover::invitation(env)?,
        _ => shuffle_sharding(approach, service.as_ref()),
    };
    println!("{}{second}\n\nCtrl-C stops it.", invitation());
    let mut ended = failover::Ended::default();
    let watched: Result<()> = runtime.block_on(async {
        loop {
            tokio::select! {
                _ = interrupt.recv() => return Ok(()),
                _ = terminate.recv() => return Ok(()),
                () = tokio::time::sleep(WATCH_INTERVAL) => {
                    envs.iter().try_for_each(envoy_still_running)?;
                    let lasting = match envs.split_last_mut() {
                        Some((last, others)) if approach == Approach::Failover => {
                            ended.revive(&mut last.servers)?;
                            others
                        }
                        _ => &mut envs,
                    };
                    lasting.iter().try_for_each(servers_still_running)?;
                    let processes = plane.iter().map(ControlPlane::process);
                    for process in processes.chain(service.iter().map(ExtProc::process)).chain(&hosts) {
                        if let Some(status) = process.exited()? {
                            bail!("a process has ended ({status})\n{}", process.log_tail(20));
                        }
                    }
                }
            }
        }
    });
    drop((envs, service, plane, hosts));
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
            .address(("ext-proc", EXT_PROC.port()), EXT_PROC)
            .progress(|line| println!("  {line}"))
            .start()
    }
}

/// The hosts of the control plane's demo.
fn start_hosts(logs: &Path) -> Result<Vec<Process>> {
    let binary = servers::binary()?;
    println!("{HOSTS} hosts on 127.0.0.1, ports from {FIRST_HOST_PORT} on");
    (1..=HOSTS)
        .map(|number| {
            let port = FIRST_HOST_PORT + u16::from(number) - 1;
            ensure_free("a host", SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
            let name = servers::name(number);
            let mut command = Command::new(&binary);
            command.args(["server", "--bind=127.0.0.1", &format!("--port={port}"), "--server-name", &name]);
            Process::spawn(&name, &mut command, logs.join(&name))
        })
        .collect()
}

fn start_service() -> Result<ExtProc> {
    let file = "ext-proc/shuffle-shard.yaml";
    println!("pinroute ext-proc on {EXT_PROC}");
    let config = Shipped::parse(file, &fs::read_to_string(shipped_configs().join(file))?)?;
    ExtProc::start_on(EXT_PROC, config.value(), &[&format!("--xds=http://{XDS}")])
}

fn ensure_free(what: &str, addr: SocketAddr) -> Result<()> {
    let listening = TcpListener::bind(addr);
    listening
        .map(drop)
        .with_context(|| format!("{what} needs {addr}, which is in use; stop the program that listens there"))
}

fn envoy_still_running(env: &TestEnv) -> Result<()> {
    if let Some(status) = env.envoy.process().exited()? {
        bail!("Envoy has ended ({status}); the end of its log:\n{}", env.envoy.process().log_tail(20));
    }
    Ok(())
}

fn servers_still_running(env: &TestEnv) -> Result<()> {
    let ended = env.servers.ended()?;
    ensure!(ended.is_empty(), "servers have ended: {ended:?}");
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
"
    )
}

fn shuffle_sharding(approach: Approach, service: Option<&ExtProc>) -> String {
    let target = match approach {
        Approach::Cds | Approach::Eds => "x-target-host: 0",
        Approach::Rtds | Approach::ExtProc | Approach::Failover => "x-target-cluster: backend_0",
    };
    // With ext_proc, the service counts.
    let counted =
        service.map_or(format!("http://{SHARDS_ADMIN}/stats?filter=pinroute"), ExtProc::metrics_url);
    format!(
        "
Shuffle sharding: each customer has 2 of 8 servers. 30 s after the start there are 12, and customer-A has 3; after 60 s customer-B has 4:

  while sleep 1; do for c in A B; do curl -sI -H \"x-customer-id: customer-$c\" http://{SHARDS}/headers | grep x-shard-config; done; done
  curl -X PUT -d '{{\"shard_size\": 5}}' http://{API}/v1/customers/customer-A  # in effect at once, until the step at 30 s
  curl -s http://{API}/v1/nodes  # which Envoy has what

  curl -sI -H 'x-customer-id: customer-A' http://{SHARDS}/headers | grep -E 'x-(shard|target)'
  for n in 1 2 3 4 5 6; do curl -sI -H 'x-customer-id: customer-A' http://{SHARDS}/echo/$n | grep x-target; done
  curl -s -H 'x-customer-id: customer-A' -H '{target}' http://{SHARDS}/headers  # replaced
  curl -s '{counted}'"
    )
}
