//! Resolver calls in flight, and the requests that wait for them.

use crate::hash::{BuildDigestHasher, Digest};
use crate::key::Key;
use std::collections::HashMap;

/// How many requests may wait for each call that may be in flight.
const WAITING_PER_CALL: usize = 16;

/// Whose calls count together: a configuration of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    /// The plugin.
    pub plugin: u32,
    /// The configuration.
    pub config: u64,
}

/// A call in flight. `O` is the owner that judges the response, whatever configuration has come since, and `W`
/// identifies a request that waits.
#[derive(Debug)]
pub struct Pending<O, W> {
    /// The owner.
    pub owner: O,
    /// Whose call it is.
    pub caller: Caller,
    /// The key, if the target needs it.
    pub key: Option<Key<'static>>,
    /// Identifies what is asked, if answers are cached: a second request for the same joins the call.
    pub digest: Option<Digest>,
    /// The requests that wait: the first one made the call.
    pub waiting: Vec<W>,
}

/// The calls in flight of one worker.
#[derive(Debug)]
pub struct PendingCalls<O, W> {
    by_token: HashMap<u32, Pending<O, W>, fnv::FnvBuildHasher>,
    by_digest: HashMap<Digest, u32, BuildDigestHasher>,
    counts: HashMap<Caller, Count, fnv::FnvBuildHasher>,
}

/// What a caller has in flight.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    calls: usize,
    waiting: usize,
}

/// The caller cannot take another request that waits.
#[derive(Debug, PartialEq, Eq)]
pub struct Overloaded;

impl<O, W> Default for PendingCalls<O, W> {
    fn default() -> Self {
        Self { by_token: HashMap::default(), by_digest: HashMap::default(), counts: HashMap::default() }
    }
}

impl<O, W> PendingCalls<O, W> {
    /// The requests that wait for a call of the same plugin with the same digest, if one is in flight: the caller adds
    /// one more.
    ///
    /// # Errors
    /// If no more requests may wait, or if no such call is in flight and no more calls may be made.
    pub fn join(
        &mut self,
        caller: Caller,
        digest: Option<Digest>,
        max_in_flight: usize,
    ) -> Result<Option<&mut Vec<W>>, Overloaded> {
        let count = self.counts.get_mut(&caller);
        let Count { calls, waiting } = count.as_deref().copied().unwrap_or_default();
        if waiting >= max_in_flight.saturating_mul(WAITING_PER_CALL) {
            return Err(Overloaded);
        }
        let token = digest.and_then(|digest| self.by_digest.get(&digest.owned_by(caller.plugin)));
        match (token.and_then(|token| self.by_token.get_mut(token)), count) {
            (Some(pending), Some(count)) => {
                count.waiting += 1;
                Ok(Some(&mut pending.waiting))
            }
            _ if calls >= max_in_flight => Err(Overloaded),
            _ => Ok(None),
        }
    }

    /// The owner of a call.
    pub fn owner(&self, token: u32) -> Option<&O> {
        self.by_token.get(&token).map(|pending| &pending.owner)
    }

    /// The requests that wait for a call.
    pub fn waiting(&self, token: u32) -> &[W] {
        self.by_token.get(&token).map(|pending| pending.waiting.as_slice()).unwrap_or_default()
    }

    /// A call was made.
    pub fn add(&mut self, token: u32, pending: Pending<O, W>) {
        if let Some(digest) = pending.digest {
            self.by_digest.insert(digest.owned_by(pending.caller.plugin), token);
        }
        let count = self.counts.entry(pending.caller).or_default();
        count.calls += 1;
        count.waiting += pending.waiting.len();
        self.by_token.insert(token, pending);
    }

    /// A call has ended.
    pub fn remove(&mut self, token: u32) -> Option<Pending<O, W>> {
        let pending = self.by_token.remove(&token)?;
        if let Some(digest) = pending.digest {
            self.by_digest.remove(&digest.owned_by(pending.caller.plugin));
        }
        if let Some(count) = self.counts.get_mut(&pending.caller) {
            count.calls = count.calls.saturating_sub(1);
            count.waiting = count.waiting.saturating_sub(pending.waiting.len());
            if count.calls == 0 {
                self.counts.remove(&pending.caller);
            }
        }
        Some(pending)
    }

    /// A plugin is gone: its calls will get no response.
    pub fn remove_all(&mut self, plugin: u32) {
        let tokens = self.by_token.iter().filter(|(_, pending)| pending.caller.plugin == plugin);
        let tokens: Vec<u32> = tokens.map(|(token, _)| *token).collect();
        for token in tokens {
            self.remove(token);
        }
    }
}
