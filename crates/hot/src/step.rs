//! What is to be done with a request, and how a refused one is answered.

use crate::live::Source;
use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

/// The next thing to do with a request. Whoever holds the request carries it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is no concern of ours: leave it as it came.
    Pass,
    /// Send it to its instance.
    Route(Route),
    /// Ask the resolver, and come back with its [`Answer`].
    Ask(Question),
    /// Answer it without sending it on.
    Reject(Rejection),
    /// It failed, but `on_error: continue` lets it go on as it came.
    Continue(Rejection),
}

/// Where a request goes, and what it is told about that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The instance.
    pub instance: Rc<Instance>,
    /// The shard that the instance was picked from, for the headers that show it.
    pub shard: Option<Rc<Shard>>,
    /// The numbers that went into it, where there were any.
    pub numbers: Option<Used>,
}

/// The numbers that went into a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// How many hosts or instances.
    pub count: Said,
    /// How many of them make a shard.
    pub shard_size: Option<Said>,
}

/// A number, and who said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// The number.
    pub value: u32,
    /// Who said it.
    pub source: Source,
}

impl From<(u32, Source)> for Said {
    fn from((value, source): (u32, Source)) -> Self {
        Self { value, source }
    }
}

impl fmt::Display for Used {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} instances by {}", self.count.value, self.count.source)?;
        match self.shard_size {
            Some(size) => write!(f, ", {} of them by {}", size.value, size.source),
            None => Ok(()),
        }
    }
}

/// One instance, with all that a request needs to get there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its number or name: what `x-target-host` says.
    pub label: String,
    /// The change to the request that leads there. None if the shard's headers are all that is wanted.
    pub target: Option<Target>,
}

/// The change to a request that makes Envoy pick its instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A new `:authority`.
    Authority(String),
    /// Envoy's filter state for the dynamic forward proxy; the `:authority` stays the client's.
    DynamicHost {
        /// The host; an IPv6 literal without brackets.
        host: String,
        /// The port in decimal; absent, Envoy takes the scheme's.
        port: Option<String>,
    },
    /// A request header that the route goes by.
    Header {
        /// Its name in lower case.
        name: String,
        /// Its value.
        value: String,
    },
}

/// The hosts that a key may use, with the texts that headers show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// The hosts, best first, by their number from 0 or their place in the list.
    pub members: Box<[u32]>,
    /// Out of how many they were chosen.
    pub total: u32,
    /// `x-shard-assignment`: numbers or names, separated by commas.
    pub assignment: String,
    /// `x-shard-config`: size and total, as `2/8`.
    pub config: String,
}

/// A GET request to the resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Path and query.
    pub path: String,
    /// The key, where a fallback may need it once the resolver has failed.
    pub key: Option<Box<[u8]>>,
}

/// What came of a question to the resolver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'b> {
    /// It was not asked: too many questions are under way.
    Overloaded,
    /// No answer at all: it could not be asked, or broke off.
    Failed,
    /// A whole response.
    Response {
        /// Its status code.
        status: u16,
        /// Its body, which may be anything.
        body: &'b [u8],
    },
}

/// Why a request is not sent to an instance. Status and body are part of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// There is no key; holds the key's configured name.
    MissingKey(String),
    /// The key is not fit to be used; holds the key's configured name.
    InvalidKey(String),
    /// The resolver gave no answer.
    CalloutFailed,
    /// The resolver answered with this status instead of 200.
    ResolverStatus(u16),
    /// The resolver's body names no instance.
    NoHostport,
    /// The instance is not well-formed, or not one that requests may be sent to.
    TargetNotAllowed,
    /// As many questions as may be are under way already.
    Overloaded,
    /// The route's own configuration is wrong.
    RouteConfig,
}

impl Rejection {
    /// The names of all reasons, as [`Self::reason`] gives them.
    pub const REASONS: [&'static str; 8] = [
        "missing_key",
        "invalid_key",
        "callout_failed",
        "resolver_status",
        "no_hostport",
        "target_not_allowed",
        "overloaded",
        "route_config",
    ];

    /// The name under which it is counted.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::MissingKey(_) => "missing_key",
            Self::InvalidKey(_) => "invalid_key",
            Self::CalloutFailed => "callout_failed",
            Self::ResolverStatus(_) => "resolver_status",
            Self::NoHostport => "no_hostport",
            Self::TargetNotAllowed => "target_not_allowed",
            Self::Overloaded => "overloaded",
            Self::RouteConfig => "route_config",
        }
    }

    /// The HTTP status of the answer.
    pub fn status(&self) -> u16 {
        match self {
            Self::MissingKey(_) | Self::InvalidKey(_) => 400,
            Self::CalloutFailed | Self::ResolverStatus(_) | Self::NoHostport | Self::TargetNotAllowed => 502,
            Self::Overloaded => 503,
            Self::RouteConfig => 500,
        }
    }

    /// The answer's body, plain text.
    pub fn body(&self) -> Cow<'static, str> {
        match self {
            Self::MissingKey(name) => Cow::Owned(format!("missing {name}")),
            Self::InvalidKey(name) => Cow::Owned(format!("invalid {name}")),
            Self::CalloutFailed => Cow::Borrowed("resolver httpCall failed"),
            Self::ResolverStatus(status) => Cow::Owned(format!("resolver returned {status}")),
            Self::NoHostport => Cow::Borrowed("no hostport in resolver body"),
            Self::TargetNotAllowed => Cow::Borrowed("target not allowed"),
            Self::Overloaded => Cow::Borrowed("resolver overloaded"),
            Self::RouteConfig => Cow::Borrowed("the configuration of this route is wrong"),
        }
    }
}
