//! What is to be done with a request.

use crate::hash::Digest;
use crate::key::Key;
use crate::live::value::Sourced;
use crate::metrics::Counter;
use crate::rejection::Rejection;
use crate::request::Request;
use crate::shard::cache::Shard;
use crate::target::Host;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The next step for a request whose headers were received. `W` identifies a request that waits.
#[derive(Debug)]
pub enum Decision<W> {
    /// The final decision.
    Verdict(Verdict),
    /// Make this call to the resolver. The request waits for its response.
    Call(Call<W>),
    /// The request waits for the response to a call that is in flight.
    Wait,
}

/// A request to make to the resolver. The adapter reports that it made the call, or that it could not.
#[must_use]
#[derive(Debug)]
pub struct Call<W> {
    /// The Envoy cluster.
    pub cluster: String,
    /// The `:authority`.
    pub authority: String,
    /// The path with its query.
    pub path: String,
    /// The body, which makes it a POST request. Without one it is a GET request.
    pub body: Option<String>,
    /// More headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// How long the response may take.
    pub timeout: Duration,
    /// The key, if the target needs it.
    pub(crate) key: Option<Key<'static>>,
    /// Identifies what is asked, if answers are cached: a second request for the same joins the call.
    pub(crate) digest: Option<Digest>,
    /// The request that waits.
    pub(crate) waiting: W,
}

impl<W> Call<W> {
    /// The HTTP method.
    pub fn method(&self) -> &'static str {
        if self.body.is_some() { "POST" } else { "GET" }
    }

    /// All headers beside the authority: what is configured, which has precedence, the type of the body, and what the
    /// request carries for tracing, because Envoy adds no parent span to calls. Values that are not text are left out.
    pub fn headers_for<'a>(&'a self, request: &'a impl Request) -> Vec<(&'a str, Cow<'a, str>)> {
        let text = |value: Cow<'a, [u8]>| match value {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
        };
        let is_set = |name: &str| self.headers.iter().any(|(set, _)| set == name);
        let mut headers: Vec<(&str, Cow<'a, str>)> = Vec::with_capacity(2 + self.headers.len());
        for (name, value) in &self.headers {
            headers.extend(text(Cow::Borrowed(value)).map(|value| (name.as_str(), value)));
        }
        if self.body.is_some() && !is_set("content-type") {
            headers.push(("content-type", Cow::Borrowed("application/json")));
        }
        let parent = request.header("traceparent");
        // Without a parent it has no meaning (W3C Trace Context), so most requests need not be asked for it.
        let state = parent.as_ref().and_then(|_| request.header("tracestate"));
        let tracing = [
            ("x-request-id", request.header("x-request-id")),
            ("traceparent", parent),
            ("tracestate", state),
            ("b3", request.header("b3")),
        ];
        for (name, value) in tracing {
            let value = value.filter(|_| !is_set(name)).and_then(text);
            headers.extend(value.map(|value| (name, value)));
        }
        headers
    }
}

/// The final decision on a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The filter does not apply to this request: pass it on, without the owned headers.
    Pass,
    /// Send it to its host.
    Route(Route),
    /// Answer it with an error, under this status.
    Reject(Rejection, u16),
    /// It cannot be routed, and an outcome passes it on, without the owned headers.
    Continue(Rejection),
}

impl Verdict {
    /// The counters of this verdict.
    pub fn counters(&self) -> impl Iterator<Item = Counter> {
        let (first, second) = match self {
            Self::Pass => (Counter::Passed, None),
            Self::Route(_) => (Counter::Routed, None),
            Self::Reject(rejection, _) => (Counter::Rejected(rejection.reason()), None),
            Self::Continue(rejection) => (Counter::Continued(rejection.reason()), Some(Counter::Passed)),
        };
        std::iter::once(first).chain(second)
    }
}

/// Where a request is sent, and what its headers show about that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The host.
    pub host: Arc<Host>,
    /// The shard that the host was picked from.
    pub shard: Option<Arc<Shard>>,
    /// The number of hosts that the decision used, and its source.
    pub total: Option<Sourced>,
    /// The shard size that the decision used, and its source.
    pub shard_size: Option<Sourced>,
    /// The cached answer that names the host, if one does.
    pub(crate) answer: Option<Digest>,
}

impl Route {
    /// A route to a host, without a shard.
    pub(crate) fn to(host: Arc<Host>) -> Self {
        Self { host, shard: None, total: None, shard_size: None, answer: None }
    }

    /// The headers that show the shard, if there is one.
    pub fn shard_headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let values = self.shard.as_ref().map(|shard| [&shard.assignment, &shard.config, &self.host.name]);
        values.into_iter().flat_map(|values| SHARD_HEADERS.into_iter().zip(values.map(String::as_str)))
    }
}

/// One line for the log.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.name.as_str() {
            // A target of the key alone, or a fixed one.
            "" => self.host.fmt(f)?,
            name => f.write_str(name)?,
        }
        if let Some(total) = self.total {
            write!(f, " (hosts: {total}")?;
            if let Some(size) = self.shard_size {
                write!(f, "; shard size: {size}")?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

/// What is to be done with the response to a request that was routed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyVerdict {
    /// Pass it on.
    Pass,
    /// It comes from another host than the one that the request was sent to. Answer with [`WRONG_HOST`] instead.
    WrongHost,
}

/// The status and the body for a client whose request reached the wrong host.
pub const WRONG_HOST: (u16, &str) = (502, "wrong host");

/// The headers that show a shard.
pub const SHARD_HEADERS: [&str; 3] = ["x-shard-assignment", "x-shard-config", "x-target-host"];
