//! One request.

use crate::abi::{Filter, Headers, NoCall, Pair, guard_request};
use crate::plugin::{Outgoing, Slot, State, Waiting, now, request_of};
use crate::request::CurrentReply;
use crate::verdict::{carry_out, reject};
use pinroute_core::decision::{Call, Decision, ReplyVerdict, Route, Verdict, WRONG_HOST};
use pinroute_core::metrics::Counter;
use pinroute_core::response::{self, Response};
use pinroute_core::router::{Resolved, Router};
use pinroute_core::time::Time;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How a request was routed, if its response matters.
pub type Sent = (Arc<Router>, Route);

/// How Envoy itself answers a call that failed before it was sent.
const UNAVAILABLE: Response<'_> = without_body(503);
/// How Envoy itself answers a call that took too long.
const TIMED_OUT: Response<'_> = without_body(504);

const fn without_body(status: u16) -> Response<'static> {
    Response::Complete { status, body: b"", headers: response::Headers(&[]) }
}

/// A request, from its headers to its end.
pub struct Stream {
    slot: Arc<Slot>,
    /// There if it was routed without a wait.
    sent: RefCell<Option<Sent>>,
    /// Its number if it waited, or waits.
    number: Cell<Option<u64>>,
    /// Whether Envoy answers it by itself.
    is_local: Cell<bool>,
}

impl Stream {
    /// A request that has just come in.
    pub fn new(slot: Arc<Slot>) -> Self {
        Self { slot, sent: RefCell::default(), number: Cell::default(), is_local: Cell::new(false) }
    }

    /// Envoy answers the request by itself.
    pub fn on_local_reply(&self) {
        self.is_local.set(true);
    }
}

/// What becomes of a request or response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It goes on.
    GoesOn,
    /// It has been answered.
    Answered,
    /// It waits.
    Waits,
}

fn sent(router: &Arc<Router>, verdict: &Verdict) -> Option<Sent> {
    match verdict {
        Verdict::Route(route) if router.needs_reply() => Some((Arc::clone(router), route.clone())),
        _ => None,
    }
}

/// The time, where it matters.
fn time(router: &Router) -> Time {
    if router.uses_clock() { now() } else { Time::default() }
}

/// The headers of a request were received.
pub fn on_request(filter: Filter, stream: &Stream) -> Next {
    let slot = &*stream.slot;
    let metrics = &slot.shared.metrics;
    metrics.count(filter, Counter::Requests);
    #[cfg(feature = "provoke-trap")]
    if filter.has_header(Headers::Request, "x-provoke-trap") {
        #[allow(clippy::panic)]
        std::panic::panic_any("provoked");
    }
    let (router, decision) = {
        let mut state = slot.state();
        state.refresh(&slot.shared, filter);
        let router = match state.router(filter, &slot.shared) {
            Ok(router) => router,
            Err(rejection) => {
                drop(state);
                reject(filter, metrics, &rejection, rejection.status());
                return Next::Answered;
            }
        };
        let number = state.number();
        let State { worker, live, waiting, .. } = &mut *state;
        let request = request_of(filter, &router);
        let decision = router.on_request(worker, &request, live, time(&router), || number);
        if !matches!(decision, Decision::Verdict(_)) {
            waiting.insert(number, Waiting { filter, leads: None });
            stream.number.set(Some(number));
        }
        metrics.flush(filter, worker.recorder());
        (router, decision)
    };
    let verdict = match decision {
        Decision::Verdict(verdict) => Some(verdict),
        Decision::Call(call) => make_call(filter, stream, &router, call),
        Decision::Wait => None,
    };
    let Some(verdict) = verdict else { return Next::Waits };
    *stream.sent.borrow_mut() = sent(&router, &verdict);
    if carry_out(filter, metrics, &router, &verdict) { Next::GoesOn } else { Next::Answered }
}

