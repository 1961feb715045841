//! Calls to the resolver that belong to the plugin, not to the request that caused them.
//!
//! The SDK hands the answer to a call to the context that was active when the call was made, and drops it
//! if that context is gone by then. A request goes when its client disconnects, while Envoy keeps the call
//! running; calls made by requests would go uncounted then. So the root context makes them all: to let it
//! become the active one in the middle of a request, it is entered by way of a callback that the SDK exports
//! anyway ([`enter_root`]).

use crate::host;
use crate::policy::Policy;
use fnv::FnvHashMap;
use pinroute_core::random::ByKey;
use pinroute_core::step::Question;
use proxy_wasm::hostcalls;
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::SystemTime;

/// The id that [`enter_root`] uses; real queues count up from 1.
pub const OUTBOX: u32 = u32::MAX;

/// Headers of the request that its call to the resolver carries on, for tracing: Envoy adds no parent span.
const CARRIED_ON: [&str; 4] = ["x-request-id", "traceparent", "tracestate", "b3"];

/// How long nothing is said about refused calls after one line about them, in milliseconds.
const SILENCE: u64 = 1000;

/// How many requests may wait for each question that may be under way.
const WAITERS_PER_QUESTION: usize = 16;

/// A request that waits for an answer.
pub struct Waiter {
    /// The id of its context.
    pub stream: u32,
    /// Dead once the request's context is gone.
    pub alive: Weak<()>,
}

/// A question under way.
pub struct Flight {
    /// By what the answer is judged, whatever configuration has come since.
    pub policy: Rc<Policy>,
    /// The key, where it is needed once the answer is here.
    pub key: Option<Box<[u8]>>,
    /// When the call was made.
    pub since: SystemTime,
    /// Who waits; more than one only where answers are remembered.
    pub waiters: Vec<Waiter>,
}

/// What became of a request to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A call has been made; its answer will come.
    Called,
    /// The same question is under way; its answer will do.
    Joined,
    /// There is no room.
    Overloaded,
    /// Envoy refused the call; no answer will come.
    Refused,
}

struct Outgoing {
    path: String,
    flight: Flight,
}

/// The calls under way, and the one about to be made.
#[derive(Default)]
pub struct Callouts {
    outbox: RefCell<Option<Outgoing>>,
    under_way: RefCell<FnvHashMap<u32, Flight>>,
    by_key: RefCell<ByKey>,
    waiting: Cell<usize>,
    silent_until: Cell<u64>,
}

impl Callouts {
    /// Makes a call on behalf of a request, or has it wait for one that is under way.
    pub fn ask(&self, root: u32, policy: &Rc<Policy>, question: Question, waiter: Waiter) -> Asked {
        let Question { path, key } = question;
        let most = policy.plan().resolve().map_or(0, |resolve| resolve.max_in_flight);
        if self.waiting.get() >= most.saturating_mul(WAITERS_PER_QUESTION) {
            return Asked::Overloaded;
        }
        let shared = key.as_ref().filter(|_| policy.plan().caches()).map(|key| shared_key(policy, key));
        if let Some(shared) = &shared {
            if let Some(token) = self.by_key.borrow().get(shared) {
                if let Some(flight) = self.under_way.borrow_mut().get_mut(&(*token as u32)) {
                    flight.waiters.push(waiter);
                    self.waiting.set(self.waiting.get() + 1);
                    return Asked::Joined;
                }
            }
        }
        let before = self.under_way.borrow().len();
        if before >= most {
            return Asked::Overloaded;
        }
        log::debug!("pinroute: asking {path}");
        let flight = Flight { policy: Rc::clone(policy), key, since: host::now(), waiters: vec![waiter] };
        self.outbox.replace(Some(Outgoing { path, flight }));
        enter_root(root);
        if self.under_way.borrow().len() > before {
            Asked::Called
        } else {
            Asked::Refused
        }
    }

    /// Makes the call that lies in the outbox. The root context is active.
    pub fn send(&self) {
        let Some(Outgoing { path, flight }) = self.outbox.take() else { return };
        let Some(resolve) = flight.policy.plan().resolve() else { return };
        let carried_on = CARRIED_ON.map(|name| (name, host::request_header(name)));
        let mut headers =
            vec![(":method", "GET"), (":path", path.as_str()), (":authority", resolve.cluster.as_str())];
        for (name, value) in &carried_on {
            if let Some(value) = value.as_deref().and_then(|value| std::str::from_utf8(value).ok()) {
                headers.push((name, value));
            }
        }
        match hostcalls::dispatch_http_call(&resolve.cluster, headers, None, vec![], resolve.timeout) {
            Ok(token) => {
                if let Some(key) = flight.key.as_ref().filter(|_| flight.policy.plan().caches()) {
                    self.by_key.borrow_mut().insert(shared_key(&flight.policy, key), token as usize);
                }
                self.waiting.set(self.waiting.get() + flight.waiters.len());
                self.under_way.borrow_mut().insert(token, flight);
            }
            Err(status) => {
                // Under load a full cluster refuses thousands a second; one line a second says as much.
                let now = host::now_millis();
                if now >= self.silent_until.get() {
                    self.silent_until.set(now + SILENCE);
                    log::warn!("pinroute: cannot call the cluster `{}`: {status:?}", resolve.cluster);
                }
            }
        }
    }

    /// The question whose answer has this token.
    pub fn answered(&self, token: u32) -> Option<Flight> {
        let flight = self.under_way.borrow_mut().remove(&token)?;
        self.waiting.set(self.waiting.get().saturating_sub(flight.waiters.len()));
        if let Some(key) = &flight.key {
            self.by_key.borrow_mut().remove(&shared_key(&flight.policy, key));
        }
        Some(flight)
    }
}

/// A key, and whose it is: policies do not share answers.
fn shared_key(policy: &Rc<Policy>, key: &[u8]) -> Box<[u8]> {
    let address = Rc::as_ptr(policy) as usize;
    [&address.to_ne_bytes(), key].concat().into()
}

/// Runs the root context's `on_queue_ready` with [`OUTBOX`].
#[allow(unsafe_code)]
fn enter_root(root: u32) {
    extern "C" {
        fn proxy_on_queue_ready(context_id: u32, queue_id: u32);
    }
    // SAFETY: the SDK defines this function with just this signature, in this module. It borrows the table
    // of root contexts, which no callback of a request holds.
    unsafe { proxy_on_queue_ready(root, OUTBOX) }
}
