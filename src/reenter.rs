//! Enters the root context in the middle of a request.
//!
//! The SDK hands the response to a call to the context that was active when the call was made, and drops it if that
//! context is gone by then. A request is gone when its client disconnects, while Envoy keeps the call running, and
//! other requests may wait for the same response. So all calls are made by the root context. To make it the active one
//! during a request, it is entered by a callback that the SDK exports in any case.

/// The queue that stands for such an entry. Envoy's queues count up from 1.
pub const REENTER: u32 = u32::MAX;

/// Runs `on_queue_ready` of a root context with [`REENTER`].
#[allow(unsafe_code)]
pub fn enter_root(root: u32) {
    unsafe extern "C" {
        fn proxy_on_queue_ready(context_id: u32, queue_id: u32);
    }
    // SAFETY: the SDK defines this function with this signature in the same module. It borrows the table of root
    // contexts, which no callback of a request holds.
    unsafe { proxy_on_queue_ready(root, REENTER) }
}
