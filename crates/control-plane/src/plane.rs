//! The control plane as one object: it takes changes, commits them, and publishes what Envoys get.

use std::sync::{Arc, RwLock, RwLockReadGuard};
use std::time::SystemTime;

use thiserror::Error;
use tokio::sync::{Mutex, watch};

use crate::model::record::of_edits;
use crate::model::{Corrupt, Edit, Invalid, State};
use crate::store::{Change, Commit, Loaded, Store, StoreError};
use crate::xds::{Publish, Snapshot};

/// What is set, and who serves it. Changes are made one after the other.
#[derive(Debug)]
pub struct Plane {
    /// The start of the filter's runtime keys, before a dot.
    pub prefix: String,
    store: Arc<dyn Store>,
    store_id: u64,
    publish: Publish,
    state: RwLock<State>,
    writer: Mutex<()>,
    snapshots: watch::Sender<Arc<Snapshot>>,
}

/// Who makes a change, and what it is, for the history.
#[derive(Clone, Debug, Default)]
pub struct Author {
    /// The name that a call gives.
    pub actor: Option<String>,
    /// The change in a few words, such as `PUT /v1/hosts`.
    pub what: String,
}

/// A change that was not made.
#[derive(Debug, Error)]
pub enum ChangeError {
    /// It is not allowed.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Somebody changed the same thing before.
    #[error("the version is {current}, not {expected}")]
    Outdated {
        /// The version that the author knows.
        expected: u64,
        /// The version that there is.
        current: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A control plane that cannot start.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store holds what cannot be read.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
}

impl Plane {
    /// Loads what the store holds.
    ///
    /// # Errors
    /// [`LoadError`]
    pub async fn load(prefix: String, store: Arc<dyn Store>, publish: Publish) -> Result<Self, LoadError> {
        let Loaded { id: store_id, revision, records } = store.load().await?;
        let state = State::from_records(records, revision)?;
        let (snapshots, _) = watch::channel(Arc::new(publish.snapshot(store_id, &state, None)));
        let (state, writer) = (RwLock::new(state), Mutex::new(()));
        Ok(Self { prefix, store, store_id, publish, state, writer, snapshots })
    }

    /// What is set now.
    pub fn state(&self) -> RwLockReadGuard<'_, State> {
        // A panic while it was held cannot leave it half changed: it is changed only by `apply`.
        self.state.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What Envoys get, now and whenever it changes.
    pub fn snapshots(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.subscribe()
    }

    /// The last changes, the newest first.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn history(&self, limit: usize) -> Result<Vec<Change>, StoreError> {
        self.store.history(limit).await
    }

    /// Makes a change: `plan` says what is to be edited, by what is set now. When this returns, the change is durable, and it is
    /// on its way to all Envoys. A change that edits nothing is no commit.
    ///
    /// # Errors
    /// [`ChangeError`]; nothing has changed then. What a store that failed has kept nevertheless is served.
    pub async fn change(
        &self,
        author: Author,
        plan: impl FnOnce(&State) -> Result<Vec<Edit>, ChangeError>,
    ) -> Result<(), ChangeError> {
        let _writer = self.writer.lock().await;
        let (edits, expected) = {
            let state = self.state();
            (plan(&state)?, state.revision)
        };
        if edits.is_empty() {
            return Ok(());
        }
        let revision = expected + 1;
        let records = of_edits(&edits, revision).map_err(|error| StoreError::Failed(error.to_string()))?;
        let Author { actor, what } = author;
        let change = Change { revision, at: SystemTime::now(), actor, what };
        match self.store.commit(Commit { expected, records, change }).await {
            Ok(revision) => self.serve(|state| state.apply(edits, revision)),
            Err(error) => {
                if let Err(error) = self.reload(expected).await {
                    tracing::error!(%error, "the store cannot be read again; the last state is served");
                }
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Serves what the store holds, if its last commit is another than the one that is served.
    async fn reload(&self, served: u64) -> Result<(), LoadError> {
        let Loaded { revision, records, .. } = self.store.load().await?;
        if revision != served {
            let stored = State::from_records(records, revision)?;
            self.serve(|state| *state = stored);
        }
        Ok(())
    }

    fn serve(&self, change: impl FnOnce(&mut State)) {
        let previous = Arc::clone(&self.snapshots.borrow());
        let snapshot = {
            let mut state = self.state.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            change(&mut state);
            self.publish.snapshot(self.store_id, &state, Some(&previous))
        };
        self.snapshots.send_replace(Arc::new(snapshot));
    }
}
