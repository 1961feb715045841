//! Carries out a verdict on the request of the effective context.

use crate::{host, metrics};
use pinroute_core::decision::{Route, Verdict};
use pinroute_core::metrics::Counter;
use pinroute_core::rejection::Rejection;
use pinroute_core::router::Router;
use pinroute_core::target::Target;

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
    let is_set = match &route.host.target {
        None => true,
        Some(Target::Authority(authority)) => host::set_request_header(":authority", authority),
        Some(Target::Header { name, value }) => host::set_request_header(name, value),
        Some(Target::DynamicHost { host, port }) => {
            let set_port = |port: &String| host::set_filter_state("envoy.upstream.dynamic_port", port);
            host::set_filter_state("envoy.upstream.dynamic_host", host) && port.as_ref().is_none_or(set_port)
        }
    };
    for (name, value) in &route.host.headers {
        host::set_request_header(name, value);
    }
    router.unset_headers(route).for_each(|name| host::remove_request_header(name));
    is_set
}
