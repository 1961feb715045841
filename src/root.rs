//! A plugin: one configuration in one worker. It loads the configuration, makes a context for each request
//! and receives the resolver's answers.

use crate::callouts::{Callouts, Waiter, OUTBOX};
use crate::http::{carry_out, Http};
use crate::live::Feed;
use crate::policy::{Policy, RoutePolicies, WrongRoute};
use crate::{host, metrics};
use pinroute_core::config::{self, Config};
use pinroute_core::live::{Live, Number};
use pinroute_core::step::{Answer, Step};
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{BufferType, ContextType};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// How often a plugin looks at the clock, and for new live values: what another VM has received takes effect
/// here after half of this in the mean. A tick without live values costs Envoy about a microsecond.
const TICK: Duration = Duration::from_millis(25);

/// How often a plugin does so that needs neither.
const SLOW_TICK: Duration = Duration::from_secs(1);

/// How often the log level is looked at, in milliseconds: on each slow tick.
const LOOK_AT_LOG_LEVEL: u64 = 900;

/// What the requests of a plugin share.
pub struct Plugin {
    /// The id of the root context.
    pub root: u32,
    /// The calls to the resolver.
    pub callouts: Callouts,
    policy: Rc<Policy>,
    per_route: Option<RoutePolicies>,
    clock: Cell<u64>,
    runtime: Option<Rc<Feed>>,
    membership: Option<Rc<Feed>>,
}

impl Plugin {
    /// What the request at hand is decided by.
    pub fn policy(&self) -> Result<Rc<Policy>, WrongRoute> {
        let of_route = self.per_route.as_ref().map_or(Ok(None), RoutePolicies::current)?;
        Ok(of_route.unwrap_or_else(|| Rc::clone(&self.policy)))
    }

    /// Does something with all that is said from outside about the request at hand.
    pub fn with_live<T>(&self, policy: &Policy, use_it: impl FnOnce(&Live<'_>) -> T) -> T {
        let runtime = self.runtime.as_ref().map(|feed| feed.snapshot());
        let membership = self.membership.as_ref().and_then(|feed| feed.snapshot().number(Number::TotalHosts));
        let (route, cluster) = policy.numbers();
        use_it(&Live { runtime: runtime.as_deref(), route, cluster, membership })
    }

    /// What becomes of the request at hand now that its question has come to an end.
    pub fn on_answer(&self, policy: &Policy, key: Option<&[u8]>, answer: Answer<'_>) -> Step {
        let step = self.with_live(policy, |live| {
            policy.plan().on_answer(&mut policy.memory(), key, answer, live, self.now())
        });
        policy.count_cache_event();
        step
    }

    /// The time of day in milliseconds, as of the last tick: a call to the host for each request would cost
    /// more than the cache's whole look-up.
    pub fn now(&self) -> u64 {
        self.clock.get()
    }

    fn feeds(&self) -> impl Iterator<Item = &Rc<Feed>> {
        self.runtime.iter().chain(&self.membership)
    }
}

/// The root context.
pub struct Root {
    id: u32,
    plugin: Option<Rc<Plugin>>,
    next_look_at_log_level: u64,
}

impl Root {
    /// A plugin that has not been configured yet.
    pub fn new(id: u32) -> Self {
        Self { id, plugin: None, next_look_at_log_level: 0 }
    }

    fn configure(&mut self, mut config: Config) {
        let plugin = Plugin {
            root: self.id,
            clock: Cell::new(host::now_millis()),
            callouts: Callouts::default(),
            runtime: config.runtime.take().map(|runtime| Feed::of_runtime(&runtime)),
            membership: config.membership.take().map(|membership| Feed::of_membership(&membership)),
            per_route: config.per_route.take().map(RoutePolicies::new),
            policy: Policy::new(config),
        };
        // Routes may bring caches along.
        let needs_clock = plugin.policy.plan().caches() || plugin.per_route.is_some();
        let tick = if needs_clock || plugin.feeds().next().is_some() { TICK } else { SLOW_TICK };
        let _ = hostcalls::set_tick_period(tick);
        self.leave();
        self.plugin = Some(Rc::new(plugin));
    }

