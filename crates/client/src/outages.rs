//! When hosts failed, and when they were back.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::report::{Outage, seconds};

/// Hosts to remember at most: a server may name any number.
const LIMIT: usize = 100;

/// The failures of each host, in the time since the start of the run.
#[derive(Debug, Default)]
pub struct Outages {
    down: BTreeMap<String, Down>,
    /// When the last request to each host that succeeded began.
    ok: BTreeMap<String, Duration>,
}

/// When a request began and ended.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Its start.
    pub began: Duration,
    /// Its end.
    pub ended: Duration,
}

#[derive(Debug)]
struct Down {
    failures: u64,
    /// When the first request that failed began.
    first_began: Duration,
    /// When the last request that failed began.
    last_began: Duration,
    first: Duration,
    last: Duration,
    /// The first success after the last failure.
    back: Option<Duration>,
    /// If others succeeded since the first of these requests began, and before one of them failed.
    intermittent: bool,
}

impl Outages {
    /// A request to this host failed.
    pub fn failed(&mut self, host: &str, Span { began, ended }: Span) {
        if !self.down.contains_key(host) {
            if self.down.len() >= LIMIT {
                return;
            }
            let down = Down {
                failures: 0,
                first_began: began,
                last_began: began,
                first: ended,
                last: ended,
                back: None,
                intermittent: false,
            };
            self.down.insert(host.to_owned(), down);
        }
        if let Some(down) = self.down.get_mut(host) {
            down.failures += 1;
            down.first_began = down.first_began.min(began);
            down.last_began = down.last_began.max(began);
            down.first = down.first.min(ended);
            down.last = down.last.max(ended);
            down.intermittent |= self.ok.get(host).is_some_and(|ok| *ok > down.first_began);
            // Results may arrive in another order than they were made in.
            down.back = down.back.filter(|back| *back > down.last);
        }
    }

    /// A request to this host succeeded.
    pub fn succeeded(&mut self, host: &str, Span { began, ended }: Span) {
        if let Some(ok) = self.ok.get_mut(host) {
            *ok = began.max(*ok);
        } else if self.ok.len() < LIMIT {
            self.ok.insert(host.to_owned(), began);
        }
        if let Some(down) = self.down.get_mut(host)
            && ended > down.last
            && down.back.is_none_or(|back| back > ended)
        {
            down.back = Some(ended);
        }
    }

    /// One outage for each host that failed.
    pub fn report(self) -> Vec<Outage> {
        let ok = self.ok;
        let outage = |(host, down): (String, Down)| Outage {
            intermittent: down.intermittent,
            recovered: down.back.is_some() || ok.get(&host).is_some_and(|ok| *ok > down.last_began),
            host,
            failures: down.failures,
            first_failure_seconds: seconds(down.first),
            last_failure_seconds: seconds(down.last),
            time_to_recover_seconds: down.back.map(|back| seconds(back.saturating_sub(down.last))),
            outage_seconds: down.back.map(|back| seconds(back.saturating_sub(down.first))),
        };
        self.down.into_iter().map(outage).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of requests that take no time.
    fn after(events: &[(bool, u64)]) -> Vec<Outage> {
        let events: Vec<_> = events.iter().map(|(success, at)| (*success, *at, *at)).collect();
        of(&events)
    }

    /// What comes of requests that succeed or not, with their start and their end.
    fn of(events: &[(bool, u64, u64)]) -> Vec<Outage> {
        let mut outages = Outages::default();
        for (success, began, ended) in events {
            let [began, ended] = [*began, *ended].map(Duration::from_millis);
            let time = Span { began, ended };
            if *success { outages.succeeded("a:1", time) } else { outages.failed("a:1", time) }
        }
        outages.report()
    }

    fn times(events: &[(bool, u64)]) -> (f64, f64, Option<f64>, Option<f64>) {
        let outages = after(events);
        let [one] = outages.as_slice() else { panic!("{outages:?}") };
        (one.first_failure_seconds, one.last_failure_seconds, one.time_to_recover_seconds, one.outage_seconds)
    }

    #[test]
    fn a_host_recovers_with_the_first_success_after_its_last_failure() {
        assert!(after(&[(true, 1), (true, 2)]).is_empty());
        assert_eq!(times(&[(true, 1), (false, 2000)]), (2.0, 2.0, None, None));
        let recovered = [(false, 2000), (false, 3000), (true, 3500), (true, 4000)];
        assert_eq!(times(&recovered), (2.0, 3.0, Some(0.5), Some(1.5)));
        let again = [(false, 2000), (true, 2500), (false, 3000), (true, 3250)];
        assert_eq!(times(&again), (2.0, 3.0, Some(0.25), Some(1.25)));
        let failed_again = [(false, 2000), (true, 2500), (false, 3000)];
        assert_eq!(times(&failed_again), (2.0, 3.0, None, None));
    }

    #[test]
    fn the_order_of_arrival_does_not_matter() {
        let late_failure = [(false, 2000), (true, 2500), (false, 2400)];
        assert_eq!(times(&late_failure), (2.0, 2.4, Some(0.1), Some(0.5)));
        let late_success = [(false, 2000), (true, 1900)];
        assert_eq!(times(&late_success), (2.0, 2.0, None, None));
    }

    #[test]
    fn one_failure_among_successes_is_intermittent() {
        let state = |events: &[(bool, u64, u64)]| {
            let outages = of(events);
            (outages[0].intermittent, outages[0].recovered)
        };
        // The last one to end is a timeout, and others have been answered since it began.
        assert_eq!(
            state(&[(true, 0, 1), (true, 100, 101), (true, 900, 901), (false, 50, 5050)]),
            (true, true)
        );
        assert_eq!(state(&[(false, 1, 2), (true, 3, 4), (false, 5, 6), (true, 7, 8)]), (true, true));
        assert_eq!(state(&[(false, 1, 2), (true, 3, 4), (false, 5, 6)]), (true, false));
        assert_eq!(state(&[(true, 1, 2), (false, 3, 4), (false, 5, 6)]), (false, false));
        assert_eq!(state(&[(false, 3, 4), (false, 5, 6), (true, 7, 8)]), (false, true));
    }

    #[test]
    fn the_number_of_hosts_is_bounded() {
        let mut outages = Outages::default();
        let time = Span { began: Duration::ZERO, ended: Duration::ZERO };
        (0..1000).for_each(|host| outages.failed(&host.to_string(), time));
        assert_eq!(outages.report().len(), LIMIT);
    }
}
