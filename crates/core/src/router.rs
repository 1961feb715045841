//! A compiled configuration. Requests are decided here.

use crate::config::{self, CacheConfig, Config, Outcome, Outcomes, Strategy};
use crate::decision::{Call, Decision, ReplyVerdict, Route, SHARD_HEADERS, Verdict};
use crate::hash::{Digest, mix};
use crate::key::{Key, KeyError, KeySource};
use crate::live::value::Number;
use crate::live::values::{LiveValues, RequestValues};
use crate::metrics::Counter;
use crate::rejection::Rejection;
use crate::request::{Reply, Request};
use crate::resolve::cache::{Answer, ResolvedAnswer};
use crate::resolve::calls::{Caller, Overloaded, Pending};
use crate::resolve::response::Response;
use crate::strategy::hosts::HostTable;
use crate::strategy::index::Index;
use crate::strategy::resolve::{Fallback, Rendered, Resolve};
use crate::strategy::shuffle::Shuffle;
use crate::target::{Host, Refused, Target, TargetKind, TargetRules};
use crate::template::Template;
use crate::time::Time;
use crate::verify::Verify;
use crate::worker::State;
use std::borrow::Cow;
use std::sync::Arc;

/// What one thread remembers. `W` identifies a request that waits for a resolver call.
///
/// Its events are [`Worker::on_sent`] and [`Worker::on_response`]; those that begin with a request are methods of
/// [`Router`].
pub type Worker<W> = State<Arc<Router>, W>;

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

/// A compiled configuration: all that can be computed before a request comes. It never changes; what changes as
/// requests run is a thread's [`Worker`].
///
/// - A request: [`Self::on_request`], then [`Self::on_refused`] or [`Self::on_resolved`] if it needs the resolver.
/// - Its response, where [`Self::needs_reply`] says so: [`Self::on_reply`].
/// - What adapters ask: [`Self::owned_headers`], [`Self::request_headers`], [`Self::response_headers`],
///   [`Self::uses_clock`].
#[derive(Debug)]
pub struct Router {
    id: u64,
    plugin: u32,
    key: KeySource,
    path_prefix: Option<String>,
    pub(crate) strategy: Compiled,
    outcomes: Outcomes<CompiledOutcome>,
    passes_disabled: bool,
    verify: Option<Verify>,
    request_headers: bool,
    response_headers: bool,
    owned_headers: Vec<Arc<str>>,
    metadata: Option<String>,
}

/// A compiled strategy.
#[derive(Debug)]
pub(crate) enum Compiled {
    Resolve(Box<Resolve>),
    Index(Index),
    Shuffle(Shuffle),
    Template(TargetRules),
}

/// What happens to a request that is not routed.
#[derive(Debug)]
enum CompiledOutcome {
    Reject(Option<u16>),
    Continue,
    Target(Arc<Host>),
}

impl Router {
    /// Compiles the configuration of a plugin. `plugin` tells plugins apart that share a worker.
    pub fn new(config: Config, plugin: u32) -> Arc<Self> {
        Self::compile(config, plugin, Vec::new())
    }

    /// Compiles the configuration of a route. The headers that the plugin's own configuration owns belong to its routes'
    /// too: what no configuration sets, no client may.
    pub fn of_route(config: Config, plugin: &Self) -> Arc<Self> {
        Self::compile(config, plugin.plugin, plugin.owned_headers.clone())
    }

