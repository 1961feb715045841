//! The resolver's answers, remembered.

use crate::cache::Cache;
use crate::config::CacheConfig;
use crate::step::{Rejection, Route};
use std::time::Duration;

/// What the cache had to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheEvent {
    /// An answer that is still true.
    Hit,
    /// Nothing: the resolver has to be asked.
    Miss,
    /// An answer that is too old, but the resolver fails.
    Stale,
    /// A failure that happened a moment ago.
    Negative,
}

/// Answers by key. Times are in milliseconds.
#[derive(Debug, Default)]
pub struct Answers {
    known: Option<Cache<Known>>,
    /// How many instances there were said to be. With another number, other instances own the keys.
    replicas: u32,
    pub event: Option<CacheEvent>,
}

#[derive(Clone, Debug)]
struct Known {
    outcome: Result<Route, Rejection>,
    /// When the resolver is asked again.
    fresh_until: u64,
    /// Until when it may stand in for a resolver that fails.
    usable_until: u64,
    /// Whether it stands in already.
    stale: bool,
}

impl Answers {
    /// What is known about a key and still true.
    pub fn get(&mut self, key: &[u8], replicas: u32, now: u64) -> Option<Result<Route, Rejection>> {
        if self.replicas != replicas {
            self.replicas = replicas;
            self.known = None;
        }
        let known =
            self.known.as_mut().and_then(|known| known.get(key)).filter(|known| now < known.fresh_until);
        self.event = Some(match &known {
            None => CacheEvent::Miss,
            Some(known) if known.stale => CacheEvent::Stale,
            Some(Known { outcome: Ok(_), .. }) => CacheEvent::Hit,
            Some(Known { outcome: Err(_), .. }) => CacheEvent::Negative,
        });
        known.map(|known| known.outcome)
    }

    /// Remembers what came of a question. What to make of it: the outcome itself, or an older answer where
    /// the resolver fails.
    pub fn settle(
        &mut self,
        config: &CacheConfig,
        key: &[u8],
        outcome: Result<Route, Rejection>,
        now: u64,
    ) -> Result<Route, Rejection> {
        self.event = None;
        let known = self.known.get_or_insert_with(|| Cache::of_entries(config.max_entries));
        let rejection = match outcome {
            Ok(route) => {
                let fresh_until = now + millis(config.ttl);
                let usable_until = fresh_until + millis(config.stale_if_error);
                known.insert(
                    key,
                    Known { outcome: Ok(route.clone()), fresh_until, usable_until, stale: false },
                    0,
                );
                return Ok(route);
            }
            Err(rejection) => rejection,
        };
        let ask_again = now + millis(config.negative_ttl);
        let older = known.get(key).filter(|older| is_failure(&rejection) && older.outcome.is_ok());
        if let Some(older) = older.filter(|older| now < older.usable_until) {
            // Until the resolver is asked again this answer stands in without asking.
            let fresh_until = ask_again.min(older.usable_until);
            let outcome = older.outcome.clone();
            known.insert(key, Known { fresh_until, stale: true, ..older }, 0);
            self.event = Some(CacheEvent::Stale);
            return outcome;
        }
        // That there is no room says nothing about the key.
        if rejection != Rejection::Overloaded {
            let entry = Known {
                outcome: Err(rejection.clone()),
                fresh_until: ask_again,
                usable_until: 0,
                stale: false,
            };
            known.insert(key, entry, 0);
        }
        Err(rejection)
    }
}

/// Whether the resolver failed, rather than said no.
fn is_failure(rejection: &Rejection) -> bool {
    match rejection {
        Rejection::CalloutFailed | Rejection::NoHostport | Rejection::Overloaded => true,
        Rejection::ResolverStatus(status) => *status >= 500,
        Rejection::MissingKey(_)
        | Rejection::InvalidKey(_)
        | Rejection::TargetNotAllowed
        | Rejection::RouteConfig => false,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::Instance;
    use std::rc::Rc;

    fn route(label: &str) -> Route {
        let instance = Rc::new(Instance { label: label.to_owned(), target: None });
        Route { instance, shard: None, numbers: None }
    }

    fn config() -> CacheConfig {
        CacheConfig {
            ttl: Duration::from_millis(100),
            max_entries: 10,
            negative_ttl: Duration::from_millis(10),
            stale_if_error: Duration::from_millis(1000),
        }
    }

    /// What is said about the key `k` at a time, and what event it is.
    fn at(answers: &mut Answers, now: u64) -> (Option<Result<String, u16>>, CacheEvent) {
        let known = answers.get(b"k", 0, now);
        let said = known
            .map(|known| known.map(|route| route.instance.label.clone()).map_err(|error| error.status()));
        (said, answers.event.take().unwrap())
    }

    #[test]
    fn an_answer_is_true_for_its_time() {
        let mut answers = Answers::default();
        assert_eq!(at(&mut answers, 0), (None, CacheEvent::Miss));
        answers.settle(&config(), b"k", Ok(route("a")), 1000).unwrap();
        assert_eq!(at(&mut answers, 1099), (Some(Ok("a".into())), CacheEvent::Hit));
        assert_eq!(at(&mut answers, 1100), (None, CacheEvent::Miss));
    }

    #[test]
    fn a_failure_is_remembered_briefly() {
        let mut answers = Answers::default();
        assert!(answers.settle(&config(), b"k", Err(Rejection::NoHostport), 1000).is_err());
        assert_eq!(at(&mut answers, 1009), (Some(Err(502)), CacheEvent::Negative));
        assert_eq!(at(&mut answers, 1010), (None, CacheEvent::Miss));
        assert!(answers.settle(&config(), b"k", Err(Rejection::Overloaded), 2000).is_err());
        assert_eq!(at(&mut answers, 2001), (None, CacheEvent::Miss), "no room is nobody's fault");
    }

    #[test]
    fn an_old_answer_stands_in_for_a_resolver_that_fails() {
        let mut answers = Answers::default();
        answers.settle(&config(), b"k", Ok(route("a")), 0).unwrap();
        for now in [200, 500, 1000] {
            assert_eq!(at(&mut answers, now), (None, CacheEvent::Miss));
            let stood_in = answers.settle(&config(), b"k", Err(Rejection::ResolverStatus(503)), now);
            assert_eq!(stood_in.unwrap().instance.label, "a");
            assert_eq!(answers.event.take(), Some(CacheEvent::Stale));
            assert_eq!(at(&mut answers, now + 9), (Some(Ok("a".into())), CacheEvent::Stale));
        }
        assert!(answers.settle(&config(), b"k", Err(Rejection::CalloutFailed), 1100).is_err(), "too old");
        assert_eq!(at(&mut answers, 1105), (Some(Err(502)), CacheEvent::Negative));
    }

    #[test]
    fn a_no_is_no_failure() {
        let mut answers = Answers::default();
        answers.settle(&config(), b"k", Ok(route("a")), 0).unwrap();
        for no in [Rejection::ResolverStatus(404), Rejection::TargetNotAllowed] {
            assert!(answers.settle(&config(), b"k", Err(no), 200).is_err());
            assert!(matches!(at(&mut answers, 205), (Some(Err(_)), CacheEvent::Negative)));
        }
    }

    #[test]
    fn another_number_of_instances_makes_a_clean_slate() {
        let mut answers = Answers::default();
        answers.settle(&config(), b"k", Ok(route("a")), 0).unwrap();
        assert!(answers.get(b"k", 0, 50).is_some());
        assert!(answers.get(b"k", 5, 50).is_none());
    }
}
