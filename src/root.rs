//! A plugin: one configuration in one worker. It loads the configuration, makes a context for each request
//! and receives the resolver's answers.

use crate::callouts::{Callouts, OUTBOX};
use crate::http::{carry_out, Http};
use crate::live::Feed;
use crate::policy::{Policy, RoutePolicies, WrongRoute};
use crate::{host, metrics};
use pinroute_core::config::Config;
use pinroute_core::live::{Live, Number};
use pinroute_core::step::{Answer, Step};
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{BufferType, ContextType};
use std::rc::Rc;
use std::time::Duration;

/// How often the log level is looked at.
const SLOW_TICK: Duration = Duration::from_secs(1);

/// How often a plugin with live values looks for new ones: what another VM has received takes effect here
/// after half of this in the mean.
const FAST_TICK: Duration = Duration::from_millis(25);

/// What the requests of a plugin share.
pub struct Plugin {
    /// The id of the root context.
    pub root: u32,
    /// The calls to the resolver.
    pub callouts: Callouts,
    policy: Rc<Policy>,
    per_route: Option<RoutePolicies>,
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
        self.with_live(policy, |live| policy.plan().on_answer(&mut policy.memory(), key, answer, live))
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
            callouts: Callouts::default(),
            runtime: config.runtime.take().map(|runtime| Feed::of_runtime(&runtime)),
            membership: config.membership.take().map(|membership| Feed::of_membership(&membership)),
            per_route: config.per_route.take().map(RoutePolicies::new),
            policy: Policy::new(config),
        };
        let period = if plugin.feeds().next().is_some() { FAST_TICK } else { SLOW_TICK };
        let _ = hostcalls::set_tick_period(period);
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

impl Context for Root {
    fn on_done(&mut self) -> bool {
        // Envoy keeps ticking a root context whose plugin has been replaced.
        let _ = hostcalls::set_tick_period(Duration::ZERO);
        self.leave();
        true
    }

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
        let Some(waiting) = plugin.callouts.answered(token) else { return };
        metrics::with(|metrics| {
            metrics.resolve_took(host::now().duration_since(waiting.since).unwrap_or_default());
            match status {
                Some(200) => metrics.resolver_ok.add_one(),
                Some(504) => metrics.resolver_timeout.add_one(),
                _ => metrics.resolver_error.add_one(),
            }
        });
        // The client may have gone; its context must not be touched then.
        if waiting.alive.upgrade().is_none() {
            metrics::with(|metrics| metrics.abandoned.add_one());
            return;
        }
        let body = body().unwrap_or_default();
        let answer = status.map_or(Answer::Failed, |status| Answer::Response { status, body: &body });
        if hostcalls::set_effective_context(waiting.stream).is_err() {
            return;
        }
        let step = plugin.on_answer(&waiting.policy, waiting.key.as_deref(), answer);
        if carry_out(&waiting.policy, step) {
            let _ = hostcalls::resume_http_request();
        }
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
        match Config::parse(&text) {
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
            self.next_look_at_log_level = now + u64::try_from(SLOW_TICK.as_millis()).unwrap_or(u64::MAX);
            host::follow_log_level();
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