    fn compile(mut config: Config, plugin: u32, mut owned_headers: Vec<Arc<str>>) -> Arc<Self> {
        let id = config.id();
        if let Strategy::Resolve(resolve, _) = &mut config.strategy {
            // A resolver could take a client's value for the plugin's.
            resolve.call.forward_headers.retain(|name| !owned_headers.iter().any(|owned| **owned == **name));
        }
        let passes_disabled = config.allow_untouched || !config.picks_by_host();
        let mut own = |name: &Arc<str>| {
            if !owned_headers.contains(name) {
                owned_headers.push(Arc::clone(name));
            }
        };
        if config.request_headers && matches!(config.strategy, Strategy::ShuffleShard(_)) {
            SHARD_HEADERS.map(Arc::from).iter().for_each(&mut own);
        }
        let called = config.verify.as_ref().and_then(|verify| verify.value.clone());
        let mut rules = |kind: Option<TargetKind>, called: Option<Template>| {
            kind.iter().filter_map(TargetKind::header).for_each(&mut own);
            TargetRules { kind, allowed: config.allowed_targets.clone(), called }
        };
        let on_shard_down = config.on_shard_down;
        let main_rules = rules(config.target, called);
        let strategy = match config.strategy {
            Strategy::Index(index) => Compiled::Index(Index {
                mode: index.mode,
                hosts: HostTable::new(index.hosts, main_rules),
                on_shard_down,
                id,
            }),
            Strategy::ShuffleShard(shuffle) => {
                Compiled::Shuffle(Shuffle::new(shuffle, main_rules, on_shard_down, id))
            }
            Strategy::Template => Compiled::Template(main_rules),
            Strategy::Resolve(resolve, fallback) => {
                let fallback = fallback.map(|fallback| match fallback {
                    config::Fallback::Index(index, target) => Fallback::Index(Index {
                        mode: index.mode,
                        hosts: HostTable::new(index.hosts, rules(Some(target), None)),
                        on_shard_down,
                        id: mix(id),
                    }),
                    config::Fallback::Template(target) => Fallback::Template(rules(Some(target), None)),
                });
                resolve.answer.set_headers.iter().for_each(|(name, _)| own(name));
                Compiled::Resolve(Box::new(Resolve::new(*resolve, main_rules, fallback)))
            }
        };
        let outcomes = config.outcomes.map(|outcome| match outcome {
            Outcome::Reject(status) => CompiledOutcome::Reject(status),
            Outcome::Continue => CompiledOutcome::Continue,
            Outcome::Target(target, host) => {
                target.header().into_iter().for_each(&mut own);
                CompiledOutcome::Target(host)
            }
        });
        Arc::new(Self {
            id,
            plugin,
            key: config.key,
            path_prefix: config.path_prefix,
            strategy,
            outcomes,
            passes_disabled,
            verify: config.verify,
            request_headers: config.request_headers,
            response_headers: config.response_headers,
            owned_headers,
            metadata: config.metadata,
        })
    }

    /// The request headers that decide where a request goes. A client's values are replaced where the request is
    /// routed, and removed where it is not.
    pub fn owned_headers(&self) -> &[Arc<str>] {
        &self.owned_headers
    }

    /// The owned headers that this route does not set: a client's values of them are removed.
    pub fn unset_headers<'a>(&'a self, route: &'a Route) -> impl Iterator<Item = &'a Arc<str>> {
        let shows_shard = route.shard.is_some() && self.request_headers;
        let target = match &route.host.target {
            Some(Target::Header { name, .. }) => Some(name),
            Some(Target::Authority(_) | Target::DynamicHost { .. }) | None => None,
        };
        self.owned_headers.iter().filter(move |name| {
            let is_shard_header = shows_shard && SHARD_HEADERS.contains(&&***name);
            let is_from_answer = route.host.headers.iter().any(|(set, _)| set == *name);
            !is_shard_header && !is_from_answer && target != Some(*name)
        })
    }

    /// Whether the headers that show a shard are set on the request.
    pub fn request_headers(&self) -> bool {
        self.request_headers
    }

    /// Whether the headers that show a shard are set on the response too.
    pub fn response_headers(&self) -> bool {
        self.response_headers
    }

    /// The namespace of route and cluster metadata that holds live values, if one does.
    pub fn metadata(&self) -> Option<&str> {
        self.metadata.as_deref()
    }

    /// Whether responses matter.
    pub fn needs_reply(&self) -> bool {
        let drops = self.cache_config().is_some_and(|cache| !cache.drop_on.is_empty());
        self.response_headers || self.verify.is_some() || drops
    }

