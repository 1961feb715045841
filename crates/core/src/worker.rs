//! What one thread remembers between requests.

use crate::hash::{Digester, Random};
use crate::live::metadata::MetadataReader;
use crate::metrics::{Counter, Recorder};
use crate::resolve::cache::AnswerCache;
use crate::resolve::calls::PendingCalls;
use crate::shard::cache::ShardCache;
use crate::strategy::hosts::HostCache;

/// The state of one thread: caches, and the resolver calls in flight. All plugins of the thread share it, so that one budget
/// bounds what all their configurations remember, whichever come and go. `O` is the owner of a call, the router that judges
/// its response, and `W` identifies a request that waits for one. [`crate::router::Worker`] is the only use.
#[derive(Debug)]
pub struct State<O, W> {
    pub(crate) digester: Digester,
    pub(crate) hosts: HostCache,
    pub(crate) shards: ShardCache,
    pub(crate) answers: AnswerCache,
    pub(crate) calls: PendingCalls<O, W>,
    pub(crate) metadata: MetadataReader,
    pub(crate) recorder: Recorder,
}

impl<O, W> State<O, W> {
    /// A thread that remembers nothing. `random` must be drawn at random: it keys the tables, so that clients cannot
    /// aim at collisions.
    pub fn new(random: [u64; 3]) -> Self {
        let [first, second, seed] = random;
        let digester = Digester::new([first, second]);
        Self {
            digester,
            hosts: HostCache::default(),
            shards: ShardCache::new(digester, Random::new(seed)),
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

    /// A plugin is gone: its calls will get no response.
    pub fn on_plugin_gone(&mut self, plugin: u32) {
        self.calls.remove_all(plugin);
    }

    /// A request that waited is gone: its client left.
    pub fn on_abandoned(&mut self) {
        self.recorder.count(Counter::Abandoned);
    }
}
