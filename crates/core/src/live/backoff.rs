//! When to try again: exponential back-off with jitter.

use crate::hash::Random;
use crate::time::Time;
use std::time::Duration;

/// The longest wait before the second attempt. Each attempt doubles it.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The wait between attempts.
#[derive(Debug)]
pub struct Backoff {
    random: Random,
    attempts: u32,
    next: Time,
}

impl Backoff {
    /// A back-off whose jitter comes from `random`.
    pub fn new(random: Random) -> Self {
        Self { random, attempts: 0, next: Time::default() }
    }

    /// Whether an attempt is due.
    pub fn is_due(&self, now: Time) -> bool {
        now >= self.next
    }

    /// The number of attempts since the last success.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// An attempt is made: the next one has to wait. Up to half of the wait is taken off at random, so that many
    /// proxies do not come back at once.
    pub fn attempt(&mut self, now: Time) {
        let longest = FIRST_WAIT.saturating_mul(1 << self.attempts.min(10)).min(LONGEST_WAIT);
        let half = usize::try_from(longest.as_millis() / 2).unwrap_or(usize::MAX);
        self.next = now + longest.saturating_sub(Duration::from_millis(self.random.below(half) as u64));
        self.attempts = self.attempts.saturating_add(1);
    }

    /// An attempt was successful.
    pub fn succeed(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_vary() {
        let mut backoff = Backoff::new(Random::new(1));
        let now = Time::from_millis(1_000);
        assert!(backoff.is_due(now));
        for longest in [200, 400, 800, 1600, 3200, 5000, 5000] {
            backoff.attempt(now);
            let earliest = now + Duration::from_millis(longest / 2);
            assert!(!backoff.is_due(earliest), "{longest}");
            assert!(backoff.is_due(now + Duration::from_millis(longest)), "{longest}");
        }
        assert_eq!(backoff.attempts(), 7);
        backoff.succeed();
        backoff.attempt(now);
        assert!(backoff.is_due(now + FIRST_WAIT));
    }

    #[test]
    fn two_proxies_wait_for_different_times() {
        let mut waits = [1, 2, 3].map(|seed| {
            let mut backoff = Backoff::new(Random::new(seed));
            backoff.attempt(Time::default());
            backoff.next.as_millis()
        });
        waits.sort_unstable();
        assert!(waits.windows(2).all(|pair| pair[0] != pair[1]), "{waits:?}");
    }
}
