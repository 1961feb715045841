//! The Proxy-Wasm filter: a thin adapter between Envoy and the decisions in `pinroute-core`.
//!
//! Callbacks become events of the core, and its actions become host calls; nothing is decided here. `root` receives the
//! events of one plugin in one worker, `http` those of one request, and `plugin` is what they share. `verdict` carries out
//! what was decided, `live` what live values need, and `host` wraps host calls so that none of them can panic on what a
//! client or a resolver sends.

mod host;
mod http;
mod live;
mod log;
mod metrics;
mod plugin;
mod reenter;
mod root;
mod verdict;

// The macro defines public functions without docstrings.
#[allow(missing_docs)]
mod start {
    use crate::root::Root;
    use proxy_wasm::types::LogLevel;

    proxy_wasm::main! {{
        proxy_wasm::set_log_level(LogLevel::Info);
        proxy_wasm::set_root_context(|id| Box::new(Root::new(id)));
    }}
}