/// Makes a call to the resolver. Returns the verdict if it could not be made.
fn make_call(filter: Filter, stream: &Stream, router: &Arc<Router>, mut call: Call<u64>) -> Option<Verdict> {
    log::debug!("pinroute: calling {}{}", call.cluster, call.path);
    let slot = &*stream.slot;
    let outgoing = Outgoing::new(filter, router, &mut call);
    let made = outgoing.make(filter, call.timeout);
    let mut state = slot.state();
    let number = stream.number.get();
    if made == Ok(()) {
        let token = state.token();
        state.worker.on_sent(router, call, token);
        state.calls.insert(token, outgoing);
        if let Some(waiting) = number.and_then(|number| state.waiting.get_mut(&number)) {
            waiting.leads = Some(token);
        }
        return None;
    }
    // It does not wait any more.
    number.and_then(|number| state.waiting.remove(&number));
    stream.number.set(None);
    let token = state.token();
    if made == Err(NoCall::Refused) && state.may_log() {
        log::warn!("pinroute: cannot call the cluster `{}`", outgoing.cluster);
    }
    let State { worker, live, .. } = &mut *state;
    let request = request_of(filter, router);
    let verdict = if made == Err(NoCall::Failed) {
        worker.on_sent(router, call, token);
        let resolved = worker.on_response(token, UNAVAILABLE, time(router))?;
        router.on_resolved(worker, &resolved.answer, &request, live)
    } else {
        router.on_refused(worker, call, &request, live, time(router))
    };
    slot.shared.metrics.flush(filter, worker.recorder());
    Some(verdict)
}

impl Outgoing {
    /// Takes what is sent out of a call.
    fn new(filter: Filter, router: &Arc<Router>, call: &mut Call<u64>) -> Self {
        let request = request_of(filter, router);
        let own = |(name, value): (&str, Cow<'_, str>)| (name.to_owned(), value.into_owned().into_bytes());
        let (method, headers) = (call.method(), call.headers_for(&request).into_iter().map(own).collect());
        Self {
            router: Arc::clone(router),
            cluster: std::mem::take(&mut call.cluster),
            method,
            path: std::mem::take(&mut call.path),
            authority: std::mem::take(&mut call.authority),
            headers,
            body: call.body.take().unwrap_or_default().into_bytes(),
            deadline: now() + call.timeout,
        }
    }

    /// Makes the call in the name of a request. Hooks may run meanwhile.
    fn make(&self, filter: Filter, timeout: Duration) -> Result<(), NoCall> {
        let mut headers: Vec<Pair<'_>> = Vec::with_capacity(3 + self.headers.len());
        headers.extend([
            (":method", self.method.as_bytes()),
            (":path", self.path.as_bytes()),
            (":authority", self.authority.as_bytes()),
        ]);
        headers.extend(self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())));
        filter.call(&self.cluster, &headers, &self.body, timeout).map(drop)
    }
}

/// The call that was made in the name of this request has ended; without a status if it failed.
pub fn on_called(
    stream: &Stream,
    status: Option<u16>,
    headers: impl FnOnce() -> Vec<(String, Vec<u8>)>,
    body: impl FnOnce() -> Vec<u8>,
) {
    let slot = &*stream.slot;
    let resolved = {
        let mut state = slot.state();
        let leader = stream.number.get().and_then(|number| state.waiting.get(&number).copied());
        // A call that failed before it was sent is reported here too, but not known.
        let Some(token) = leader.and_then(|leader| leader.leads) else { return };
        let (is_ok, needs_headers) = (status == Some(200), state.worker.needs_answer_headers(token));
        let body = if is_ok { body() } else { Vec::new() };
        let headers = if is_ok && needs_headers { headers() } else { Vec::new() };
        let headers = response::Headers(&headers);
        let complete = |status| Response::Complete { status, body: &body, headers };
        state.end(token, status.map_or(Response::Failed, complete))
    };
    resolved.into_iter().for_each(|resolved| conclude(slot, resolved));
}

impl State {
    fn end(&mut self, token: u32, response: Response<'_>) -> Option<Resolved<u64>> {
        let time = self.calls.remove(&token).map_or_else(Time::default, |call| time(&call.router));
        self.worker.on_response(token, response, time)
    }
}

