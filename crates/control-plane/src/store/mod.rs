//! Where changes are kept. A commit that was acknowledged is durable, and is there as a whole or not at all.

mod redb;

use std::path::PathBuf;
use std::time::SystemTime;

use async_trait::async_trait;
use thiserror::Error;
use tokio::sync::watch;

use crate::model::Record;

pub use self::redb::RedbStore;

/// How many changes the history keeps.
pub const HISTORY: u64 = 1_000;

/// A store of records.
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug {
    /// All records, and the number of the last commit.
    ///
    /// # Errors
    /// [`StoreError`]
    async fn load(&self) -> Result<Loaded, StoreError>;

    /// Makes a commit if the last one has the expected number, and returns the number of the new one.
    ///
    /// # Errors
    /// [`StoreError`]; nothing has changed then, unless the disk failed at the very end: [`Self::load`] tells.
    async fn commit(&self, commit: Commit) -> Result<u64, StoreError>;

    /// The last changes, the newest first, at most this many.
    ///
    /// # Errors
    /// [`StoreError`]
    async fn history(&self, limit: usize) -> Result<Vec<Change>, StoreError>;

    /// The number of the last commit, by whomever it was made.
    fn watch(&self) -> watch::Receiver<u64>;
}

/// What a store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Tells this store from every other: a random number.
    pub id: u64,
    /// The number of the last commit; 0 if there is none.
    pub revision: u64,
    /// The records by their names.
    pub records: Vec<(String, Vec<u8>)>,
}

/// A commit.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The number of the last commit, as its author knows it.
    pub expected: u64,
    /// The records that change.
    pub records: Vec<Record>,
    /// What the history says about it.
    pub change: Change,
}

/// An entry of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The number of the commit.
    pub revision: u64,
    /// When it was made.
    pub at: SystemTime,
    /// Who made it, if the call said so.
    pub actor: Option<String>,
    /// What was changed.
    pub what: String,
}

/// A store that failed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Somebody else made a commit.
    #[error("the last commit is {last}, not {expected}")]
    Conflict {
        /// The expected number.
        expected: u64,
        /// The real one.
        last: u64,
    },
    /// Another process has the store open.
    #[error("another process has {0} open; each control plane needs a folder of its own")]
    InUse(PathBuf),
    /// The store cannot be opened.
    #[error("cannot open {path}: {problem}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The store cannot be read or written.
    #[error("the store failed: {0}")]
    Failed(String),
}
