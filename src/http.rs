//! One request.

use crate::host::{self, CurrentReply, CurrentRequest};
use crate::metrics;
use crate::plugin::{Plugin, Sent, Waiting, sent};
use crate::reenter::enter_root;
use crate::verdict::{carry_out, reject};
use pinroute_core::decision::{Call, Decision, ReplyVerdict, Verdict, WRONG_HOST};
use pinroute_core::metrics::Counter;
use pinroute_core::router::Router;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use std::rc::Rc;
use std::sync::Arc;

/// A request, from its headers to its end.
pub struct Http {
    id: u32,
    plugin: Rc<Plugin>,
    /// There as soon as the request waits for a call, or was routed and its response matters.
    sent: Option<Rc<Sent>>,
}

impl Http {
    /// A request that has just come in.
    pub fn new(id: u32, plugin: Rc<Plugin>) -> Self {
        Self { id, plugin, sent: None }
    }

    /// Makes a call to the resolver. Returns the verdict if it could not be made.
    fn call(&self, router: &Arc<Router>, call: Call<Waiting>) -> Option<Verdict> {
        log::debug!("pinroute: calling {}{}", call.cluster, call.path);
        self.plugin.outbox.replace(Some((Arc::clone(router), call)));
        enter_root(self.plugin.root);
        let (router, refused) = self.plugin.outbox.take()?;
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
                reject(&rejection, rejection.status());
                return Action::Pause;
            }
        };
        let plugin = Rc::clone(&self.plugin);
        let decision = {
            let (mut worker, live) = (plugin.worker.borrow_mut(), plugin.live.borrow());
            router.on_request(&mut worker, &CurrentRequest, &live, plugin.now(), || {
                Waiting::new(self.id, self.sent.insert(Rc::default()))
            })
        };
        let verdict = match decision {
            Decision::Verdict(verdict) => Some(verdict),
            Decision::Call(call) => self.call(&router, call),
            Decision::Wait => None,
        };
        metrics::flush(plugin.worker.borrow_mut().recorder());
        let Some(verdict) = verdict else { return Action::Pause };
        if let Some(sent) = sent(&router, &verdict) {
            let _ = self.sent.get_or_insert_default().set(sent);
        }
        if carry_out(&router, &verdict) { Action::Continue } else { Action::Pause }
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let Some((router, route)) = self.sent.as_deref().and_then(Sent::get) else { return Action::Continue };
        let verdict = {
            let mut worker = self.plugin.worker.borrow_mut();
            let verdict = router.on_reply(&mut worker, route, &CurrentReply);
            metrics::flush(worker.recorder());
            verdict
        };
        if verdict == ReplyVerdict::WrongHost {
            let (status, body) = WRONG_HOST;
            host::answer(status, body);
            return Action::Pause;
        }
        for (name, value) in route.shard_headers().filter(|_| router.response_headers()) {
            host::set_response_header(name, value);
        }
        Action::Continue
    }
}
