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

    /// The host and the port in the one spelling that all spellings of the same host share.
    pub fn canonical(&self) -> (String, u16) {
        let host = match self.ip {
            Some(ip) => ip.to_canonical().to_string(),
            None => self.host.strip_suffix('.').unwrap_or(self.host).to_ascii_lowercase(),
        };
        (host, self.port)
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
        || embedded_v4(ip).any(is_dangerous_v4)
}

/// The IPv4 addresses that an IPv6 address may stand for: IPv4-mapped, IPv4-compatible, IPv4-translated (RFC 2765),
/// 6to4 (RFC 3056) or NAT64 (RFC 6052). A network may use the local NAT64 prefix `64:ff9b:1::/48` (RFC 8215) with a
/// prefix of 48, 56, 64 or 96 bits, and nothing in the address tells which one.
fn embedded_v4(ip: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    /// The places of the four bytes for each length. The byte behind 64 bits is skipped.
    const LOCAL_NAT64: [[usize; 4]; 4] = [[6, 7, 9, 10], [7, 9, 10, 11], [9, 10, 11, 12], [12, 13, 14, 15]];
    let places: &[[usize; 4]] = match ip.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => {
            &[[12, 13, 14, 15]]
        }
        [0x64, 0xff9b, 1, ..] => &LOCAL_NAT64,
        [0x2002, ..] => &[[2, 3, 4, 5]],
        _ => &[],
    };
    let bytes = ip.octets();
    let at = move |place: usize| bytes.get(place).copied().unwrap_or_default();
    places.iter().map(move |four| Ipv4Addr::from(four.map(at)))
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
            "[64:ff9b:1:a9fe:a9:fe00::]:80",
            "[64:ff9b:1:12a9:fe:a9fe::]:80",
            "[64:ff9b:1:1234:a9:fea9:fe00:0]:80",
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
        for text in [
            "10.0.0.1:80",
            "192.168.1.1:80",
            "8.8.8.8:80",
            "[2001:db8::1]:80",
            "[64:ff9b:1:808:8:808:808:808]:80",
            "[64:ff9b::808:808]:80",
            "localhost:80",
            "a:80",
        ] {
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
