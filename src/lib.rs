//! The Proxy-Wasm filter: a thin adapter between Envoy and the decisions in `pinroute-core`.
//!
//! [`root`] loads configurations and owns the calls to the resolver, [`http`] is one request, [`host`]
//! wraps the host calls so that none of them can panic on what a client sent, [`policy`] holds what requests
//! are decided by, [`live`] fetches values that change meanwhile, and [`metrics`] counts. `runtime` is what the module
//! brings along in place of parts of the standard library.

mod callouts;
mod host;
mod http;
mod live;
mod metadata;
mod metrics;
mod policy;
mod root;
#[cfg(target_arch = "wasm32")]
mod runtime;
mod shared;

// The macro makes public functions of its own, without docstrings.
#[allow(missing_docs)]
mod start {
    use crate::root::Root;
    use proxy_wasm::types::LogLevel;

    proxy_wasm::main! {{
        proxy_wasm::set_log_level(LogLevel::Info);
        proxy_wasm::set_root_context(|id| Box::new(Root::new(id)));
    }}
}
