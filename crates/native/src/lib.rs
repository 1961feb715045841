//! The dynamic module: a second thin adapter between Envoy and the decisions in `pinroute-core`.
//!
//! It does what the Wasm filter does, with the same configuration document. Envoy calls the hooks in `abi::hooks`, which turn
//! pointers into the types of this crate; all unsafe code is in `abi`. `plugin` is one configuration: what its workers share,
//! a slot for each worker's state, and the live values, which `live` gets in the main thread, with `own_runtime` from Envoy's own runtime. `http` receives the events of
//! one request, `request` tells the core about it, and `verdict` carries out what was decided.

mod abi;
mod grpc;
mod http;
mod live;
mod log;
mod metrics;
mod own_runtime;
mod plugin;
mod request;
mod verdict;
