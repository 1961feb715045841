//! What is counted. Adapters show it under the names given here.

use crate::rejection::Reason;

/// A counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Requests that reached the filter.
    Requests,
    /// Requests sent to their host.
    Routed,
    /// Requests passed on unrouted.
    Passed,
    /// Requests answered with an error.
    Rejected(Reason),
    /// Requests that could not be routed and were passed on because of `on_error: continue`.
    Continued(Reason),
    /// Requests whose client left while they waited for the resolver.
    Abandoned,
    /// Requests that joined a resolver call made for another request.
    Coalesced,
    /// Requests answered from the cache.
    CacheHit,
    /// Requests that the cache had no answer for.
    CacheMiss,
    /// Requests answered with an expired answer because the resolver fails.
    CacheStale,
    /// Requests answered with a cached failure.
    CacheNegative,
    /// Resolver calls answered with 200.
    ResolverOk,
    /// Resolver calls that failed or were answered with another status.
    ResolverError,
    /// Resolver calls answered with 504, Envoy's status for a call that took too long.
    ResolverTimeout,
    /// Updates of runtime values that were applied.
    RuntimeUpdates,
    /// Live values, and whole updates, that were refused.
    RuntimeInvalid,
    /// Changes of the endpoints of a cluster that took effect.
    EndpointUpdates,
    /// Polls, messages and streams that gave no endpoints. The last ones stay in use.
    EndpointFailures,
    /// Responses of another host than the one that the request was sent to.
    Misrouted,
    /// Responses that do not say which host they come from.
    Unverified,
}

impl Counter {
    /// All counters.
    pub fn all() -> impl Iterator<Item = Self> {
        let plain = [
            Self::Requests,
            Self::Routed,
            Self::Passed,
            Self::Abandoned,
            Self::Coalesced,
            Self::CacheHit,
            Self::CacheMiss,
            Self::CacheStale,
            Self::CacheNegative,
            Self::ResolverOk,
            Self::ResolverError,
            Self::ResolverTimeout,
            Self::RuntimeUpdates,
            Self::RuntimeInvalid,
            Self::EndpointUpdates,
            Self::EndpointFailures,
            Self::Misrouted,
            Self::Unverified,
        ];
        let rejected = Reason::ALL.map(Self::Rejected);
        plain.into_iter().chain(rejected).chain(Reason::ALL.map(Self::Continued))
    }

    /// The number of counters, one above the highest [`Self::index`].
    pub const COUNT: usize = 18 + 2 * Reason::ALL.len();

    /// The place in a table of all counters.
    pub fn index(self) -> usize {
        match self {
            Self::Requests => 0,
            Self::Routed => 1,
            Self::Passed => 2,
            Self::Abandoned => 3,
            Self::Coalesced => 4,
            Self::CacheHit => 5,
            Self::CacheMiss => 6,
            Self::CacheStale => 7,
            Self::CacheNegative => 8,
            Self::ResolverOk => 9,
            Self::ResolverError => 10,
            Self::ResolverTimeout => 11,
            Self::RuntimeUpdates => 12,
            Self::RuntimeInvalid => 13,
            Self::EndpointUpdates => 14,
            Self::EndpointFailures => 15,
            Self::Misrouted => 16,
            Self::Unverified => 17,
            Self::Rejected(reason) => 18 + reason as usize,
            Self::Continued(reason) => 18 + Reason::ALL.len() + reason as usize,
        }
    }

    /// The name.
    pub fn name(self) -> String {
        let name = match self {
            Self::Requests => "requests",
            Self::Routed => "routed",
            Self::Passed => "passed",
            Self::Abandoned => "abandoned",
            Self::Coalesced => "coalesced",
            Self::CacheHit => "cache.hit",
            Self::CacheMiss => "cache.miss",
            Self::CacheStale => "cache.stale",
            Self::CacheNegative => "cache.negative",
            Self::ResolverOk => "resolver.ok",
            Self::ResolverError => "resolver.error",
            Self::ResolverTimeout => "resolver.timeout",
            Self::RuntimeUpdates => "runtime.updates",
            Self::RuntimeInvalid => "runtime.invalid",
            Self::EndpointUpdates => "endpoints.updates",
            Self::EndpointFailures => "endpoints.failures",
            Self::Misrouted => "misrouted",
            Self::Unverified => "unverified",
            Self::Rejected(reason) => return format!("pinroute_rejected.{}", reason.name()),
            Self::Continued(reason) => return format!("pinroute_continued.{}", reason.name()),
        };
        format!("pinroute_{name}")
    }
}

/// A gauge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gauge {
    /// The version of the runtime values: the server's if it is a number, else a count of the changes.
    RuntimeVersion,
    /// 1 while the source of runtime values can be reached, else 0.
    RuntimeConnected,
}

impl Gauge {
    /// All gauges.
    pub const ALL: [Self; 2] = [Self::RuntimeVersion, Self::RuntimeConnected];

    /// The name of the gauge that all sources set.
    pub fn name(self) -> &'static str {
        match self {
            Self::RuntimeVersion => "pinroute_runtime.version",
            Self::RuntimeConnected => "pinroute_runtime.connected",
        }
    }

    /// The name of the gauge of one source, such as `pinroute_runtime.connected.rtds.xds_cluster.runtime`.
    pub fn name_of(self, source: &str) -> String {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let source: String = source.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
        format!("{}.{source}", self.name())
    }
}

/// What happened since the adapter last took it.
#[derive(Debug, Default)]
pub struct Recorder {
    counted: Vec<Counter>,
    set: Vec<(Gauge, String, u64)>,
}

impl Recorder {
    pub(crate) fn count(&mut self, counter: Counter) {
        self.counted.push(counter);
    }

    pub(crate) fn set(&mut self, gauge: Gauge, source: &str, value: u64) {
        self.set.push((gauge, gauge.name_of(source), value));
    }

    /// The counters to increment by one, in order.
    pub fn counted(&mut self) -> impl Iterator<Item = Counter> + '_ {
        self.counted.drain(..)
    }

    /// The gauges to set, in order: each with the name of its source's own gauge, and the value for both.
    pub fn gauges(&mut self) -> impl Iterator<Item = (Gauge, String, u64)> + '_ {
        self.set.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_a_place_of_its_own() {
        let mut places: Vec<usize> = Counter::all().map(Counter::index).collect();
        places.sort_unstable();
        assert_eq!(places, (0..Counter::COUNT).collect::<Vec<_>>());
        assert_eq!(Counter::Rejected(Reason::NoHostport).name(), "pinroute_rejected.no_hostport");
    }
}
