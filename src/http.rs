//! One request.

use crate::host::{self, CurrentRequest};
use crate::metrics;
use crate::plugin::{Plugin, Waiting};
use crate::reenter::enter_root;
use crate::verdict::{carry_out, reject};
use pinroute_core::decision::{Call, Decision, Route, Verdict};
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
    /// Lives as long as this request, if it waits for a call.
    alive: Option<Rc<()>>,
    /// The route that the response shows.
    shown: Option<Route>,
}

impl Http {
    /// A request that has just come in.
    pub fn new(id: u32, plugin: Rc<Plugin>) -> Self {
        Self { id, plugin, alive: None, shown: None }
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
                reject(&rejection);
                return Action::Pause;
            }
        };
        let plugin = Rc::clone(&self.plugin);
        let decision = {
            let (mut worker, live) = (plugin.worker.borrow_mut(), plugin.live.borrow());
            router.on_request(&mut worker, &CurrentRequest, &live, plugin.now(), || {
                Waiting::new(self.id, self.alive.insert(Rc::new(())))
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