    /// Whether responses of a wrong host are refused.
    pub fn verifies(&self) -> bool {
        self.verify.is_some()
    }

    /// Whether decisions depend on the time.
    pub fn uses_clock(&self) -> bool {
        self.cache_config().is_some()
    }

    fn cache_config(&self) -> Option<&CacheConfig> {
        match &self.strategy {
            Compiled::Resolve(resolve) => resolve.cache.as_ref(),
            Compiled::Index(_) | Compiled::Shuffle(_) | Compiled::Template(_) => None,
        }
    }

    /// A request's headers were received. `waiting` identifies the request should it have to wait.
    pub fn on_request<W>(
        self: &Arc<Self>,
        worker: &mut Worker<W>,
        request: &impl Request,
        live: &LiveValues,
        now: Time,
        waiting: impl FnOnce() -> W,
    ) -> Decision<W> {
        let path = if self.needs_path() { request.path().unwrap_or_default() } else { Cow::default() };
        if let Some(verdict) = self.verdict_without_key(&path, live) {
            return Decision::Verdict(verdict);
        }
        let key = match self.key.extract(&path, |name| request.header(name)) {
            Ok(key) => key,
            Err(KeyError::Missing(name)) => {
                return Decision::Verdict(self.refuse(Rejection::MissingKey(name)));
            }
            Err(KeyError::Invalid(name)) => {
                return Decision::Verdict(self.refuse(Rejection::InvalidKey(name)));
            }
        };
        self.decide(worker, &key, &path, request, live, now, waiting)
    }

    /// The verdict on a request that the filter does not apply to, or not now.
    pub(crate) fn verdict_without_key(&self, path: &[u8], live: &LiveValues) -> Option<Verdict> {
        let is_enabled = live.enabled();
        if !is_enabled && self.passes_disabled {
            return Some(Verdict::Pass);
        }
        if self.path_prefix.as_ref().is_some_and(|prefix| !path.starts_with(prefix.as_bytes())) {
            return Some(Verdict::Pass);
        }
        (!is_enabled).then(|| Verdict::Reject(Rejection::Disabled, Rejection::Disabled.status()))
    }

    /// The decision on a request whose key is known.
    #[allow(clippy::too_many_arguments)] // Each is needed, and no two belong together.
    pub(crate) fn decide<W>(
        self: &Arc<Self>,
        worker: &mut Worker<W>,
        key: &Key<'_>,
        path: &[u8],
        request: &impl Request,
        live: &LiveValues,
        now: Time,
        waiting: impl FnOnce() -> W,
    ) -> Decision<W> {
        let mut values = self.values(live, request, worker);
        let routed = match &self.strategy {
            Compiled::Resolve(resolve) => {
                return self.resolve(resolve, worker, key, request, live, now, waiting);
            }
            Compiled::Index(index) => {
                let count = index.count(&mut values, key.bytes());
                index.route(&mut worker.hosts, key, count, live)
            }
            Compiled::Template(rules) => {
                let digest = worker.digester.digest(self.id, key.bytes());
                worker.hosts.get_or(digest, || rules.host_of(key)).map(Route::to)
            }
            Compiled::Shuffle(shuffle) => {
                let numbers = shuffle.numbers(&mut values, key.bytes());
                shuffle.route(&mut worker.shards, &mut worker.hosts, key, path, request, numbers, live)
            }
        };
        Decision::Verdict(self.verdict(routed))
    }

    /// A call that [`Self::on_request`] asked for could not be made.
    pub fn on_refused<W>(
        &self,
        worker: &mut Worker<W>,
        call: Call<W>,
        request: &impl Request,
        live: &LiveValues,
        now: Time,
    ) -> Verdict {
        worker.recorder.count(Counter::ResolverError);
        let answer = self.settle(worker, call.digest, Err(Rejection::CalloutFailed), now);
        self.conclude_later(worker, answer, call.digest, request, live)
    }

