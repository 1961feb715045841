//! The result of a run. Its JSON is an interface: see docs/client.md.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

/// What came of the requests. A request is a call of `/where` and then one of `/join`, for one client.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Where the requests went.
    pub url: String,
    /// Whether the run came to its end, there was a request, and every one reached its owner.
    pub passed: bool,
    /// Requests that have ended.
    pub requests: u64,
    /// How many requests the run was to make; `None` if it makes as many as it can.
    pub planned: Option<u64>,
    /// Those that reached another host than their owner.
    pub misrouted: u64,
    /// Those without two usable responses.
    pub failed: u64,
    /// Those that reached the owner, which had changed after the first response of `/where`.
    pub moved: u64,
    /// Those that were due, but could not start before the end of the run.
    pub unsent: u64,
    /// If the run was stopped before its end.
    pub interrupted: bool,
    /// How long the run took.
    pub seconds: f64,
    /// How many requests each host answered.
    pub hosts: BTreeMap<String, u64>,
    /// From the start of a request, with a rate its scheduled start, to the end of the response of `/join`. As the
    /// next two, of requests that did not fail.
    pub latency_ms: Option<Percentiles>,
    /// Of `/where` alone, from its real start.
    pub where_ms: Option<Percentiles>,
    /// Of `/join` alone, from its real start.
    pub join_ms: Option<Percentiles>,
    /// How often each cause made a request fail.
    pub causes: BTreeMap<String, u64>,
    /// The first requests that were misrouted.
    pub misroutes: Vec<Misroute>,
    /// The first requests that failed.
    pub failures: Vec<Failure>,
    /// For each host with failures, when it failed and when it was back. A failure of `/where`, which names no host,
    /// counts for the host `/where`.
    pub outages: Vec<Outage>,
    /// If requests failed, and no call had a response.
    #[serde(skip)]
    pub(crate) is_silent: bool,
}

impl Report {
    /// Whether there was a request, and every one reached its owner.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.requests > 0 && self.misrouted == 0 && self.failed == 0
    }
}

/// Latencies in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    /// The median.
    pub p50: f64,
    /// 90 of 100 were as fast.
    pub p90: f64,
    /// 99 of 100 were as fast.
    pub p99: f64,
    /// 999 of 1000 were as fast.
    #[serde(rename = "p99.9")]
    pub p999: f64,
    /// The slowest.
    pub max: f64,
}

/// A request that reached another host than its owner.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Misroute {
    /// The client id.
    pub client: String,
    /// The owner, from `/where`.
    pub expected: String,
    /// The host that answered `/join`.
    pub actual: String,
}

/// A request that failed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failure {
    /// The client id.
    pub client: String,
    /// The owner, unless `/where` failed.
    pub expected: Option<String>,
    /// Why.
    pub cause: String,
}

/// The failures of one host. Times count from the start of the run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outage {
    /// The owner of the requests, or `/where`.
    pub host: String,
    /// How many requests failed.
    pub failures: u64,
    /// Whether others succeeded between the first failure and the last one.
    pub intermittent: bool,
    /// Whether a request succeeded that began after the last one that failed.
    pub recovered: bool,
    /// When the first one failed.
    pub first_failure_seconds: f64,
    /// When the last one failed.
    pub last_failure_seconds: f64,
    /// From the last failure to the next success; `None` if there was none.
    pub time_to_recover_seconds: Option<f64>,
    /// From the first failure to the success after the last one.
    pub outage_seconds: Option<f64>,
}

/// To the millisecond: what is finer says nothing.
pub(crate) fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}
