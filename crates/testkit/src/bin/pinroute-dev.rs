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

  run        start the demo on loopback (Envoy 10000, admin 9901) until Ctrl-C
  envoy      print the path of the Envoy binary; installs it if there is none
  validate   have Envoy check every configuration in envoy/
  isolation [--out DIR]
             measure how well customers are isolated; writes docs/isolation.md and its plots

ENVOY=FILE names an Envoy binary, PINROUTE_ENVOY_VERSION=1.39.3 asks for another version.";

const LISTEN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 10000));
const ADMIN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9901));
/// The second server listens on the address after it.
const SERVER_1: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(127, 77, 0, 1), SERVER_PORT);
const SERVER_2: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(127, 77, 0, 2), SERVER_PORT);

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
    for (what, addr) in [
        ("Envoy", LISTEN),
        ("Envoy's admin interface", ADMIN),
        ("server 1", SERVER_1.into()),
        ("server 2", SERVER_2.into()),
    ] {
        TcpListener::bind(addr)
            .with_context(|| format!("{addr} is needed for {what} but taken; stop what listens there"))?;
    }
    // It may take minutes to download, and can be interrupted as long as no signal is caught.
    let envoy = envoy_binary()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = runtime.block_on(async {
        Ok::<_, io::Error>((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))
    })?;
    println!("Envoy is {}", envoy.display());
    // Outside of the runtime: a lab has one of its own.
    let lab = Lab::builder("envoy.yaml")
        .concurrency(2)
        .fixed(LISTEN, ADMIN, SERVER_1)
        .progress(|line| println!("{line}"))
        .start()?;
    println!("{}", invitation());
    let watched: Result<()> = runtime.block_on(async {
        loop {
            tokio::select! {
                _ = interrupt.recv() => return Ok(()),
                _ = terminate.recv() => return Ok(()),
                () = tokio::time::sleep(WATCH_INTERVAL) => still_running(&lab)?,
            }
        }
    });
    drop(lab);
    watched?;
    println!("stopped");
    Ok(())
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