    /// A call has ended: the verdict on one of the requests that wait.
    pub fn on_resolved<W>(
        &self,
        worker: &mut Worker<W>,
        resolved: &ResolvedAnswer,
        request: &impl Request,
        live: &LiveValues,
    ) -> Verdict {
        self.conclude_later(worker, resolved.answer.clone(), resolved.digest, request, live)
    }

    /// The headers of the response to a request that was routed were received.
    pub fn on_reply<W>(&self, worker: &mut Worker<W>, route: &Route, reply: &impl Reply) -> ReplyVerdict {
        let (is_wrong, is_unnamed) = match &self.verify {
            None => (false, false),
            Some(verify) => match reply.header(&verify.response_header) {
                None => (false, true),
                Some(name) => (!verify.is_right(&route.host, &name), false),
            },
        };
        let is_dropped = route.answer.is_some() && self.drops_on(reply);
        // Envoy's own replies do not count.
        if !(is_wrong || is_unnamed || is_dropped) || !reply.is_from_upstream() {
            return ReplyVerdict::Pass;
        }
        if let (true, Some(digest)) = (is_wrong || is_dropped, route.answer) {
            worker.answers.remove(self.id, digest, &route.host);
        }
        if is_unnamed {
            worker.recorder.count(Counter::Unverified);
        }
        if is_wrong {
            worker.recorder.count(Counter::Misrouted);
            log::debug!("pinroute: another host answered than {}", route.host);
            return ReplyVerdict::WrongHost;
        }
        ReplyVerdict::Pass
    }

    /// Whether a response says that the host does not own the key.
    fn drops_on(&self, reply: &impl Reply) -> bool {
        let drop_on = self.cache_config().map(|cache| cache.drop_on.as_slice()).unwrap_or_default();
        !drop_on.is_empty()
            && reply.header(":status").is_some_and(|status| {
                std::str::from_utf8(&status)
                    .ok()
                    .and_then(|status| status.parse().ok())
                    .is_some_and(|status| drop_on.contains(&status))
            })
    }

    /// What a response decides.
    fn answer(&self, response: Response<'_>, key: Option<&Key<'_>>) -> Answer {
        match &self.strategy {
            Compiled::Resolve(resolve) => resolve.answer(response, key),
            // Only `resolve` makes calls.
            Compiled::Index(_) | Compiled::Shuffle(_) | Compiled::Template(_) => {
                Err(Rejection::CalloutFailed)
            }
        }
    }

    /// Whether the headers of a resolver's response are wanted.
    fn needs_answer_headers(&self) -> bool {
        matches!(&self.strategy, Compiled::Resolve(resolve) if resolve.answer.needs_headers())
    }

    #[allow(clippy::too_many_arguments)] // Each is needed, and no two belong together.
    fn resolve<W>(
        self: &Arc<Self>,
        resolve: &Resolve,
        worker: &mut Worker<W>,
        key: &Key<'_>,
        request: &impl Request,
        live: &LiveValues,
        now: Time,
        waiting: impl FnOnce() -> W,
    ) -> Decision<W> {
        let unfit = || Decision::Verdict(self.refuse(Rejection::InvalidKey(self.key.name())));
        // What does not fit is found before anything is called.
        let (true, Ok(rendered)) = (resolve.fits(key), resolve.render_early(key, request)) else {
            return unfit();
        };
        let digest = resolve.cache.as_ref().map(|_| {
            let number = self.number(worker, key, request, live);
            resolve.digest(&worker.digester, number, key, rendered.as_ref())
        });
        if let Some(digest) = digest {
            let (answer, counter) = worker.answers.get(self.id, digest, now);
            worker.recorder.count(counter);
            if let Some(answer) = answer {
                return Decision::Verdict(self.conclude(
                    worker,
                    answer,
                    Some(digest),
                    Some(key),
                    request,
                    live,
                ));
            }
        }
        match worker.calls.join(self.caller(), digest, resolve.max_in_flight) {
            Ok(Some(joined)) => {
                joined.push(waiting());
                worker.recorder.count(Counter::Coalesced);
                Decision::Wait
            }
            Ok(None) => {
                let Some(Rendered { path, body, headers }) =
                    rendered.or_else(|| resolve.render(key, request).ok())
                else {
                    return unfit();
                };
                Decision::Call(Call {
                    cluster: resolve.cluster.clone(),
                    authority: resolve.authority.clone(),
                    path,
                    body,
                    headers,
                    timeout: resolve.timeout,
                    key: resolve.keeps_key().then(|| key.clone().into_owned()),
                    digest,
                    waiting: waiting(),
                })
            }
            Err(Overloaded) => {
                let answer = self.settle(worker, digest, Err(Rejection::Overloaded), now);
                Decision::Verdict(self.conclude(worker, answer, digest, Some(key), request, live))
            }
        }
    }

