//! A configuration: what all workers share, a slot for the state of each worker, and the live values.

use crate::abi::{self, Config, Filter};
use crate::live::{Live, StreamEvent};
use crate::metrics::Metrics;
use crate::request::{CurrentRequest, Holds};
use pinroute_core::config::{self, Config as Validated, PluginConfig};
use pinroute_core::live::values::LiveValues;
use pinroute_core::rejection::Rejection;
use pinroute_core::router::{Router, Worker};
use pinroute_core::routes::RouteRouters;
use pinroute_core::time::Time;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How long no further refused calls are logged after one was.
const SILENCE: Duration = Duration::from_secs(1);

/// How many routes' own configurations exist.
static ROUTE_CONFIGS: AtomicUsize = AtomicUsize::new(0);

/// A configuration.
pub struct Plugin {
    slots: Vec<Arc<Slot>>,
    live: Option<Live>,
}

/// What all workers share.
pub struct Shared {
    /// Decides all requests but those of routes with a configuration of their own.
    pub router: Arc<Router>,
    /// The metrics.
    pub metrics: Metrics,
    /// The live values, from the main thread.
    pub live: Published,
}

/// One worker's part of a configuration. It goes with the configuration. Only its worker ever locks it, so the lock is always
/// free; it is what lets the compiler check that.
pub struct Slot {
    /// What all workers share.
    pub shared: Arc<Shared>,
    state: Mutex<State>,
}

/// What one worker remembers.
pub struct State {
    /// The core's state. A request that waits is identified by its number.
    pub worker: Worker<u64>,
    /// The live values as of the last request.
    pub live: Arc<LiveValues>,
    /// Requests that wait for a call.
    pub waiting: HashMap<u64, Waiting>,
    /// How requests that waited were routed, if their responses matter.
    pub sent: HashMap<u64, crate::http::Sent>,
    /// Calls in flight.
    pub calls: HashMap<u32, Outgoing>,
    routes: HashMap<u64, (Weak<RouteConfig>, Arc<Router>)>,
    in_metadata: Option<(String, RouteRouters)>,
    live_version: u64,
    next_number: u64,
    next_token: u32,
    silent_until: Time,
}

/// A request that waits for a call.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    /// Envoy's side of it.
    pub filter: Filter,
    /// The call that was made in its name.
    pub leads: Option<u32>,
}

/// A call in flight: all that is needed to make it again if the request is gone that made it.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The router that wants it.
    pub router: Arc<Router>,
    /// The cluster.
    pub cluster: String,
    /// The method.
    pub method: &'static str,
    /// The path with its query.
    pub path: String,
    /// The `:authority`.
    pub authority: String,
    /// More headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body; empty if there is none.
    pub body: Vec<u8>,
    /// When the response has to be complete.
    pub deadline: Time,
}

impl Plugin {
    /// Reads a configuration. Runs in the main thread.
    ///
    /// # Errors
    /// If it is invalid, or asks for what a module cannot do.
    pub fn new(envoy: Config, bytes: &[u8]) -> Result<Self, String> {
        let config = config::parse(bytes).map_err(|error| error.to_string())?;
        let PluginConfig { config, runtime, membership, per_route } = config;
        log::info!("pinroute {}: configuration loaded: {config}", env!("CARGO_PKG_VERSION"));
        if per_route.is_some() {
            log::warn!(
                "pinroute: per_route: Envoy shows a dynamic module the metadata of routes only, and not of virtual hosts"
            );
        }
        let live = Live::new(runtime.as_ref(), membership.as_ref(), random()?)?;
        let sources = live.as_ref().map(Live::gauge_sources).unwrap_or_default();
        let metrics = Metrics::new(envoy, &sources);
        let shared = Arc::new(Shared { router: Router::new(config, 0), metrics, live: Published::default() });
        let slot = || {
            let state = Mutex::new(State::new(random()?, per_route.clone()));
            Ok(Arc::new(Slot { shared: Arc::clone(&shared), state }))
        };
        let slots = (0..abi::workers().max(1)).map(|_| slot()).collect::<Result<_, String>>()?;
        if let Some(live) = &live {
            shared.live.set(live.values());
            live.start(envoy.waker())?;
        }
        Ok(Self { slots, live })
    }

    /// The slot of a worker.
    pub fn slot(&self, worker: usize) -> Option<Arc<Slot>> {
        self.slots.get(worker).map(Arc::clone)
    }

    fn live(&self) -> Option<(&Live, &Shared)> {
        self.live.as_ref().zip(self.slots.first().map(|slot| &*slot.shared))
    }

    /// The main thread was woken.
    pub fn on_tick(&self, envoy: Config) {
        if let Some((live, shared)) = self.live() {
            live.on_tick(envoy, now(), shared);
        }
    }

    /// A call of the main thread has ended; without a body if it failed.
    pub fn on_called(&self, envoy: Config, id: u64, body: Option<&[u8]>) {
        if let Some((live, shared)) = self.live() {
            live.on_called(envoy, id, body, shared);
        }
    }

    /// Something happened on a stream of the main thread.
    pub fn on_stream(&self, envoy: Config, id: u64, event: StreamEvent<'_>) {
        if let Some((live, shared)) = self.live() {
            live.on_stream(envoy, id, event, now(), shared);
        }
    }
}

