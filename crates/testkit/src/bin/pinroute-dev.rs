//! The developer's command: the demo, the Envoy binary, and the check of what is shipped.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs, io};

use anyhow::{bail, ensure, Context, Result};
use pinroute_testkit::config::Shipped;
use pinroute_testkit::envoy::{envoy_binary, validate};
use pinroute_testkit::isolation::documents;
use pinroute_testkit::lab::{for_validation, Lab, SERVER_PORT};
use pinroute_testkit::paths::project_root;
use tokio::signal::unix::{signal, SignalKind};

const USAGE: &str = "\
usage: pinroute-dev COMMAND

  run        start the demo on loopback until Ctrl-C: Envoy on 10000, admin 9901, and another
             on 10001, admin 9902, for shuffle sharding
  envoy      print the path of the Envoy binary; installs it if there is none
  validate   have Envoy check every configuration in envoy/
  isolation [--out DIR]
             measure how well customers are isolated; writes docs/isolation.md and its plots

ENVOY=FILE names an Envoy binary, PINROUTE_ENVOY_VERSION=1.39.3 asks for another version.";

const LISTEN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 10000));
const ADMIN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9901));
/// The same for shuffle sharding.
const SHARDS: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 10001));
const SHARDS_ADMIN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9902));

/// One Envoy of the demo, with the servers behind it.
struct Stage {
    /// A file in `envoy/`.
    config: &'static str,
    listen: SocketAddr,
    admin: SocketAddr,
    /// The third byte of the servers' addresses.
    network: u8,
    /// How many servers.
    servers: u8,
}

const STAGES: [Stage; 2] = [
    Stage { config: "envoy.yaml", listen: LISTEN, admin: ADMIN, network: 0, servers: 2 },
    Stage { config: "shuffle-shard.yaml", listen: SHARDS, admin: SHARDS_ADMIN, network: 1, servers: 8 },
];

/// Between two looks at whether everything still runs.
const WATCH_INTERVAL: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["run"] => run(),
        ["envoy"] => envoy_binary().map(|path| println!("{}", path.display())),
        ["validate"] => validate_all(),
        ["isolation"] => write_isolation(&project_root().join("docs")),
        ["isolation", "--out", dir] => write_isolation(Path::new(dir)),
        ["--help" | "-h" | "help"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => {
            eprintln!("pinroute-dev: {}\n\n{USAGE}", complaint(&words));
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pinroute-dev: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn complaint(words: &[&str]) -> String {
    match words {
        [] => "no command".to_owned(),
        ["isolation", "--out"] => "--out needs a folder".to_owned(),
        ["run" | "envoy" | "validate", rest, ..]
        | ["isolation", "--out", _, rest, ..]
        | ["isolation", rest, ..] => format!("unexpected argument {rest:?}"),
        [word, ..] => format!("unknown command {word:?}"),
    }
}

/// The demo. Processes are started from the main thread, so they end with it however that ends.
fn run() -> Result<()> {
    STAGES.iter().try_for_each(Stage::ensure_free)?;
    // It may take minutes to download, and can be interrupted as long as no signal is caught.
    let envoy = envoy_binary()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = runtime.block_on(async {
        Ok::<_, io::Error>((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))
    })?;
    println!("Envoy is {}", envoy.display());
    // Outside of the runtime: a lab has one of its own.
    let labs = STAGES.iter().map(Stage::start).collect::<Result<Vec<_>>>()?;
    println!("{}", invitation());
    let watched: Result<()> = runtime.block_on(async {
        loop {
            tokio::select! {
                _ = interrupt.recv() => return Ok(()),
                _ = terminate.recv() => return Ok(()),
                () = tokio::time::sleep(WATCH_INTERVAL) => labs.iter().try_for_each(still_running)?,
            }
        }
    });
    drop(labs);
    watched?;
    println!("stopped");
    Ok(())
}

impl Stage {
    /// Where the server of this number, counted from 1, listens.
    fn server(&self, number: u8) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(127, 77, self.network, number), SERVER_PORT)
    }

    fn ensure_free(&self) -> Result<()> {
        let servers =
            (1..=self.servers).map(|number| (format!("server {number}"), self.server(number).into()));
        let envoy = [("Envoy".to_owned(), self.listen), ("Envoy's admin interface".to_owned(), self.admin)];
        for (what, addr) in envoy.into_iter().chain(servers) {
            TcpListener::bind(addr)
                .with_context(|| format!("{addr} is needed for {what} but taken; stop what listens there"))?;
        }
        Ok(())
    }

    fn start(&self) -> Result<Lab> {
        println!("envoy/{}:", self.config);
        Lab::builder(self.config)
            .replicas(self.servers)
            .concurrency(2)
            .fixed(self.listen, self.admin, self.server(1))
            .progress(|line| println!("  {line}"))
            .start()
    }
}

fn still_running(lab: &Lab) -> Result<()> {
    if let Some(status) = lab.envoy.process().exited()? {
        bail!("Envoy has ended ({status}); its last words:\n{}", lab.envoy.process().log_tail(20));
    }
    let ended = lab.servers.ended()?;
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

Shuffle sharding, 2 of 8 servers for each customer:

  curl -sI -H 'x-customer-id: customer-A' http://{SHARDS}/headers | grep -E 'x-(shard|target)'
  for n in 1 2 3 4 5 6; do curl -sI -H 'x-customer-id: customer-A' http://{SHARDS}/echo/$n | grep x-target; done
  curl -s -H 'x-customer-id: customer-A' -H 'x-target-cluster: backend_0' http://{SHARDS}/headers  # replaced
  curl -s 'http://{SHARDS_ADMIN}/stats?filter=pinroute'

Ctrl-C stops it."
    )
}

/// Checks every shipped configuration, and all of them even if one is bad.
fn validate_all() -> Result<()> {
    let names = Shipped::list()?;
    ensure!(!names.is_empty(), "there is no configuration in envoy/");
    let mut bad = 0;
    for name in &names {
        match for_validation(name).and_then(|shipped| validate(shipped.value())) {
            Ok(()) => println!("envoy/{name}: ok"),
            Err(error) => {
                bad += 1;
                println!("envoy/{name}: {error:#}");
            }
        }
    }
    ensure!(bad == 0, "{bad} of {} configurations are bad", names.len());
    Ok(())
}

fn write_isolation(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    for document in documents(|line| println!("measuring {line}")) {
        let path = dir.join(document.name);
        fs::write(&path, document.text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("wrote {}", path.display());
    }
    Ok(())
}