    /// Identifies what an answer depends on beside what is sent: the configuration, the live number of hosts, because a
    /// change of that number changes which host owns a key, and the generation of the caches.
    fn number<W>(
        &self,
        worker: &mut Worker<W>,
        key: &Key<'_>,
        request: &impl Request,
        live: &LiveValues,
    ) -> u64 {
        let replicas = self.values(live, request, worker).number(Number::Replicas, key.bytes(), 0).value;
        self.id ^ mix(u64::from(replicas) ^ live.cache_generation())
    }

    /// Caches an answer, if there is a cache. Returns the answer to use.
    fn settle<W>(&self, worker: &mut Worker<W>, digest: Option<Digest>, answer: Answer, now: Time) -> Answer {
        let (Some(config), Some(digest)) = (self.cache_config(), digest) else { return answer };
        let (answer, counter) = worker.answers.settle(self.id, config, digest, answer, now);
        counter.into_iter().for_each(|counter| worker.recorder.count(counter));
        answer
    }

    /// What the resolver's answer means for a request that waited. Its key is read again if a fallback needs it: requests
    /// that waited for the same call need not have the same key, because what is sent may hold only a part of it.
    fn conclude_later<W>(
        &self,
        worker: &mut Worker<W>,
        answer: Answer,
        digest: Option<Digest>,
        request: &impl Request,
        live: &LiveValues,
    ) -> Verdict {
        let has_fallback = matches!(&self.strategy, Compiled::Resolve(resolve) if resolve.fallback.is_some());
        if answer.is_ok() || !has_fallback {
            return self.conclude(worker, answer, digest, None, request, live);
        }
        let path = if self.key.needs_path() { request.path().unwrap_or_default() } else { Cow::default() };
        let key = self.key.extract(&path, |name| request.header(name)).ok();
        self.conclude(worker, answer, digest, key.as_ref(), request, live)
    }

    /// What the resolver's answer means for a request. The key is for a fallback.
    pub(crate) fn conclude<W>(
        &self,
        worker: &mut Worker<W>,
        answer: Answer,
        digest: Option<Digest>,
        key: Option<&Key<'_>>,
        request: &impl Request,
        live: &LiveValues,
    ) -> Verdict {
        let rejection = match answer {
            Ok(host) => return Verdict::Route(Route { answer: digest, ..Route::to(host) }),
            Err(rejection) => rejection,
        };
        if let (Compiled::Resolve(resolve), Some(key)) = (&self.strategy, key)
            && let Some(fallback) = &resolve.fallback
            && !matches!(rejection, Rejection::NotFound(_))
        {
            let routed = match fallback {
                Fallback::Index(index) => {
                    let count = index.count(&mut self.values(live, request, worker), key.bytes());
                    index.route(&mut worker.hosts, key, count, live)
                }
                Fallback::Template(rules) => rules.host_of(key).map(|host| Route::to(Arc::new(host))),
            };
            match routed {
                Ok(route) => return Verdict::Route(route),
                Err(refused) => refused.log(),
            }
        }
        self.refuse(rejection)
    }

