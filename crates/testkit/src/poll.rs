//! Waits for a condition, without sleeping longer than needed.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// The time between two tries: short compared with what tests wait for (processes, DNS, counters), and long compared
/// with the time of a try.
const INTERVAL: Duration = Duration::from_millis(10);

/// Calls `probe` every 10 ms until it gives a value.
///
/// While the condition is not met, `probe` returns the value it saw as its error, for instance
/// `Err(format!("{count} of 3 requests"))`.
///
/// # Errors
/// After `deadline`, with the last value that the probe saw.
pub fn eventually<T>(deadline: Duration, mut probe: impl FnMut() -> Result<T, String>) -> Result<T> {
    let start = Instant::now();
    loop {
        match probe() {
            Ok(value) => return Ok(value),
            Err(seen) if start.elapsed() >= deadline => {
                bail!("not within {:.1} s; last seen: {seen}", deadline.as_secs_f64())
            }
            Err(_) => thread::sleep(INTERVAL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_first_value() {
        let mut tries = 0;
        let value = eventually(Duration::from_secs(5), || {
            tries += 1;
            if tries == 3 { Ok(tries) } else { Err(tries.to_string()) }
        });
        assert_eq!(value.unwrap(), 3);
    }

    #[test]
    fn fails_with_the_last_value_seen() {
        let mut tries = 0;
        let error = eventually(Duration::from_millis(30), || -> Result<(), String> {
            tries += 1;
            Err(format!("try {tries}"))
        })
        .unwrap_err()
        .to_string();
        assert_eq!(error, format!("not within 0.0 s; last seen: try {tries}"));
    }
}
