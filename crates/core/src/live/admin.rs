//! Polls Envoy's admin interface: `/runtime` for the runtime's values, `/clusters` for the endpoints of a cluster, `/stats` for
//! their number alone.

use super::action::{Action, SubscriptionId};
use super::clusters;
use super::compile::{Compiled, Compiler};
use super::snapshot::Snapshot;
use super::value::Scalar;
use crate::authority::of_cluster;
use crate::config::unique::UniqueMap;
use crate::hash::fnv1a_64;
use crate::time::Time;
use serde::Deserialize;
use std::borrow::Cow;
use std::time::Duration;

/// How long a response may take. The admin interface is on the same machine, but its thread may be busy.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A subscription that polls.
#[derive(Debug)]
pub struct Admin {
    cluster: String,
    query: Query,
    refresh: Duration,
    call: Option<u32>,
    next: Time,
    /// A hash of the last body: an unchanged body is not parsed again.
    seen: Option<u64>,
}

/// What is polled.
#[derive(Clone, Debug)]
pub enum Query {
    /// The runtime's entries under a prefix.
    Runtime {
        /// The prefix.
        prefix: String,
    },
    /// The endpoint count of a cluster.
    Membership {
        /// The cluster.
        cluster: String,
    },
    /// The endpoints of a cluster.
    Endpoints {
        /// The cluster.
        cluster: String,
    },
}

/// The response has no usable body. The last values stay in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unusable;

impl Admin {
    /// A subscription that polls the admin interface behind `cluster`.
    pub fn new(cluster: &str, query: Query, refresh: Duration) -> Self {
        Self { cluster: cluster.to_owned(), query, refresh, call: None, next: Time::default(), seen: None }
    }

    /// Whether this is the token of its call.
    pub fn is(&self, token: u32) -> bool {
        self.call == Some(token)
    }

    /// This VM holds the lease: makes a call if one is due.
    pub fn drive(&mut self, id: SubscriptionId, now: Time) -> Option<Action> {
        if self.call.is_some() || now < self.next {
            return None;
        }
        self.next = now + self.refresh;
        let authority = of_cluster(&self.cluster).to_owned();
        let path = self.query.path();
        Some(Action::Get { id, cluster: self.cluster.clone(), authority, path, timeout: TIMEOUT })
    }

    /// The call was made; `None` if Envoy refused it.
    pub fn on_called(&mut self, token: Option<u32>) {
        if token.is_none() {
            log::debug!("pinroute: cannot call the cluster `{}`", self.cluster);
        }
        self.call = token;
    }

    /// The response: new values, or none if nothing has changed. `body` is absent if the call failed; `last` is the
    /// snapshot in use, `version` the number of the next one.
    pub fn on_response(
        &mut self,
        body: Option<&[u8]>,
        version: u64,
        last: &Snapshot,
    ) -> Result<Option<Compiled>, Unusable> {
        self.call = None;
        let body = body.ok_or(Unusable)?;
        let hash = Some(fnv1a_64(body));
        if hash == self.seen {
            return Ok(None);
        }
        let compiled = self.query.compile(body, version, last);
        self.seen = compiled.as_ref().and(hash);
        compiled.map(Some).ok_or(Unusable)
    }

    /// This VM no longer holds the lease: the response to a call in flight is ignored.
    pub fn stop(&mut self) {
        self.call = None;
        // Another VM compiles what comes meanwhile.
        self.seen = None;
    }

    /// A plugin wants polls at this interval: the shortest one of all plugins counts.
    pub fn refresh_within(&mut self, refresh: Duration) {
        self.refresh = self.refresh.min(refresh);
    }
}

impl Query {
    fn path(&self) -> String {
        match self {
            Self::Runtime { .. } => "/runtime".to_owned(),
            Self::Membership { cluster } => {
                format!("/stats?format=json&filter=%5Ecluster%5C.{}%5C.membership_total%24", pattern(cluster))
            }
            Self::Endpoints { cluster } => {
                format!("/clusters?format=json&filter=%5E{}%24", pattern(cluster))
            }
        }
    }

    fn compile(&self, body: &[u8], version: u64, last: &Snapshot) -> Option<Compiled> {
        match self {
            Self::Runtime { prefix } => {
                let runtime: RuntimeBody<'_> = serde_json::from_slice(body).ok()?;
                let mut compiler = Compiler::new(prefix, last);
                for (name, entry) in &runtime.entries.0 {
                    compiler.add(name, Scalar::Text(&entry.final_value));
                }
                Some(compiler.finish(version))
            }
            Self::Membership { cluster } => {
                let count = endpoint_count(body, cluster)?;
                let mut compiler = Compiler::new(cluster, last);
                compiler.add(&format!("{cluster}.total_hosts"), Scalar::Number(count));
                Some(compiler.finish(version))
            }
            Self::Endpoints { cluster } => {
                let mut compiler = Compiler::new(cluster, last);
                compiler.add_endpoints(&clusters::endpoints(body, cluster)?).ok()?;
                Some(compiler.finish(version))
            }
        }
    }
}

/// The name of a cluster as a part of a regular expression. `.` matches every byte that would need an escape there or in a
/// query; the response's name is compared again.
fn pattern(cluster: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    cluster.bytes().map(char::from).map(|c| if is_plain(c) { c } else { '.' }).collect()
}

