//! The counters that Envoy shows under `/stats` with the prefix `wasmcustom.`.

use pinroute_core::plan::CacheEvent;
use pinroute_core::step::Rejection;
use proxy_wasm::hostcalls;
use proxy_wasm::types::MetricType;
use std::time::Duration;

/// A metric of the host. Without an id (the host refused to define it) nothing is recorded.
#[derive(Clone, Copy)]
pub struct Metric(Option<u32>);

impl Metric {
    fn define(kind: MetricType, name: &str) -> Self {
        Self(hostcalls::define_metric(kind, name).ok())
    }

    fn counter(name: &str) -> Self {
        Self::define(MetricType::Counter, name)
    }

    /// Counts one more.
    pub fn add_one(self) {
        if let Some(id) = self.0 {
            let _ = hostcalls::increment_metric(id, 1);
        }
    }

    /// Adds a value to a histogram, or sets a gauge.
    pub fn record(self, value: u64) {
        if let Some(id) = self.0 {
            let _ = hostcalls::record_metric(id, value);
        }
    }
}

/// All metrics of the filter.
pub struct Metrics {
    /// Requests that reached the filter.
    pub requests: Metric,
    /// Requests sent to their instance.
    pub routed: Metric,
    /// Requests that went on as they came.
    pub passed: Metric,
    /// Requests whose client left while they waited for the resolver.
    pub abandoned: Metric,
    /// Requests that waited for a call made for another one.
    pub coalesced: Metric,
    cache_hit: Metric,
    cache_miss: Metric,
    cache_stale: Metric,
    cache_negative: Metric,
    /// Resolver calls answered with 200.
    pub resolver_ok: Metric,
    /// Resolver calls that failed or were answered with another status.
    pub resolver_error: Metric,
    /// Resolver calls answered with 504, which is what Envoy makes of a call that takes too long.
    pub resolver_timeout: Metric,
    /// Runtime updates taken over.
    pub runtime_updates: Metric,
    /// Runtime values, and whole updates, that could not be used.
    pub runtime_invalid: Metric,
    /// The version of the runtime values: the server's where it is a number, our own count where not.
    pub runtime_version: Metric,
    /// Whether the source of runtime values can be reached: 1 or 0.
    pub runtime_connected: Metric,
    resolve_ms: Metric,
    rejected: [(&'static str, Metric); Rejection::REASONS.len()],
    continued: [(&'static str, Metric); Rejection::REASONS.len()],
}

impl Metrics {
    /// Defines the metrics. The host hands out new ids at every call, so this is done once per VM.
    fn define() -> Self {
        Self {
            requests: Metric::counter("pinroute_requests"),
            routed: Metric::counter("pinroute_routed"),
            passed: Metric::counter("pinroute_passed"),
            abandoned: Metric::counter("pinroute_abandoned"),
            coalesced: Metric::counter("pinroute_coalesced"),
            cache_hit: Metric::counter("pinroute_cache.hit"),
            cache_miss: Metric::counter("pinroute_cache.miss"),
            cache_stale: Metric::counter("pinroute_cache.stale"),
            cache_negative: Metric::counter("pinroute_cache.negative"),
            resolver_ok: Metric::counter("pinroute_resolver.ok"),
            resolver_error: Metric::counter("pinroute_resolver.error"),
            resolver_timeout: Metric::counter("pinroute_resolver.timeout"),
            runtime_updates: Metric::counter("pinroute_runtime.updates"),
            runtime_invalid: Metric::counter("pinroute_runtime.invalid"),
            runtime_version: Metric::define(MetricType::Gauge, "pinroute_runtime.version"),
            runtime_connected: Metric::define(MetricType::Gauge, "pinroute_runtime.connected"),
            resolve_ms: Metric::define(MetricType::Histogram, "pinroute_resolve_ms"),
            rejected: Rejection::REASONS
                .map(|reason| (reason, Metric::counter(&format!("pinroute_rejected.{reason}")))),
            continued: Rejection::REASONS
                .map(|reason| (reason, Metric::counter(&format!("pinroute_continued.{reason}")))),
        }
    }

    /// Counts a request that was answered with an error.
    pub fn rejected(&self, rejection: &Rejection) {
        add_one_to(&self.rejected, rejection.reason());
    }

    /// Counts a request that went on although it could not be routed.
    pub fn continued(&self, rejection: &Rejection) {
        add_one_to(&self.continued, rejection.reason());
        self.passed.add_one();
    }

    /// Counts what the cache had to say to a request.
    pub fn cache(&self, event: CacheEvent) {
        match event {
            CacheEvent::Hit => self.cache_hit.add_one(),
            CacheEvent::Miss => self.cache_miss.add_one(),
            CacheEvent::Stale => self.cache_stale.add_one(),
            CacheEvent::Negative => self.cache_negative.add_one(),
        }
    }

    /// Records how long the resolver took.
    pub fn resolve_took(&self, duration: Duration) {
        self.resolve_ms.record(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    }
}

fn add_one_to(counters: &[(&'static str, Metric)], reason: &str) {
    if let Some((_, metric)) = counters.iter().find(|(name, _)| *name == reason) {
        metric.add_one();
    }
}

thread_local! {
    // A VM has one thread, and several plugins may share the VM.
    static METRICS: Metrics = Metrics::define();
}

/// Does something with the metrics of this VM.
pub fn with<T>(use_them: impl FnOnce(&Metrics) -> T) -> T {
    METRICS.with(use_them)
}
