//! The cache of the resolver's answers.

use crate::config::CacheConfig;
use crate::hash::Digest;
use crate::lru::Lru;
use crate::metrics::Counter;
use crate::rejection::Rejection;
use crate::target::Host;
use crate::time::Time;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// What the resolver decided: a host, or why there is none.
pub type Answer = Result<Arc<Host>, Rejection>;

/// What the resolver decided for a key.
#[derive(Clone, Debug)]
pub struct ResolvedAnswer {
    /// The decision.
    pub(crate) answer: Answer,
    /// The key, if a fallback may need it.
    pub(crate) key: Option<Box<[u8]>>,
}

/// The most configurations whose answers are cached. Beyond it, those of the least recently used one go.
const MAX_ROUTERS: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// The answers of one worker, for each router its own.
#[derive(Debug)]
pub struct AnswerCache {
    routers: lru::LruCache<u64, Lru<Entry>>,
}

#[derive(Clone, Debug)]
struct Entry {
    answer: Answer,
    /// When the resolver is called again.
    fresh_until: Time,
    /// Until when the answer may be used while the resolver fails.
    usable_until: Time,
    /// Whether the resolver has failed since.
    is_stale: bool,
}

impl Default for AnswerCache {
    fn default() -> Self {
        Self { routers: lru::LruCache::new(MAX_ROUTERS) }
    }
}

impl AnswerCache {
    /// The fresh answer for a digest, and how it is counted.
    pub fn get(&mut self, router: u64, digest: Digest, now: Time) -> (Option<Answer>, Counter) {
        let entry = self.routers.get_mut(&router).and_then(|entries| entries.get(digest));
        match entry.filter(|entry| now < entry.fresh_until) {
            None => (None, Counter::CacheMiss),
            Some(entry) => {
                let counter = match entry {
                    Entry { is_stale: true, .. } => Counter::CacheStale,
                    Entry { answer: Ok(_), .. } => Counter::CacheHit,
                    Entry { answer: Err(_), .. } => Counter::CacheNegative,
                };
                (Some(entry.answer.clone()), counter)
            }
        }
    }

