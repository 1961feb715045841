//! When to try again: exponential back-off with jitter.

use crate::hash::Random;
use crate::time::Time;
use std::time::Duration;

/// The longest wait before the second attempt. Each attempt doubles it.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// How long a connection must have lasted for the next attempt to follow soon.
const LASTED: Duration = Duration::from_secs(10);

/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The wait between attempts.
#[derive(Debug)]
pub struct Backoff {
    random: Random,
    attempts: u32,
    last: Time,
    next: Time,
}

impl Backoff {
    /// A back-off whose jitter comes from `random`.
    pub fn new(random: Random) -> Self {
        Self { random, attempts: 0, last: Time::default(), next: Time::default() }
    }

    /// Whether an attempt is due.
    pub fn is_due(&self, now: Time) -> bool {
        now >= self.next
    }

    /// An attempt is made: the next one has to wait. Up to half of the wait is taken off at random, so that many
    /// proxies do not come back at once.
    pub fn attempt(&mut self, now: Time) {
        let longest = FIRST_WAIT.saturating_mul(1 << self.attempts.min(10)).min(LONGEST_WAIT);
        let half = usize::try_from(longest.as_millis() / 2).unwrap_or(usize::MAX);
        self.next = now + longest.saturating_sub(Duration::from_millis(self.random.below(half) as u64));
        self.last = now;
        self.attempts = self.attempts.saturating_add(1);
    }

    /// The connection that the last attempt led to has ended. If it lasted, the next attempt follows soon; a server that
    /// accepts connections and ends them at once is asked ever more rarely.
    pub fn end(&mut self, now: Time) {
        if now >= self.last + LASTED {
            self.attempts = 0;
        }
        if self.is_due(now) {
            self.attempt(now);
        }
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
        assert_eq!(backoff.attempts, 7);
        backoff.end(now + Duration::from_secs(9));
        assert!(!backoff.is_due(now + Duration::from_secs(11)), "the connection did not last");
        let later = now + Duration::from_secs(60);
        backoff.end(later);
        assert!(!backoff.is_due(later) && backoff.is_due(later + FIRST_WAIT), "the connection lasted");
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
