//! Why a request is refused, and how the refusal is answered.

use std::borrow::Cow;

/// Why a request is not sent to a host. Status and body are part of the contract with clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The request has no key; holds the key's configured name.
    MissingKey(String),
    /// The key cannot be used; holds the key's configured name.
    InvalidKey(String),
    /// The resolver call failed without a response.
    CalloutFailed,
    /// The resolver responded with this status instead of 200.
    ResolverStatus(u16),
    /// Nobody owns the key: the resolver responded with this status.
    NotFound(u16),
    /// The resolver's response lacks something; holds what.
    NoHostport(Cow<'static, str>),
    /// The target is malformed or not allowed.
    TargetNotAllowed,
    /// The worker has as many resolver calls in flight as it may have.
    Overloaded,
    /// No endpoint of the cluster is known, so nobody can tell which ones are the key's.
    NoEndpoints,
    /// No host of the key's shard is healthy.
    ShardDown,
    /// The route's own configuration is invalid.
    RouteConfig,
    /// The filter is disabled by runtime, and Envoy would go wherever the client says.
    Disabled,
}

/// The kinds of [`Rejection`], which metrics count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// [`Rejection::MissingKey`]
    MissingKey,
    /// [`Rejection::InvalidKey`]
    InvalidKey,
    /// [`Rejection::CalloutFailed`]
    CalloutFailed,
    /// [`Rejection::ResolverStatus`]
    ResolverStatus,
    /// [`Rejection::NotFound`]
    NotFound,
    /// [`Rejection::NoHostport`]
    NoHostport,
    /// [`Rejection::TargetNotAllowed`]
    TargetNotAllowed,
    /// [`Rejection::Overloaded`]
    Overloaded,
    /// [`Rejection::NoEndpoints`]
    NoEndpoints,
    /// [`Rejection::ShardDown`]
    ShardDown,
    /// [`Rejection::RouteConfig`]
    RouteConfig,
    /// [`Rejection::Disabled`]
    Disabled,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 12] = [
        Self::MissingKey,
        Self::InvalidKey,
        Self::CalloutFailed,
        Self::ResolverStatus,
        Self::NotFound,
        Self::NoHostport,
        Self::TargetNotAllowed,
        Self::Overloaded,
        Self::NoEndpoints,
        Self::ShardDown,
        Self::RouteConfig,
        Self::Disabled,
    ];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::MissingKey => "missing_key",
            Self::InvalidKey => "invalid_key",
            Self::CalloutFailed => "callout_failed",
            Self::ResolverStatus => "resolver_status",
            Self::NotFound => "not_found",
            Self::NoHostport => "no_hostport",
            Self::TargetNotAllowed => "target_not_allowed",
            Self::Overloaded => "overloaded",
            Self::NoEndpoints => "no_endpoints",
            Self::ShardDown => "shard_down",
            Self::RouteConfig => "route_config",
            Self::Disabled => "disabled",
        }
    }
}

impl Rejection {
    /// The reason under which it is counted.
    pub fn reason(&self) -> Reason {
        match self {
            Self::MissingKey(_) => Reason::MissingKey,
            Self::InvalidKey(_) => Reason::InvalidKey,
            Self::CalloutFailed => Reason::CalloutFailed,
            Self::ResolverStatus(_) => Reason::ResolverStatus,
            Self::NotFound(_) => Reason::NotFound,
            Self::NoHostport(_) => Reason::NoHostport,
            Self::TargetNotAllowed => Reason::TargetNotAllowed,
            Self::Overloaded => Reason::Overloaded,
            Self::NoEndpoints => Reason::NoEndpoints,
            Self::ShardDown => Reason::ShardDown,
            Self::RouteConfig => Reason::RouteConfig,
            Self::Disabled => Reason::Disabled,
        }
    }

    /// The HTTP status of the answer.
    pub fn status(&self) -> u16 {
        match self {
            Self::MissingKey(_) | Self::InvalidKey(_) => 400,
            Self::CalloutFailed
            | Self::ResolverStatus(_)
            | Self::NotFound(_)
            | Self::NoHostport(_)
            | Self::TargetNotAllowed => 502,
            Self::Overloaded | Self::NoEndpoints | Self::ShardDown | Self::Disabled => 503,
            Self::RouteConfig => 500,
        }
    }

    /// The body of the answer, plain text.
    pub fn body(&self) -> Cow<'static, str> {
        match self {
            Self::MissingKey(name) => Cow::Owned(format!("missing {name}")),
            Self::InvalidKey(name) => Cow::Owned(format!("invalid {name}")),
            Self::CalloutFailed => Cow::Borrowed("resolver httpCall failed"),
            Self::ResolverStatus(status) | Self::NotFound(status) => {
                Cow::Owned(format!("resolver returned {status}"))
            }
            Self::NoHostport(what) => Cow::Owned(format!("no {what} in resolver body")),
            Self::TargetNotAllowed => Cow::Borrowed("target not allowed"),
            Self::Overloaded => Cow::Borrowed("resolver overloaded"),
            Self::NoEndpoints => Cow::Borrowed("no endpoints known"),
            Self::ShardDown => Cow::Borrowed("no healthy host in the shard"),
            Self::RouteConfig => Cow::Borrowed("the configuration of this route is wrong"),
            Self::Disabled => Cow::Borrowed("pinroute disabled"),
        }
    }

    /// Whether the resolver failed, as opposed to having answered that the key has no host.
    pub(crate) fn is_resolver_failure(&self) -> bool {
        match self {
            Self::CalloutFailed | Self::NoHostport(_) | Self::Overloaded | Self::ResolverStatus(_) => true,
            Self::NotFound(_)
            | Self::MissingKey(_)
            | Self::InvalidKey(_)
            | Self::TargetNotAllowed
            | Self::NoEndpoints
            | Self::ShardDown
            | Self::RouteConfig
            | Self::Disabled => false,
        }
    }
}
