//! What one thread remembers between requests.

use crate::hash::{Digester, Random};
use crate::live::metadata::MetadataReader;
use crate::lru::Lru;
use crate::metrics::{Counter, Recorder};
use crate::rejection::Rejection;
use crate::resolve::cache::{Answer, AnswerCache};
use crate::resolve::calls::{Call, PendingCalls};
use crate::resolve::response::Response;
use crate::router::Router;
use crate::shard::Scratch;
use crate::strategy::shuffle::ShardEntry;
use crate::target::Host;
use crate::time::Time;
use std::sync::Arc;

/// How many bytes the shards of keys may take: 70,000 keys with small shards.
const SHARDS: usize = 16 << 20;

/// How many bytes the targets of hosts may take.
const HOSTS: usize = 8 << 20;

/// The state of one thread: caches, and the resolver calls in flight. `W` identifies a request that waits for one.
///
/// - Events: [`Self::on_sent`], [`Self::on_response`]; those that begin with a request are methods of [`Router`].
/// - Getters: [`Self::recorder`].
#[derive(Debug)]
pub struct Worker<W> {
    pub(crate) digester: Digester,
    pub(crate) random: Random,
    pub(crate) hosts: Lru<Arc<Host>>,
    pub(crate) shards: Lru<ShardEntry>,
    pub(crate) scratch: Scratch,
    pub(crate) answers: AnswerCache,
    pub(crate) calls: PendingCalls<W>,
    pub(crate) metadata: MetadataReader,
    pub(crate) recorder: Recorder,
}

/// A resolver call that has ended. Each of the requests that wait gets its verdict by [`Router::on_resolved`].
#[derive(Debug)]
pub struct Resolved<W> {
    /// The router that made the call.
    pub router: Arc<Router>,
    /// The requests that wait, in their order.
    pub waiting: Vec<W>,
    /// What the resolver decided.
    pub answer: ResolvedAnswer,
}

/// What the resolver decided for a key.
#[derive(Clone, Debug)]
pub struct ResolvedAnswer {
    pub(crate) answer: Answer,
    pub(crate) key: Option<Box<[u8]>>,
}

impl<W> Worker<W> {
    /// A worker that remembers nothing. `random` must be drawn at random: it keys the tables, so that clients
    /// cannot aim at collisions.
    pub fn new(random: [u64; 3]) -> Self {
        let [first, second, seed] = random;
        let digester = Digester::new([first, second]);
        Self {
            digester,
            random: Random::new(seed),
            hosts: Lru::new(HOSTS),
            shards: Lru::new(SHARDS),
            scratch: Scratch::default(),
            answers: AnswerCache::default(),
            calls: PendingCalls::default(),
            metadata: MetadataReader::new(digester),
            recorder: Recorder::default(),
        }
    }

    /// What happened since this was last called.
    pub fn recorder(&mut self) -> &mut Recorder {
        &mut self.recorder
    }

    /// A resolver call was made: its response will come under this token.
    pub fn on_sent(&mut self, call: Call<W>, token: u32) {
        self.calls.add(token, call.pending);
    }

    /// A resolver call has ended. `None` if the token is unknown.
    pub fn on_response(&mut self, token: u32, response: Response<'_>, now: Time) -> Option<Resolved<W>> {
        let pending = self.calls.remove(token)?;
        self.recorder.count(match response {
            Response::Complete { status: 200, .. } => Counter::ResolverOk,
            Response::Complete { status: 504, .. } => Counter::ResolverTimeout,
            Response::Complete { .. } | Response::Failed => Counter::ResolverError,
        });
        let answer = pending.router.answer(response);
        let answer = self.settle(&pending.router, pending.digest, answer, now);
        let answer = ResolvedAnswer { answer, key: pending.key };
        Some(Resolved { router: pending.router, waiting: pending.waiting, answer })
    }

    /// A request that waited is gone: its client left.
    pub fn on_abandoned(&mut self) {
        self.recorder.count(Counter::Abandoned);
    }

    /// Caches an answer, if the router has a cache. Returns the answer to use.
    pub(crate) fn settle(
        &mut self,
        router: &Router,
        digest: Option<crate::hash::Digest>,
        answer: Answer,
        now: Time,
    ) -> Answer {
        let (Some(config), Some(digest)) = (router.cache_config(), digest) else { return answer };
        let (answer, counter) = self.answers.settle(router.id(), config, digest, answer, now);
        if let Some(counter) = counter {
            self.recorder.count(counter);
        }
        answer
    }

    /// The host at a place of a router's hosts, computed once.
    pub(crate) fn host(
        &mut self,
        router: u64,
        place: u32,
        compute: impl FnOnce() -> Result<Host, Rejection>,
    ) -> Result<Arc<Host>, Rejection> {
        let digest = crate::hash::Digest::of_numbers(router, place.into());
        if let Some(known) = self.hosts.get(digest) {
            return Ok(Arc::clone(known));
        }
        let host = Arc::new(compute()?);
        let bytes = size_of::<Host>() + host.name.len() * 2;
        self.hosts.insert(digest, Arc::clone(&host), bytes);
        Ok(host)
    }
}
