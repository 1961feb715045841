//! A store in one file, by redb.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{Change, Commit, HISTORY, Loaded, Store, StoreError};

/// The file in the folder.
const FILE: &str = "pinroute.redb";

const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");
const HISTORY_TABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("history");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const REVISION: &str = "revision";
const ID: &str = "id";

/// A store in one file of this process.
#[derive(Debug)]
pub struct RedbStore {
    path: PathBuf,
    /// `None` after it failed: redb refuses everything after a failure of the disk, so that it has to be opened again.
    database: Arc<Mutex<Option<Database>>>,
    revision: watch::Sender<u64>,
}

/// An entry of the history as it is stored.
#[derive(Deserialize, Serialize)]
struct StoredChange {
    /// Milliseconds since 1970.
    at: u64,
    actor: Option<String>,
    what: String,
}

impl RedbStore {
    /// Opens the store in a folder, which is made if it is not there.
    ///
    /// # Errors
    /// If it cannot be opened, also because another process has it open.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(FILE);
        let failed_at = |error: std::io::Error| cannot_open(&path, error.into());
        let missing: Vec<_> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
        std::fs::create_dir_all(folder).map_err(failed_at)?;
        let database = Database::create(&path).map_err(|error| cannot_open(&path, error))?;
        // Otherwise a crash of the machine could take the new file away, with what was acknowledged.
        for changed in missing.iter().filter_map(|folder| folder.parent()).chain([folder]) {
            let changed = if changed == Path::new("") { Path::new(".") } else { changed };
            File::open(changed).and_then(|folder| folder.sync_all()).map_err(failed_at)?;
        }
        // So that reading needs no special case for a new file.
        let transaction = database.begin_write().map_err(failed)?;
        transaction.open_table(RECORDS).map_err(failed)?;
        transaction.open_table(HISTORY_TABLE).map_err(failed)?;
        {
            let mut meta = transaction.open_table(META).map_err(failed)?;
            if meta.get(ID).map_err(failed)?.is_none() {
                meta.insert(ID, getrandom::u64().map_err(failed)?).map_err(failed)?;
            }
        }
        transaction.commit().map_err(failed)?;
        let revision = number(&database, REVISION)?;
        let database = Arc::new(Mutex::new(Some(database)));
        Ok(Self { path, database, revision: watch::channel(revision).0 })
    }

    /// Runs what waits for the disk beside the async runtime.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (path, database) = (self.path.clone(), Arc::clone(&self.database));
        let working = tokio::task::spawn_blocking(move || {
            let mut open = database.lock().unwrap_or_else(PoisonError::into_inner);
            let database = match open.take() {
                Some(database) => database,
                // Not made anew if it is gone: an empty store would look like one in which nothing was ever set.
                None => Database::open(&path).map_err(|error| cannot_open(&path, error))?,
            };
            let done = work(&database);
            if !matches!(done, Err(StoreError::Failed(_))) {
                *open = Some(database);
            }
            done
        });
        working.await.map_err(failed)?
    }
}

fn cannot_open(path: &Path, error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(path.to_owned()),
        error => StoreError::Open { path: path.to_owned(), problem: error.to_string() },
    }
}

#[async_trait]
impl Store for RedbStore {
    async fn load(&self) -> Result<Loaded, StoreError> {
        self.blocking(|database| {
            let transaction = database.begin_read().map_err(failed)?;
            let table = transaction.open_table(RECORDS).map_err(failed)?;
            let mut records = Vec::new();
            for record in table.iter().map_err(failed)? {
                let (name, content) = record.map_err(failed)?;
                records.push((name.value().to_owned(), content.value().to_vec()));
            }
            let (id, revision) = (number(database, ID)?, number(database, REVISION)?);
            Ok(Loaded { id, revision, records })
        })
        .await
    }

    async fn commit(&self, commit: Commit) -> Result<u64, StoreError> {
        let revision = self.blocking(move |database| write(database, &commit)).await?;
        self.revision.send_replace(revision);
        Ok(revision)
    }

    async fn history(&self, limit: usize) -> Result<Vec<Change>, StoreError> {
        self.blocking(move |database| {
            let transaction = database.begin_read().map_err(failed)?;
            let table = transaction.open_table(HISTORY_TABLE).map_err(failed)?;
            let mut changes = Vec::new();
            for entry in table.iter().map_err(failed)?.rev().take(limit) {
                let (revision, content) = entry.map_err(failed)?;
                let StoredChange { at, actor, what } =
                    serde_json::from_slice(content.value()).map_err(failed)?;
                let at = SystemTime::UNIX_EPOCH + Duration::from_millis(at);
                changes.push(Change { revision: revision.value(), at, actor, what });
            }
            Ok(changes)
        })
        .await
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }
}

fn write(database: &Database, commit: &Commit) -> Result<u64, StoreError> {
    let Commit { expected, records, change } = commit;
    let mut transaction = database.begin_write().map_err(failed)?;
    // After a crash the file is usable at once, however large it is.
    transaction.set_quick_repair(true);
    let revision = expected + 1;
    {
        let mut meta = transaction.open_table(META).map_err(failed)?;
        let last = meta.get(REVISION).map_err(failed)?.map_or(0, |last| last.value());
        if last != *expected {
            return Err(StoreError::Conflict { expected: *expected, last });
        }
        meta.insert(REVISION, revision).map_err(failed)?;
        let mut table = transaction.open_table(RECORDS).map_err(failed)?;
        for record in records {
            match &record.content {
                Some(content) => {
                    drop(table.insert(record.name.as_str(), content.as_slice()).map_err(failed)?)
                }
                None => drop(table.remove(record.name.as_str()).map_err(failed)?),
            }
        }
        let mut history = transaction.open_table(HISTORY_TABLE).map_err(failed)?;
        let since = change.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let stored = StoredChange {
            at: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            actor: change.actor.clone(),
            what: change.what.clone(),
        };
        let content = serde_json::to_vec(&stored).map_err(failed)?;
        history.insert(revision, content.as_slice()).map_err(failed)?;
        if let Some(old) = revision.checked_sub(HISTORY) {
            history.remove(old).map_err(failed)?;
        }
    }
    transaction.commit().map_err(failed)?;
    Ok(revision)
}

/// 0 if there is none.
fn number(database: &Database, name: &str) -> Result<u64, StoreError> {
    let transaction = database.begin_read().map_err(failed)?;
    let meta = transaction.open_table(META).map_err(failed)?;
    Ok(meta.get(name).map_err(failed)?.map_or(0, |number| number.value()))
}

fn failed(error: impl std::fmt::Display) -> StoreError {
    StoreError::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_is_gone_is_not_made_anew_after_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        let store = RedbStore::open(folder.path()).unwrap();
        store.database.lock().unwrap().take();
        assert_eq!(store.load().await.unwrap().revision, 0, "it is opened again");
        store.database.lock().unwrap().take();
        std::fs::remove_file(&store.path).unwrap();
        assert!(matches!(store.load().await, Err(StoreError::Open { .. })));
        assert!(!store.path.exists());
    }
}