    /// Stores what a resolver call led to. Returns the answer to use, which is an expired one if the resolver fails
    /// and one may be used; then the counter says so.
    pub fn settle(
        &mut self,
        router: u64,
        config: &CacheConfig,
        digest: Digest,
        answer: Answer,
        now: Time,
    ) -> (Answer, Option<Counter>) {
        let entries = self.routers.get_or_insert_mut(router, || Lru::new(config.max_entries));
        let rejection = match answer {
            Ok(host) => {
                let fresh_until = now + config.ttl;
                let usable_until = fresh_until + config.stale_if_error;
                let answer = Ok(host);
                let entry = Entry { answer: answer.clone(), fresh_until, usable_until, is_stale: false };
                entries.insert_one(digest, entry);
                return (answer, None);
            }
            Err(rejection) => rejection,
        };
        let retry_at = now + config.negative_ttl;
        if rejection.is_resolver_failure() {
            let expired = entries.get(digest).filter(|old| old.answer.is_ok() && now < old.usable_until);
            if let Some(old) = expired {
                // Until the resolver is called again, this answer is used without a call.
                old.fresh_until = retry_at.min(old.usable_until);
                old.is_stale = true;
                return (old.answer.clone(), Some(Counter::CacheStale));
            }
        }
        // Overload is a state of the worker, not an answer for this key.
        if rejection != Rejection::Overloaded {
            let answer = Err(rejection.clone());
            let entry =
                Entry { answer, fresh_until: retry_at, usable_until: Time::default(), is_stale: false };
            entries.insert_one(digest, entry);
        }
        (Err(rejection), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const KEY: u64 = 7;
    const ROUTER: u64 = 1;

    fn digest() -> Digest {
        Digest::of_numbers(0, KEY)
    }

    fn config() -> CacheConfig {
        CacheConfig {
            ttl: Duration::from_millis(100),
            max_entries: 10,
            negative_ttl: Duration::from_millis(10),
            stale_if_error: Duration::from_millis(1000),
        }
    }

    fn host(name: &str) -> Answer {
        Ok(Arc::new(Host { name: name.to_owned(), target: None }))
    }

    /// The name or the status of an answer.
    fn shown(answer: Answer) -> Result<String, u16> {
        answer.map(|host| host.name.clone()).map_err(|rejection| rejection.status())
    }

    fn get(cache: &mut AnswerCache, now: u64) -> (Option<Result<String, u16>>, Counter) {
        let (answer, counter) = cache.get(ROUTER, digest(), Time::from_millis(now));
        (answer.map(shown), counter)
    }

    fn settle(cache: &mut AnswerCache, answer: Answer, now: u64) -> (Result<String, u16>, Option<Counter>) {
        let (answer, counter) = cache.settle(ROUTER, &config(), digest(), answer, Time::from_millis(now));
        (shown(answer), counter)
    }

    #[test]
    fn an_answer_is_fresh_for_its_ttl() {
        let mut cache = AnswerCache::default();
        assert_eq!(get(&mut cache, 0), (None, Counter::CacheMiss));
        settle(&mut cache, host("a"), 1000).0.unwrap();
        assert_eq!(get(&mut cache, 1099), (Some(Ok("a".into())), Counter::CacheHit));
        assert_eq!(get(&mut cache, 1100), (None, Counter::CacheMiss));
    }

    #[test]
    fn a_failure_is_cached_briefly() {
        let mut cache = AnswerCache::default();
        settle(&mut cache, Err(Rejection::NoHostport), 1000).0.unwrap_err();
        assert_eq!(get(&mut cache, 1009), (Some(Err(502)), Counter::CacheNegative));
        assert_eq!(get(&mut cache, 1010), (None, Counter::CacheMiss));
        settle(&mut cache, Err(Rejection::Overloaded), 2000).0.unwrap_err();
        assert_eq!(get(&mut cache, 2001), (None, Counter::CacheMiss), "overload is not cached");
    }

    #[test]
    fn an_expired_answer_is_used_while_the_resolver_fails() {
        let mut cache = AnswerCache::default();
        settle(&mut cache, host("a"), 0).0.unwrap();
        for (now, status) in [(200, 503), (500, 429), (800, 408), (1000, 500)] {
            assert_eq!(get(&mut cache, now), (None, Counter::CacheMiss));
            let settled = settle(&mut cache, Err(Rejection::ResolverStatus(status)), now);
            assert_eq!(settled, (Ok("a".into()), Some(Counter::CacheStale)));
            assert_eq!(get(&mut cache, now + 9), (Some(Ok("a".into())), Counter::CacheStale));
        }
        let settled = settle(&mut cache, Err(Rejection::CalloutFailed), 1100);
        assert_eq!(settled, (Err(502), None), "expired for longer than stale_if_error");
        assert_eq!(get(&mut cache, 1105), (Some(Err(502)), Counter::CacheNegative));
    }

    #[test]
    fn a_stale_answer_is_fresh_again_once_the_resolver_answers() {
        let mut cache = AnswerCache::default();
        settle(&mut cache, host("a"), 0).0.unwrap();
        settle(&mut cache, Err(Rejection::CalloutFailed), 200).0.unwrap();
        settle(&mut cache, host("b"), 300).0.unwrap();
        assert_eq!(get(&mut cache, 350), (Some(Ok("b".into())), Counter::CacheHit));
    }

    #[test]
    fn a_negative_answer_is_not_a_failure() {
        let mut cache = AnswerCache::default();
        settle(&mut cache, host("a"), 0).0.unwrap();
        for rejection in [Rejection::ResolverStatus(404), Rejection::TargetNotAllowed] {
            settle(&mut cache, Err(rejection), 200).0.unwrap_err();
            assert!(matches!(get(&mut cache, 205), (Some(Err(_)), Counter::CacheNegative)));
        }
    }

    #[test]
    fn routers_do_not_share_answers() {
        let mut cache = AnswerCache::default();
        settle(&mut cache, host("a"), 0).0.unwrap();
        assert!(cache.get(ROUTER + 1, digest(), Time::default()).0.is_none());
    }
}
