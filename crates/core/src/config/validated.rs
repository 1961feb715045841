//! A validated configuration.

use crate::hash::fingerprint;
use crate::key::KeySource;
use crate::shard::Algorithm;
use crate::strategy::index::IndexMode;
use crate::target::TargetKind;
use crate::target::allowed::AllowedTargets;
use crate::target::template::Placeholder;
use crate::verify::Verify;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The configuration of a plugin.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginConfig {
    /// How requests are decided.
    pub config: Config,
    /// The namespace of route metadata that may hold a configuration for the route.
    pub per_route: Option<String>,
    /// The source of runtime values.
    pub runtime: Option<RuntimeConfig>,
    /// The cluster whose endpoint count is a live value.
    pub membership: Option<MembershipConfig>,
}

/// How requests are decided: by a plugin, or on one route.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Config {
    /// Where the key is.
    pub key: KeySource,
    /// The filter does not apply to requests whose path does not begin with this.
    pub path_prefix: Option<String>,
    /// How the host is found.
    pub strategy: Strategy,
    /// How Envoy is made to select the host. Absent only for shards whose headers are all that is wanted.
    pub target: Option<TargetKind>,
    /// Where requests may be sent. Without a list, only dangerous IP literals from a resolver are refused.
    pub allowed_targets: Option<Arc<AllowedTargets>>,
    /// How to handle a request that cannot be routed.
    pub on_error: OnError,
    /// Whether a request may go on untouched where Envoy would then send it to whatever host the client names.
    pub allow_untouched: bool,
    /// What the responses of a host are compared with, if they are.
    pub verify: Option<Verify>,
    /// Whether the headers that show the shard are set on the request.
    pub request_headers: bool,
    /// Whether they are set on the response too.
    pub response_headers: bool,
    /// The namespace of route and cluster metadata that holds live values.
    pub metadata: Option<String>,
}

impl Config {
    /// Identifies the content: equal configurations share what is remembered under them.
    pub fn id(&self) -> u64 {
        fingerprint(self)
    }

    /// Whether a target makes Envoy connect to the host that the request names. A request without its target is then
    /// sent to whatever host the client names.
    pub fn picks_by_host(&self) -> bool {
        let fallback = match &self.strategy {
            Strategy::Resolve(_, fallback) => fallback.as_ref().map(|fallback| &fallback.target),
            Strategy::Index(_) | Strategy::ShuffleShard(_) => None,
        };
        self.target.iter().chain(fallback).any(|target| target.header().is_none())
    }
}

/// The source of runtime values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RuntimeConfig {
    /// The start of the names of all values, before a dot.
    pub prefix: String,
    /// The source.
    pub source: RuntimeSource,
}

/// A source of runtime values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RuntimeSource {
    /// Pushed by a server of the Runtime Discovery Service.
    Rtds(RtdsConfig),
    /// Polled from Envoy's admin interface.
    Admin(AdminConfig),
}

/// A server of the Runtime Discovery Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RtdsConfig {
    /// The Envoy cluster of the server.
    pub cluster: String,
    /// The `:authority` of the stream.
    pub authority: String,
    /// The name of the resource.
    pub resource: String,
}

/// How Envoy's admin interface is polled.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AdminConfig {
    /// The Envoy cluster that leads there.
    pub cluster: String,
    /// The interval between polls.
    pub refresh: Duration,
}

/// The cluster whose endpoint count is a live value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MembershipConfig {
    /// The cluster to count.
    pub cluster: String,
    /// How the count is polled.
    pub admin: AdminConfig,
}

/// How the host is found.
#[derive(Clone, Debug, PartialEq, Hash)]
pub enum Strategy {
    /// By calling a resolver, and by a formula if that fails.
    Resolve(ResolveConfig, Option<Fallback>),
    /// By the resolver's formula.
    Index(IndexConfig),
    /// By the shard of the key.
    ShuffleShard(ShuffleConfig),
}

/// The `resolve` strategy.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct ResolveConfig {
    /// The Envoy cluster.
    pub cluster: String,
    /// The `:authority` of the call.
    pub authority: String,
    /// The path; it may have a query.
    pub path: String,
    /// The parameter that carries the key, if it is not the key's own name.
    pub query: Option<String>,
    /// How long the response may take.
    pub timeout: Duration,
    /// How answers are cached, if they are.
    pub cache: Option<CacheConfig>,
    /// How many calls one worker may have in flight.
    pub max_in_flight: usize,
}

/// How answers are cached, in each worker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CacheConfig {
    /// How long an answer is cached.
    pub ttl: Duration,
    /// How many answers are cached.
    pub max_entries: usize,
    /// How long a failure is cached.
    pub negative_ttl: Duration,
    /// How long after `ttl` an answer is used while the resolver fails.
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

/// What to do when the resolver fails.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Fallback {
    /// The formula.
    pub index: IndexConfig,
    /// How Envoy is made to select the host.
    pub target: TargetKind,
}

/// The hosts.
#[derive(Clone, Debug, PartialEq, Hash)]
pub enum Hosts {
    /// Numbered from `base` on.
    Numbered {
        /// The number of hosts, unless a live value replaces it.
        count: u32,
        /// The number of the first host.
        base: u32,
    },
    /// Named by `host:port`.
    Named(Vec<String>),
}

impl Hosts {
    /// The placeholder for a host in templates.
    pub fn placeholder(&self) -> Placeholder {
        match self {
            Self::Numbered { .. } => Placeholder::Index,
            Self::Named(_) => Placeholder::Host,
        }
    }
}

/// The `index` strategy: the resolver's formula.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct IndexConfig {
    /// How the key becomes a number.
    pub mode: IndexMode,
    /// The hosts.
    pub hosts: Hosts,
}

/// The `shuffle_shard` strategy.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct ShuffleConfig {
    /// All hosts.
    pub hosts: Hosts,
    /// The number of hosts in a shard, unless a live value replaces it.
    pub shard_size: u32,
    /// How the hosts of a shard are chosen.
    pub algorithm: Algorithm,
    /// Which host of the shard gets a request.
    pub pick: Pick,
    /// A secret that makes shards unpredictable.
    pub seed: Option<String>,
}

/// Which host of a shard gets a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Pick {
    /// By a hash of the path with its query.
    #[default]
    Path,
    /// At random.
    Random,
    /// Each in turn, for each key and worker.
    RoundRobin,
    /// By a hash of this header, or of the path if a request does not have it.
    Header(String),
}

/// How to handle a request that cannot be routed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnError {
    /// Answer it with the error.
    #[default]
    Reject,
    /// Pass it on unchanged.
    Continue,
}

/// One line for the log, without the seed.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {}, ", self.key.name())?;
        if let Some(prefix) = &self.path_prefix {
            write!(f, "path prefix {prefix}, ")?;
        }
        match &self.strategy {
            Strategy::Resolve(resolve, fallback) => {
                let fallback = if fallback.is_some() { ", fallback to index" } else { "" };
                write!(f, "resolve by {}{}{fallback}", resolve.cluster, resolve.path)
            }
            Strategy::Index(index) => write!(f, "index of {}", index.hosts),
            Strategy::ShuffleShard(shuffle) => {
                write!(f, "shuffle shards of {} out of {}", shuffle.shard_size, shuffle.hosts)
            }
        }
    }
}

impl fmt::Display for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numbered { count, base } => write!(f, "{count} hosts numbered from {base}"),
            Self::Named(names) => write!(f, "{} named hosts", names.len()),
        }
    }
}
