//! A plugin: one configuration in one worker. It loads the configuration, creates a context for each request, and
//! receives ticks, and the responses to calls.

use crate::host::{self, CurrentRequest, ThisVm};
use crate::http::{Http, Waiting, carry_out};
use crate::log::follow_level;
use crate::reenter::REENTER;
use crate::{live, metrics};
use pinroute_core::config::{self, PluginConfig};
use pinroute_core::decision::Call;
use pinroute_core::live::action::SubscriptionId;
use pinroute_core::live::value::Number;
use pinroute_core::live::values::LiveValues;
use pinroute_core::rejection::Rejection;
use pinroute_core::response::Response;
use pinroute_core::router::Router;
use pinroute_core::routes::RouteRouters;
use pinroute_core::time::Time;
use pinroute_core::worker::Worker;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{BufferType, ContextType};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How often a plugin reads the clock and looks for new live values. What another VM has received takes effect here
/// after half of this on average. A tick without live values costs Envoy about a microsecond.
const TICK: Duration = Duration::from_millis(25);

/// How often a plugin ticks that needs neither.
const SLOW_TICK: Duration = Duration::from_secs(1);

/// How often the log level is read: at each slow tick.
const READ_LOG_LEVEL: Duration = Duration::from_millis(900);

/// How long no further refused calls are logged after one was.
const SILENCE: Duration = Duration::from_secs(1);

/// What the requests of a plugin share.
pub struct Plugin {
    /// The id of the root context.
    pub root: u32,
    /// The state of this worker.
    pub worker: RefCell<Worker<Waiting>>,
    /// The live values as of the last tick or message.
    pub live: RefCell<LiveValues>,
    /// The call that is to be made when the root context is entered.
    pub outbox: RefCell<Option<Call<Waiting>>>,
    router: Arc<Router>,
    routes: Option<RefCell<RouteRouters>>,
    runtime: Option<SubscriptionId>,
    membership: Option<SubscriptionId>,
    clock: Cell<Time>,
    silent_until: Cell<Time>,
}

impl Plugin {
    fn new(root: u32, config: PluginConfig, random: [u64; 6]) -> Self {
        let [first, second, seed, third, fourth, subscriptions] = random;
        live::create(subscriptions);
        let PluginConfig { config, per_route, runtime, membership } = config;
        let plugin = Self {
            root,
            worker: RefCell::new(Worker::new([first, second, seed])),
            live: RefCell::default(),
            outbox: RefCell::default(),
            router: Router::new(config),
            routes: per_route.map(|namespace| RefCell::new(RouteRouters::new(namespace, [third, fourth]))),
            runtime: runtime.and_then(|config| live::with(|live| Some(live.join_runtime(&config, &ThisVm)))),
            membership: membership
                .and_then(|config| live::with(|live| Some(live.join_membership(&config, &ThisVm)))),
            clock: Cell::new(host::now()),
            silent_until: Cell::default(),
        };
        plugin.refresh();
        plugin
    }

    /// The router of the request of the effective context: its route's own, or the plugin's.
    pub fn router(&self) -> Result<Arc<Router>, Rejection> {
        let of_route =
            self.routes.as_ref().map_or(Ok(None), |routes| routes.borrow_mut().router(&CurrentRequest))?;
        Ok(of_route.unwrap_or_else(|| Arc::clone(&self.router)))
    }

    /// The time as of the last tick: to ask the host for each request would cost more than the cache's look-up.
    pub fn now(&self) -> Time {
        self.clock.get()
    }

    /// Whether decisions depend on the time or on live values.
    fn needs_ticks(&self) -> bool {
        self.router.uses_clock() || self.routes.is_some() || self.subscriptions().next().is_some()
    }

    fn subscriptions(&self) -> impl Iterator<Item = SubscriptionId> + use<> {
        self.runtime.into_iter().chain(self.membership)
    }

    /// Takes the live values as they are now.
    fn refresh(&self) {
        let snapshot = |id: Option<SubscriptionId>| id.map(|id| live::with(|live| live.snapshot(id)));
        let membership = snapshot(self.membership).and_then(|snapshot| snapshot.number(Number::TotalHosts));
        self.live.replace(LiveValues { runtime: snapshot(self.runtime), membership });
    }

    fn tick(&self, now: Time) {
        self.clock.set(now);
        for id in self.subscriptions() {
            let action = live::with(|live| live.tick(id, self.root, now, &ThisVm));
            action.into_iter().for_each(live::carry_out);
        }
        if self.subscriptions().next().is_some() {
            self.refresh();
        }
    }

    /// Leaves all subscriptions.
    fn leave(&self) {
        for id in self.subscriptions() {
            let action = live::with(|live| live.leave(id, self.root, &ThisVm));
            action.into_iter().for_each(live::carry_out);
        }
    }

