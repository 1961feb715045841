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

/// A request that waits for an answer.
pub struct Waiting {
    /// The id of its context.
    pub stream: u32,
    /// By what its answer is judged, whatever configuration has come since.
    pub policy: Rc<Policy>,
    /// Its key, if a fallback may need it.
    pub key: Option<Box<[u8]>>,
    /// When the call was made.
    pub since: SystemTime,
    /// Dead once the request's context is gone.
    pub alive: Weak<()>,
}

struct Outgoing {
    path: String,
    waiting: Waiting,
}

/// The calls under way, and the one about to be made.
#[derive(Default)]
pub struct Callouts {
    outbox: RefCell<Option<Outgoing>>,
    under_way: RefCell<FnvHashMap<u32, Waiting>>,
    silent_until: Cell<u64>,
}

impl Callouts {
    /// How many calls are under way.
    pub fn count(&self) -> usize {
        self.under_way.borrow().len()
    }

    /// Makes a call on behalf of a request. Whether Envoy took it; if not, no answer will come.
    pub fn ask(&self, root: u32, path: String, waiting: Waiting) -> bool {
        let before = self.count();
        self.outbox.replace(Some(Outgoing { path, waiting }));
        enter_root(root);
        self.count() > before
    }

    /// Makes the call that lies in the outbox. The root context is active.
    pub fn send(&self) {
        let Some(Outgoing { path, waiting }) = self.outbox.take() else { return };
        let Some(resolve) = waiting.policy.plan().resolve() else { return };
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
                self.under_way.borrow_mut().insert(token, waiting);
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

    /// The request that waits for the answer with this token.
    pub fn answered(&self, token: u32) -> Option<Waiting> {
        self.under_way.borrow_mut().remove(&token)
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
