//! The store on a disk: what was acknowledged is there after it is opened again.

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    use pinroute_control_plane::model::Record;
    use pinroute_control_plane::store::{Change, Commit, HISTORY, Loaded, RedbStore, Store, StoreError};

    fn commit(expected: u64, records: &[(&str, Option<&str>)]) -> Commit {
        let record = |(name, content): &(&str, Option<&str>)| Record {
            name: (*name).to_owned(),
            content: content.map(|content| content.as_bytes().to_vec()),
        };
        let revision = expected + 1;
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_000 + revision);
        let change =
            Change { revision, at, actor: Some("me".to_owned()), what: format!("change {revision}") };
        Commit { expected, records: records.iter().map(record).collect(), change }
    }

    fn open(folder: &Path) -> RedbStore {
        RedbStore::open(folder).unwrap()
    }

    #[tokio::test]
    async fn commits_are_there_after_it_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("made/if/needed");
        let id = {
            let store = open(&folder);
            let watch = store.watch();
            let Loaded { id, revision, records } = store.load().await.unwrap();
            assert_eq!((revision, records), (0, Vec::new()));
            assert_ne!(id, open(tempfile::tempdir().unwrap().path()).load().await.unwrap().id);
            assert_eq!(store.commit(commit(0, &[("a", Some("1")), ("b", Some("2"))])).await.unwrap(), 1);
            assert_eq!(store.commit(commit(1, &[("a", None), ("c", Some("3"))])).await.unwrap(), 2);
            assert_eq!(*watch.borrow(), 2);
            id
        };
        let store = open(&folder);
        let loaded = store.load().await.unwrap();
        assert_eq!((loaded.id, loaded.revision), (id, 2));
        assert_eq!(loaded.records, [("b".to_owned(), b"2".to_vec()), ("c".to_owned(), b"3".to_vec())]);
        let changes = store.history(10).await.unwrap();
        assert_eq!(changes, [commit(1, &[]).change, commit(0, &[]).change]);
        assert_eq!(*store.watch().borrow(), 2);
    }

    #[tokio::test]
    async fn a_commit_on_an_older_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        store.commit(commit(0, &[("a", Some("1"))])).await.unwrap();
        for expected in [0, 2] {
            let error = store.commit(commit(expected, &[("a", Some("2"))])).await.unwrap_err();
            assert!(matches!(error, StoreError::Conflict { last: 1, .. }), "{error}");
        }
        assert_eq!(store.load().await.unwrap().records, [("a".to_owned(), b"1".to_vec())]);
        assert_eq!(store.history(10).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn the_history_has_a_limit() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        for expected in 0..HISTORY + 3 {
            store.commit(commit(expected, &[])).await.unwrap();
        }
        let changes = store.history(usize::MAX).await.unwrap();
        assert_eq!((changes.len() as u64, changes[0].revision), (HISTORY, HISTORY + 3));
    }

    #[test]
    fn a_store_that_is_open_is_not_opened_twice() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path());
        let error = RedbStore::open(folder.path()).unwrap_err();
        let path = folder.path().join("pinroute.redb");
        let message = format!(
            "another process has {} open; each control plane needs a folder of its own",
            path.display()
        );
        assert_eq!(error.to_string(), message);
        drop(first);
        open(folder.path());
    }

    #[test]
    fn a_file_that_is_no_store_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pinroute.redb");
        for content in [&b"not a store"[..], &[0; 8192]] {
            std::fs::write(&path, content).unwrap();
            let error = RedbStore::open(folder.path()).unwrap_err().to_string();
            assert!(error.starts_with(&format!("cannot open {}: ", path.display())), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), content, "it is left as it is");
        }
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(RedbStore::open(&file).unwrap_err().to_string().starts_with("cannot open "));
    }
}
