//! The `resolve` strategy: call a resolver, and fall back to a formula if that fails.

use super::index::Index;
use crate::config::{CacheConfig, ResolveConfig};
use crate::key::{Key, KeySource};
use crate::rejection::Rejection;
use crate::resolve::cache::Answer;
use crate::resolve::response::{Response, hostport};
use crate::target::TargetRules;
use std::sync::Arc;
use std::time::Duration;

/// The compiled strategy.
#[derive(Debug)]
pub struct Resolve {
    /// The Envoy cluster.
    pub cluster: String,
    /// The `:authority` of the call.
    pub authority: String,
    /// How long a response may take.
    pub timeout: Duration,
    /// How many calls one worker may have in flight.
    pub max_in_flight: usize,
    /// How answers are cached, if they are.
    pub cache: Option<CacheConfig>,
    /// The formula, if there is one.
    pub fallback: Option<Index>,
    /// Path and query up to the key.
    path_before_key: String,
    rules: TargetRules,
}

impl Resolve {
    /// Compiles the strategy.
    pub fn new(config: ResolveConfig, key: &KeySource, rules: TargetRules, fallback: Option<Index>) -> Self {
        let query = config.query.unwrap_or_else(|| key.parameter());
        let separator = if config.path.contains('?') { '&' } else { '?' };
        Self {
            path_before_key: format!("{}{separator}{query}=", config.path),
            cluster: config.cluster,
            authority: config.authority,
            timeout: config.timeout,
            max_in_flight: config.max_in_flight,
            cache: config.cache,
            fallback,
            rules,
        }
    }

    /// The path and query of the call for a key.
    pub fn path(&self, key: &Key<'_>) -> String {
        [&self.path_before_key, &*key.as_parameter()].concat()
    }

    /// What a response decides.
    pub fn answer(&self, response: Response<'_>) -> Answer {
        match response {
            Response::Failed => Err(Rejection::CalloutFailed),
            Response::Complete { status: 200, body } => {
                let hostport = hostport(body).ok_or(Rejection::NoHostport)?;
                self.rules.resolved_host(&hostport).map(Arc::new)
            }
            Response::Complete { status, .. } => Err(Rejection::ResolverStatus(status)),
        }
    }
}
