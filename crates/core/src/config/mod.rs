//! A plugin's configuration: from JSON text to values that have been checked.

mod node;
mod read;

pub use node::ConfigError;

use crate::authority::TargetPattern;
use crate::key::KeySource;
use crate::template::Template;
use std::fmt;
use std::time::Duration;

/// A whole configuration without a mistake in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where the key stands.
    pub key: KeySource,
    /// Only requests whose path starts with this are our concern; none means all.
    pub path_prefix: Option<String>,
    /// How to ask the resolver.
    pub resolve: ResolveConfig,
    /// How Envoy is told where to send a request.
    pub target: TargetConfig,
    /// Where requests may be sent at all. Absent, only dangerous IP literals are refused.
    pub allowed_targets: Option<Vec<TargetPattern>>,
    /// What becomes of a request that cannot be routed.
    pub on_error: OnError,
}

/// The `resolve` strategy: ask a service.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolveConfig {
    /// The Envoy cluster to ask.
    pub cluster: String,
    /// The path to ask for; it may have a query already.
    pub path: String,
    /// The parameter that carries the key; absent, it is called what the key is called.
    pub query: Option<String>,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How many questions one worker may have under way.
    pub max_in_flight: usize,
}

impl Default for ResolveConfig {
    fn default() -> Self {
        Self {
            cluster: "resolver".to_owned(),
            path: "/where".to_owned(),
            query: None,
            timeout: Duration::from_secs(1),
            max_in_flight: 1024,
        }
    }
}

/// What Envoy routes by.
#[derive(Clone, Debug, PartialEq)]
pub enum TargetConfig {
    /// The `:authority` is rewritten to this.
    Authority(Template),
}

/// What becomes of a request that cannot be routed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// It is answered with the error.
    #[default]
    Reject,
    /// It goes on as it came.
    Continue,
}

impl Config {
    /// Reads and checks a configuration. Nothing, or an object without members, stands for the seeds'
    /// `routing.lua`: `/join`, the parameter `client_id`, the cluster `resolver`.
    ///
    /// # Errors
    /// The first mistake, with the path of its field.
    pub fn parse(text: &[u8]) -> Result<Self, ConfigError> {
        read::document(text)
    }
}

/// One line for the log: what requests are decided by.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key from {:?}, ", self.key)?;
        if let Some(prefix) = &self.path_prefix {
            write!(f, "below {prefix}, ")?;
        }
        write!(f, "resolved by {}{}", self.resolve.cluster, self.resolve.path)
    }
}