/// Numbers that nobody can guess.
fn random<const COUNT: usize>() -> Result<[u64; COUNT], String> {
    let mut numbers = [0; COUNT];
    for number in &mut numbers {
        *number = getrandom::u64().map_err(|_| "the system has no random numbers")?;
    }
    Ok(numbers)
}

/// The time since this module first asked.
pub fn now() -> Time {
    static START: OnceLock<Instant> = OnceLock::new();
    Time::default() + START.get_or_init(Instant::now).elapsed()
}

impl Slot {
    /// The state. It must not be kept while Envoy runs what may call a hook: answers, calls, and requests that go on.
    pub fn state(&self) -> MutexGuard<'_, State> {
        // After a panic in the middle of a decision the caches may lack an entry, which does no harm.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn new([first, second, seed, third, fourth]: [u64; 5], per_route: Option<String>) -> Self {
        Self {
            worker: Worker::new([first, second, seed]),
            live: Arc::default(),
            waiting: HashMap::new(),
            sent: HashMap::new(),
            calls: HashMap::new(),
            routes: HashMap::new(),
            in_metadata: per_route
                .map(|namespace| (namespace.clone(), RouteRouters::new(namespace, [third, fourth]))),
            live_version: 0,
            next_number: 0,
            next_token: 0,
            silent_until: Time::default(),
        }
    }

    /// Takes the live values as they are now.
    pub fn refresh(&mut self, shared: &Shared, filter: Filter) {
        if let Some((version, live)) = shared.live.newer(self.live_version) {
            (self.live_version, self.live) = (version, live);
            shared.metrics.flush_later(filter);
        }
    }

    /// The number of a request that may have to wait.
    pub fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// A token for a call.
    pub fn token(&mut self) -> u32 {
        self.next_token = self.next_token.wrapping_add(1);
        self.next_token
    }

    /// Whether a refused call should be logged: under load a cluster may refuse thousands of calls a second.
    pub fn may_log(&mut self) -> bool {
        let now = now();
        let may = now >= self.silent_until;
        if may {
            self.silent_until = now + SILENCE;
        }
        may
    }

    /// The router of a request: its route's own, or the plugin's.
    ///
    /// # Errors
    /// If the route's own configuration is invalid.
    pub fn router(&mut self, filter: Filter, shared: &Shared) -> Result<Arc<Router>, Rejection> {
        if ROUTE_CONFIGS.load(Ordering::Relaxed) > 0
            && let Some(config) = filter.route_config()
        {
            return Ok(self.router_of(&config, shared));
        }
        if let Some((namespace, routers)) = &mut self.in_metadata {
            let request = CurrentRequest { filter, namespace: Some(namespace), holds: Holds::Config };
            match routers.router(&request, &shared.router) {
                Ok(Some(router)) => return Ok(router),
                // What runtime disables is not judged by a route's mistake.
                Err(invalid) if self.live.enabled() => return Err(invalid.into()),
                Ok(None) | Err(_) => {}
            }
        }
        Ok(Arc::clone(&shared.router))
    }

    fn router_of(&mut self, config: &Arc<RouteConfig>, shared: &Shared) -> Arc<Router> {
        if let Some((_, router)) = self.routes.get(&config.number) {
            return Arc::clone(router);
        }
        // Routes come and go while the plugin stays.
        self.routes.retain(|_, (config, _)| config.strong_count() > 0);
        let router = Router::of_route(config.config.clone(), &shared.router);
        self.routes.insert(config.number, (Arc::downgrade(config), Arc::clone(&router)));
        router
    }
}

/// The configuration of a route, as Envoy's own per-route message carries it.
pub struct RouteConfig {
    number: u64,
    config: Validated,
}

impl RouteConfig {
    /// Reads a configuration. Runs in the main thread.
    ///
    /// # Errors
    /// If it is invalid.
    pub fn new(bytes: &[u8]) -> Result<Self, String> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let config = config::parse_route_text(bytes).map_err(|error| error.to_string())?;
        log::info!("pinroute: configuration of a route loaded: {config}");
        ROUTE_CONFIGS.fetch_add(1, Ordering::Relaxed);
        Ok(Self { number: NEXT.fetch_add(1, Ordering::Relaxed), config })
    }
}

impl Drop for RouteConfig {
    fn drop(&mut self) {
        ROUTE_CONFIGS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The live values, as the main thread hands them to the workers. A worker that has the newest ones takes no lock.
#[derive(Default)]
pub struct Published {
    version: AtomicU64,
    values: Mutex<Arc<LiveValues>>,
}

impl Published {
    /// Hands over new values.
    pub fn set(&self, values: LiveValues) {
        *self.values.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(values);
        self.version.fetch_add(1, Ordering::Release);
    }

    fn newer(&self, than: u64) -> Option<(u64, Arc<LiveValues>)> {
        // The values are at least as new as the version: at worst they are taken twice.
        let version = self.version.load(Ordering::Acquire);
        let values = || Arc::clone(&self.values.lock().unwrap_or_else(PoisonError::into_inner));
        (version != than).then(|| (version, values()))
    }
}

/// The request of a router.
pub fn request_of(filter: Filter, router: &Router) -> CurrentRequest<'_> {
    CurrentRequest { filter, namespace: router.metadata(), holds: Holds::Numbers }
}
