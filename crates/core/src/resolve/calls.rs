//! Resolver calls in flight, and the requests that wait for them.

use crate::hash::{BuildDigestHasher, Digest};
use std::collections::HashMap;

/// How many requests may wait for each call that may be in flight.
const WAITING_PER_CALL: usize = 16;

/// A call in flight. `O` is the owner that judges the response, whatever configuration has come since, and `W`
/// identifies a request that waits.
#[derive(Debug)]
pub struct Pending<O, W> {
    /// The owner.
    pub owner: O,
    /// The key, if a fallback may need it.
    pub key: Option<Box<[u8]>>,
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
    waiting: usize,
}

/// The worker cannot take another request that waits.
#[derive(Debug, PartialEq, Eq)]
pub struct Overloaded;

impl<O, W> Default for PendingCalls<O, W> {
    fn default() -> Self {
        Self { by_token: HashMap::default(), by_digest: HashMap::default(), waiting: 0 }
    }
}

impl<O, W> PendingCalls<O, W> {
    /// The requests that wait for a call with the same digest, if one is in flight: the caller adds one more.
    ///
    /// # Errors
    /// If no more requests may wait, or if no such call is in flight and no more calls may be made.
    pub fn join(
        &mut self,
        digest: Option<Digest>,
        max_in_flight: usize,
    ) -> Result<Option<&mut Vec<W>>, Overloaded> {
        if self.waiting >= max_in_flight.saturating_mul(WAITING_PER_CALL) {
            return Err(Overloaded);
        }
        let is_full = self.by_token.len() >= max_in_flight;
        let token = digest.and_then(|digest| self.by_digest.get(&digest));
        match token.and_then(|token| self.by_token.get_mut(token)) {
            Some(pending) => {
                self.waiting += 1;
                Ok(Some(&mut pending.waiting))
            }
            None if is_full => Err(Overloaded),
            None => Ok(None),
        }
    }

    /// A call was made.
    pub fn add(&mut self, token: u32, pending: Pending<O, W>) {
        if let Some(digest) = pending.digest {
            self.by_digest.insert(digest, token);
        }
        self.waiting += pending.waiting.len();
        self.by_token.insert(token, pending);
    }

    /// A call has ended.
    pub fn remove(&mut self, token: u32) -> Option<Pending<O, W>> {
        let pending = self.by_token.remove(&token)?;
        if let Some(digest) = pending.digest {
            self.by_digest.remove(&digest);
        }
        self.waiting = self.waiting.saturating_sub(pending.waiting.len());
        Some(pending)
    }
}
