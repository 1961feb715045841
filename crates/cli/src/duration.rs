//! Durations as options.

use std::time::Duration;

/// Reads `60s`, `0.5s`, `250ms`, `5m` or `1h`.
pub fn parse(text: &str) -> Result<Duration, &'static str> {
    const EXPECTED: &str = "not a duration such as 60s, 250ms or 5m, of at least 1ms and at most 24h";
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let read = |(unit, seconds): (&str, f64)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * seconds);
    let seconds = units.into_iter().find_map(read).filter(|seconds| (0.001..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or(EXPECTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_unit() {
        for (text, millis) in
            [("60s", 60_000), ("0.5s", 500), ("250ms", 250), ("5m", 300_000), ("1h", 3_600_000)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["60", "", "s", "-1s", "0s", "NaNs", "infs", "25h", "1 d"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