/// Carries out the verdict on each request that waited for a call. Hooks run meanwhile: requests may end.
fn conclude(slot: &Slot, mut resolved: Resolved<u64>) {
    for number in std::mem::take(&mut resolved.waiting) {
        let waiting = slot.state().waiting.remove(&number);
        match waiting.filter(|waiting| waiting.filter.is_alive()) {
            // A panic costs this request only, and not those behind it.
            Some(Waiting { filter, .. }) => {
                guard_request(filter, (), || conclude_one(slot, filter, number, &resolved));
            }
            None => slot.state().worker.on_abandoned(),
        }
    }
}

fn conclude_one(slot: &Slot, filter: Filter, number: u64, resolved: &Resolved<u64>) {
    let Resolved { router, answer, .. } = resolved;
    let metrics = &slot.shared.metrics;
    let verdict = {
        let mut state = slot.state();
        let State { worker, live, sent, .. } = &mut *state;
        let verdict = router.on_resolved(worker, answer, &request_of(filter, router), live);
        if let Some(how) = self::sent(router, &verdict) {
            sent.insert(number, how);
        }
        metrics.flush(filter, worker.recorder());
        verdict
    };
    if carry_out(filter, metrics, router, &verdict) {
        filter.go_on();
    }
}

/// The headers of a response were received.
pub fn on_response(filter: Filter, stream: &Stream) -> Next {
    let slot = &*stream.slot;
    let sent = stream.sent.take().or_else(|| slot.state().sent.remove(&stream.number.get()?));
    let Some((router, route)) = sent else { return Next::GoesOn };
    let reply = CurrentReply { filter, is_local: stream.is_local.get() };
    let verdict = {
        let mut state = slot.state();
        let verdict = router.on_reply(&mut state.worker, &route, &reply);
        slot.shared.metrics.flush(filter, state.worker.recorder());
        verdict
    };
    if verdict == ReplyVerdict::WrongHost {
        let (status, body) = WRONG_HOST;
        filter.answer(status, body);
        return Next::Answered;
    }
    for (name, value) in route.shard_headers().filter(|_| router.response_headers()) {
        filter.set_header(Headers::Response, name, value);
    }
    Next::GoesOn
}

/// A request is over. If others wait for the call that was made in its name, which ends with it, one of them makes it again.
pub fn on_destroy(stream: &Rc<Stream>) {
    let Some(number) = stream.number.get() else { return };
    let slot = &*stream.slot;
    let mut state = slot.state();
    state.sent.remove(&number);
    let Some(Waiting { filter, leads }) = state.waiting.remove(&number) else { return };
    let Some(token) = leads else { return };
    let next = {
        let State { worker, waiting, .. } = &*state;
        let of = |number: &u64| Some((*number, waiting.get(number)?.filter));
        // Of requests that end together, each but the first is over before this is called for the first.
        worker.waiting(token).iter().filter_map(of).find(|(_, filter)| filter.is_alive())
    };
    let (Some(outgoing), Some((next, next_filter))) = (state.calls.get(&token).cloned(), next) else {
        state.calls.remove(&token);
        state.worker.on_cancelled(token);
        slot.shared.metrics.flush(filter, state.worker.recorder());
        return;
    };
    drop(state);
    // The call has the time that is left, however often it is made again. Envoy would take 0 for no limit.
    let left = outgoing.deadline.as_millis().saturating_sub(now().as_millis());
    let failure = match left {
        0 => Some(TIMED_OUT),
        left => match outgoing.make(next_filter, Duration::from_millis(left)) {
            Ok(()) => None,
            Err(NoCall::Failed) => Some(UNAVAILABLE),
            Err(NoCall::Refused) => Some(Response::Failed),
        },
    };
    let mut state = slot.state();
    if let Some(response) = failure {
        let resolved = state.end(token, response);
        drop(state);
        resolved.into_iter().for_each(|resolved| conclude(slot, resolved));
    } else if let Some(waiting) = state.waiting.get_mut(&next) {
        waiting.leads = Some(token);
    }
}
