//! A validated configuration.

use super::ConfigError;
use crate::hash::fingerprint;
use crate::key::{Key, KeySource};
use crate::resolve::answer::AnswerConfig;
use crate::shard::Algorithm;
use crate::strategy::mode::IndexMode;
use crate::target::allowed::AllowedTargets;
use crate::target::{Host, TargetKind};
use crate::template::{Template, Values};
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
    /// The cluster whose endpoints are live values.
    pub membership: Option<MembershipConfig>,
}

impl PluginConfig {
    /// For adapters that cannot read Envoy's own runtime.
    ///
    /// # Errors
    /// If the configuration asks for that.
    pub fn without_own_runtime(self) -> Result<Self, ConfigError> {
        match &self.runtime {
            Some(RuntimeConfig { source: RuntimeSource::Envoy, .. }) => Err(ConfigError::new(
                "runtime.envoy",
                "only the dynamic module can read Envoy's runtime",
                "`rtds` or `admin`",
            )),
            _ => Ok(self),
        }
    }
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
    /// What happens to requests that are not routed.
    pub outcomes: Outcomes<Outcome>,
    /// What happens to a request if no host of its shard is healthy.
    pub on_shard_down: ShardDown,
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
        self.targets().any(|(_, target)| target.header().is_none())
    }

    /// All targets, each with the path of its field.
    pub fn targets(&self) -> impl Iterator<Item = (&'static str, &TargetKind)> {
        let fallback = match &self.strategy {
            Strategy::Resolve(_, Some(Fallback::Index(_, target) | Fallback::Template(target))) => {
                Some(target)
            }
            Strategy::Resolve(_, None)
            | Strategy::Index(_)
            | Strategy::ShuffleShard(_)
            | Strategy::Template => None,
        };
        let Outcomes { missing_key, not_found, error } = &self.outcomes;
        let targets = [
            ("target", self.target.as_ref()),
            ("fallback.target", fallback),
            ("on_missing_key.target", missing_key.target()),
            ("on_not_found.target", not_found.target()),
            ("on_error.target", error.target()),
        ];
        targets.into_iter().filter_map(|(path, target)| Some((path, target?)))
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
    Rtds(XdsConfig),
    /// Polled from Envoy's admin interface.
    Admin(AdminConfig),
    /// Read from Envoy's own runtime, by an adapter that can.
    Envoy,
}

/// A resource of an xDS server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct XdsConfig {
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

/// The cluster whose endpoints are live values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MembershipConfig {
    /// The cluster.
    pub cluster: String,
    /// The source.
    pub source: MembershipSource,
}

/// A source of endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MembershipSource {
    /// Their number alone, polled from Envoy's admin interface.
    Count(AdminConfig),
    /// Polled from Envoy's admin interface.
    Endpoints(AdminConfig),
    /// Pushed by a server of the Endpoint Discovery Service.
    Eds(XdsConfig),
}

/// How the host is found.
#[derive(Clone, Debug, PartialEq, Hash)]
pub enum Strategy {
    /// By calling a resolver, and by a formula if that fails.
    Resolve(Box<ResolveConfig>, Option<Fallback>),
    /// By the resolver's formula.
    Index(IndexConfig),
    /// By the shard of the key.
    ShuffleShard(ShuffleConfig),
    /// The target is made of the key alone.
    Template,
}

/// The `resolve` strategy.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct ResolveConfig {
    /// The Envoy cluster.
    pub cluster: String,
    /// The `:authority` of the call.
    pub authority: String,
    /// What is sent.
    pub call: CallConfig,
    /// What is wanted of the response.
    pub answer: AnswerConfig,
    /// The statuses that say that nobody owns the key.
    pub not_found: Vec<u16>,
    /// How long the response may take.
    pub timeout: Duration,
    /// How answers are cached, if they are.
    pub cache: Option<CacheConfig>,
    /// How many calls one worker may have in flight.
    pub max_in_flight: usize,
}

/// What is sent to a resolver.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CallConfig {
    /// The path; it may have a query.
    pub path: Template,
    /// The parameters for the parts of the key, in their order, each from its separator to its equals sign. None if the path or
    /// the body carries the key.
    pub params: Vec<String>,
    /// The body, which makes it a POST request.
    pub body: Option<Template>,
    /// More headers.
    pub headers: Vec<(String, Template)>,
    /// Headers of the request that are sent along.
    pub forward_headers: Vec<String>,
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
    /// The statuses of a host's response that drop the answer that led there.
    pub drop_on: Vec<u16>,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(5),
            max_entries: 10_000,
            negative_ttl: Duration::from_secs(1),
            stale_if_error: Duration::from_secs(60),
            drop_on: Vec::new(),
        }
    }
}

