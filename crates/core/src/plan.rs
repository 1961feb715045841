//! A configuration made ready: all that can be worked out before a request comes.

use crate::authority::{HostPort, TargetPattern};
use crate::config::{Config, OnError, TargetConfig};
use crate::key::{Key, KeyError, KeySource};
use crate::step::{Answer, Question, Rejection, Step, Target};
use crate::where_answer;
use std::time::Duration;

/// What a plan may want to know of a request. Values are bytes: a client may send anything.
pub trait RequestHead {
    /// The path with its query.
    fn path(&self) -> Option<Vec<u8>>;
    /// The value of a header, by its name in lower case.
    fn header(&self, name: &str) -> Option<Vec<u8>>;
}

/// A compiled configuration. Requests are decided by it alone.
#[derive(Debug)]
pub struct Plan {
    key: KeySource,
    path_prefix: Option<String>,
    resolve: Resolve,
    target: TargetConfig,
    allowed: Option<Vec<TargetPattern>>,
    on_error: OnError,
}

/// How the resolver is asked.
#[derive(Debug)]
pub struct Resolve {
    /// The Envoy cluster.
    pub cluster: String,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How many questions one worker may have under way.
    pub max_in_flight: usize,
    /// Path and query up to where the key follows.
    path_before_key: String,
}

impl Plan {
    /// Compiles a configuration.
    pub fn new(config: Config) -> Self {
        let resolve = config.resolve;
        let query = resolve.query.unwrap_or_else(|| match &config.key {
            // A segment of a path has no name of its own; this is what the seeds' resolver reads.
            KeySource::PathSegment(_) => "client_id".to_owned(),
            named => named.name().into_owned(),
        });
        let joint = if resolve.path.contains('?') { '&' } else { '?' };
        Self {
            key: config.key,
            path_prefix: config.path_prefix,
            resolve: Resolve {
                path_before_key: format!("{}{joint}{query}=", resolve.path),
                cluster: resolve.cluster,
                timeout: resolve.timeout,
                max_in_flight: resolve.max_in_flight,
            },
            target: config.target,
            allowed: config.allowed_targets,
            on_error: config.on_error,
        }
    }

    /// How the resolver is asked.
    pub fn resolve(&self) -> &Resolve {
        &self.resolve
    }

    /// A request's headers are here.
    pub fn on_request(&self, head: &impl RequestHead) -> Step {
        let path = head.path().unwrap_or_default();
        if self.path_prefix.as_ref().is_some_and(|prefix| !path.starts_with(prefix.as_bytes())) {
            return Step::Pass;
        }
        let header = self.key.header().and_then(|name| head.header(name));
        match self.key.extract(&path, header.as_deref()) {
            Ok(key) => Step::Ask(self.question(&key)),
            Err(KeyError::Missing) => self.refuse(Rejection::MissingKey(self.key.name().into_owned())),
            Err(KeyError::Invalid) => self.refuse(Rejection::InvalidKey(self.key.name().into_owned())),
        }
    }

    /// The resolver has answered.
    pub fn on_answer(&self, answer: Answer<'_>) -> Step {
        self.target_of(answer).map_or_else(|rejection| self.refuse(rejection), Step::Route)
    }

    /// The request cannot be routed: it is answered, or goes on untouched, as configured.
    pub fn refuse(&self, rejection: Rejection) -> Step {
        match self.on_error {
            OnError::Reject => Step::Reject(rejection),
            OnError::Continue => Step::Continue(rejection),
        }
    }

    fn question(&self, key: &Key<'_>) -> Question {
        let before = &self.resolve.path_before_key;
        let mut path = String::with_capacity(before.len() + key.bytes().len());
        path.push_str(before);
        key.append_to_query(&mut path);
        Question { path }
    }

    fn target_of(&self, answer: Answer<'_>) -> Result<Target, Rejection> {
        let body = match answer {
            Answer::Failed => return Err(Rejection::CalloutFailed),
            Answer::Response { status: 200, body } => body,
            Answer::Response { status, .. } => return Err(Rejection::ResolverStatus(status)),
        };
        let hostport = where_answer::hostport(body).ok_or(Rejection::NoHostport)?;
        let named = HostPort::parse(&hostport).ok_or(Rejection::TargetNotAllowed)?;
        // The list speaks of where Envoy will connect to, so it is held against the finished target.
        let TargetConfig::Authority(template) = &self.target;
        let authority = template.render(named.as_str());
        match HostPort::parse(&authority) {
            Some(target) if self.allows(&target) => Ok(Target::Authority(authority)),
            _ => Err(Rejection::TargetNotAllowed),
        }
    }

    fn allows(&self, target: &HostPort<'_>) -> bool {
        match &self.allowed {
            Some(patterns) => patterns.iter().any(|pattern| pattern.matches(target)),
            None => !target.is_dangerous_literal(),
        }
    }
}
