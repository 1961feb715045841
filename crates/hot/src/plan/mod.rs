//! A configuration made ready: all that can be worked out before a request comes.
//!
//! A [`Plan`] never changes. What changes as requests run (caches, turns taken) is a worker's [`Memory`].

mod answers;
mod instances;
mod memory;

pub use answers::CacheEvent;
pub use memory::Memory;

use crate::authority::{HostPort, TargetPattern};
use crate::config::{CacheConfig, Config, Instances, OnError, Pick, Strategy, TargetConfig};
use crate::index::IndexMode;
use crate::key::{Key, KeyError, KeySource};
use crate::live::{Live, Number};
use crate::shuffle::{Algorithm, Hosts};
use crate::step::{Answer, Question, Rejection, Route, Said, Step, Used};
use crate::where_answer;
use instances::Fleet;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::time::Duration;

/// The request headers that show a shard.
pub const SHARD_HEADERS: [&str; 3] = ["x-shard-assignment", "x-shard-config", "x-target-host"];

/// What a plan may want to know of a request. Values are bytes: a client may send anything.
pub trait RequestHead {
    /// The path with its query.
    fn path(&self) -> Option<Vec<u8>>;
    /// The value of a header, by its name in lower case.
    fn header(&self, name: &str) -> Option<Vec<u8>>;
}

/// A compiled configuration. Requests are decided by it alone.
#[derive(Debug)]
pub struct Plan {
    key: KeySource,
    path_prefix: Option<String>,
    strategy: Compiled,
    on_error: OnError,
    response_headers: bool,
    owned_headers: Vec<String>,
}

#[derive(Debug)]
enum Compiled {
    Resolve { resolve: Resolve, rules: Rules, cache: Option<CacheConfig>, fallback: Option<Index> },
    Index(Index),
    Shuffle(Shuffle),
}

/// How the resolver is asked.
#[derive(Debug)]
pub struct Resolve {
    /// The Envoy cluster.
    pub cluster: String,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How many questions one worker may have under way.
    pub max_in_flight: usize,
    /// Path and query up to where the key follows.
    path_before_key: String,
}

#[derive(Debug)]
struct Index {
    mode: IndexMode,
    fleet: Fleet,
}

#[derive(Debug)]
struct Shuffle {
    fleet: Fleet,
    shard_size: u32,
    algorithm: Algorithm,
    pick: Pick,
    seed: Option<String>,
}

/// How an instance becomes a target, and which targets there may be.
#[derive(Clone, Debug)]
struct Rules {
    target: Option<TargetConfig>,
    allowed: Option<Rc<[TargetPattern]>>,
}

impl Plan {
    /// Compiles a configuration.
    pub fn new(config: Config) -> Self {
        let mut owned_headers: Vec<String> = Vec::new();
        if matches!(config.strategy, Strategy::ShuffleShard(_)) {
            owned_headers.extend(SHARD_HEADERS.map(str::to_owned));
        }
        let allowed: Option<Rc<[TargetPattern]>> = config.allowed_targets.map(Into::into);
        let mut rules = |target: Option<TargetConfig>| {
            if let Some(TargetConfig::Header { name, .. }) = &target {
                if !owned_headers.contains(name) {
                    owned_headers.push(name.clone());
                }
            }
            Rules { target, allowed: allowed.clone() }
        };
        let main_rules = rules(config.target);
        let strategy = match config.strategy {
            Strategy::Index(index) => {
                Compiled::Index(Index { mode: index.mode, fleet: Fleet::new(index.instances, main_rules) })
            }
            Strategy::ShuffleShard(shuffle) => Compiled::Shuffle(Shuffle {
                shard_size: shuffle.shard_size,
                algorithm: shuffle.algorithm,
                pick: shuffle.pick,
                seed: shuffle.seed,
                fleet: Fleet::new(sorted(shuffle.instances), main_rules),
            }),
            Strategy::Resolve(resolve, fallback) => {
                let query = resolve.query.unwrap_or_else(|| config.key.parameter());
                let joint = if resolve.path.contains('?') { '&' } else { '?' };
                Compiled::Resolve {
                    resolve: Resolve {
                        path_before_key: format!("{}{joint}{query}=", resolve.path),
                        cluster: resolve.cluster,
                        timeout: resolve.timeout,
                        max_in_flight: resolve.max_in_flight,
                    },
                    rules: main_rules,
                    cache: resolve.cache,
                    fallback: fallback.map(|fallback| Index {
                        mode: fallback.index.mode,
                        fleet: Fleet::new(fallback.index.instances, rules(Some(fallback.target))),
                    }),
                }
            }
        };
        Self {
            key: config.key,
            path_prefix: config.path_prefix,
            strategy,
            on_error: config.on_error,
            response_headers: config.response_headers,
            owned_headers,
        }
    }

