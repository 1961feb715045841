//! The body of `/clusters?format=json` of Envoy's admin interface.

use super::endpoints::{Identity, Reported};
use serde::Deserialize;
use std::borrow::Cow;

/// The body. Most of it is not wanted.
#[derive(Deserialize)]
struct Body<'b> {
    #[serde(borrow, default)]
    cluster_statuses: Vec<Cluster<'b>>,
}

#[derive(Deserialize)]
struct Cluster<'b> {
    #[serde(borrow, default)]
    name: Cow<'b, str>,
    #[serde(borrow, default)]
    host_statuses: Vec<Host<'b>>,
}

#[derive(Deserialize)]
struct Host<'b> {
    #[serde(borrow, default)]
    address: Address<'b>,
    #[serde(borrow, default)]
    health_status: Health<'b>,
    #[serde(borrow, default)]
    hostname: Cow<'b, str>,
}

#[derive(Default, Deserialize, PartialEq)]
struct Address<'b> {
    #[serde(borrow)]
    socket_address: Option<SocketAddress<'b>>,
}

#[derive(Deserialize, PartialEq)]
struct SocketAddress<'b> {
    #[serde(borrow, default)]
    address: Cow<'b, str>,
    #[serde(default)]
    port_value: u32,
}

/// False flags are left out.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Health<'b> {
    failed_active_health_check: bool,
    failed_outlier_check: bool,
    /// It was removed, and is there only until its health check fails.
    pending_dynamic_removal: bool,
    #[serde(borrow)]
    eds_health_status: Cow<'b, str>,
}

impl Health<'_> {
    fn is_healthy(&self) -> bool {
        let has_failed =
            self.failed_active_health_check || self.failed_outlier_check || self.pending_dynamic_removal;
        !has_failed && !["UNHEALTHY", "DRAINING", "TIMEOUT"].contains(&&*self.eds_health_status)
    }
}

/// The endpoints of a cluster; `None` if the body is unusable or does not have the cluster.
pub fn endpoints(body: &[u8], cluster: &str) -> Option<Vec<Reported>> {
    let body: Body<'_> = serde_json::from_slice(body).ok()?;
    let found = body.cluster_statuses.into_iter().find(|found| found.name == cluster)?;
    // An address that a host has left may be another's by now, whose responses keep it in the list.
    let is_left = |host: &Host<'_>| {
        let is_same = |other: &Host<'_>| {
            other.address == host.address || (!host.hostname.is_empty() && other.hostname == host.hostname)
        };
        let mut others = found.host_statuses.iter();
        host.health_status.pending_dynamic_removal
            && others.any(|other| !other.health_status.pending_dynamic_removal && is_same(other))
    };
    let reported = |host: &Host<'_>| {
        if is_left(host) {
            return None;
        }
        let socket = host.address.socket_address.as_ref()?;
        let hostname = Some(host.hostname.to_string()).filter(|name| !name.is_empty());
        let identity = hostname.map(Identity::Hostname);
        Reported::new(identity, &socket.address, socket.port_value, host.health_status.is_healthy())
    };
    Some(found.host_statuses.iter().filter_map(reported).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn endpoints_have_an_address_a_name_and_health() {
        let body = br#"{"cluster_statuses":[{"name":"other","host_statuses":[]},{"name":"a","added_via_api":true,
            "observability_name":"a","host_statuses":[
            {"address":{"socket_address":{"address":"10.0.0.1","port_value":80}},"stats":[{"name":"cx_total","value":"3"}],
             "health_status":{"eds_health_status":"HEALTHY"},"weight":1,"hostname":"x","locality":{"zone":"z"}},
            {"address":{"socket_address":{"address":"::1","port_value":81}},"health_status":{"failed_active_health_check":true,
             "eds_health_status":"HEALTHY"}},
            {"address":{"socket_address":{"address":"10.0.0.3","port_value":80}},"health_status":{"failed_outlier_check":true}},
            {"address":{"socket_address":{"address":"10.0.0.4","port_value":80}},"health_status":{"pending_dynamic_removal":true}},
            {"address":{"socket_address":{"address":"10.0.0.5","port_value":80}},"health_status":{"eds_health_status":"DRAINING"}},
            {"address":{"pipe":{"path":"/tmp/x"}},"health_status":{}}]}]}"#;
        let found = endpoints(body, "a").unwrap();
        let shown: Vec<_> = found.iter().map(|one| (one.address.to_string(), one.is_healthy)).collect();
        let expected = [
            ("10.0.0.1:80", true),
            ("[::1]:81", false),
            ("10.0.0.3:80", false),
            ("10.0.0.4:80", false),
            ("10.0.0.5:80", false),
        ];
        assert_eq!(shown, expected.map(|(address, healthy)| (address.to_owned(), healthy)));
        assert_eq!(found[0].identity, Some(Identity::Hostname("x".to_owned())));
        assert_eq!(found[1].identity, None);
        assert_eq!(endpoints(body, "other"), Some(vec![]));
        assert!(
            endpoints(body, "b").is_none()
                && endpoints(b"{}", "a").is_none()
                && endpoints(b"[", "a").is_none()
        );
    }

    #[test]
    fn an_address_that_a_host_has_left_is_dropped_when_it_has_another_or_another_has_it() {
        let host = |ip: &str, name: &str, pending: bool| {
            format!(
                r#"{{"address":{{"socket_address":{{"address":"{ip}","port_value":80}}}},"hostname":"{name}",
                    "health_status":{{"pending_dynamic_removal":{pending}}}}}"#
            )
        };
        let listed = |hosts: &[String]| {
            let hosts = hosts.join(",");
            let body = format!(r#"{{"cluster_statuses":[{{"name":"a","host_statuses":[{hosts}]}}]}}"#);
            let found = endpoints(body.as_bytes(), "a").unwrap();
            found.iter().map(|one| (one.address.ip().to_string(), one.is_healthy)).collect::<Vec<_>>()
        };
        let both =
            |list: &[(&str, bool)]| list.iter().map(|(ip, is)| ((*ip).to_owned(), *is)).collect::<Vec<_>>();
        // They have swapped their addresses.
        let swapped = [
            host("10.0.0.1", "b", false),
            host("10.0.0.1", "a", true),
            host("10.0.0.2", "a", false),
            host("10.0.0.2", "b", true),
        ];
        assert_eq!(listed(&swapped), both(&[("10.0.0.1", true), ("10.0.0.2", true)]));
        let taken = [host("10.0.0.1", "b", false), host("10.0.0.1", "a", true)];
        assert_eq!(listed(&taken), both(&[("10.0.0.1", true)]));
        let moved = [host("10.0.0.1", "a", true), host("10.0.0.2", "a", false)];
        assert_eq!(listed(&moved), both(&[("10.0.0.2", true)]));
        // Nobody has taken its place.
        let left = [host("10.0.0.1", "a", true), host("10.0.0.2", "b", false), host("10.0.0.3", "", true)];
        assert_eq!(listed(&left), both(&[("10.0.0.1", false), ("10.0.0.2", true), ("10.0.0.3", false)]));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = endpoints(&bytes, "a");
        }
    }
}
