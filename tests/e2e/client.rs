//! The client that checks where requests land, through a real Envoy to real servers.

use pinroute_client::{Options, Progress, Report, run};
use pinroute_core::mode::IndexMode;
use pinroute_testkit::env::TestEnv;
use pinroute_testkit::eventually;
use std::future::pending;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// A server that restarts needs about a second, and Envoy no more to reach it again.
const SOON: Duration = Duration::from_secs(30);

fn options(env: &TestEnv, clients: Vec<String>) -> Options {
    Options {
        url: env.url().parse().unwrap(),
        clients,
        concurrency: 8,
        rate: None,
        duration: None,
        timeout: Duration::from_secs(10),
    }
}

/// Checks that each of these clients reaches its owner, and returns the report for more.
pub fn assert_right(env: &TestEnv, clients: &[&str]) -> Report {
    let options = options(env, clients.iter().map(|&id| id.to_owned()).collect());
    let report = Runtime::new().unwrap().block_on(run(options, |_| (), pending())).unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.requests, report.moved), (clients.len() as u64, 0), "{report}");
    report
}

fn numbers(count: usize) -> Vec<String> {
    (1..=count).map(|id| id.to_string()).collect()
}

#[test]
fn an_honest_stack_has_no_misrouted_request_and_uses_all_hosts() {
    for config in ["envoy.yaml", "envoy-lua.yaml", "index.yaml"] {
        let env = TestEnv::builder(config).replicas(2).start().unwrap();
        let numbers = numbers(300);
        let report = assert_right(&env, &numbers.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(report.hosts.values().sum::<u64>(), 300);
        for host in [1, 2].map(|number| env.servers.hostport(number)) {
            assert!(report.hosts[&host] >= 100, "{config}: {report}");
        }
    }
}

#[test]
fn the_failures_of_a_killed_server_and_its_recovery_are_reported() {
    let mut env = TestEnv::builder("index.yaml").replicas(2).concurrency(2).start().unwrap();
    let (failing, healthy) = (env.servers.hostport(1), env.servers.hostport(2));
    let options = Options {
        rate: Some("300".parse().unwrap()),
        duration: Some(Duration::from_secs(600)),
        ..options(&env, numbers(200))
    };
    let seen = Mutex::new((0, 0));
    let until = |condition: &dyn Fn(u64, u64) -> bool| {
        eventually(SOON, || match *seen.lock().unwrap() {
            (requests, failed) if condition(requests, failed) => Ok((requests, failed)),
            counts => Err(format!("{counts:?} requests and failures")),
        })
        .unwrap()
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let report = thread::scope(|scope| {
        let client = scope.spawn(|| {
            let progress = |Progress { requests, failed, .. }| *seen.lock().unwrap() = (requests, failed);
            let stopped = async { drop(stopped.await) };
            Runtime::new().unwrap().block_on(run(options, progress, stopped)).unwrap()
        });
        until(&|requests, _| requests >= 100);
        // From the test's thread, with which a server ends.
        env.servers.kill(1).unwrap();
        until(&|_, failed| failed >= 30);
        env.servers.restart(1).unwrap();
        // All clients had a turn since the last failure.
        let mut last = until(&|_, _| true);
        loop {
            let now = until(&|requests, _| requests >= last.0 + 400);
            if now.1 == last.1 {
                break;
            }
            last = now;
        }
        stop.send(()).unwrap();
        client.join().unwrap()
    });
    assert!(report.interrupted && report.failed >= 30 && report.misrouted == 0, "{report}");
    assert_eq!(report.causes.values().sum::<u64>(), report.failed, "{report}");
    assert!(report.causes.keys().any(|cause| cause.starts_with("/join 503 ")), "{report}");
    let outage = report.outages.iter().find(|outage| outage.host == failing).unwrap();
    assert!(outage.first_failure_seconds < outage.last_failure_seconds, "{outage:?}");
    assert!(outage.time_to_recover_seconds.is_some(), "{outage:?}");
    assert!(report.outages.iter().all(|outage| outage.host != healthy), "{report}");
}

#[test]
fn a_host_of_the_resolver_that_is_gone_is_no_loss_to_the_clients_of_others() {
    for config in ["envoy.yaml", "envoy-lua.yaml"] {
        let env = TestEnv::builder(config).replicas(2).start().unwrap();
        let of_second = |id: &String| IndexMode::Hash.slot(id.as_bytes(), 2) == 1;
        let clients: Vec<_> = numbers(400).into_iter().filter(of_second).collect();
        assert!(clients.len() >= 100);
        // Its address stays in DNS, as when a machine fails.
        env.servers.kill(1).unwrap();
        eventually(SOON, || {
            let options = options(&env, clients.clone());
            let report = Runtime::new().unwrap().block_on(run(options, |_| (), pending())).unwrap();
            if report.is_clean() { Ok(()) } else { Err(format!("{config}: {report}")) }
        })
        .unwrap();
    }
}
