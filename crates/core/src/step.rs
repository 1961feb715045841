//! What is to be done with a request, and how a refused one is answered.

use std::borrow::Cow;

/// The next thing to do with a request. Whoever holds the request carries it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is no concern of ours: leave it as it came.
    Pass,
    /// Send it to its instance.
    Route(Target),
    /// Ask the resolver, and come back with its [`Answer`].
    Ask(Question),
    /// Answer it without sending it on.
    Reject(Rejection),
    /// It failed, but `on_error: continue` lets it go on as it came.
    Continue(Rejection),
}

/// The change to a request that makes Envoy pick its instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A new `:authority`.
    Authority(String),
}

/// A GET request to the resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Path and query.
    pub path: String,
}

/// What came back from the resolver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'b> {
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
}

impl Rejection {
    /// The names of all reasons, as [`Self::reason`] gives them.
    pub const REASONS: [&'static str; 7] = [
        "missing_key",
        "invalid_key",
        "callout_failed",
        "resolver_status",
        "no_hostport",
        "target_not_allowed",
        "overloaded",
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
        }
    }

    /// The HTTP status of the answer.
    pub fn status(&self) -> u16 {
        match self {
            Self::MissingKey(_) | Self::InvalidKey(_) => 400,
            Self::CalloutFailed | Self::ResolverStatus(_) | Self::NoHostport | Self::TargetNotAllowed => 502,
            Self::Overloaded => 503,
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
        }
    }
}
