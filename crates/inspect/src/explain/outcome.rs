//! What happens to a request, and the call that it may wait for.

use std::fmt;

use pinroute_core::config::{Config, Strategy};
use pinroute_core::decision::{Call, Verdict};
use pinroute_core::target::{Host, Target};
use serde::Serialize;

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// `route`, `any_host` (of the shard), `call` (the resolver), `reject`, `continue` or `pass`.
    pub decision: &'static str,
    /// The number or name of the host; without one, its target.
    pub host: Option<String>,
    /// The finished target.
    pub target: Option<String>,
    /// What the filter sets to it: `authority`, `dynamic_host` or `header`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_kind: Option<&'static str>,
    /// The name of that header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_header: Option<String>,
    /// The status of an error response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The body of an error response, or why the request continues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A call to the resolver. Values of headers may be secret and are not shown.
#[derive(Clone, Debug, Serialize)]
pub struct CallReport {
    /// The Envoy cluster.
    pub cluster: String,
    /// `GET` or `POST`
    pub method: &'static str,
    /// The `:authority`.
    pub authority: String,
    /// The path with its query.
    pub path: String,
    /// The body.
    pub body: Option<String>,
    /// The names of more headers.
    pub headers: Vec<String>,
    /// How long the response may take.
    pub timeout_seconds: f64,
    /// How long responses are used, if they are cached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheReport>,
}

/// How long responses of the resolver are used.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CacheReport {
    /// How long without another call.
    pub ttl_seconds: f64,
    /// How much longer while the resolver fails.
    pub stale_if_error_seconds: f64,
}

impl fmt::Display for CacheReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ttl {}s, stale_if_error {}s", self.ttl_seconds, self.stale_if_error_seconds)
    }
}

impl Outcome {
    pub(super) fn only(decision: &'static str) -> Self {
        Self {
            decision,
            host: None,
            target: None,
            target_kind: None,
            target_header: None,
            status: None,
            reason: None,
        }
    }

    pub(super) fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Pass => Self::only("pass"),
            Verdict::Reject(rejection, status) => Self {
                status: Some(*status),
                reason: Some(rejection.body().into_owned()),
                ..Self::only("reject")
            },
            Verdict::Continue(rejection) => {
                Self { reason: Some(rejection.body().into_owned()), ..Self::only("continue") }
            }
            Verdict::Route(route) => Self::to(&route.host),
        }
    }

    /// The same with the reasons that Envoy gives if a resolver fails, as the log and error responses have them.
    pub(super) fn of_failure(mut self, config: &Config) -> Self {
        if let (Some(reason), Strategy::Resolve(resolve, _)) = (&mut self.reason, &config.strategy) {
            *reason = format!("resolver returned 503 (unreachable) or 504 (after {:?})", resolve.timeout);
        }
        self
    }

    fn to(host: &Host) -> Self {
        let (kind, header) = match &host.target {
            None => (None, None),
            Some(Target::Authority(_)) => (Some("authority"), None),
            Some(Target::DynamicHost { .. }) => (Some("dynamic_host"), None),
            Some(Target::Header { name, .. }) => (Some("header"), Some(name.to_string())),
        };
        let target = host.target.as_ref().map(|_| host.to_string());
        let name = Some(host.name.clone()).filter(|name| !name.is_empty());
        Self {
            host: name.or_else(|| target.clone()),
            target,
            target_kind: kind,
            target_header: header,
            ..Self::only("route")
        }
    }
}

/// What happens, in words.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { decision, target, target_kind, target_header, status, reason, host } = self;
        let reason = reason.as_deref().unwrap_or_default();
        match (*decision, status, target) {
            ("reject", Some(status), _) => write!(f, "error response {status}: {reason}"),
            ("continue", ..) => write!(f, "passes on untouched ({reason})"),
            ("pass", ..) => f.write_str("passes untouched: the filter does not apply"),
            ("call", ..) => f.write_str("as the resolver answers"),
            ("any_host", ..) => f.write_str("one of the shard's hosts, for each request anew"),
            (_, _, Some(target)) => match target_header {
                Some(header) => write!(f, "header {header}: {target}"),
                None => write!(f, "{} {target}", target_kind.unwrap_or_default()),
            },
            _ => write!(f, "host {}", host.as_deref().unwrap_or_default()),
        }
    }
}

impl CallReport {
    pub(super) fn of(call: Call<()>, config: &Config) -> Self {
        let resolve = match &config.strategy {
            Strategy::Resolve(resolve, _) => Some(resolve),
            Strategy::Index(_) | Strategy::ShuffleShard(_) | Strategy::Template => None,
        };
        let cache = resolve.and_then(|resolve| resolve.cache.as_ref());
        Self {
            timeout_seconds: resolve.map_or(0.0, |resolve| resolve.timeout.as_secs_f64()),
            cache: cache.map(|cache| CacheReport {
                ttl_seconds: cache.ttl.as_secs_f64(),
                stale_if_error_seconds: cache.stale_if_error.as_secs_f64(),
            }),
            cluster: call.cluster,
            method: if call.body.is_some() { "POST" } else { "GET" },
            authority: call.authority,
            path: call.path,
            body: call.body,
            headers: call.headers.into_iter().map(|(name, _)| name).collect(),
        }
    }
}
