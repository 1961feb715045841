//! What the requests of a plugin share: its router, the state of this worker, and the live values.

use crate::host::{self, CurrentRequest, ThisVm};
use crate::verdict::carry_out;
use crate::{live, metrics};
use pinroute_core::config::PluginConfig;
use pinroute_core::decision::{Call, Route, Verdict};
use pinroute_core::live::action::SubscriptionId;
use pinroute_core::live::value::Number;
use pinroute_core::live::values::LiveValues;
use pinroute_core::rejection::Rejection;
use pinroute_core::response::Response;
use pinroute_core::router::{Router, Worker};
use pinroute_core::routes::RouteRouters;
use pinroute_core::time::Time;
use proxy_wasm::hostcalls;
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

/// How long no further refused calls are logged after one was.
const SILENCE: Duration = Duration::from_secs(1);

thread_local! {
    // A VM has one thread, and the plugins of a VM share its memory.
    static WORKER: OnceCell<Rc<RefCell<Worker<Waiting>>>> = const { OnceCell::new() };
}

/// How a request was routed, if its response matters. The request and the call that it waits for share it.
pub type Sent = OnceCell<(Arc<Router>, Route)>;

/// A request that waits for a call.
pub struct Waiting {
    /// The id of its context.
    pub context: u32,
    /// Goes with its context: a client may leave.
    sent: Weak<Sent>,
}

impl Waiting {
    /// A request that waits as long as `sent` exists.
    pub fn new(context: u32, sent: &Rc<Sent>) -> Self {
        Self { context, sent: Rc::downgrade(sent) }
    }
}

/// How a request is routed, if its response matters.
pub fn sent(router: &Arc<Router>, verdict: &Verdict) -> Option<(Arc<Router>, Route)> {
    match verdict {
        Verdict::Route(route) if router.needs_reply() => Some((Arc::clone(router), route.clone())),
        _ => None,
    }
}

/// What the requests of a plugin share.
pub struct Plugin {
    /// The id of the root context.
    pub root: u32,
    /// The state of this worker, which its plugins share.
    pub worker: Rc<RefCell<Worker<Waiting>>>,
    /// The live values as of the last tick or message.
    pub live: RefCell<LiveValues>,
    /// The call that is to be made when the root context is entered.
    pub outbox: RefCell<Option<(Arc<Router>, Call<Waiting>)>>,
    router: Arc<Router>,
    routes: Option<RefCell<RouteRouters>>,
    runtime: Option<SubscriptionId>,
    membership: Option<SubscriptionId>,
    clock: Cell<Time>,
    silent_until: Cell<Time>,
}

impl Plugin {
    /// A plugin with this configuration.
    pub fn new(root: u32, config: PluginConfig, random: [u64; 6]) -> Self {
        let [first, second, seed, third, fourth, subscriptions] = random;
        live::create(subscriptions);
        let PluginConfig { config, per_route, runtime, membership } = config;
        let worker = || Rc::new(RefCell::new(Worker::new([first, second, seed])));
        let plugin = Self {
            root,
            worker: WORKER.with(|shared| Rc::clone(shared.get_or_init(worker))),
            live: RefCell::default(),
            outbox: RefCell::default(),
            router: Router::new(config, root),
            routes: per_route.map(|namespace| RefCell::new(RouteRouters::new(namespace, [third, fourth]))),
            runtime: runtime.and_then(|config| live::with(|live| live.join_runtime(&config, &ThisVm))),
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
            self.routes.as_ref().map(|routes| routes.borrow_mut().router(&CurrentRequest, &self.router));
        let of_route = match of_route.transpose() {
            Ok(router) => router.flatten(),
            // What runtime disables is not judged by a route's mistake.
            Err(_) if !self.live.borrow().enabled() => None,
            Err(invalid) => return Err(invalid.into()),
        };
        Ok(of_route.unwrap_or_else(|| Arc::clone(&self.router)))
    }

    /// The time as of the last tick: to ask the host for each request would cost more than the cache's look-up.
    pub fn now(&self) -> Time {
        self.clock.get()
    }

    /// Whether decisions depend on the time or on live values.
    pub fn needs_ticks(&self) -> bool {
        self.router.uses_clock() || self.routes.is_some() || self.subscriptions().next().is_some()
    }

    fn subscriptions(&self) -> impl Iterator<Item = SubscriptionId> + use<> {
        self.runtime.into_iter().chain(self.membership)
    }

    /// Takes the live values as they are now.
    pub fn refresh(&self) {
        let snapshot = |id: Option<SubscriptionId>| id.map(|id| live::with(|live| live.snapshot(id)));
        let cluster = snapshot(self.membership);
        let membership = cluster.as_ref().and_then(|cluster| cluster.number(Number::TotalHosts));
        let endpoints = cluster.as_ref().and_then(|cluster| cluster.endpoints().cloned());
        self.live.replace(LiveValues { runtime: snapshot(self.runtime), membership, endpoints });
    }

    /// A tick of the root context.
    pub fn tick(&self, now: Time) {
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
    pub fn leave(&self) {
        for id in self.subscriptions() {
            let action = live::with(|live| live.leave(id, self.root, &ThisVm));
            action.into_iter().for_each(live::carry_out);
        }
    }

    /// Makes the call in the outbox, which stays there if Envoy refuses it. The root context is the active one; the
    /// effective one is that of the request.
    pub fn send(&self) {
        let Some((router, call)) = self.outbox.take() else { return };
        match host::call_resolver(&call) {
            Some(token) => self.worker.borrow_mut().on_sent(&router, call, token),
            None => {
                // Under load a cluster may refuse thousands of calls a second.
                let now = host::now();
                if now >= self.silent_until.replace(now + SILENCE) {
                    log::warn!("pinroute: cannot call the cluster `{}`", call.cluster);
                }
                self.outbox.replace(Some((router, call)));
            }
        }
    }

    /// The response to a resolver call: carries out the verdict on each request that waits.
    pub fn on_response(&self, token: u32, response: Response<'_>) {
        let resolved = self.worker.borrow_mut().on_response(token, response, self.now());
        let Some(resolved) = resolved else { return };
        for waiting in &resolved.waiting {
            let Some(cell) = waiting.sent.upgrade() else {
                self.worker.borrow_mut().on_abandoned();
                continue;
            };
            if hostcalls::set_effective_context(waiting.context).is_ok() {
                let verdict = {
                    let (mut worker, live) = (self.worker.borrow_mut(), self.live.borrow());
                    resolved.router.on_resolved(&mut worker, &resolved.answer, &CurrentRequest, &live)
                };
                let _ = sent(&resolved.router, &verdict).map(|sent| cell.set(sent));
                if carry_out(&resolved.router, &verdict) {
                    let _ = hostcalls::resume_http_request();
                }
            }
        }
        metrics::flush(self.worker.borrow_mut().recorder());
    }
}
