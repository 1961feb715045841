//! A configuration that has been checked. `pinroute-core` reads it from what a user wrote.

use crate::authority::TargetPattern;
use crate::index::IndexMode;
use crate::key::KeySource;
use crate::shuffle::Algorithm;
use crate::template::{Placeholder, Template};
use std::fmt;
use std::time::Duration;

/// A whole configuration without a mistake in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where the key stands.
    pub key: KeySource,
    /// Only requests whose path starts with this are our concern; none means all.
    pub path_prefix: Option<String>,
    /// How the instance is found.
    pub strategy: Strategy,
    /// How Envoy is told where to send a request. Absent only for a shard whose headers are all that is wanted.
    pub target: Option<TargetConfig>,
    /// Where requests may be sent at all. Absent, only dangerous IP literals from a resolver are refused.
    pub allowed_targets: Option<Vec<TargetPattern>>,
    /// What becomes of a request that cannot be routed.
    pub on_error: OnError,
    /// Whether the shard's headers go on the response too.
    pub response_headers: bool,
    /// The namespace of cluster and route metadata that may hold numbers.
    pub metadata: Option<String>,
    /// The namespace of route metadata that may hold another configuration for a route.
    pub per_route: Option<String>,
    /// Where live values come from.
    pub runtime: Option<RuntimeConfig>,
    /// The cluster whose endpoints are counted.
    pub membership: Option<MembershipConfig>,
}

/// Live values by Envoy's runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeConfig {
    /// What the names of all values begin with, before a dot.
    pub prefix: String,
    /// How they get here.
    pub source: RuntimeSource,
}

/// How runtime values get here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuntimeSource {
    /// Pushed by a server of the Runtime Discovery Service.
    Rtds {
        /// The Envoy cluster of the server.
        cluster: String,
        /// The name of the resource.
        resource: String,
    },
    /// Polled from Envoy's admin interface.
    Admin(AdminConfig),
}

/// How the admin interface is polled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// The Envoy cluster that leads there.
    pub cluster: String,
    /// How often.
    pub refresh: Duration,
}

/// Which cluster's endpoints are counted, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembershipConfig {
    /// The cluster to count.
    pub cluster: String,
    /// How the admin interface is polled for it.
    pub admin: AdminConfig,
}

/// How the instance is found.
#[derive(Clone, Debug, PartialEq)]
pub enum Strategy {
    /// By asking a service; if that fails, perhaps by a formula.
    Resolve(ResolveConfig, Option<Fallback>),
    /// By the resolver's formula, computed here.
    Index(IndexConfig),
    /// By the key's shard.
    ShuffleShard(ShuffleConfig),
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
    /// How answers are remembered, if they are.
    pub cache: Option<CacheConfig>,
    /// How many questions one worker may have under way.
    pub max_in_flight: usize,
}

/// How the resolver's answers are remembered, in each worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// How long an answer is taken for true.
    pub ttl: Duration,
    /// How many answers are remembered.
    pub max_entries: usize,
    /// How long a failure is remembered.
    pub negative_ttl: Duration,
    /// How long after `ttl` an answer may still be used when the resolver fails.
    pub stale_if_error: Duration,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(5),
            max_entries: 10_000,
            negative_ttl: Duration::from_secs(1),
            stale_if_error: Duration::from_secs(60),
        }
    }
}

impl Default for ResolveConfig {
    fn default() -> Self {
        Self {
            cluster: "resolver".to_owned(),
            path: "/where".to_owned(),
            query: None,
            timeout: Duration::from_secs(1),
            cache: None,
            max_in_flight: 1024,
        }
    }
}

/// What to do when the resolver fails.
#[derive(Clone, Debug, PartialEq)]
pub struct Fallback {
    /// The formula.
    pub index: IndexConfig,
    /// How Envoy is told.
    pub target: TargetConfig,
}

/// The instances that there are.
#[derive(Clone, Debug, PartialEq)]
pub enum Instances {
    /// So many, numbered from `base` on.
    Numbered {
        /// How many, unless a live value says otherwise.
        count: u32,
        /// The number of the first.
        base: u32,
    },
    /// These, by `host:port`.
    Named(Vec<String>),
}

impl Instances {
    /// What stands for an instance in templates.
    pub fn placeholder(&self) -> Placeholder {
        match self {
            Self::Numbered { .. } => Placeholder::Index,
            Self::Named(_) => Placeholder::Host,
        }
    }
}

/// The `index` strategy: the resolver's formula.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexConfig {
    /// How the key becomes a number.
    pub mode: IndexMode,
    /// What it indexes.
    pub instances: Instances,
}

/// The `shuffle_shard` strategy.
#[derive(Clone, Debug, PartialEq)]
pub struct ShuffleConfig {
    /// The whole fleet.
    pub instances: Instances,
    /// How many of it each key gets, unless a live value says otherwise.
    pub shard_size: u32,
    /// How they are chosen.
    pub algorithm: Algorithm,
    /// How one of them is picked for a request.
    pub pick: Pick,
    /// A secret that makes assignments unpredictable.
    pub seed: Option<String>,
}

/// How a member of a shard is picked for a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pick {
    /// By a hash of the path with its query.
    #[default]
    Path,
    /// At random.
    Random,
    /// In turn, for each key and worker.
    RoundRobin,
    /// By a hash of this header; of the path where a request does not have it.
    Header(String),
}

/// What Envoy routes by.
#[derive(Clone, Debug, PartialEq)]
pub enum TargetConfig {
    /// The `:authority` is rewritten to this.
    Authority(Template),
    /// The dynamic forward proxy is told this by filter state.
    DynamicHost(Template),
    /// A request header is set.
    Header {
        /// Its name in lower case.
        name: String,
        /// Its value.
        value: Template,
    },
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

/// One line for the log: what requests are decided by. The seed is not told.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {}, ", self.key.name())?;
        if let Some(prefix) = &self.path_prefix {
            write!(f, "below {prefix}, ")?;
        }
        match &self.strategy {
            Strategy::Resolve(resolve, fallback) => {
                let else_index = if fallback.is_some() { ", else by index" } else { "" };
                write!(f, "resolved by {}{}{else_index}", resolve.cluster, resolve.path)
            }
            Strategy::Index(index) => write!(f, "index into {}", index.instances),
            Strategy::ShuffleShard(shuffle) => {
                write!(f, "shards of {} out of {}", shuffle.shard_size, shuffle.instances)
            }
        }
    }
}

impl fmt::Display for Instances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numbered { count, base } => write!(f, "{count} instances from {base} on"),
            Self::Named(names) => write!(f, "{} named instances", names.len()),
        }
    }
}
