//! Carries out a verdict on the request of the effective context.

use crate::{host, metrics};
use pinroute_core::decision::{Route, SHARD_HEADERS, Verdict};
use pinroute_core::metrics::Counter;
use pinroute_core::rejection::Rejection;
use pinroute_core::router::Router;
use pinroute_core::target::Target;
use std::sync::Arc;

/// Carries out a verdict on the request of the effective context. Returns whether the request goes on; otherwise it
/// has been answered.
pub fn carry_out(router: &Router, verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Route(route) => {
            if !apply(router, route) {
                // To go on would leave the choice of the address to the client.
                log::error!("pinroute: Envoy refused to set the target of a request");
                let rejection = Rejection::TargetNotAllowed;
                reject(&rejection, rejection.status());
                return false;
            }
        }
        Verdict::Reject(rejection, status) => {
            reject(rejection, *status);
            return false;
        }
        Verdict::Pass | Verdict::Continue(_) => {
            router.owned_headers().iter().for_each(|name| host::remove_request_header(name))
        }
    }
    verdict.counters().for_each(metrics::count);
    true
}

/// Answers the request with an error, under this status.
#[cold]
pub fn reject(rejection: &Rejection, status: u16) {
    log::debug!("pinroute: rejected: {}", rejection.body());
    metrics::count(Counter::Rejected(rejection.reason()));
    host::answer(status, &rejection.body());
}

/// Sets the headers and the target of a route. Returns whether the target was set.
fn apply(router: &Router, route: &Route) -> bool {
    log::debug!("pinroute: routed to {route}");
    if router.request_headers() {
        for (name, value) in route.shard_headers() {
            host::set_request_header(name, value);
        }
    }
    let mut target_header: Option<&Arc<str>> = None;
    let is_set = match &route.host.target {
        None => true,
        Some(Target::Authority(authority)) => host::set_request_header(":authority", authority),
        Some(Target::Header { name, value }) => {
            target_header = Some(name);
            host::set_request_header(name, value)
        }
        Some(Target::DynamicHost { host, port }) => {
            let set_port = |port: &String| host::set_filter_state("envoy.upstream.dynamic_port", port);
            host::set_filter_state("envoy.upstream.dynamic_host", host) && port.as_ref().is_none_or(set_port)
        }
    };
    for (name, value) in &route.host.headers {
        host::set_request_header(name, value);
    }
    // The owned headers that this route does not set.
    for name in router.owned_headers() {
        let is_shard_header =
            route.shard.is_some() && router.request_headers() && SHARD_HEADERS.contains(&&**name);
        let is_from_answer = route.host.headers.iter().any(|(set, _)| set == name);
        if !is_shard_header && !is_from_answer && target_header != Some(name) {
            host::remove_request_header(name);
        }
    }
    is_set
}
