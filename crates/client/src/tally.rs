//! Counts requests as they end.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ask::{Cause, Endpoint};
use crate::histogram::Latencies;
use crate::host::Host;
use crate::options::Error;
use crate::outages::{Outages, Span};
use crate::report::{Failure, Misroute, Report};

/// Misrouted and failed requests to describe, of each kind.
const DESCRIBED: usize = 5;
/// Different hosts and causes to count: a server may answer anything.
const NAMES: usize = 100;
/// The rest.
const OTHERS: &str = "others";

/// A request that has ended.
#[derive(Debug)]
pub struct Checked {
    /// The client id.
    pub client: String,
    /// The time from the start of the run to that of the request.
    pub began: Duration,
    /// The time from the start of the run to the end of the request.
    pub at: Duration,
    /// What came of it.
    pub verdict: Verdict,
}

/// What came of a request.
#[derive(Debug)]
pub enum Verdict {
    /// Both responses came.
    Landed {
        /// The host that answered `/join`.
        host: Host,
        /// The owner.
        owner: Host,
        /// If the owner changed after the first call of `/where`.
        moved: bool,
        /// How long it took.
        took: Took,
    },
    /// A response is missing.
    Failed {
        /// The owner, unless `/where` failed.
        owner: Option<Host>,
        /// Why.
        cause: Cause,
    },
}

/// How long the parts of a request took.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    /// `/where`.
    pub locate: Duration,
    /// `/join`.
    pub join: Duration,
    /// From the scheduled start to the end of `/join`.
    pub all: Duration,
}

/// How far a run is.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Progress {
    /// From 0 to 1.
    pub fraction: f64,
    /// Requests that have ended.
    pub requests: u64,
    /// Those that reached another host than their owner.
    pub misrouted: u64,
    /// Those without two usable responses.
    pub failed: u64,
}

/// The counts so far.
#[derive(Debug)]
pub struct Tally {
    report: Report,
    /// Whether any call had a response.
    is_answered: bool,
    outages: Outages,
    all: Latencies,
    locate: Latencies,
    join: Latencies,
}

impl Tally {
    /// Without a request yet.
    pub fn new(url: String) -> Result<Self, Error> {
        Ok(Self {
            report: Report { url, ..Report::default() },
            is_answered: false,
            outages: Outages::default(),
            all: Latencies::new()?,
            locate: Latencies::new()?,
            join: Latencies::new()?,
        })
    }

    /// Counts a request.
    pub fn add(&mut self, Checked { client, began, at, verdict }: Checked) {
        self.report.requests += 1;
        let time = Span { began, ended: at };
        match verdict {
            Verdict::Landed { host, owner, moved, took } => {
                self.is_answered = true;
                self.all.add(took.all);
                self.locate.add(took.locate);
                self.join.add(took.join);
                self.outages.succeeded(Endpoint::Where.path(), time);
                count(&mut self.report.hosts, host.to_string());
                if host == owner {
                    self.report.moved += u64::from(moved);
                    self.outages.succeeded(&owner.to_string(), time);
                } else {
                    self.report.misrouted += 1;
                    let (expected, actual) = (owner.to_string(), host.to_string());
                    describe(&mut self.report.misroutes, Misroute { client, expected, actual });
                }
            }
            Verdict::Failed { owner, cause } => {
                self.report.failed += 1;
                self.is_answered |= owner.is_some() || cause.is_response();
                let (expected, cause) = (owner.map(|owner| owner.to_string()), cause.to_string());
                if expected.is_some() {
                    self.outages.succeeded(Endpoint::Where.path(), time);
                }
                self.outages.failed(expected.as_deref().unwrap_or(Endpoint::Where.path()), time);
                count(&mut self.report.causes, cause.clone());
                describe(&mut self.report.failures, Failure { client, expected, cause });
            }
        }
    }

    /// The counts so far, at this part of the run.
    pub fn progress(&self, fraction: f64) -> Progress {
        let Report { requests, misrouted, failed, .. } = self.report;
        Progress { fraction: fraction.clamp(0.0, 1.0), requests, misrouted, failed }
    }

    /// The result. What only the run knows is still missing.
    pub fn report(self) -> Report {
        Report {
            is_silent: self.report.failed > 0 && !self.is_answered,
            outages: self.outages.report(),
            latency_ms: self.all.percentiles(),
            where_ms: self.locate.percentiles(),
            join_ms: self.join.percentiles(),
            ..self.report
        }
    }
}

fn count(counts: &mut BTreeMap<String, u64>, name: String) {
    let name = if counts.len() < NAMES || counts.contains_key(&name) { name } else { OTHERS.to_owned() };
    *counts.entry(name).or_default() += 1;
}

fn describe<T>(described: &mut Vec<T>, one: T) {
    if described.len() < DESCRIBED {
        described.push(one);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_counted_up_to_a_limit() {
        let mut counts = BTreeMap::new();
        (0..2 * NAMES).for_each(|name| count(&mut counts, name.to_string()));
        count(&mut counts, "7".to_owned());
        assert_eq!(counts.len(), NAMES + 1);
        assert_eq!((counts["7"], counts[OTHERS]), (2, 100));
    }

    #[test]
    fn a_failed_join_is_an_outage_of_its_owner_and_not_of_where() {
        let mut tally = Tally::new(String::new()).unwrap();
        let failed = |owner, millis| Checked {
            client: "7".to_owned(),
            began: Duration::from_millis(millis - 200),
            at: Duration::from_millis(millis),
            verdict: Verdict::Failed {
                owner,
                cause: Cause::Timeout { path: "/join", after: Duration::from_millis(200) },
            },
        };
        tally.add(failed(None, 1000));
        tally.add(failed(Host::parse("a:1"), 1500));
        let report = tally.report();
        let outages: Vec<_> =
            report.outages.iter().map(|one| (one.host.as_str(), one.time_to_recover_seconds)).collect();
        assert_eq!(outages, [("/where", Some(0.5)), ("a:1", None)]);
        assert_eq!((report.failed, report.causes["timeout of /join after 200ms"]), (2, 2));
        assert_eq!(report.latency_ms, None);
    }
}