/// The body of `/runtime`.
#[derive(Deserialize)]
struct RuntimeBody<'b> {
    #[serde(borrow)]
    entries: UniqueMap<'b, Entry<'b>>,
}

/// A runtime entry with the value that results from all layers.
#[derive(Deserialize)]
struct Entry<'b> {
    #[serde(borrow)]
    final_value: Cow<'b, str>,
}

/// The body of `/stats?format=json`.
#[derive(Deserialize)]
struct StatsBody<'b> {
    #[serde(borrow)]
    stats: Vec<Stat<'b>>,
}

/// A counter or gauge, or an object without a name that holds histograms.
#[derive(Deserialize)]
struct Stat<'b> {
    #[serde(borrow, default)]
    name: Cow<'b, str>,
    #[serde(default)]
    value: Option<f64>,
}

fn endpoint_count(body: &[u8], cluster: &str) -> Option<f64> {
    let body: StatsBody<'_> = serde_json::from_slice(body).ok()?;
    // Envoy writes a colon as an underscore in the names of stats.
    let name = format!("cluster.{}.membership_total", cluster.replace(':', "_"));
    body.stats.iter().find(|stat| stat.name == name)?.value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::value::Number;

    fn query(text: &str) -> Query {
        Query::Runtime { prefix: text.to_owned() }
    }

    fn membership(text: &str) -> Query {
        Query::Membership { cluster: text.to_owned() }
    }

    #[test]
    fn the_final_value_of_each_entry_counts() {
        let body = r#"{"layers":["disk","admin"],"entries":{
            "p.total_hosts":{"layer_values":["","12"],"final_value":"12"},
            "p.customer.a.shard_size":{"final_value":"3","layer_values":["3",""]},
            "p.customer.b.shard_size":{"final_value":"x","layer_values":["x",""]},
            "other":{"final_value":"","layer_values":[]}}}"#;
        let Compiled { snapshot, skipped } =
            query("p").compile(body.as_bytes(), 5, &Snapshot::default()).unwrap();
        assert_eq!(skipped.len(), 1);
        assert_eq!(snapshot.number(Number::TotalHosts), Some(12));
        assert_eq!((snapshot.shard_size_of(b"a"), snapshot.shard_size_of(b"b")), (Some(3), None));
        for broken in ["", "{", "[]", "<html>", r#"{"entries":[]}"#, r#"{"entries":{"p.a":3}}"#, "{} x"] {
            assert!(query("p").compile(broken.as_bytes(), 5, &Snapshot::default()).is_none(), "{broken}");
        }
    }

    #[test]
    fn the_endpoints_of_a_cluster_are_counted() {
        let body = br#"{"stats":[{"name":"cluster.serviceXbackend.membership_total","value":9},
            {"name":"cluster.service.backend.membership_total","value":12},{"histograms":{}}]}"#;
        assert_eq!(endpoint_count(body, "service.backend"), Some(12.0));
        assert_eq!(endpoint_count(body, "other"), None);
        assert_eq!(endpoint_count(b"", "other"), None);
        let twelve = membership("service.backend").compile(body, 1, &Snapshot::default()).unwrap().snapshot;
        assert_eq!(twelve.number(Number::TotalHosts), Some(12));
        let none = br#"{"stats":[{"name":"cluster.a.membership_total","value":0}]}"#;
        let compiled = membership("a").compile(none, 2, &twelve).unwrap();
        assert_eq!(
            compiled.snapshot.number(Number::TotalHosts),
            Some(12),
            "no endpoints leave the last count"
        );
        assert_eq!(compiled.skipped.len(), 1);
        assert_eq!(
            membership("service.backend&x").path(),
            "/stats?format=json&filter=%5Ecluster%5C.service.backend.x%5C.membership_total%24"
        );
    }

    #[test]
    fn it_polls_at_its_interval_one_call_at_a_time() {
        let mut admin = Admin::new("admin", query("p"), Duration::from_secs(1));
        let at = |millis: u64| Time::from_millis(1_000_000 + millis);
        let id = SubscriptionId::new(1);
        let called = |admin: &mut Admin, millis| admin.drive(id, at(millis)).is_some();
        assert!(called(&mut admin, 0));
        admin.on_called(Some(3));
        assert!(!called(&mut admin, 5_000), "a call is in flight");
        assert!(admin.is(3) && !admin.is(4));
        assert_eq!(admin.on_response(None, 1, &Snapshot::default()).err(), Some(Unusable));
        assert!(!admin.is(3));
        assert!(called(&mut admin, 5_000));
        admin.on_called(None);
        assert!(!called(&mut admin, 5_999), "a refused call counts");
        assert!(called(&mut admin, 6_000));
    }

    #[test]
    fn an_unchanged_body_is_parsed_once_and_an_unusable_one_every_time() {
        let mut admin = Admin::new("admin", query("p"), Duration::from_secs(1));
        let mut respond = |body: &[u8]| {
            admin.on_response(Some(body), 1, &Snapshot::default()).map(|compiled| compiled.is_some())
        };
        assert_eq!(respond(b"{"), Err(Unusable));
        assert_eq!(respond(b"{"), Err(Unusable));
        assert_eq!(respond(br#"{"entries":{}}"#), Ok(true));
        assert_eq!(respond(br#"{"entries":{}}"#), Ok(false));
        assert_eq!(respond(b"{"), Err(Unusable));
        assert_eq!(respond(br#"{"entries":{}}"#), Ok(true));
    }
}
