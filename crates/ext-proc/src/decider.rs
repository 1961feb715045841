//! Decides requests: the core's router, with the state that all of them share.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use pinroute_core::config::Config;
use pinroute_core::decision::{Call, Decision, ReplyVerdict, Route, Verdict};
use pinroute_core::live::values::LiveValues;
use pinroute_core::metrics::Counter;
use pinroute_core::rejection::Rejection;
use pinroute_core::request::{Reply, Request};
use pinroute_core::router::{Resolved, Router, Worker};
use pinroute_core::time::Time;
use tokio::sync::{oneshot, watch};

use crate::metrics::Metrics;
use crate::resolver::{Prepared, Resolver};

/// The only plugin.
const PLUGIN: u32 = 0;

/// A request that waits for a call gets the result of it here.
type Waiting = oneshot::Sender<Arc<Resolved<()>>>;

/// Decides requests. All threads share one worker of the core, so that they share its caches and its calls under way; a
/// decision holds it for microseconds.
#[derive(Debug)]
pub struct Decider {
    router: Arc<Router>,
    worker: Mutex<Worker<Waiting>>,
    live: watch::Receiver<LiveValues>,
    resolver: Option<Resolver>,
    metrics: Arc<Metrics>,
    start: Instant,
    next_token: AtomicU32,
}

/// What is done about a request at once.
enum Step {
    Done(Verdict),
    Wait(oneshot::Receiver<Arc<Resolved<()>>>),
}

impl Decider {
    /// Decides by this configuration. `random` must be drawn at random.
    pub fn new(
        config: Config,
        resolver: Option<Resolver>,
        live: watch::Receiver<LiveValues>,
        metrics: Arc<Metrics>,
        random: [u64; 3],
    ) -> Arc<Self> {
        Arc::new(Self {
            router: Router::new(config, PLUGIN),
            worker: Mutex::new(Worker::new(random)),
            live,
            resolver,
            metrics,
            start: Instant::now(),
            next_token: AtomicU32::new(0),
        })
    }

    /// The configuration.
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The verdict on a request, after a call to the resolver if it needs one. The call belongs to the service and not to
    /// the request: it goes on if this is dropped.
    pub async fn decide(self: &Arc<Self>, request: &impl Request) -> Verdict {
        self.metrics.count(Counter::Requests);
        let verdict = match self.first_step(request) {
            Step::Done(verdict) => verdict,
            Step::Wait(answer) => match answer.await {
                Ok(resolved) => {
                    let live = self.live.borrow().clone();
                    let mut worker = self.worker();
                    let verdict = self.router.on_resolved(&mut worker, &resolved.answer, request, &live);
                    self.metrics.flush(worker.recorder());
                    verdict
                }
                // The call was cut off because the service stops.
                Err(_) => self.router.refuse(Rejection::CalloutFailed),
            },
        };
        self.metrics.decided(&verdict);
        verdict
    }

    /// What is done with the response to a request that was routed.
    pub fn on_reply(&self, route: &Route, reply: &impl Reply) -> ReplyVerdict {
        let mut worker = self.worker();
        let verdict = self.router.on_reply(&mut worker, route, reply);
        self.metrics.flush(worker.recorder());
        verdict
    }

    fn first_step(self: &Arc<Self>, request: &impl Request) -> Step {
        let (live, now) = (self.live.borrow().clone(), self.now());
        let (waiting, answer) = oneshot::channel();
        let mut worker = self.worker();
        let decision = self.router.on_request(&mut worker, request, &live, now, || waiting);
        let step = match decision {
            Decision::Verdict(verdict) => Step::Done(verdict),
            Decision::Wait => Step::Wait(answer),
            Decision::Call(call) => {
                let prepared = self
                    .resolver
                    .as_ref()
                    .and_then(|resolver| Some((resolver.clone(), resolver.prepare(&call, request)?)));
                match prepared {
                    Some((resolver, prepared)) => {
                        self.call(&mut worker, call, resolver, prepared);
                        Step::Wait(answer)
                    }
                    None => Step::Done(self.router.on_refused(&mut worker, call, request, &live, now)),
                }
            }
        };
        self.metrics.flush(worker.recorder());
        step
    }

    fn call(
        self: &Arc<Self>,
        worker: &mut Worker<Waiting>,
        call: Call<Waiting>,
        resolver: Resolver,
        prepared: Prepared,
    ) {
        let token = self.next_token.fetch_add(1, Ordering::Relaxed);
        worker.on_sent(&self.router, call, token);
        let decider = Arc::clone(self);
        tokio::spawn(async move {
            let ended = resolver.send(prepared).await;
            let mut worker = decider.worker();
            let Some(resolved) = worker.on_response(token, ended.response(), decider.now()) else { return };
            let Resolved { router, waiting, answer } = resolved;
            let resolved = Arc::new(Resolved { router, waiting: Vec::new(), answer });
            for waiting in waiting {
                if waiting.send(Arc::clone(&resolved)).is_err() {
                    worker.on_abandoned();
                }
            }
            decider.metrics.flush(worker.recorder());
        });
    }

    fn worker(&self) -> MutexGuard<'_, Worker<Waiting>> {
        self.worker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Time {
        Time::default() + self.start.elapsed()
    }
}
