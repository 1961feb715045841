//! What a worker remembers between requests.

use super::answers::{Answers, CacheEvent};
use super::instances::Fleet;
use super::Shuffle;
use crate::cache::Cache;
use crate::shuffle::{mix, Assigner};
use crate::step::{Instance, Rejection, Shard};
use std::cell::Cell;
use std::mem::size_of;
use std::rc::Rc;

/// How many bytes the shards of a plan may take in one worker: 100,000 keys with small shards.
const SHARD_CACHE: usize = 16 << 20;

/// Shards, instances and turns: all that a [`Plan`](super::Plan) has worked out so far in one worker.
#[derive(Debug)]
pub struct Memory {
    instances: Vec<Option<Rc<Instance>>>,
    assigner: Option<Assigner>,
    shards: Cache<Remembered>,
    members: Vec<u32>,
    random: u64,
    pub(super) answers: Answers,
}

#[derive(Clone, Debug)]
struct Remembered {
    shard: Rc<Shard>,
    turn: Turn,
    /// What size was asked for: more than there are hosts gives fewer.
    size_asked: u32,
}

/// Whose turn it is in a shard. Clones share it.
#[derive(Clone, Debug)]
pub struct Turn(Rc<Cell<usize>>);

impl Turn {
    /// The next place out of `count`.
    pub fn take(&self, count: usize) -> usize {
        let at = self.0.get() % count.max(1);
        self.0.set(at + 1);
        at
    }
}

impl Memory {
    /// Remembers nothing yet. `random` seeds what is picked at random; no two workers should share it.
    pub fn new(random: u64) -> Self {
        Self {
            instances: Vec::new(),
            assigner: None,
            shards: Cache::new(SHARD_CACHE),
            members: Vec::new(),
            random,
            answers: Answers::default(),
        }
    }

    /// What the cache of answers had to say to the last decision, once.
    pub fn take_cache_event(&mut self) -> Option<CacheEvent> {
        self.answers.event.take()
    }

    /// The instance at `place`, worked out at most once.
    pub(super) fn instance(&mut self, fleet: &Fleet, place: u32) -> Result<Rc<Instance>, Rejection> {
        let at = place as usize;
        if let Some(Some(known)) = self.instances.get(at) {
            return Ok(Rc::clone(known));
        }
        let instance = Rc::new(fleet.instance(place)?);
        if self.instances.len() <= at {
            self.instances.resize(at + 1, None);
        }
        if let Some(seat) = self.instances.get_mut(at) {
            *seat = Some(Rc::clone(&instance));
        }
        Ok(instance)
    }

    /// The shard of a key, and whose turn it is in it. One that was worked out for other numbers is stale.
    pub(super) fn shard(
        &mut self,
        shuffle: &Shuffle,
        key: &[u8],
        total: u32,
        size: u32,
    ) -> (Rc<Shard>, Turn) {
        let known =
            self.shards.get(key).filter(|known| known.shard.total == total && known.size_asked == size);
        if let Some(known) = known {
            return (known.shard, known.turn);
        }
        let assigner = self.assigner.get_or_insert_with(|| {
            Assigner::new(shuffle.algorithm, &shuffle.hosts(), shuffle.seed.as_deref())
        });
        assigner.assign(key, total, size, &mut self.members);
        let labels: Vec<String> = self.members.iter().map(|place| shuffle.fleet.label(*place)).collect();
        let shard = Rc::new(Shard {
            members: self.members.as_slice().into(),
            total,
            assignment: labels.join(","),
            config: format!("{}/{total}", self.members.len()),
        });
        // Not all shards should begin with the same place.
        let turn = Turn(Rc::new(Cell::new(self.random(shard.members.len()))));
        let weight = size_of::<Shard>()
            + size_of::<Remembered>()
            + shard.assignment.len()
            + shard.config.len()
            + shard.members.len() * size_of::<u32>();
        let remembered = Remembered { shard: Rc::clone(&shard), turn: turn.clone(), size_asked: size };
        self.shards.insert(key, remembered, weight);
        (shard, turn)
    }

    /// A place out of `count`, by a hash of `of`.
    pub(super) fn pick(&self, of: &[u8], count: usize) -> usize {
        self.assigner.as_ref().map_or(0, |assigner| assigner.pick(of, count))
    }

    /// A place out of `count`, at random. splitmix64; not for secrets.
    pub(super) fn random(&mut self, count: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        usize::try_from(mix(self.random) % count.max(1) as u64).unwrap_or(0)
    }
}
