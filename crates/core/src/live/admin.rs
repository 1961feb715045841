//! What Envoy's admin interface says: `/runtime` with all layers merged, and `/stats` with the number of
//! endpoints of a cluster.

use super::{compile, Compiled, Scalar, Snapshot};
use crate::json::{self, Read, Reader};

/// Compiles the body of `/runtime`; `None` if it is something else.
pub fn runtime(body: &[u8], prefix: &str, version: u64, last: &Snapshot) -> Option<Compiled> {
    let mut whole = false;
    let compiled = compile(prefix, version, last, &mut |visit| whole = walk(body, visit).is_ok());
    whole.then_some(compiled)
}

/// Visits the object `entries`: each member is an entry with its layers and its `final_value`.
fn walk(body: &[u8], visit: &mut dyn FnMut(&str, Scalar<'_>)) -> Read<()> {
    let mut reader = Reader::of(body);
    reader.object(&mut |reader, name| {
        if name != "entries" {
            return reader.skip();
        }
        reader.object(&mut |reader, entry| {
            let mut value = None;
            reader.object(&mut |reader, name| {
                if name != "final_value" {
                    return reader.skip();
                }
                value = Some(reader.string()?);
                Ok(())
            })?;
            visit(&entry, Scalar::Text(&value.unwrap_or_default()));
            Ok(())
        })
    })?;
    reader.end()
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
    Some(compile(cluster, version, last, &mut |visit| {
        visit(&format!("{cluster}.total_hosts"), Scalar::Number(count));
    }))
}

fn endpoints(body: &[u8], cluster: &str) -> Option<f64> {
    let body = json::parse(body).ok()?;
    // Envoy's stats write a colon as an underscore.
    let name = format!("cluster.{}.membership_total", cluster.replace(':', "_"));
    let is_wanted = |stat: &&json::Value| stat.get("name").and_then(json::Value::as_str) == Some(&name);
    body.get("stats")?.as_array()?.iter().find(is_wanted)?.get("value")?.as_f64()
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
        assert_eq!(endpoints(body.as_bytes(), "service.backend"), Some(12.0));
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
