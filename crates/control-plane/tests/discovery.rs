//! Hosts that are found in a file or by DNS, set in a real store.
#![allow(missing_docs, clippy::unwrap_used)]

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pinroute_control_plane::Options;
use pinroute_control_plane::discovery::{Discovery, Source};
use pinroute_control_plane::plane::{Author, Plane};
use pinroute_control_plane::store::RedbStore;
use pinroute_testkit::dns::Dns;

const SOON: Duration = Duration::from_secs(20);

async fn plane(folder: &Path) -> Arc<Plane> {
    let publish = Options::default().publish();
    let store = Arc::new(RedbStore::open(folder).unwrap());
    Arc::new(Plane::load("p".to_owned(), store, publish).await.unwrap())
}

fn shown(plane: &Plane) -> String {
    let state = plane.state();
    let hosts = state.clusters.get("c").into_iter().flat_map(|hosts| &hosts.by_id);
    let hosts: Vec<_> = hosts.map(|(id, address)| format!("{id}={address}")).collect();
    let total = state.runtime.get("p.total_hosts").map(|value| value.json().to_string()).unwrap_or_default();
    format!("{} of {total}", hosts.join(" "))
}

async fn wait_for(plane: &Plane, expected: &str) {
    let mut snapshots = plane.snapshots();
    let waited = tokio::time::timeout(SOON, async {
        while shown(plane) != expected {
            snapshots.changed().await.unwrap();
        }
    });
    assert!(waited.await.is_ok(), "{} is not {expected}", shown(plane));
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_follow_a_file_and_outlive_its_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hosts");
    let plane = plane(folder.path()).await;
    let discovery = Discovery {
        source: Source::File(file.clone()),
        cluster: "c".to_owned(),
        total: Some("p.total_hosts".to_owned()),
        interval: Duration::from_millis(20),
    };
    let following = tokio::spawn(discovery.follow(Arc::clone(&plane)));
    std::fs::write(&file, "10.0.0.1:80\n10.0.0.2:80\n10.0.0.3:80\n").unwrap();
    wait_for(&plane, "0=10.0.0.1:80 1=10.0.0.2:80 2=10.0.0.3:80 of 3").await;
    for mistake in ["", "# none\n", "10.0.0.1:80\nserver:80\n"] {
        std::fs::write(&file, mistake).unwrap();
    }
    std::fs::remove_file(&file).unwrap();
    let other = Author { actor: Some("discovery".to_owned()), what: "not from the file".to_owned() };
    let hosts = ["10.0.0.7:80".to_owned()];
    plane.change(other, |state| Ok(state.set_hosts("c", &hosts, None)?)).await.unwrap();
    std::fs::write(&file, "10.0.0.1:80\n10.0.0.2:80\n10.0.0.3:80\n").unwrap();
    wait_for(&plane, "0=10.0.0.1:80 1=10.0.0.2:80 2=10.0.0.3:80 of 3").await;
    std::fs::write(&file, "10.0.0.9:80\n10.0.0.3:80\n10.0.0.2:80\n10.0.0.4:80\n").unwrap();
    wait_for(&plane, "0=10.0.0.4:80 1=10.0.0.2:80 2=10.0.0.3:80 3=10.0.0.9:80 of 4").await;
    let history = plane.history(10).await.unwrap();
    let made: Vec<_> = history.iter().map(|change| (change.revision, change.actor.as_deref())).collect();
    let revisions: Vec<_> = made.iter().map(|(revision, _)| *revision).collect();
    assert_eq!(revisions, [4, 3, 2, 1], "no change for a mistake");
    assert!(made.iter().all(|(_, actor)| *actor == Some("discovery")), "{made:?}");
    following.abort();
}

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_follow_dns_and_outlive_its_failures() {
    const NAME: &str = "server.test";
    let folder = tempfile::tempdir().unwrap();
    let plane = plane(folder.path()).await;
    let dns = tokio::task::spawn_blocking(Dns::start).await.unwrap().unwrap();
    let server = Some(dns.addr());
    let source = Source::Dns { name: NAME.to_owned(), port: 80, server };
    let discovery = Discovery {
        source: source.clone(),
        cluster: "c".to_owned(),
        total: Some("p.total_hosts".to_owned()),
        interval: Duration::from_millis(20),
    };
    let following = tokio::spawn(discovery.follow(Arc::clone(&plane)));
    // Until something is known, there are no hosts.
    assert!(source.hosts().await.is_err());
    dns.set(NAME, &[address(1), address(2), address(3)]);
    wait_for(&plane, "0=10.0.0.1:80 1=10.0.0.2:80 2=10.0.0.3:80 of 3").await;
    // One leaves, in another order; its number stays free until another one comes.
    dns.set(NAME, &[address(3), address(1)]);
    wait_for(&plane, "0=10.0.0.1:80 2=10.0.0.3:80 of 3").await;
    let before = shown(&plane);
    for addresses in [None, Some(&[])] {
        match addresses {
            None => dns.remove(NAME),
            Some(none) => dns.set(NAME, none),
        }
        let asked = dns.queries(NAME);
        let error = source.hosts().await.unwrap_err();
        assert!(error.to_string().contains(NAME), "{error}");
        // As often as an answer that counts, and once more.
        while dns.queries(NAME) < asked + 8 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(shown(&plane), before);
    }
    dns.set(NAME, &[address(4), address(3), address(1)]);
    wait_for(&plane, "0=10.0.0.1:80 1=10.0.0.4:80 2=10.0.0.3:80 of 3").await;
    // Too many for a UDP packet.
    let many: Vec<_> = (1..=200).rev().map(address).collect();
    dns.set(NAME, &many);
    assert_eq!(source.hosts().await.unwrap().len(), many.len());
    dns.set(NAME, &[address(4), address(3), address(1)]);

    tokio::task::spawn_blocking(move || drop(dns)).await.unwrap();
    assert!(source.hosts().await.is_err());
    let hosts = shown(&plane);
    assert!(hosts.starts_with("0=10.0.0.1:80 1=10.0.0.4:80 2=10.0.0.3:80 "), "{hosts}");
    let history = plane.history(10).await.unwrap();
    assert!(history.iter().all(|change| change.what == "dns:server.test:80"), "{history:?}");
    following.abort();
}
