//! What Envoy's admin interface says: `/runtime` with all layers merged, and `/stats` with the number of
//! endpoints of a cluster.

use super::{compile, Compiled, Scalar, Snapshot};
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::Deserialize;
use std::borrow::Cow;
use std::fmt;

/// Compiles the body of `/runtime`; `None` if it is something else.
pub fn runtime(body: &[u8], prefix: &str, version: u64, last: &Snapshot) -> Option<Compiled> {
    let mut whole = false;
    let compiled = compile(prefix, version, last, |visit| {
        let mut reader = serde_json::Deserializer::from_slice(body);
        whole = reader.deserialize_map(Members { name: "entries", of: Entries(visit) }).is_ok()
            && reader.end().is_ok();
    });
    whole.then_some(compiled)
}

/// The path whose answer says how many endpoints a cluster has.
pub fn membership_path(cluster: &str) -> String {
    // The name stands in a regular expression, and that in a query: every odd byte is escaped for both.
    let mut path = String::from("/stats?format=json&filter=%5Ecluster%5C.");
    for byte in cluster.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' {
            path.push(char::from(byte));
        } else {
            // `.` matches the byte, whatever it is; the name is compared again below.
            path.push('.');
        }
    }
    path.push_str("%5C.membership_total%24");
    path
}

/// Compiles the body of [`membership_path`]: the number of endpoints becomes the number of hosts. `None` if
/// it is something else, or does not know the cluster. A number that is not usable leaves the last one.
pub fn membership(body: &[u8], cluster: &str, version: u64, last: &Snapshot) -> Option<Compiled> {
    let count = endpoints(body, cluster)?;
    Some(compile(cluster, version, last, |visit| {
        visit(&format!("{cluster}.total_hosts"), Scalar::Number(f64::from(count)));
    }))
}

fn endpoints(body: &[u8], cluster: &str) -> Option<u32> {
    #[derive(Deserialize)]
    struct Body<'b> {
        #[serde(borrow)]
        stats: Vec<Stat<'b>>,
    }
    #[derive(Deserialize)]
    struct Stat<'b> {
        #[serde(borrow)]
        name: Option<Cow<'b, str>>,
        value: Option<u32>,
    }
    let body: Body<'_> = serde_json::from_slice(body).ok()?;
    // Envoy's stats write a colon as an underscore.
    let name = format!("cluster.{}.membership_total", cluster.replace(':', "_"));
    body.stats.into_iter().find(|stat| stat.name.as_deref() == Some(&name))?.value
}

/// An object of which one member is wanted.
struct Members<'n, V> {
    name: &'n str,
    of: V,
}

impl<'de, V: serde::de::DeserializeSeed<'de, Value = ()>> Visitor<'de> for Members<'_, V> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with {}", self.name)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut members: M) -> Result<(), M::Error> {
        let mut wanted = Some(self.of);
        while let Some(name) = members.next_key::<Cow<'de, str>>()? {
            match wanted.take_if(|_| name == self.name) {
                Some(seed) => members.next_value_seed(seed)?,
                None => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// The object `entries`: each member is an entry with its layers and its `final_value`.
struct Entries<'f>(&'f mut dyn FnMut(&str, Scalar<'_>));

impl<'de> serde::de::DeserializeSeed<'de> for Entries<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("runtime entries")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut entries: M) -> Result<(), M::Error> {
        #[derive(Deserialize)]
        struct Entry<'b> {
            #[serde(borrow, default)]
            final_value: Cow<'b, str>,
        }
        while let Some((name, entry)) = entries.next_entry::<Cow<'de, str>, Entry<'de>>()? {
            (self.0)(&name, Scalar::Text(&entry.final_value));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::Number;

    #[test]
    fn the_merged_value_of_each_entry_counts() {
        let body = r#"{"layers":["disk","admin"],"entries":{
            "p.total_hosts":{"layer_values":["","12"],"final_value":"12"},
            "p.customer.a.shard_size":{"final_value":"3","layer_values":["3",""]},
            "p.customer.b.shard_size":{"final_value":"x","layer_values":["x",""]},
            "other":{"final_value":"","layer_values":[]}}}"#;
        let compiled = runtime(body.as_bytes(), "p", 5, &Snapshot::default()).unwrap();
        assert_eq!(compiled.skipped.len(), 1);
        let snapshot = Snapshot::open(compiled.bytes).unwrap();
        assert_eq!(snapshot.number(Number::TotalHosts), Some(12));
        assert_eq!((snapshot.shard_size_of(b"a"), snapshot.shard_size_of(b"b")), (Some(3), None));
        for broken in ["", "{", "[]", "<html>", r#"{"entries":[]}"#, r#"{"entries":{"p.a":3}}"#, "{} x"] {
            assert!(runtime(broken.as_bytes(), "p", 5, &Snapshot::default()).is_none(), "{broken}");
        }
    }

    #[test]
    fn a_clusters_endpoints_are_counted() {
        let body = r#"{"stats":[{"name":"cluster.serviceXbackend.membership_total","value":9},
            {"name":"cluster.service.backend.membership_total","value":12},{"histograms":{}}]}"#;
        assert_eq!(endpoints(body.as_bytes(), "service.backend"), Some(12));
        assert_eq!(endpoints(body.as_bytes(), "other"), None);
        assert_eq!(endpoints(b"", "other"), None);
        let compiled = membership(body.as_bytes(), "service.backend", 1, &Snapshot::default()).unwrap();
        let twelve = Snapshot::open(compiled.bytes).unwrap();
        assert_eq!(twelve.number(Number::TotalHosts), Some(12));
        let none = br#"{"stats":[{"name":"cluster.a.membership_total","value":0}]}"#;
        let compiled = membership(none, "a", 2, &twelve).unwrap();
        assert_eq!(Snapshot::open(compiled.bytes).unwrap().number(Number::TotalHosts), Some(12));
        assert_eq!(compiled.skipped.len(), 1);
        assert_eq!(
            membership_path("service.backend&x"),
            "/stats?format=json&filter=%5Ecluster%5C.service.backend.x%5C.membership_total%24"
        );
    }
}
