//! Reads `host:port`. Anything that is not plainly a host and a port is refused before Envoy sees it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A well-formed host and port. Borrows the text it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostPort<'t> {
    text: &'t str,
    host: &'t str,
    port: u16,
    ip: Option<IpAddr>,
}

/// The longest name that DNS can carry, in characters.
const MAX_NAME: usize = 253;
/// The longest label of such a name.
const MAX_LABEL: usize = 63;

impl<'t> HostPort<'t> {
    /// Reads `name:port`, `1.2.3.4:port` or `[v6]:port` with a port from 1 to 65535. `None` for anything
    /// else: a missing port, user information, a path, white space, or a name that looks like a number.
    pub fn parse(text: &'t str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let all_digits =
            !port.is_empty() && port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse::<u16>().ok().filter(|port| all_digits && *port != 0)?;
        let ip = match host.strip_prefix('[') {
            Some(rest) => Some(IpAddr::V6(rest.strip_suffix(']')?.parse().ok()?)),
            None => match host.parse::<Ipv4Addr>() {
                Ok(v4) => Some(IpAddr::V4(v4)),
                Err(_) if is_name(host) => None,
                Err(_) => return None,
            },
        };
        Some(Self { text, host, port, ip })
    }

    /// The whole text.
    pub fn as_str(&self) -> &'t str {
        self.text
    }

    /// The host; an IPv6 literal keeps its brackets.
    pub fn host(&self) -> &'t str {
        self.host
    }

    /// The address, if the host is an IP literal.
    pub fn ip(&self) -> Option<IpAddr> {
        self.ip
    }

    /// The port, never 0.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the host is an IP literal of the proxy's own machine or network segment: loopback, link-local
    /// (where clouds keep their metadata services), unspecified or multicast.
    pub fn is_dangerous_literal(&self) -> bool {
        match self.ip {
            None => false,
            Some(IpAddr::V4(v4)) => is_dangerous_v4(v4),
            Some(IpAddr::V6(v6)) => is_dangerous_v6(v6),
        }
    }
}

/// Labels of letters, digits, `-` and `_`. The last one must not look like a number: DNS resolvers take
/// `127.1`, `0x7f000001` and `2130706433` for addresses, which the rules on literals would miss.
fn is_name(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= MAX_LABEL
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let is_number = |label: &str| match label.strip_prefix("0x").or_else(|| label.strip_prefix("0X")) {
        Some(hex) => hex.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    };
    name.len() <= MAX_NAME && name.split('.').all(is_label) && !name.rsplit('.').next().is_some_and(is_number)
}

fn is_dangerous_v4(ip: Ipv4Addr) -> bool {
    // All of 0.0.0.0/8 means "this host" (RFC 1122), not only the unspecified address itself.
    let this_host = matches!(ip.octets(), [0, ..]);
    // The IPv4 addresses of clouds' metadata services outside the link-local range.
    let metadata_service = matches!(ip.octets(), [100, 100, 100, 200] | [168, 63, 129, 16]);
    this_host
        || metadata_service
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_broadcast()
}

fn is_dangerous_v6(ip: Ipv6Addr) -> bool {
    let segments = ip.segments();
    // Deprecated, but routers still keep it within a site (RFC 3879).
    let site_local = matches!(segments, [first, ..] if first & 0xffc0 == 0xfec0);
    // The IPv6 addresses of large clouds' metadata services, which are not link-local.
    let metadata_service =
        matches!(segments, [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254]);
    ip.is_loopback()
        || ip.is_unspecified()
        || ip.is_unicast_link_local()
        || ip.is_multicast()
        || site_local
        || metadata_service
        || embedded_v4(ip).is_some_and(is_dangerous_v4)
}

/// The IPv4 address inside an IPv6 address that stands for one: IPv4-mapped, IPv4-compatible, IPv4-translated
/// (RFC 2765), NAT64 (RFC 6052 and 8215) or 6to4 (RFC 3056).
fn embedded_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let (high, low) = match ip.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low]
        | [0x2002, high, low, ..] => (high, low),
        _ => return None,
    };
    Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_host_and_a_port_are_read() {
        for (text, host, port) in [
            ("poc-routing-server-1:8081", "poc-routing-server-1", 8081),
            (
                "server-0.server-headless.ns.svc.cluster.local:1",
                "server-0.server-headless.ns.svc.cluster.local",
                1,
            ),
            ("a_b.example.:65535", "a_b.example.", 65535),
            ("10.0.0.7:80", "10.0.0.7", 80),
            ("[2001:db8::1]:443", "[2001:db8::1]", 443),
        ] {
            let read = HostPort::parse(text).expect(text);
            assert_eq!((read.host(), read.port(), read.as_str()), (host, port, text));
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let long_label = format!("{}:80", "a".repeat(64));
        let long_name = format!("{}:80", ["a"; 128].join("."));
        for text in [
            "",
            ":",
            "a",
            "a:",
            ":80",
            "a:0",
            "a:99999",
            "a:65536",
            "a:+80",
            "a:080808",
            "a: 80",
            "a:80 ",
            " a:80",
            "a:80\r\nx: y",
            "a\r\n:80",
            "user@a:80",
            "user:pw@a:80",
            "a:80/path",
            "http://a:80",
            "a/b:80",
            "a b:80",
            "a..b:80",
            ".a:80",
            "é:80",
            "::1:80",
            "[::1:80",
            "[::1]80",
            "[fe80::1%eth0]:80",
            "a:80:90",
            "127.1:80",
            "0x7f000001:80",
            "2130706433:80",
            "1.2.3.4.5:80",
            "300.1.1.1:80",
            "a.0x1:80",
            "127.0.0.1.:80",
            "*:80",
            "a\0:80",
            long_label.as_str(),
            long_name.as_str(),
        ] {
            assert_eq!(HostPort::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn literals_of_the_proxys_own_machine_are_dangerous() {
        let dangerous = |text| HostPort::parse(text).expect(text).is_dangerous_literal();
        for text in [
            "127.0.0.1:80",
            "127.9.9.9:80",
            "0.0.0.0:80",
            "0.1.2.3:80",
            "169.254.169.254:80",
            "224.0.0.1:80",
            "255.255.255.255:80",
            "[::1]:80",
            "[::]:80",
            "[fe80::1]:80",
            "[ff02::1]:80",
            "[::ffff:127.0.0.1]:80",
            "[::ffff:a9fe:a9fe]:80",
            "[::127.0.0.1]:80",
            "[64:ff9b::7f00:1]:80",
            "[64:ff9b:1::127.0.0.1]:80",
            "[::ffff:0:127.0.0.1]:80",
            "[2002:7f00:1::]:80",
            "[fec0::1]:80",
            "[fd00:ec2::254]:80",
            "[fd20:ce::254]:80",
            "100.100.100.200:80",
            "168.63.129.16:80",
            "[::ffff:168.63.129.16]:80",
        ] {
            assert!(dangerous(text), "{text}");
        }
        for text in
            ["10.0.0.1:80", "192.168.1.1:80", "8.8.8.8:80", "[2001:db8::1]:80", "localhost:80", "a:80"]
        {
            assert!(!dangerous(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics_and_keeps_the_text(text in "\\PC{0,40}") {
            if let Some(read) = HostPort::parse(&text) {
                prop_assert!(read.host().len() < text.len());
                prop_assert_eq!(read.as_str(), text.as_str());
            }
        }
    }
}