    /// Has nothing to do with any feed any more.
    fn leave(&mut self) {
        for feed in self.plugin.iter().flat_map(|plugin| plugin.feeds()) {
            feed.leave(self.id);
        }
    }

    fn feeds(&self) -> impl Iterator<Item = &Rc<Feed>> {
        self.plugin.iter().flat_map(|plugin| plugin.feeds())
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // Envoy keeps ticking a root context whose plugin has been replaced.
        let _ = hostcalls::set_tick_period(Duration::ZERO);
        self.leave();
    }
}

impl Context for Root {
    fn on_grpc_stream_message(&mut self, token: u32, size: usize) {
        self.feeds().any(|feed| feed.on_message(token, size));
    }

    fn on_grpc_stream_close(&mut self, token: u32, status: u32) {
        let now = host::now_millis();
        self.feeds().any(|feed| feed.on_close(token, status, now));
    }

    fn on_http_call_response(&mut self, token: u32, headers: usize, body_size: usize, _trailers: usize) {
        // Without headers the call failed, and asking for its status would be an error.
        let status = if headers == 0 { None } else { host::callout_status() };
        let body = || if status == Some(200) { Some(host::callout_body(body_size)) } else { None };
        if self.feeds().any(|feed| feed.on_answer(token, body)) {
            return;
        }
        let Some(plugin) = &self.plugin else { return };
        let Some(flight) = plugin.callouts.answered(token) else { return };
        metrics::with(|metrics| {
            metrics.resolve_took(host::now().duration_since(flight.since).unwrap_or_default());
            match status {
                Some(200) => metrics.resolver_ok.add_one(),
                Some(504) => metrics.resolver_timeout.add_one(),
                _ => metrics.resolver_error.add_one(),
            }
        });
        let body = body().unwrap_or_default();
        let answer = status.map_or(Answer::Failed, |status| Answer::Response { status, body: &body });
        // Clients may have gone; their contexts must not be touched then.
        let alive = || flight.waiters().filter(|waiter| waiter.alive.strong_count() > 0);
        // One decision for all: they asked the same. It is made in the name of the first, whose route may
        // say something about it, and made even if nobody waits any more, to be remembered.
        let first = alive().next().map(|waiter| waiter.stream);
        let mut entered = first.filter(|stream| hostcalls::set_effective_context(*stream).is_ok());
        let step = plugin.on_answer(&flight.policy, flight.key.as_deref(), answer);
        let mut left = flight.waiters().count();
        for Waiter { stream, .. } in alive() {
            left -= 1;
            if entered != Some(*stream) && hostcalls::set_effective_context(*stream).is_err() {
                continue;
            }
            entered = Some(*stream);
            if carry_out(&flight.policy, step.clone()) {
                let _ = hostcalls::resume_http_request();
            }
        }
        metrics::with(|metrics| (0..left).for_each(|_| metrics.abandoned.add_one()));
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        host::follow_log_level();
        let text = if size == 0 {
            Vec::new()
        } else {
            hostcalls::get_buffer(BufferType::PluginConfiguration, 0, size).ok().flatten().unwrap_or_default()
        };
        match config::parse(&text) {
            Ok(config) => {
                log::info!("pinroute {}: configuration loaded: {config}", env!("CARGO_PKG_VERSION"));
                self.configure(config);
                true
            }
            Err(error) => {
                log::error!("pinroute: configuration refused: {error}");
                false
            }
        }
    }

    fn on_tick(&mut self) {
        let now = host::now_millis();
        if now >= self.next_look_at_log_level {
            self.next_look_at_log_level = now + LOOK_AT_LOG_LEVEL;
            host::follow_log_level();
        }
        if let Some(plugin) = &self.plugin {
            plugin.clock.set(now);
        }
        for feed in self.feeds() {
            feed.tick(self.id, now);
        }
    }

    fn on_queue_ready(&mut self, queue: u32) {
        if let (OUTBOX, Some(plugin)) = (queue, &self.plugin) {
            plugin.callouts.send();
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        // Envoy lets no request near a plugin that refused its configuration.
        self.plugin.as_ref().map(|plugin| Box::new(Http::new(id, Rc::clone(plugin))) as Box<dyn HttpContext>)
    }
}