    /// Whether the resolver's answers are remembered, and requests for one key share one question.
    pub fn caches(&self) -> bool {
        matches!(self.strategy, Compiled::Resolve { cache: Some(_), .. })
    }

    /// How the resolver is asked, if it is.
    pub fn resolve(&self) -> Option<&Resolve> {
        match &self.strategy {
            Compiled::Resolve { resolve, .. } => Some(resolve),
            Compiled::Index(_) | Compiled::Shuffle(_) => None,
        }
    }

    /// The request headers that say where a request goes. What a client sends under these names has to be
    /// replaced where a request is routed, and removed where it is not.
    pub fn owned_headers(&self) -> &[String] {
        &self.owned_headers
    }

    /// Whether the headers that show a shard go on the response too.
    pub fn response_headers(&self) -> bool {
        self.response_headers
    }

    /// A request's headers are here, and this is what is said from outside. `now` is in milliseconds.
    pub fn on_request(
        &self,
        memory: &mut Memory,
        head: &impl RequestHead,
        live: &Live<'_>,
        now: u64,
    ) -> Step {
        if !live.enabled() {
            return Step::Pass;
        }
        let path = if self.needs_path() { head.path().unwrap_or_default() } else { Vec::new() };
        if self.path_prefix.as_ref().is_some_and(|prefix| !path.starts_with(prefix.as_bytes())) {
            return Step::Pass;
        }
        let header = self.key.header().and_then(|name| head.header(name));
        let key = match self.key.extract(&path, header.as_deref()) {
            Ok(key) => key,
            Err(KeyError::Missing) => {
                return self.refuse(Rejection::MissingKey(self.key.name().into_owned()))
            }
            Err(KeyError::Invalid) => {
                return self.refuse(Rejection::InvalidKey(self.key.name().into_owned()))
            }
        };
        let routed = match &self.strategy {
            Compiled::Resolve { resolve, cache, fallback, .. } => {
                if cache.is_some() {
                    let (replicas, _) = live.number(Number::Replicas, key.bytes(), 0);
                    if let Some(known) = memory.answers.get(key.bytes(), replicas, now) {
                        return self.conclude(memory, Some(key.bytes()), known, live);
                    }
                }
                let kept = (fallback.is_some() || cache.is_some()).then(|| key.bytes().into());
                return Step::Ask(Question { path: resolve.path_for(&key), key: kept });
            }
            Compiled::Index(index) => index.route(memory, key.bytes(), live),
            Compiled::Shuffle(shuffle) => shuffle.route(memory, key.bytes(), &path, head, live),
        };
        routed.map_or_else(|rejection| self.refuse(rejection), Step::Route)
    }

    /// A question to the resolver has come to its end.
    pub fn on_answer(
        &self,
        memory: &mut Memory,
        key: Option<&[u8]>,
        answer: Answer<'_>,
        live: &Live<'_>,
        now: u64,
    ) -> Step {
        let Compiled::Resolve { rules, cache, .. } = &self.strategy else {
            // Only a resolver gives answers.
            return self.refuse(Rejection::CalloutFailed);
        };
        let mut outcome = rules.route_by(answer);
        if let (Some(cache), Some(key)) = (cache, key) {
            outcome = memory.answers.settle(cache, key, outcome, now);
        }
        self.conclude(memory, key, outcome, live)
    }

    /// What the resolver's verdict, old or new, means for a request.
    fn conclude(
        &self,
        memory: &mut Memory,
        key: Option<&[u8]>,
        outcome: Result<Route, Rejection>,
        live: &Live<'_>,
    ) -> Step {
        let rejection = match outcome {
            Ok(route) => return Step::Route(route),
            Err(rejection) => rejection,
        };
        match (&self.strategy, key) {
            (Compiled::Resolve { fallback: Some(index), .. }, Some(key)) => {
                match index.route(memory, key, live) {
                    Ok(route) => Step::Route(route),
                    Err(_) => self.refuse(rejection),
                }
            }
            _ => self.refuse(rejection),
        }
    }

