//! The cache of the resolver's answers.

use crate::config::CacheConfig;
use crate::hash::Digest;
use crate::lru::Lru;
use crate::metrics::Counter;
use crate::rejection::Rejection;
use crate::target::Host;
use crate::time::Time;
use std::sync::Arc;

/// What the resolver decided: a host, or why there is none.
pub type Answer = Result<Arc<Host>, Rejection>;

/// What the resolver decided for a key.
#[derive(Clone, Debug)]
pub struct ResolvedAnswer {
    /// The decision.
    pub(crate) answer: Answer,
    /// Identifies what was asked, if answers are cached.
    pub(crate) digest: Option<Digest>,
}

/// How many bytes all answers of one worker may take, whatever `max_entries` says: about 100,000 answers.
const BUDGET: usize = 32 << 20;

/// What a configuration takes that has no answers.
const EMPTY: usize = 512;

/// The answers of one worker, for each configuration its own. Beyond the budget, the answers of the least recently used
/// configuration go first: it has probably been replaced.
#[derive(Debug)]
pub struct AnswerCache {
    configs: lru::LruCache<u64, Answers>,
    bytes: usize,
    budget: usize,
}

/// The answers under one configuration.
#[derive(Debug)]
struct Answers {
    entries: Lru<Entry>,
    /// When the last one is of no more use.
    expire_at: Time,
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
        Self { configs: lru::LruCache::unbounded(), bytes: 0, budget: BUDGET }
    }
}

impl AnswerCache {
    /// The fresh answer for a digest, and how it is counted. `owner` tells configurations apart.
    pub fn get(&mut self, owner: u64, digest: Digest, now: Time) -> (Option<Answer>, Counter) {
        let entry = self.configs.get_mut(&owner).and_then(|answers| answers.entries.get(digest));
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
        owner: u64,
        config: &CacheConfig,
        digest: Digest,
        answer: Answer,
        now: Time,
    ) -> (Answer, Option<Counter>) {
        if self.configs.peek(&owner).is_none() {
            self.begin(owner, config, now);
        }
        let Some(answers) = self.configs.get_mut(&owner) else { return (answer, None) };
        let before = answers.entries.bytes();
        let settled = answers.settle(config, digest, answer, now);
        self.bytes = self.bytes - before + answers.entries.bytes();
        self.shrink(owner);
        settled
    }

    /// Removes an answer if it names this host. A later one may name another.
    pub fn remove(&mut self, owner: u64, digest: Digest, host: &Arc<Host>) {
        let Some(Answers { entries, .. }) = self.configs.peek_mut(&owner) else { return };
        if entries.get(digest).is_some_and(|entry| entry.answer.as_ref() == Ok(host)) {
            let before = entries.bytes();
            entries.remove(digest);
            self.bytes = self.bytes - before + entries.bytes();
        }
    }

    /// Makes room for the answers of a configuration. Those of others that have expired go.
    #[cold]
    fn begin(&mut self, owner: u64, config: &CacheConfig, now: Time) {
        let expired = self.configs.iter().filter(|(_, answers)| answers.expire_at <= now);
        let expired: Vec<u64> = expired.map(|(owner, _)| *owner).collect();
        expired.iter().for_each(|owner| self.end(*owner));
        let entries = Lru::of_entries(config.max_entries);
        self.configs.put(owner, Answers { entries, expire_at: now });
        self.bytes += EMPTY;
    }

    fn end(&mut self, owner: u64) {
        if let Some(answers) = self.configs.pop(&owner) {
            self.bytes -= answers.entries.bytes() + EMPTY;
        }
    }

    /// Keeps to the budget. The answers under `owner` go last.
    fn shrink(&mut self, owner: u64) {
        while self.bytes > self.budget {
            match self.configs.peek_lru().map(|(owner, _)| *owner) {
                Some(other) if other != owner => self.end(other),
                _ => break,
            }
        }
        while self.bytes > self.budget
            && let Some(Answers { entries, .. }) = self.configs.peek_mut(&owner)
        {
            let before = entries.bytes();
            if !entries.evict() {
                break;
            }
            self.bytes = self.bytes - before + entries.bytes();
        }
    }
}

