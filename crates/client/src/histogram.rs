//! Latencies, with three significant digits.

use std::time::Duration;

use hdrhistogram::{CreationError, Histogram};

use crate::report::Percentiles;

/// Latencies in microseconds.
#[derive(Debug)]
pub struct Latencies(Histogram<u64>);

impl Latencies {
    /// Without a latency yet.
    pub fn new() -> Result<Self, CreationError> {
        // An hour and more counts as an hour; the memory is bounded.
        Histogram::new_with_max(3_600_000_000, 3).map(Self)
    }

    /// Adds one.
    pub fn add(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    /// The percentiles in milliseconds, if there is a latency.
    pub fn percentiles(&self) -> Option<Percentiles> {
        let millis = |micros: u64| micros.min(self.0.max()) as f64 / 1000.0;
        let at = |quantile| millis(self.0.value_at_quantile(quantile));
        let percentiles = || Percentiles {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: millis(self.0.max()),
        };
        (!self.0.is_empty()).then(percentiles)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_in_milliseconds() {
        let mut latencies = Latencies::new().unwrap();
        assert_eq!(latencies.percentiles(), None);
        (1..=1000).for_each(|millis| latencies.add(Duration::from_millis(millis)));
        let percentiles = latencies.percentiles().unwrap();
        let close = |value: f64, expected: f64| (value - expected).abs() <= expected / 1000.0;
        assert!(close(percentiles.p50, 500.0) && close(percentiles.p90, 900.0), "{percentiles:?}");
        assert!(close(percentiles.p99, 990.0) && close(percentiles.p999, 999.0), "{percentiles:?}");
        assert!(close(percentiles.max, 1000.0), "{percentiles:?}");
        latencies.add(Duration::from_secs(1 << 40));
        assert!(close(latencies.percentiles().unwrap().max, 3_600_000.0));
    }
}
