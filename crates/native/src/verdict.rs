//! Carries out a verdict on a request.

use crate::abi::{Filter, Headers};
use crate::metrics::Metrics;
use pinroute_core::decision::{Route, Verdict};
use pinroute_core::metrics::Counter;
use pinroute_core::rejection::Rejection;
use pinroute_core::router::Router;
use pinroute_core::target::Target;
use std::sync::Arc;

/// Carries out a verdict. Returns whether the request goes on; otherwise it has been answered, and may have ended.
pub fn carry_out(filter: Filter, metrics: &Metrics, router: &Router, verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Route(route) => {
            if !apply(filter, router, route) {
                // To go on would leave the choice of the address to the client.
                log::error!("pinroute: Envoy refused to set the target of a request");
                let rejection = Rejection::TargetNotAllowed;
                reject(filter, metrics, &rejection, rejection.status());
                return false;
            }
        }
        Verdict::Reject(rejection, status) => {
            reject(filter, metrics, rejection, *status);
            return false;
        }
        Verdict::Pass | Verdict::Continue(_) => {
            if remove(filter, router.owned_headers().iter()) {
                filter.clear_route_cache();
            }
        }
    }
    verdict.counters().for_each(|counter| metrics.count(filter, counter));
    true
}

/// Answers the request with an error, under this status.
#[cold]
pub fn reject(filter: Filter, metrics: &Metrics, rejection: &Rejection, status: u16) {
    log::debug!("pinroute: rejected: {}", rejection.body());
    metrics.count(filter, Counter::Rejected(rejection.reason()));
    filter.answer(status, &rejection.body());
}

/// Removes headers. Returns whether there was one.
fn remove<'n>(filter: Filter, names: impl Iterator<Item = &'n Arc<str>>) -> bool {
    let mut was_there = false;
    for name in names.filter(|name| filter.has_header(Headers::Request, name)) {
        filter.remove_header(Headers::Request, name);
        was_there = true;
    }
    was_there
}

/// Sets the headers and the target of a route. Returns whether the target was set.
fn apply(filter: Filter, router: &Router, route: &Route) -> bool {
    log::debug!("pinroute: routed to {route}");
    let set = |name: &str, value: &str| filter.set_header(Headers::Request, name, value);
    let sets_shard = route.shard.is_some() && router.request_headers();
    if sets_shard {
        for (name, value) in route.shard_headers() {
            set(name, value);
        }
    }
    let target_is_header = matches!(route.host.target, Some(Target::Authority(_) | Target::Header { .. }));
    let changed = sets_shard || target_is_header || !route.host.headers.is_empty();
    let is_set = match &route.host.target {
        None => true,
        Some(Target::Authority(authority)) => set(":authority", authority),
        Some(Target::Header { name, value }) => set(name, value),
        Some(Target::DynamicHost { host, port }) => {
            let set = |name, value: &str| filter.set_filter_state(name, value);
            set("envoy.upstream.dynamic_host", host)
                && port.as_ref().is_none_or(|port| set("envoy.upstream.dynamic_port", port))
        }
    };
    for (name, value) in &route.host.headers {
        set(name, value);
    }
    if remove(filter, router.unset_headers(route)) | changed {
        // Under Wasm, Envoy does so by itself.
        filter.clear_route_cache();
    }
    is_set
}
