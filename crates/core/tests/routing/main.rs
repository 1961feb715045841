//! The decisions on requests, as tables of events: requests, calls and responses in, decisions and counters out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod failover;
mod hostile;
mod outcomes;
mod resolve;
mod routes;
mod strategies;

use pinroute_core::config;
use pinroute_core::decision::{Call, Decision, Verdict};
use pinroute_core::live::values::LiveValues;
use pinroute_core::metrics::Counter;
use pinroute_core::request::{Property, Request};
use pinroute_core::response::{Headers, Response};
use pinroute_core::router::{Router, Worker};
use pinroute_core::target::Target;
use pinroute_core::time::Time;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// A request that a test describes.
#[derive(Clone, Default)]
struct Fake {
    path: String,
    headers: HashMap<String, String>,
    properties: HashMap<Property, Vec<u8>>,
}

impl Request for Fake {
    fn path(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(self.path.as_bytes()))
    }

    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.headers.get(name).map(|value| Cow::Borrowed(value.as_bytes()))
    }

    fn property(&self, property: Property) -> Option<Cow<'_, [u8]>> {
        self.properties.get(&property).map(|bytes| Cow::Borrowed(bytes.as_slice()))
    }
}

fn get(path: &str) -> Fake {
    Fake { path: path.to_owned(), ..Fake::default() }
}

fn with_header(mut request: Fake, name: &str, value: &str) -> Fake {
    request.headers.insert(name.to_owned(), value.to_owned());
    request
}

/// A router with a worker, a clock and tokens for calls. Requests that wait are numbered.
struct Bench {
    router: Arc<Router>,
    worker: Worker<u32>,
    live: LiveValues,
    now: Time,
    /// The requests so far: a waiting one is known by its place, counted from 1.
    requests: Vec<Fake>,
}

impl Bench {
    fn new(config: &str) -> Self {
        let config = config::parse(config.as_bytes()).expect(config).config;
        let (worker, live) = (Worker::new([1, 2, 3]), LiveValues::default());
        Self {
            router: Router::new(config, 1),
            worker,
            live,
            now: Time::from_millis(1_000_000),
            requests: Vec::new(),
        }
    }

    fn decide(&mut self, request: &Fake) -> Decision<u32> {
        self.requests.push(request.clone());
        let waiting = self.requests.len() as u32;
        self.router.on_request(&mut self.worker, request, &self.live, self.now, || waiting)
    }

    /// The verdict on a request that needs no call.
    fn verdict(&mut self, request: &Fake) -> Verdict {
        match self.decide(request) {
            Decision::Verdict(verdict) => verdict,
            other => panic!("{other:?}"),
        }
    }

    /// The call that a request needs.
    fn call(&mut self, request: &Fake) -> Call<u32> {
        match self.decide(request) {
            Decision::Call(call) => call,
            other => panic!("{other:?}"),
        }
    }

    /// Makes the call that a request needs.
    fn send(&mut self, request: &Fake, token: u32) {
        let call = self.call(request);
        self.worker.on_sent(&self.router, call, token);
    }

    /// The requests that waited for a call, and what becomes of them.
    fn respond(&mut self, token: u32, status: u16, body: &str) -> Vec<(u32, String)> {
        self.respond_by(token, complete(status, body))
    }

    fn respond_by(&mut self, token: u32, response: Response<'_>) -> Vec<(u32, String)> {
        let resolved = self.worker.on_response(token, response, self.now).expect("a known token");
        let mut verdict = |waiting: u32| {
            let request = &self.requests[waiting as usize - 1];
            resolved.router.on_resolved(&mut self.worker, &resolved.answer, request, &self.live)
        };
        resolved.waiting.iter().map(|waiting| (*waiting, shown(verdict(*waiting)))).collect()
    }

    fn counted(&mut self) -> Vec<Counter> {
        self.worker.recorder().counted().collect()
    }

    fn advance(&mut self, millis: u64) {
        self.now = Time::from_millis(self.now.as_millis() + millis);
    }
}

/// A response without headers.
fn complete(status: u16, body: &str) -> Response<'_> {
    Response::Complete { status, body: body.as_bytes(), headers: Headers::default() }
}

/// A verdict as a short text: the target, or the status and body.
fn shown(verdict: Verdict) -> String {
    match verdict {
        Verdict::Pass => "pass".to_owned(),
        Verdict::Continue(rejection) => format!("continue: {}", rejection.body()),
        Verdict::Reject(rejection, status) => format!("{status} {}", rejection.body()),
        Verdict::Route(route) => match &route.host.target {
            None => format!("host {}", route.host.name),
            Some(Target::Authority(authority)) => authority.clone(),
            Some(Target::Header { name, value }) => format!("{name}: {value}"),
            Some(Target::DynamicHost { host, port }) => {
                format!("{host} {}", port.clone().unwrap_or_default())
            }
        },
    }
}