    #[cold]
    fn refuse(&self, rejection: Rejection) -> Step {
        match self.on_error {
            OnError::Reject => Step::Reject(rejection),
            OnError::Continue => Step::Continue(rejection),
        }
    }

    /// Whether the path says anything that matters: reading it costs a call to the host.
    fn needs_path(&self) -> bool {
        let picks_by_path = match &self.strategy {
            Compiled::Shuffle(shuffle) => matches!(shuffle.pick, Pick::Path | Pick::Header(_)),
            Compiled::Resolve { .. } | Compiled::Index(_) => false,
        };
        picks_by_path || self.path_prefix.is_some() || self.key.header().is_none()
    }
}

/// A shard's hosts are told apart by their names alone. In the order of their names, equal scores are
/// settled the same way however the list was written.
fn sorted(instances: Instances) -> Instances {
    match instances {
        // A heap, because its code is a tenth of what the library's sort would add to the module.
        Instances::Named(names) => Instances::Named(BinaryHeap::from(names).into_sorted_vec()),
        numbered => numbered,
    }
}

impl Resolve {
    fn path_for(&self, key: &Key<'_>) -> String {
        let mut path = String::with_capacity(self.path_before_key.len() + key.bytes().len());
        path.push_str(&self.path_before_key);
        key.append_to_query(&mut path);
        path
    }
}

impl Index {
    fn route(&self, memory: &mut Memory, key: &[u8], live: &Live<'_>) -> Result<Route, Rejection> {
        let count = self.fleet.count(Number::Replicas, key, live);
        let slot = self.mode.slot(key, count.value);
        let numbers = Used { count, shard_size: None };
        Ok(Route { instance: memory.instance(&self.fleet, slot)?, shard: None, numbers: Some(numbers) })
    }
}

impl Shuffle {
    fn route(
        &self,
        memory: &mut Memory,
        key: &[u8],
        path: &[u8],
        head: &impl RequestHead,
        live: &Live<'_>,
    ) -> Result<Route, Rejection> {
        let count = self.fleet.count(Number::TotalHosts, key, live);
        let size = Said::from(live.number(Number::ShardSize, key, self.shard_size));
        let (shard, turn) = memory.shard(self, key, count.value, size.value);
        let by_hash = |memory: &Memory, of: &[u8]| memory.pick(of, shard.members.len());
        let at = match &self.pick {
            Pick::Path => by_hash(memory, path),
            Pick::Header(name) => match head.header(name) {
                Some(value) => by_hash(memory, &value),
                None => by_hash(memory, path),
            },
            Pick::Random => memory.random(shard.members.len()),
            Pick::RoundRobin => turn.take(shard.members.len()),
        };
        // A shard has at least one member: sizes are from 1 on.
        let host = shard.members.get(at).copied().unwrap_or_default();
        let numbers = Used { count, shard_size: Some(size) };
        Ok(Route {
            instance: memory.instance(&self.fleet, host)?,
            shard: Some(shard),
            numbers: Some(numbers),
        })
    }

    fn hosts(&self) -> Hosts {
        match self.fleet.names() {
            Some(names) => Hosts::Named(names.to_vec()),
            None => Hosts::Numbered,
        }
    }
}

impl Rules {
    fn route_by(&self, answer: Answer<'_>) -> Result<Route, Rejection> {
        let body = match answer {
            Answer::Overloaded => return Err(Rejection::Overloaded),
            Answer::Failed => return Err(Rejection::CalloutFailed),
            Answer::Response { status: 200, body } => body,
            Answer::Response { status, .. } => return Err(Rejection::ResolverStatus(status)),
        };
        let hostport = where_answer::hostport(body).ok_or(Rejection::NoHostport)?;
        let named = HostPort::parse(&hostport).ok_or(Rejection::TargetNotAllowed)?;
        // Whoever answers for the resolver must not lead Envoy back to its own machine, unless a list allows it.
        if self.allowed.is_none() && named.is_dangerous_literal() {
            return Err(Rejection::TargetNotAllowed);
        }
        let instance = self.instance(named.as_str(), Some(&named))?;
        Ok(Route { instance: Rc::new(instance), shard: None, numbers: None })
    }
}
