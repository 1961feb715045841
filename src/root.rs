//! A plugin: one configuration in one worker. It loads the configuration, makes a context for each request
//! and receives the resolver's answers.

use crate::callouts::{Callouts, OUTBOX};
use crate::http::{carry_out, Http};
use crate::policy::{Policy, RoutePolicies, WrongRoute};
use crate::{host, metrics};
use pinroute_core::config::Config;
use pinroute_core::step::Answer;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{BufferType, ContextType};
use std::rc::Rc;
use std::time::Duration;

/// How often the log level is looked at.
const TICK: Duration = Duration::from_secs(1);

/// What the requests of a plugin share.
pub struct Plugin {
    /// The id of the root context.
    pub root: u32,
    /// The calls to the resolver.
    pub callouts: Callouts,
    policy: Rc<Policy>,
    per_route: Option<RoutePolicies>,
}

impl Plugin {
    /// What the request at hand is decided by.
    pub fn policy(&self) -> Result<Rc<Policy>, WrongRoute> {
        let of_route = self.per_route.as_ref().map_or(Ok(None), RoutePolicies::current)?;
        Ok(of_route.unwrap_or_else(|| Rc::clone(&self.policy)))
    }
}

/// The root context.
pub struct Root {
    id: u32,
    plugin: Option<Rc<Plugin>>,
}

impl Root {
    /// A plugin that has not been configured yet.
    pub fn new(id: u32) -> Self {
        Self { id, plugin: None }
    }

    fn configure(&mut self, mut config: Config) {
        let per_route = config.per_route.take().map(RoutePolicies::new);
        let policy = Policy::new(config);
        self.plugin =
            Some(Rc::new(Plugin { root: self.id, callouts: Callouts::default(), policy, per_route }));
        let _ = hostcalls::set_tick_period(TICK);
    }
}

impl Context for Root {
    fn on_done(&mut self) -> bool {
        // Envoy keeps ticking a root context whose plugin has been replaced.
        let _ = hostcalls::set_tick_period(Duration::ZERO);
        true
    }

    fn on_http_call_response(&mut self, token: u32, headers: usize, body_size: usize, _trailers: usize) {
        let Some(waiting) = self.plugin.as_ref().and_then(|plugin| plugin.callouts.answered(token)) else {
            return;
        };
        // Without headers the call failed, and asking for its status would be an error.
        let status = if headers == 0 { None } else { host::callout_status() };
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
            return;
        }
        let body = if status == Some(200) { host::callout_body(body_size) } else { Vec::new() };
        let answer = status.map_or(Answer::Failed, |status| Answer::Response { status, body: &body });
        let policy = waiting.policy;
        let step = policy.plan().on_answer(&mut policy.memory(), waiting.key.as_deref(), answer);
        if hostcalls::set_effective_context(waiting.stream).is_ok() && carry_out(&policy, step) {
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
        host::follow_log_level();
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
