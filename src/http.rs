//! One request.

use crate::host::{self, CurrentRequest};
use crate::metrics;
use crate::reenter::enter_root;
use crate::root::Plugin;
use pinroute_core::decision::{Call, Decision, Route, SHARD_HEADERS, Verdict};
use pinroute_core::metrics::Counter;
use pinroute_core::rejection::Rejection;
use pinroute_core::router::Router;
use pinroute_core::target::Target;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use std::rc::{Rc, Weak};
use std::sync::Arc;

/// A request, from its headers to its end.
pub struct Http {
    id: u32,
    plugin: Rc<Plugin>,
    /// Lives as long as this request, if it waits for a call.
    alive: Option<Rc<()>>,
    /// The route that the response shows.
    shown: Option<Route>,
}

/// A request that waits for a call.
pub struct Waiting {
    /// The id of its context.
    pub context: u32,
    alive: Weak<()>,
}

impl Waiting {
    /// Whether its context still exists. A client may have left.
    pub fn is_alive(&self) -> bool {
        self.alive.strong_count() > 0
    }
}

impl Http {
    /// A request that has just come in.
    pub fn new(id: u32, plugin: Rc<Plugin>) -> Self {
        Self { id, plugin, alive: None, shown: None }
    }

    /// Makes a call to the resolver. Returns the verdict if it could not be made.
    fn call(&self, router: &Router, call: Call<Waiting>) -> Option<Verdict> {
        log::debug!("pinroute: calling {}{}", call.cluster, call.path);
        self.plugin.outbox.replace(Some(call));
        enter_root(self.plugin.root);
        let refused = self.plugin.outbox.take()?;
        let mut worker = self.plugin.worker.borrow_mut();
        let live = self.plugin.live.borrow();
        Some(router.on_refused(&mut worker, refused, &CurrentRequest, &live, self.plugin.now()))
    }
}

impl Context for Http {}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        metrics::count(Counter::Requests);
        #[cfg(feature = "provoke-trap")]
        if host::request_header("x-provoke-trap").is_some() {
            std::process::abort();
        }
        let router = match self.plugin.router() {
            Ok(router) => router,
            Err(rejection) => {
                reject(&rejection);
                return Action::Pause;
            }
        };
        let plugin = Rc::clone(&self.plugin);
        let decision = {
            let (mut worker, live) = (plugin.worker.borrow_mut(), plugin.live.borrow());
            router.on_request(&mut worker, &CurrentRequest, &live, plugin.now(), || {
                let alive = Rc::downgrade(self.alive.insert(Rc::new(())));
                Waiting { context: self.id, alive }
            })
        };
        let verdict = match decision {
            Decision::Verdict(verdict) => Some(verdict),
            Decision::Call(call) => self.call(&router, call),
            Decision::Wait => None,
        };
        metrics::flush(plugin.worker.borrow_mut().recorder());
        let Some(verdict) = verdict else { return Action::Pause };
        if let (Verdict::Route(route), true) = (&verdict, router.response_headers()) {
            self.shown = Some(route.clone());
        }
        if carry_out(&router, &verdict) { Action::Continue } else { Action::Pause }
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        for (name, value) in self.shown.iter().flat_map(Route::shard_headers) {
            host::set_response_header(name, value);
        }
        Action::Continue
    }
}

/// Carries out a verdict on the request of the effective context. Returns whether the request goes on; otherwise it
/// has been answered.
pub fn carry_out(router: &Router, verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Route(route) => {
            if !apply(router, route) {
                // To go on would leave the choice of the address to the client.
                log::error!("pinroute: Envoy refused to set the target of a request");
                reject(&Rejection::TargetNotAllowed);
                return false;
            }
        }
        Verdict::Reject(rejection) => {
            reject(rejection);
            return false;
        }
        Verdict::Pass | Verdict::Continue(_) => {
            router.owned_headers().iter().for_each(|name| host::remove_request_header(name))
        }
    }
    verdict.counters().for_each(metrics::count);
    true
}

#[cold]
fn reject(rejection: &Rejection) {
    log::debug!("pinroute: rejected: {}", rejection.body());
    metrics::count(Counter::Rejected(rejection.reason()));
    host::answer(rejection.status(), &rejection.body());
}

/// Sets the headers and the target of a route. Returns whether the target was set.
fn apply(router: &Router, route: &Route) -> bool {
    log::debug!("pinroute: routed to {route}");
    for (name, value) in route.shard_headers() {
        host::set_request_header(name, value);
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
    // The owned headers that this route does not set.
    for name in router.owned_headers() {
        let is_shard_header = route.shard.is_some() && SHARD_HEADERS.contains(&&**name);
        if !is_shard_header && target_header != Some(name) {
            host::remove_request_header(name);
        }
    }
    is_set
}