    fn caller(&self) -> Caller {
        Caller { plugin: self.plugin, config: self.id }
    }

    pub(crate) fn values<'a, W, R: Request>(
        &'a self,
        live: &'a LiveValues,
        request: &'a R,
        worker: &'a mut Worker<W>,
    ) -> RequestValues<'a, R> {
        let namespace = self.metadata.as_deref();
        RequestValues::new(live, namespace, request, &mut worker.metadata, &mut worker.recorder)
    }

    fn verdict(&self, routed: Result<Route, Refused>) -> Verdict {
        match routed {
            Ok(route) => Verdict::Route(route),
            Err(Refused::Key) => self.refuse(Rejection::InvalidKey(self.key.name())),
            Err(Refused::NoEndpoints) => self.refuse(Rejection::NoEndpoints),
            Err(Refused::ShardDown) => self.refuse(Rejection::ShardDown),
            Err(refused @ Refused::NotAllowed(_)) => {
                refused.log();
                self.refuse(Rejection::TargetNotAllowed)
            }
        }
    }

    /// What happens to a request that cannot be routed.
    #[cold]
    pub fn refuse(&self, rejection: Rejection) -> Verdict {
        let Outcomes { missing_key, not_found, error } = &self.outcomes;
        let outcome = match &rejection {
            // A client's mistake stays one.
            Rejection::InvalidKey(_) => &CompiledOutcome::Reject(None),
            Rejection::MissingKey(_) => missing_key,
            Rejection::NotFound(_) => not_found,
            _ => error,
        };
        match outcome {
            CompiledOutcome::Reject(status) => {
                let status = status.unwrap_or_else(|| rejection.status());
                Verdict::Reject(rejection, status)
            }
            CompiledOutcome::Continue => Verdict::Continue(rejection),
            CompiledOutcome::Target(host) => Verdict::Route(Route::to(Arc::clone(host))),
        }
    }

    /// Whether the path matters. To read it costs a call to the host.
    fn needs_path(&self) -> bool {
        let picks_by_path = matches!(&self.strategy, Compiled::Shuffle(shuffle) if shuffle.needs_path());
        picks_by_path || self.path_prefix.is_some() || self.key.needs_path()
    }
}

impl<W> Worker<W> {
    /// A resolver call of this router was made: its response will come under this token.
    pub fn on_sent(&mut self, router: &Arc<Router>, call: Call<W>, token: u32) {
        let Call { key, digest, waiting, .. } = call;
        let (owner, caller) = (Arc::clone(router), router.caller());
        self.calls.add(token, Pending { owner, caller, key, digest, waiting: vec![waiting] });
    }

    /// Whether the headers of the response to this call are wanted.
    pub fn needs_answer_headers(&self, token: u32) -> bool {
        self.calls.owner(token).is_some_and(|router| router.needs_answer_headers())
    }

    /// The requests that wait for this call.
    pub fn waiting(&self, token: u32) -> &[W] {
        self.calls.waiting(token)
    }

    /// A resolver call will not end: those who waited for it are gone.
    pub fn on_cancelled(&mut self, token: u32) {
        let waited = self.calls.remove(token).map_or(0, |pending| pending.waiting.len());
        (0..waited).for_each(|_| self.on_abandoned());
    }

    /// A resolver call has ended. `None` if the token is unknown.
    pub fn on_response(&mut self, token: u32, response: Response<'_>, now: Time) -> Option<Resolved<W>> {
        let Pending { owner: router, key, digest, waiting, .. } = self.calls.remove(token)?;
        self.recorder.count(match response {
            Response::Complete { status: 200, .. } => Counter::ResolverOk,
            Response::Complete { status: 504, .. } => Counter::ResolverTimeout,
            Response::Complete { .. } | Response::Failed => Counter::ResolverError,
        });
        let answer = router.settle(self, digest, router.answer(response, key.as_ref()), now);
        Some(Resolved { router, waiting, answer: ResolvedAnswer { answer, digest } })
    }
}