impl Answers {
    fn settle(
        &mut self,
        config: &CacheConfig,
        digest: Digest,
        answer: Answer,
        now: Time,
    ) -> (Answer, Option<Counter>) {
        let rejection = match answer {
            Ok(host) => {
                let fresh_until = now + config.ttl;
                let usable_until = fresh_until + config.stale_if_error;
                let bytes = host.bytes();
                let answer = Ok(host);
                let entry = Entry { answer: answer.clone(), fresh_until, usable_until, is_stale: false };
                self.insert(digest, entry, bytes);
                return (answer, None);
            }
            Err(rejection) => rejection,
        };
        let retry_at = now + config.negative_ttl;
        if rejection.is_resolver_failure() {
            let expired = self.entries.get(digest).filter(|old| old.answer.is_ok() && now < old.usable_until);
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
            self.insert(digest, entry, 0);
        }
        (Err(rejection), None)
    }

    fn insert(&mut self, digest: Digest, entry: Entry, bytes: usize) {
        self.expire_at = self.expire_at.max(entry.fresh_until).max(entry.usable_until);
        self.entries.insert(digest, entry, bytes);
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
            drop_on: Vec::new(),
        }
    }

    fn host(name: &str) -> Answer {
        Ok(Arc::new(Host { name: name.to_owned(), target: None, headers: Vec::new(), called: None }))
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
        settle(&mut cache, Err(Rejection::NoHostport("hostport".into())), 1000).0.unwrap_err();
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
        for rejection in [Rejection::NotFound(404), Rejection::TargetNotAllowed] {
            settle(&mut cache, Err(rejection), 200).0.unwrap_err();
            assert!(matches!(get(&mut cache, 205), (Some(Err(_)), Counter::CacheNegative)));
        }
    }

    #[test]
    fn an_answer_is_removed_only_while_it_names_the_host() {
        let mut cache = AnswerCache::default();
        let [a, b] = ["a", "b"].map(|name| host(name).unwrap());
        settle(&mut cache, Ok(Arc::clone(&a)), 0).0.unwrap();
        cache.remove(ROUTER, digest(), &b);
        assert_eq!(get(&mut cache, 1).1, Counter::CacheHit);
        cache.remove(ROUTER, digest(), &a);
        assert_eq!(get(&mut cache, 1), (None, Counter::CacheMiss));
        let (settled, _) = settle(&mut cache, Err(Rejection::CalloutFailed), 200);
        assert_eq!(settled, Err(502), "nor is it used while the resolver fails");
        assert_eq!(cache.remove(ROUTER + 1, digest(), &a), ());
    }

    #[test]
    fn the_answers_of_a_replaced_configuration_go_when_they_have_expired() {
        let mut cache = AnswerCache::default();
        settle(&mut cache, host("a"), 0).0.unwrap();
        let mut begin = |owner, now| {
            let _ = cache.settle(owner, &config(), digest(), host("a"), Time::from_millis(now));
            cache.configs.len()
        };
        assert_eq!(begin(ROUTER + 1, 1_099), 2);
        assert_eq!(begin(ROUTER + 2, 1_100), 2, "the first answers were of use for 1,100 ms");
    }

    #[test]
    fn all_configurations_share_one_budget() {
        let mut cache = AnswerCache { budget: 100_000, ..AnswerCache::default() };
        let config = CacheConfig { max_entries: 1_000_000, ..config() };
        for owner in 0..20 {
            for number in 0..1_000 {
                let digest = Digest::of_numbers(owner, number);
                let (answer, _) = cache.settle(owner, &config, digest, host("a"), Time::default());
                assert_eq!(answer, host("a"));
                assert!(cache.bytes <= cache.budget);
                let sum: usize = cache.configs.iter().map(|(_, of)| of.entries.bytes() + EMPTY).sum();
                assert_eq!(cache.bytes, sum);
                assert_eq!(
                    cache.get(owner, digest, Time::default()).1,
                    Counter::CacheHit,
                    "the newest stays"
                );
            }
        }
        let entries: usize = cache.configs.iter().map(|(_, of)| of.entries.len()).sum();
        assert!(entries > 300, "{entries}: the budget is used");
    }

    #[test]
    fn routers_do_not_share_answers() {
        let mut cache = AnswerCache::default();
        settle(&mut cache, host("a"), 0).0.unwrap();
        assert!(cache.get(ROUTER + 1, digest(), Time::default()).0.is_none());
    }
}
