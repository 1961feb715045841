//! The live values of this VM, and what has to be done to get them.

use crate::host;
use crate::metrics;
use pinroute_core::live::action::Action;
use pinroute_core::live::subscriptions::Subscriptions;
use proxy_wasm::hostcalls;
use std::cell::RefCell;

thread_local! {
    // A VM has one thread, and the plugins of a VM share subscriptions.
    static SUBSCRIPTIONS: RefCell<Option<Subscriptions>> = const { RefCell::new(None) };
}

/// Creates the VM's subscriptions if they do not exist. `seed` is drawn at random.
pub fn create(seed: u64) {
    SUBSCRIPTIONS.with_borrow_mut(|subscriptions| {
        subscriptions.get_or_insert_with(|| Subscriptions::new(seed));
    });
}

/// Lets the subscriptions handle an event and shows what they recorded. Must not be nested.
pub fn with<T: Default>(handle: impl FnOnce(&mut Subscriptions) -> T) -> T {
    SUBSCRIPTIONS.with_borrow_mut(|subscriptions| {
        subscriptions.as_mut().map_or_else(T::default, |subscriptions| {
            let result = handle(subscriptions);
            metrics::flush(subscriptions.recorder());
            result
        })
    })
}

/// Carries out an action in the name of the active root context.
pub fn carry_out(action: Action) {
    match action {
        Action::OpenStream { id, service, name, method, first } => {
            let token = open_stream(service, name, method, &first);
            with(|subscriptions| subscriptions.on_started(id, token));
        }
        Action::Get { id, cluster, authority, path, timeout } => {
            let token = host::get(&cluster, &authority, &path, timeout);
            with(|subscriptions| subscriptions.on_started(id, token));
        }
        Action::Send { token, message } => {
            let _ = hostcalls::send_grpc_stream_message(token, Some(&message), false);
        }
        Action::Cancel { token } => {
            let _ = hostcalls::cancel_grpc_stream(token);
        }
    }
}

/// Opens a stream and sends the first message. Returns the token.
fn open_stream(service: Vec<u8>, name: &str, method: &str, first: &[u8]) -> Option<u32> {
    // The SDK wants text. The bytes are text because the cluster's name is, and lengths below 128 are.
    let service = String::from_utf8(service).ok()?;
    let token = hostcalls::open_grpc_stream(&service, name, method, vec![]).ok()?;
    if hostcalls::send_grpc_stream_message(token, Some(first), false).is_err() {
        let _ = hostcalls::cancel_grpc_stream(token);
        return None;
    }
    Some(token)
}
