//! What is counted, as Prometheus text.

use std::fmt;
use std::time::Instant;

use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::xds::{Kind, Verdict};

/// The content type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

type ByKind = Family<[(&'static str, &'static str); 1], Counter>;
type ByStatus = Family<[(&'static str, String); 1], Counter>;

/// All counters, gauges and histograms.
pub struct Metrics {
    registry: Registry,
    pushes: ByKind,
    acks: ByKind,
    nacks: ByKind,
    latency: Histogram,
    requests: ByStatus,
    nodes: Gauge,
    streams: Gauge,
    revision: Gauge,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("pinroute_control_plane");
        let by_kind = |registry: &mut Registry, name, help| {
            let family = ByKind::default();
            for kind in Kind::ALL {
                // So that each series is there from the start, and a rate over it has a beginning.
                drop(family.get_or_create(&of_kind(kind)));
            }
            registry.register(name, help, family.clone());
            family
        };
        let pushes = by_kind(&mut registry, "pushes", "Responses sent to Envoys");
        let acks = by_kind(&mut registry, "acks", "Responses that Envoys accepted");
        let nacks = by_kind(&mut registry, "nacks", "Responses that Envoys refused");
        // From half a millisecond to 16 s.
        let latency = Histogram::new(exponential_buckets(0.0005, 2.0, 16));
        let help = "Time from a change, or from the request for a resource, to the ACK";
        registry.register("push_latency_seconds", help, latency.clone());
        let requests = ByStatus::default();
        registry.register("api_requests", "Requests to the operators' API", requests.clone());
        let gauge = |registry: &mut Registry, name, help| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let nodes = gauge(&mut registry, "nodes", "Connected Envoys");
        let streams = gauge(&mut registry, "streams", "Open streams");
        let revision = gauge(&mut registry, "revision", "The number of the last commit");
        Self { registry, pushes, acks, nacks, latency, requests, nodes, streams, revision }
    }
}

impl Metrics {
    /// A response was sent.
    pub fn pushed(&self, kind: Kind) {
        self.pushes.get_or_create(&of_kind(kind)).inc();
    }

    /// A client accepted or refused a response that was due at `since`.
    pub fn judged(&self, verdict: &Verdict, since: Instant) {
        let kind = of_kind(verdict.kind);
        if verdict.refusal.is_some() {
            self.nacks.get_or_create(&kind).inc();
            return;
        }
        self.acks.get_or_create(&kind).inc();
        self.latency.observe(since.elapsed().as_secs_f64());
    }

    /// A request to the API was answered.
    pub fn answered(&self, status: u16) {
        self.requests.get_or_create(&[("status", status.to_string())]).inc();
    }

    /// All of it, with what is so now.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn text(&self, nodes: usize, streams: usize, revision: u64) -> Result<String, fmt::Error> {
        let numbers =
            [(&self.nodes, nodes as u64), (&self.streams, streams as u64), (&self.revision, revision)];
        for (gauge, number) in numbers {
            gauge.set(i64::try_from(number).unwrap_or(i64::MAX));
        }
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

fn of_kind(kind: Kind) -> [(&'static str, &'static str); 1] {
    [("type", kind.name())]
}
