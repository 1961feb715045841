//! When hosts failed, and when they were back.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::report::{Outage, seconds};

/// Hosts to remember at most: a server may name any number.
const LIMIT: usize = 100;

/// The failures of each host, in the time since the start of the run.
#[derive(Debug, Default)]
pub struct Outages(BTreeMap<String, Down>);

#[derive(Debug)]
struct Down {
    failures: u64,
    first: Duration,
    last: Duration,
    /// The first success after the last failure.
    back: Option<Duration>,
}

impl Outages {
    /// A request to this host failed.
    pub fn failed(&mut self, host: &str, at: Duration) {
        if !self.0.contains_key(host) {
            if self.0.len() < LIMIT {
                self.0.insert(host.to_owned(), Down { failures: 1, first: at, last: at, back: None });
            }
        } else if let Some(down) = self.0.get_mut(host) {
            down.failures += 1;
            down.first = down.first.min(at);
            down.last = down.last.max(at);
            // Results may arrive in another order than they were made in.
            down.back = down.back.filter(|back| *back > down.last);
        }
    }

    /// A request to this host succeeded.
    pub fn succeeded(&mut self, host: &str, at: Duration) {
        if let Some(down) = self.0.get_mut(host)
            && at > down.last
            && down.back.is_none_or(|back| back > at)
        {
            down.back = Some(at);
        }
    }

    /// One outage for each host that failed.
    pub fn report(self) -> Vec<Outage> {
        let outage = |(host, down): (String, Down)| Outage {
            host,
            failures: down.failures,
            first_failure_seconds: seconds(down.first),
            last_failure_seconds: seconds(down.last),
            time_to_recover_seconds: down.back.map(|back| seconds(back.saturating_sub(down.last))),
            outage_seconds: down.back.map(|back| seconds(back.saturating_sub(down.first))),
        };
        self.0.into_iter().map(outage).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(events: &[(bool, u64)]) -> Vec<Outage> {
        let mut outages = Outages::default();
        for (success, at) in events {
            let at = Duration::from_millis(*at);
            if *success { outages.succeeded("a:1", at) } else { outages.failed("a:1", at) }
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
    fn the_number_of_hosts_is_bounded() {
        let mut outages = Outages::default();
        (0..1000).for_each(|host| outages.failed(&host.to_string(), Duration::ZERO));
        assert_eq!(outages.report().len(), LIMIT);
    }
}
