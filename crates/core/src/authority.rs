//! The `:authority` of the calls that the filter makes.

use std::net::Ipv6Addr;

/// The longest authority that a configuration may set, in bytes.
pub const MAX_LENGTH: usize = 100;

/// The authority of calls to a cluster whose name is none.
const INSTEAD: &str = "pinroute";

/// The authority of calls to a cluster: its name if that is a valid one. Names with `|` or `/` are common where a control
/// plane makes them, and HTTP/2 servers refuse them as authorities.
pub fn of_cluster(name: &str) -> &str {
    if is_valid(name) { name } else { INSTEAD }
}

/// Whether a text is a host with or without a port (RFC 3986, without user information and escapes).
pub fn is_valid(text: &str) -> bool {
    let is_port = |port: &str| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port != 0)
    };
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|literal| literal.parse::<Ipv6Addr>().is_ok()),
        None => {
            let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte);
            !host.is_empty() && host.bytes().all(is_allowed)
        }
    };
    is_host && port.is_none_or(is_port) && text.len() <= MAX_LENGTH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_called_by_its_name_if_that_is_an_authority() {
        for name in ["resolver", "xds_cluster", "a.b.svc:8081", "10.0.0.1", "[::1]", "[::1]:80", "a+b"] {
            assert_eq!(of_cluster(name), name);
        }
        for name in [
            "outbound|8081||svc.ns.svc.cluster.local",
            "httproute/ns/name/rule/0",
            "a b",
            "user@a",
            "a:",
            "a:x",
            "a:123456",
            "a:65536",
            "a:0",
            ":80",
            "::1",
            "[::1",
            "[x]",
            "é",
            "a%20b",
            "",
        ] {
            assert_eq!(of_cluster(name), "pinroute", "{name}");
        }
    }
}
