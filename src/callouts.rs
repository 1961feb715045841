//! Calls to the resolver that belong to the plugin, not to the request that caused them.
//!
//! The SDK hands the answer to a call to the context that was active when the call was made, and drops it
//! if that context is gone by then. A request goes when its client disconnects, while Envoy keeps the call
//! running; calls made by requests would go uncounted then. So the root context makes them all: to let it
//! become the active one in the middle of a request, it is entered by way of a callback that the SDK exports
//! anyway ([`enter_root`]).

use crate::host;
use crate::policy::Policy;
use fnv::FnvHasher;
use pinroute_core::keys::{Keyed, Seats, Slot};
use pinroute_core::step::Question;
use proxy_wasm::hostcalls;
use std::cell::{Cell, RefCell};
use std::hash::Hasher;
use std::rc::{Rc, Weak};
use std::time::SystemTime;

/// The id that [`enter_root`] uses; real queues count up from 1.
pub const OUTBOX: u32 = u32::MAX;

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
    /// Who asked.
    first: Waiter,
    /// Who waits beside; there are some only where answers are remembered.
    others: Vec<Waiter>,
}

impl Flight {
    /// All who wait.
    pub fn waiters(&self) -> impl Iterator<Item = &Waiter> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

/// What became of a request to ask.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    /// A call has been made; its answer will come.
    Called,
    /// The same question is under way; its answer will do.
    Joined,
    /// There is no room. The question's key comes back.
    Overloaded(Option<Box<[u8]>>),
    /// Envoy refused the call; no answer will come. The question's key comes back.
    Refused(Option<Box<[u8]>>),
}

/// The calls under way whose answers will be remembered, by their keys.
#[derive(Default)]
pub struct InFlight {
    keyed: Keyed,
    tokens: Seats<u32>,
}

impl InFlight {
    fn token(&self, key: &[u8]) -> Option<u32> {
        self.tokens.get(self.keyed.hash(key), key).copied()
    }

    fn add(&mut self, key: &[u8], token: u32) {
        self.tokens.insert(Slot::new(self.keyed.hash(key), key), token);
    }

    fn remove(&mut self, key: &[u8]) {
        self.tokens.remove(self.keyed.hash(key), key);
    }
}

struct Outgoing {
    path: String,
    flight: Flight,
}

/// Questions by the tokens of their calls, in the kind of table that is there anyway: the code of another one
/// would be a hundredth of the module.
#[derive(Default)]
struct Flights(Seats<Flight>);

impl Flights {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn get_mut(&mut self, token: u32) -> Option<&mut Flight> {
        self.0.get_mut(hash(token), &token.to_ne_bytes())
    }

    fn insert(&mut self, token: u32, flight: Flight) {
        self.0.insert(Slot::new(hash(token), &token.to_ne_bytes()), flight);
    }

    fn remove(&mut self, token: u32) -> Option<Flight> {
        self.0.remove(hash(token), &token.to_ne_bytes()).map(|(_, flight)| flight)
    }
}

/// Envoy chooses tokens, so no client can make them collide.
fn hash(token: u32) -> u64 {
    let mut hasher = FnvHasher::default();
    hasher.write_u32(token);
    hasher.finish()
}

/// The calls under way, and the one about to be made.
#[derive(Default)]
pub struct Callouts {
    outbox: RefCell<Option<Outgoing>>,
    under_way: RefCell<Flights>,
    waiting: Cell<usize>,
    silent_until: Cell<u64>,
}

impl Callouts {
    /// Makes a call on behalf of a request, or has it wait for one that is under way.
    pub fn ask(&self, root: u32, policy: &Rc<Policy>, question: Question, waiter: Waiter) -> Asked {
        let Question { path, key } = question;
        let most = policy.plan().resolve().map_or(0, |resolve| resolve.max_in_flight);
        if self.waiting.get() >= most.saturating_mul(WAITERS_PER_QUESTION) {
            return Asked::Overloaded(key);
        }
        if let (Some(key), Some(in_flight)) = (&key, policy.in_flight()) {
            if let Some(token) = in_flight.borrow().token(key) {
                if let Some(flight) = self.under_way.borrow_mut().get_mut(token) {
                    flight.others.push(waiter);
                    self.waiting.set(self.waiting.get() + 1);
                    return Asked::Joined;
                }
            }
        }
        if self.under_way.borrow().len() >= most {
            return Asked::Overloaded(key);
        }
        log::debug!("pinroute: asking {path}");
        let policy = Rc::clone(policy);
        let flight = Flight { policy, key, since: host::now(), first: waiter, others: Vec::new() };
        self.outbox.replace(Some(Outgoing { path, flight }));
        enter_root(root);
        match self.outbox.take() {
            None => Asked::Called,
            Some(outgoing) => Asked::Refused(outgoing.flight.key),
        }
    }

    /// Makes the call that lies in the outbox; it stays there if Envoy refuses it. The root context is active.
    pub fn send(&self) {
        let Some(outgoing) = self.outbox.take() else { return };
        let Some(resolve) = outgoing.flight.policy.plan().resolve() else {
            self.outbox.replace(Some(outgoing));
            return;
        };
        let tracing = Tracing::of_request();
        let mut headers = Vec::with_capacity(7);
        headers.push((":method", "GET"));
        headers.push((":path", outgoing.path.as_str()));
        headers.push((":authority", resolve.cluster.as_str()));
        tracing.add_to(&mut headers);
        match hostcalls::dispatch_http_call(&resolve.cluster, headers, None, vec![], resolve.timeout) {
            Ok(token) => {
                let flight = outgoing.flight;
                if let (Some(key), Some(in_flight)) = (&flight.key, flight.policy.in_flight()) {
                    in_flight.borrow_mut().add(key, token);
                }
                self.waiting.set(self.waiting.get() + 1);
                self.under_way.borrow_mut().insert(token, flight);
            }
            Err(status) => {
                // Under load a full cluster refuses thousands a second; one line a second says as much.
                let now = host::now_millis();
                if now >= self.silent_until.get() {
                    self.silent_until.set(now + SILENCE);
                    log::warn!("pinroute: cannot call the cluster `{}`: {status:?}", resolve.cluster);
                }
                self.outbox.replace(Some(outgoing));
            }
        }
    }

    /// The question whose answer has this token.
    pub fn answered(&self, token: u32) -> Option<Flight> {
        let flight = self.under_way.borrow_mut().remove(token)?;
        self.waiting.set(self.waiting.get().saturating_sub(1 + flight.others.len()));
        if let (Some(key), Some(in_flight)) = (&flight.key, flight.policy.in_flight()) {
            in_flight.borrow_mut().remove(key);
        }
        Some(flight)
    }
}

/// Headers of the request at hand that its call to the resolver carries on, for tracing: Envoy adds no parent
/// span.
struct Tracing([(&'static str, Option<Vec<u8>>); 4]);

impl Tracing {
    fn of_request() -> Self {
        let read = |name| (name, host::request_header(name));
        let parent = read("traceparent");
        // Without a parent it means nothing (W3C Trace Context), so most requests need not be asked for it.
        let state = ("tracestate", parent.1.as_ref().and_then(|_| host::request_header("tracestate")));
        Self([read("x-request-id"), parent, state, read("b3")])
    }

    fn add_to<'t>(&'t self, headers: &mut Vec<(&'t str, &'t str)>) {
        for (name, value) in &self.0 {
            if let Some(value) = value.as_deref().and_then(|value| std::str::from_utf8(value).ok()) {
                headers.push((name, value));
            }
        }
    }
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
