//! One request.

use crate::callouts::{Asked, Waiter};
use crate::host::{self, CurrentRequest};
use crate::metrics;
use crate::policy::{Policy, WrongRoute};
use crate::root::Plugin;
use pinroute_core::plan::SHARD_HEADERS;
use pinroute_core::step::{Answer, Question, Rejection, Route, Step, Target};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use std::rc::Rc;

/// A request, from its headers to its end.
pub struct Http {
    id: u32,
    plugin: Rc<Plugin>,
    /// What a call to the resolver looks at to learn whether the request is still there, if it made one.
    alive: Option<Rc<()>>,
    /// The route that the response has to show.
    shown: Option<Route>,
}

impl Http {
    /// A request that has just come in.
    pub fn new(id: u32, plugin: Rc<Plugin>) -> Self {
        Self { id, plugin, alive: None, shown: None }
    }

    /// Asks the resolver. None if the request has to wait for its answer.
    fn ask(&mut self, policy: &Rc<Policy>, question: Question) -> Option<Step> {
        let alive = Rc::downgrade(self.alive.insert(Rc::new(())));
        let waiter = Waiter { stream: self.id, alive };
        let (key, answer) = match self.plugin.callouts.ask(self.plugin.root, policy, question, waiter) {
            Asked::Called => return None,
            Asked::Joined => {
                metrics::with(|metrics| metrics.coalesced.add_one());
                return None;
            }
            Asked::Overloaded(key) => (key, Answer::Overloaded),
            Asked::Refused(key) => {
                metrics::with(|metrics| metrics.resolver_error.add_one());
                (key, Answer::Failed)
            }
        };
        Some(self.plugin.on_answer(policy, key.as_deref(), answer))
    }
}

impl Context for Http {}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        metrics::with(|metrics| metrics.requests.add_one());
        #[cfg(feature = "provoke-trap")]
        if host::request_header("x-provoke-trap").is_some() {
            std::process::abort();
        }
        let policy = match self.plugin.policy() {
            Ok(policy) => policy,
            Err(WrongRoute) => {
                reject(&Rejection::RouteConfig);
                return Action::Pause;
            }
        };
        let step = self.plugin.with_live(&policy, |live| {
            policy.plan().on_request(&mut policy.memory(), &CurrentRequest, live, self.plugin.now())
        });
        policy.count_cache_event();
        let step = match step {
            Step::Ask(question) => match self.ask(&policy, question) {
                Some(step) => step,
                None => return Action::Pause,
            },
            step => step,
        };
        if let (Step::Route(route), true) = (&step, policy.plan().response_headers()) {
            self.shown = Some(route.clone());
        }
        if carry_out(&policy, step) {
            Action::Continue
        } else {
            Action::Pause
        }
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        if let Some(route) = &self.shown {
            show(route, host::set_response_header);
        }
        Action::Continue
    }
}

/// Does to the request at hand what was decided. Whether it goes on; otherwise it has been answered.
pub fn carry_out(policy: &Policy, step: Step) -> bool {
    match step {
        Step::Route(route) => return apply(policy, &route),
        Step::Reject(rejection) => {
            reject(&rejection);
            return false;
        }
        Step::Pass => metrics::with(|metrics| metrics.passed.add_one()),
        Step::Continue(rejection) => {
            log::debug!("pinroute: left untouched: {}", rejection.body());
            metrics::with(|metrics| metrics.continued(&rejection));
        }
        // A question leads to an answer, and an answer to none of these.
        Step::Ask(_) => {}
    }
    // Nothing that the client sent may pass for a decision of ours.
    for name in policy.plan().owned_headers() {
        host::remove_request_header(name);
    }
    true
}

#[cold]
fn reject(rejection: &Rejection) {
    log::debug!("pinroute: rejected: {}", rejection.body());
    metrics::with(|metrics| metrics.rejected(rejection));
    host::answer(rejection.status(), &rejection.body());
}

/// Sends the request at hand to its instance. Whether it goes on.
fn apply(policy: &Policy, route: &Route) -> bool {
    match &route.numbers {
        Some(numbers) => log::debug!("pinroute: routed to {} ({numbers})", route.instance.label),
        None => log::debug!("pinroute: routed to {}", route.instance.label),
    }
    show(route, |name, value| {
        host::set_request_header(name, value);
    });
    let mut set_header = None;
    let done = match &route.instance.target {
        None => true,
        Some(Target::Authority(authority)) => host::set_request_header(":authority", authority),
        Some(Target::Header { name, value }) => {
            set_header = Some(name);
            host::set_request_header(name, value)
        }
        Some(Target::DynamicHost { host, port }) => {
            host::set_filter_state("envoy.upstream.dynamic_host", host)
                && port
                    .as_ref()
                    .is_none_or(|port| host::set_filter_state("envoy.upstream.dynamic_port", port))
        }
    };
    let owned = policy.plan().owned_headers();
    let shard_headers = if route.shard.is_some() { SHARD_HEADERS.len() } else { 0 };
    // Nearly always all of them have been set.
    if owned.len() > shard_headers + usize::from(set_header.is_some()) {
        for name in owned {
            let shard_header = route.shard.is_some() && SHARD_HEADERS.contains(&name.as_str());
            if !shard_header && set_header != Some(name) {
                host::remove_request_header(name);
            }
        }
    }
    if !done {
        // Going on would leave the choice of the address to the client.
        log::error!("pinroute: Envoy refused to set the target of a request");
        reject(&Rejection::TargetNotAllowed);
        return false;
    }
    metrics::with(|metrics| metrics.routed.add_one());
    true
}

/// Sets the headers that show a shard.
fn show(route: &Route, set: impl Fn(&str, &str)) {
    if let Some(shard) = &route.shard {
        for (name, value) in
            SHARD_HEADERS.iter().zip([&shard.assignment, &shard.config, &route.instance.label])
        {
            set(name, value);
        }
    }
}