    /// Makes the call in the outbox, which stays there if Envoy refuses it. The root context is the active one; the
    /// effective one is that of the request.
    fn send(&self) {
        let Some(call) = self.outbox.take() else { return };
        match host::get(&call.cluster, &call.path, &host::tracing_headers(), call.timeout) {
            Some(token) => self.worker.borrow_mut().on_sent(call, token),
            None => {
                // Under load a cluster may refuse thousands of calls a second.
                let now = host::now();
                if now >= self.silent_until.replace(now + SILENCE) {
                    log::warn!("pinroute: cannot call the cluster `{}`", call.cluster);
                }
                self.outbox.replace(Some(call));
            }
        }
    }

    /// The response to a resolver call: carries out the verdict on each request that waits.
    fn on_response(&self, token: u32, response: Response<'_>) {
        let resolved = self.worker.borrow_mut().on_response(token, response, self.now());
        let Some(resolved) = resolved else { return };
        for waiting in &resolved.waiting {
            if !waiting.is_alive() {
                self.worker.borrow_mut().on_abandoned();
            } else if hostcalls::set_effective_context(waiting.context).is_ok() {
                let verdict = {
                    let (mut worker, live) = (self.worker.borrow_mut(), self.live.borrow());
                    resolved.router.on_resolved(&mut worker, &resolved.answer, &CurrentRequest, &live)
                };
                if carry_out(&resolved.router, &verdict) {
                    let _ = hostcalls::resume_http_request();
                }
            }
        }
        metrics::flush(self.worker.borrow_mut().recorder());
    }
}

/// The root context.
pub struct Root {
    id: u32,
    plugin: Option<Rc<Plugin>>,
    next_log_level: Time,
}

impl Root {
    /// A plugin without a configuration.
    pub fn new(id: u32) -> Self {
        Self { id, plugin: None, next_log_level: Time::default() }
    }

    fn configure(&mut self, bytes: &[u8]) -> Result<(), String> {
        let config = config::parse(bytes).map_err(|error| error.to_string())?;
        let random = host::random().ok_or("the system has no random numbers")?;
        log::info!("pinroute {}: configuration loaded: {}", env!("CARGO_PKG_VERSION"), config.config);
        let plugin = Plugin::new(self.id, config, random);
        let _ = hostcalls::set_tick_period(if plugin.needs_ticks() { TICK } else { SLOW_TICK });
        if let Some(replaced) = self.plugin.replace(Rc::new(plugin)) {
            replaced.leave();
        }
        Ok(())
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // Envoy keeps ticking a root context whose plugin has been replaced.
        let _ = hostcalls::set_tick_period(Duration::ZERO);
        if let Some(plugin) = &self.plugin {
            plugin.leave();
        }
    }
}

impl Context for Root {
    fn on_grpc_stream_message(&mut self, token: u32, size: usize) {
        let message = host::buffer(BufferType::GrpcReceiveBuffer, size);
        let action = live::with(|live| live.on_message(token, &message, &ThisVm));
        action.into_iter().for_each(live::carry_out);
        if let Some(plugin) = &self.plugin {
            plugin.refresh();
        }
    }

    fn on_grpc_stream_close(&mut self, token: u32, status: u32) {
        let now = host::now();
        live::with(|live| live.on_closed(token, status, now));
    }

    fn on_http_call_response(&mut self, token: u32, headers: usize, body_size: usize, _trailers: usize) {
        let Some(plugin) = &self.plugin else { return };
        // Without headers the call failed, and to ask for its status would be an error.
        let status = if headers == 0 { None } else { host::call_status() };
        let body = match status {
            Some(200) => host::buffer(BufferType::HttpCallResponseBody, body_size),
            _ => Vec::new(),
        };
        if live::with(|live| live.has_call(token)) {
            let body = status.filter(|status| *status == 200).map(|_| body.as_slice());
            live::with(|live| live.on_response(token, body, &ThisVm));
            plugin.refresh();
            return;
        }
        plugin.on_response(
            token,
            status.map_or(Response::Failed, |status| Response::Complete { status, body: &body }),
        );
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        follow_level();
        match self.configure(&host::buffer(BufferType::PluginConfiguration, size)) {
            Ok(()) => true,
            Err(error) => {
                log::error!("pinroute: configuration refused: {error}");
                false
            }
        }
    }

    fn on_tick(&mut self) {
        let now = host::now();
        if now >= self.next_log_level {
            self.next_log_level = now + READ_LOG_LEVEL;
            follow_level();
        }
        if let Some(plugin) = &self.plugin {
            plugin.tick(now);
        }
    }

    fn on_queue_ready(&mut self, queue: u32) {
        if let (REENTER, Some(plugin)) = (queue, &self.plugin) {
            plugin.send();
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        // Envoy sends no request to a plugin that refused its configuration.
        self.plugin.as_ref().map(|plugin| Box::new(Http::new(id, Rc::clone(plugin))) as Box<dyn HttpContext>)
    }
}
