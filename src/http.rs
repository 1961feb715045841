//! One request.

use crate::callouts::Waiting;
use crate::host::{self, CurrentRequest};
use crate::metrics;
use crate::root::Plugin;
use pinroute_core::plan::Plan;
use pinroute_core::step::{Rejection, Step, Target};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use std::rc::Rc;

/// A request, from its headers to its end.
pub struct Http {
    id: u32,
    plan: Rc<Plan>,
    plugin: Rc<Plugin>,
    /// What a call to the resolver looks at to learn whether the request is still there.
    alive: Rc<()>,
}

impl Http {
    /// A request that has just come in.
    pub fn new(id: u32, plan: Rc<Plan>, plugin: Rc<Plugin>) -> Self {
        Self { id, plan, plugin, alive: Rc::new(()) }
    }
}

impl Context for Http {}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        metrics::with(|metrics| metrics.requests.add_one());
        let step = match self.plan.on_request(&CurrentRequest) {
            Step::Ask(question) => {
                if self.plugin.callouts.count() >= self.plan.resolve().max_in_flight {
                    self.plan.refuse(Rejection::Overloaded)
                } else {
                    log::debug!("pinroute: asking {}", question.path);
                    let waiting = Waiting {
                        stream: self.id,
                        plan: Rc::clone(&self.plan),
                        since: host::now(),
                        alive: Rc::downgrade(&self.alive),
                    };
                    if self.plugin.callouts.ask(self.plugin.root, question, waiting) {
                        return Action::Pause;
                    }
                    // Envoy refused the call, so nobody would ever resume a request that waits for it.
                    metrics::with(|metrics| metrics.resolver_error.add_one());
                    self.plan.refuse(Rejection::CalloutFailed)
                }
            }
            step => step,
        };
        if carry_out(step) {
            Action::Continue
        } else {
            Action::Pause
        }
    }
}

/// Does to the request at hand what was decided. Whether it goes on; otherwise it has been answered.
pub fn carry_out(step: Step) -> bool {
    metrics::with(|metrics| match step {
        Step::Pass => {
            metrics.passed.add_one();
            true
        }
        Step::Route(Target::Authority(authority)) => {
            log::debug!("pinroute: routed to {authority}");
            metrics.routed.add_one();
            host::set_request_header(":authority", &authority);
            true
        }
        Step::Continue(rejection) => {
            log::debug!("pinroute: left untouched: {}", rejection.body());
            metrics.continued(&rejection);
            true
        }
        Step::Reject(rejection) => {
            log::debug!("pinroute: rejected: {}", rejection.body());
            metrics.rejected(&rejection);
            host::answer(rejection.status(), &rejection.body());
            false
        }
        // A question leads to an answer, and an answer to none of these.
        Step::Ask(_) => true,
    })
}