/// What to do when the resolver fails, and how Envoy is made to select the host then.
#[derive(Clone, Debug, PartialEq, Hash)]
pub enum Fallback {
    /// A formula.
    Index(IndexConfig, TargetKind),
    /// A target of the key alone.
    Template(TargetKind),
}

/// What happens to requests that are not routed, by the reason.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Outcomes<O> {
    /// They have no key.
    pub missing_key: O,
    /// Nobody owns the key.
    pub not_found: O,
    /// Anything else.
    pub error: O,
}

impl<O> Outcomes<O> {
    /// The same with each outcome changed.
    pub fn map<T>(self, mut change: impl FnMut(O) -> T) -> Outcomes<T> {
        Outcomes {
            missing_key: change(self.missing_key),
            not_found: change(self.not_found),
            error: change(self.error),
        }
    }
}

/// What happens to a request that is not routed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It is answered with the error, under this status if there is one.
    Reject(Option<u16>),
    /// It passes untouched.
    Continue,
    /// It is sent to this host.
    Target(TargetKind, Arc<Host>),
}

impl Outcome {
    fn target(&self) -> Option<&TargetKind> {
        match self {
            Self::Target(target, _) => Some(target),
            Self::Reject(_) | Self::Continue => None,
        }
    }
}

/// What happens to a request if no host of its shard is healthy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ShardDown {
    /// It is answered with the error `shard_down`.
    Reject,
    /// Its hosts are tried all the same: what is known of their health may be outdated.
    #[default]
    Try,
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
    /// By a list.
    Listed {
        /// The entries.
        names: Vec<String>,
        /// What they are.
        kind: Listed,
    },
    /// The endpoints that this Envoy cluster has at the time.
    Live {
        /// The cluster.
        cluster: String,
    },
}

/// What the entries of a list are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Listed {
    /// `host:port`
    HostPorts,
    /// Names
    Names,
}

impl Hosts {
    /// The number or name of the host at a place, counted from 0.
    pub fn name(&self, place: u32) -> String {
        match self {
            Self::Numbered { base, .. } => (u64::from(*base) + u64::from(place)).to_string(),
            Self::Listed { names, .. } => names.get(place as usize).cloned().unwrap_or_default(),
            Self::Live { .. } => place.to_string(),
        }
    }

    /// The number of hosts; 0 if only live values know it.
    pub fn count(&self) -> u32 {
        match self {
            Self::Numbered { count, .. } => *count,
            Self::Listed { names, .. } => u32::try_from(names.len()).unwrap_or(u32::MAX),
            Self::Live { .. } => 0,
        }
    }

    /// What the placeholders stand for at the host of this name.
    pub fn values<'v>(&self, name: &'v str, key: Option<&'v Key<'v>>) -> Values<'v> {
        let values = Values { key, ..Values::default() };
        match self {
            Self::Numbered { .. } => Values { index: Some(name), ..values },
            Self::Live { .. } => values,
            Self::Listed { kind: Listed::Names, .. } => Values { name: Some(name), ..values },
            Self::Listed { kind: Listed::HostPorts, .. } => {
                let (host, port) = name.rsplit_once(':').unwrap_or((name, ""));
                Values { hostport: Some(name), host: Some(host), port: Some(port), ..values }
            }
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

/// One line for the log, without the seed.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_single() {
            write!(f, "key {}, ", self.key.name())?;
        } else {
            write!(f, "key ({}), ", self.key.names().collect::<Vec<_>>().join(", "))?;
        }
        if let Some(prefix) = &self.path_prefix {
            write!(f, "path prefix {prefix}, ")?;
        }
        match &self.strategy {
            Strategy::Resolve(resolve, fallback) => {
                let fallback = match fallback {
                    Some(Fallback::Index(..)) => ", fallback to index",
                    Some(Fallback::Template(_)) => ", fallback to template",
                    None => "",
                };
                write!(f, "resolve by {}{}{fallback}", resolve.cluster, resolve.call.path.shown())
            }
            Strategy::Index(index) => write!(f, "index of {}", index.hosts),
            Strategy::Template => f.write_str("template"),
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
            Self::Listed { names, .. } => write!(f, "{} named hosts", names.len()),
            Self::Live { cluster } => write!(f, "the endpoints of {cluster}"),
        }
    }
}
