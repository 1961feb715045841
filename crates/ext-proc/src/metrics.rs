//! What is counted, as Prometheus text: the filter's own counters and gauges.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use pinroute_core::decision::Verdict;
use pinroute_core::metrics::{Counter, Gauge, Recorder};

/// The content type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4";

/// A counter that only this service has.
const UNSEEN_RESPONSES: &str = "pinroute_ext_proc_unseen_responses";

/// So many clients do not leave before any response was seen.
const MISSED_IN_A_ROW: u64 = 10;

/// The values of gauges, by their names.
pub type Gauges = BTreeMap<String, u64>;

/// All counters and gauges.
#[derive(Debug)]
pub struct Metrics {
    counters: [AtomicU64; Counter::COUNT],
    gauges: Mutex<Gauges>,
    seen: AtomicU64,
    missed: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        let gauges = Gauge::ALL.map(|gauge| (gauge.name().to_owned(), 0)).into();
        Self {
            counters: std::array::from_fn(|_| AtomicU64::new(0)),
            gauges: Mutex::new(gauges),
            seen: AtomicU64::new(0),
            missed: AtomicU64::new(0),
        }
    }
}

impl Metrics {
    /// Increments a counter by one.
    pub fn count(&self, counter: Counter) {
        if let Some(count) = self.counters.get(counter.index()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A request was decided.
    pub fn decided(&self, verdict: &Verdict) {
        verdict.counters().for_each(|counter| self.count(counter));
    }

    /// Envoy showed a response that matters.
    pub fn response_seen(&self) {
        self.seen.fetch_add(1, Ordering::Relaxed);
    }

    /// Envoy did not show a response that matters. Returns whether it is time to say so: once, if it never showed any.
    pub fn response_missed(&self) -> bool {
        let missed = self.missed.fetch_add(1, Ordering::Relaxed) + 1;
        missed == MISSED_IN_A_ROW && self.seen.load(Ordering::Relaxed) == 0
    }

    /// Shows what the core recorded.
    pub fn flush(&self, recorder: &mut Recorder) {
        recorder.counted().for_each(|counter| self.count(counter));
        let mut gauges = self.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        for (gauge, name_of_source, value) in recorder.gauges() {
            gauges.insert(gauge.name().to_owned(), value);
            gauges.insert(name_of_source, value);
        }
    }

    /// All of it.
    pub fn text(&self) -> String {
        let counters = Counter::all().map(|counter| {
            let count = self.counters.get(counter.index());
            (counter.name(), count.map_or(0, |count| count.load(Ordering::Relaxed)))
        });
        let unseen = (UNSEEN_RESPONSES.to_owned(), self.missed.load(Ordering::Relaxed));
        let mut text = String::new();
        for (name, value) in counters.chain([unseen]) {
            let name = plain(&name);
            // Writing to a text cannot fail.
            let _ = writeln!(text, "# TYPE {name}_total counter\n{name}_total {value}");
        }
        let gauges = self.gauges.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (name, value) in gauges {
            let name = plain(&name);
            let _ = writeln!(text, "# TYPE {name} gauge\n{name} {value}");
        }
        text
    }
}

/// A name as Prometheus allows it.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pinroute_core::rejection::Rejection;

    #[test]
    fn every_counter_is_shown_under_a_plain_name() {
        let metrics = Metrics::default();
        let rejection = Rejection::MissingKey("id".to_owned());
        metrics.decided(&Verdict::Reject(rejection.clone(), 400));
        metrics.decided(&Verdict::Continue(rejection));
        let text = metrics.text();
        for line in [
            "pinroute_rejected_missing_key_total 1",
            "pinroute_continued_missing_key_total 1",
            "pinroute_passed_total 1",
            "pinroute_cache_hit_total 0",
            "pinroute_runtime_connected 0",
            "pinroute_ext_proc_unseen_responses_total 0",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is not in {text}");
        }
    }
}
