//! A store that fails: what is served is what it holds.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pinroute_control_plane::Options;
use pinroute_control_plane::discovery::{Discovery, Source};
use pinroute_control_plane::plane::{Author, ChangeError, Plane};
use pinroute_control_plane::store::{Change, Commit, Loaded, RedbStore, Store, StoreError};
use serde_json::json;
use tokio::sync::watch;

const WORKS: u8 = 0;
const FAILS: u8 = 1;
/// The failure comes when the commit is on the disk already.
const FAILS_LATE: u8 = 2;

/// A real store whose commits fail as long as a test says.
#[derive(Debug)]
struct Failing {
    store: RedbStore,
    how: AtomicU8,
    failures: watch::Sender<u32>,
}

#[async_trait]
impl Store for Failing {
    async fn load(&self) -> Result<Loaded, StoreError> {
        self.store.load().await
    }

    async fn commit(&self, commit: Commit) -> Result<u64, StoreError> {
        let how = self.how.load(Ordering::SeqCst);
        if how != FAILS {
            let revision = self.store.commit(commit).await?;
            if how == WORKS {
                return Ok(revision);
            }
        }
        self.failures.send_modify(|failures| *failures += 1);
        Err(StoreError::Failed("no space left".to_owned()))
    }

    async fn history(&self, limit: usize) -> Result<Vec<Change>, StoreError> {
        self.store.history(limit).await
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.store.watch()
    }
}

async fn start(folder: &std::path::Path) -> (Arc<Failing>, Arc<Plane>) {
    let publish = Options::default().publish();
    let (how, failures) = (AtomicU8::new(WORKS), watch::channel(0).0);
    let store = Arc::new(Failing { store: RedbStore::open(folder).unwrap(), how, failures });
    let plane = Plane::load("p".to_owned(), Arc::clone(&store) as Arc<dyn Store>, publish).await.unwrap();
    (store, Arc::new(plane))
}

async fn set(plane: &Plane, size: u64) -> Result<(), ChangeError> {
    let values = json!({ "p.default_shard_size": size });
    let author = Author { actor: None, what: "test".to_owned() };
    plane.change(author, |state| Ok(state.replace_runtime("p", values.as_object().unwrap())?)).await
}

fn served(plane: &Plane) -> (u64, String) {
    let state = plane.state();
    (state.revision, state.runtime["p.default_shard_size"].json().to_string())
}

#[tokio::test]
async fn what_a_failing_store_has_kept_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let (store, plane) = start(folder.path()).await;
    set(&plane, 1).await.unwrap();
    let mut snapshots = plane.snapshots();
    store.how.store(FAILS, Ordering::SeqCst);
    assert!(matches!(set(&plane, 2).await, Err(ChangeError::Store(_))));
    assert_eq!((served(&plane), snapshots.has_changed().unwrap()), ((1, "1".to_owned()), false));
    store.how.store(FAILS_LATE, Ordering::SeqCst);
    assert!(matches!(set(&plane, 3).await, Err(ChangeError::Store(_))));
    assert_eq!((served(&plane), snapshots.has_changed().unwrap()), ((2, "3".to_owned()), true));
    snapshots.mark_unchanged();
    store.how.store(WORKS, Ordering::SeqCst);
    set(&plane, 4).await.unwrap();
    assert_eq!((served(&plane), snapshots.has_changed().unwrap()), ((3, "4".to_owned()), true));
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_could_not_be_stored_are_stored_later() {
    let folder = tempfile::tempdir().unwrap();
    let (store, plane) = start(folder.path()).await;
    store.how.store(FAILS, Ordering::SeqCst);
    let file = folder.path().join("hosts");
    std::fs::write(&file, "10.0.0.1:80\n").unwrap();
    let discovery = Discovery {
        source: Source::File(file),
        cluster: "c".to_owned(),
        total: None,
        interval: Duration::from_millis(10),
    };
    let following = tokio::spawn(discovery.follow(Arc::clone(&plane)));
    store.failures.subscribe().wait_for(|failures| *failures > 0).await.unwrap();
    assert!(plane.state().clusters.is_empty());
    store.how.store(WORKS, Ordering::SeqCst);
    let mut snapshots = plane.snapshots();
    let changed = tokio::time::timeout(Duration::from_secs(20), async {
        while plane.state().clusters.is_empty() {
            snapshots.changed().await.unwrap();
        }
    });
    assert!(changed.await.is_ok(), "they are never stored");
    following.abort();
}
