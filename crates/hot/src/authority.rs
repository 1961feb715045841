//! Where a request may be sent: reading `host:port`, and the rules on which of them are allowed.
//!
//! A resolver's answer decides where Envoy connects to, so whatever is not plainly a host and a port is
//! refused here, before Envoy sees it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A host and a port that have been read and found well-formed. Borrows the text it was read from.
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
    /// Reads `name:port`, `1.2.3.4:port` or `[v6]:port` with a port from 1 to 65535; `None` for anything
    /// else, be it a missing port, user information, a path, white space or a number posing as a name.
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

    /// The whole, as it was written.
    pub fn as_str(&self) -> &'t str {
        self.text
    }

    /// The host as it was written; an IPv6 literal keeps its brackets.
    pub fn host(&self) -> &'t str {
        self.host
    }

    /// The port, never 0.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the host is an IP literal that leads back to the proxy's own machine or network segment:
    /// loopback, link-local (where clouds keep their metadata services), unspecified or multicast.
    pub fn is_dangerous_literal(&self) -> bool {
        match self.ip {
            None => false,
            Some(IpAddr::V4(v4)) => is_dangerous_v4(v4),
            Some(IpAddr::V6(v6)) => is_dangerous_v6(v6),
        }
    }
}

/// Labels of letters, digits, `-` and `_`. The last one must not look like a number: resolvers read
/// `127.1`, `0x7f000001` and `2130706433` as addresses, which would slip past the rules on literals.
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
    this_host || ip.is_loopback() || ip.is_link_local() || ip.is_multicast() || ip.is_broadcast()
}

fn is_dangerous_v6(ip: Ipv6Addr) -> bool {
    let segments = ip.segments();
    // Deprecated, but routers still keep it within a site (RFC 3879).
    let site_local = matches!(segments, [first, ..] if first & 0xffc0 == 0xfec0);
    // Where a large cloud answers for metadata in IPv6; it is no link-local address there.
    let metadata_service = segments == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254];
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

/// One entry of `allowed_targets`: a glob over `host:port`.
///
/// `*` stands for any run of characters within one label or within the port: it matches neither a dot
/// nor the colon before the port. Without `:port` any port is meant. An IPv6 literal must be written out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetPattern {
    host: String,
    port: Option<PortPattern>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum PortPattern {
    Exactly(u16),
    /// With a `*` in it.
    Like(String),
}

impl TargetPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, _)) if host.starts_with('[') && !host.ends_with(']') => (text, None),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        if host.is_empty() {
            return Err("the host is empty");
        }
        if let Some(literal) = host.strip_prefix('[') {
            let address = literal.strip_suffix(']').and_then(|inner| inner.parse::<Ipv6Addr>().ok());
            if address.is_none() {
                return Err("what stands in brackets is not an IPv6 address");
            }
        } else if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.*".contains(&byte)) {
            return Err("a host has letters, digits, `-`, `_`, `.` and `*` only");
        }
        let port = match port {
            None => None,
            Some(port) if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit() || b == b'*') => {
                return Err("a port has digits and `*` only")
            }
            Some(port) if port.contains('*') => Some(PortPattern::Like(port.to_owned())),
            Some(port) => match port.parse() {
                // Not 08081 either: nobody means that.
                Ok(number) if !port.starts_with('0') => Some(PortPattern::Exactly(number)),
                _ => return Err("a port is a number from 1 to 65535"),
            },
        };
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        Ok(Self { host, port })
    }

    /// Whether `target` is meant by this pattern. Case and a final dot of the host do not matter.
    pub fn matches(&self, target: &HostPort<'_>) -> bool {
        let host = target.host.strip_suffix('.').unwrap_or(target.host);
        let host_matches = match target.ip {
            // Written any way, an IPv6 address is the same address.
            Some(IpAddr::V6(ip)) => self.ipv6() == Some(ip),
            _ => glob(self.host.as_bytes(), host.as_bytes()),
        };
        host_matches
            && match &self.port {
                None => true,
                Some(PortPattern::Exactly(port)) => *port == target.port,
                Some(PortPattern::Like(like)) => glob(like.as_bytes(), target.port.to_string().as_bytes()),
            }
    }

    fn ipv6(&self) -> Option<Ipv6Addr> {
        self.host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
    }
}

impl fmt::Display for TargetPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.port {
            Some(PortPattern::Exactly(port)) => write!(f, "{}:{port}", self.host),
            Some(PortPattern::Like(like)) => write!(f, "{}:{like}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

/// Matches `text` against `pattern` (lower case). Backtracks to the last `*` only, so the time is at most
/// the product of the lengths, whatever is asked.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(at), text.get(seen)) {
            (None, None) => return true,
            (Some(b'*'), _) => {
                star = Some((at, seen));
                at += 1;
            }
            (Some(wanted), Some(byte)) if *wanted == byte.to_ascii_lowercase() => {
                at += 1;
                seen += 1;
            }
            _ => match star {
                Some((star_at, from)) if text.get(from).is_some_and(|byte| *byte != b'.') => {
                    star = Some((star_at, from + 1));
                    at = star_at + 1;
                    seen = from + 1;
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_plainly_a_host_and_a_port_is_read() {
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
    fn literals_that_lead_back_to_the_proxy_are_dangerous() {
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
        ] {
            assert!(dangerous(text), "{text}");
        }
        for text in
            ["10.0.0.1:80", "192.168.1.1:80", "8.8.8.8:80", "[2001:db8::1]:80", "localhost:80", "a:80"]
        {
            assert!(!dangerous(text), "{text}");
        }
    }

    #[test]
    fn a_star_stays_within_its_label() {
        let matches = |pattern: &str, target: &str| {
            TargetPattern::parse(pattern).expect(pattern).matches(&HostPort::parse(target).expect(target))
        };
        for (pattern, target) in [
            ("poc-routing-server-*:8081", "poc-routing-server-17:8081"),
            ("POC-*:8081", "poc-Routing:8081"),
            ("*.svc.local:80", "a.svc.local:80"),
            ("a*b*c:80", "axxbxxbyc:80"),
            ("a:*", "a:1"),
            ("a:80*", "a:8081"),
            ("a", "a:1234"),
            ("*", "server:1"),
            ("a.b.", "A.B:80"),
            ("10.0.*.*:80", "10.0.3.4:80"),
            ("[2001:DB8::1]:80", "[2001:db8:0::1]:80"),
            ("[::1]", "[::1]:9"),
        ] {
            assert!(matches(pattern, target), "{pattern} should match {target}");
        }
        for (pattern, target) in [
            ("poc-routing-server-*:8081", "poc-routing-server-1.evil.example:8081"),
            ("poc-routing-server-*:8081", "poc-routing-server-1:80"),
            ("*.local:80", "a.b.local:80"),
            ("*:80", "[::1]:80"),
            ("*:80", "127.0.0.1:80"),
            ("a:8*", "a:9"),
            ("server", "server.evil:80"),
            ("a*b:80", "axxc:80"),
        ] {
            assert!(!matches(pattern, target), "{pattern} should not match {target}");
        }
    }

    #[test]
    fn patterns_that_could_never_match_are_refused() {
        for pattern in
            ["", ":80", "a:", "a:x", "a:0", "a:70000", "a b:80", "http://a:80", "[::*]:80", "[::1:80", "é:80"]
        {
            assert!(TargetPattern::parse(pattern).is_err(), "{pattern:?}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics_and_gives_back_what_it_read(text in "\\PC{0,40}") {
            if let Some(read) = HostPort::parse(&text) {
                prop_assert_eq!(format!("{}:{}", read.host(), read.port()).len() <= text.len(), true);
                prop_assert_eq!(read.as_str(), text.as_str());
            }
        }

        #[test]
        fn a_glob_agrees_with_the_obvious_recursion(pattern in "[ab.*]{0,8}", text in "[ab.]{0,10}") {
            fn naive(pattern: &[u8], text: &[u8]) -> bool {
                match (pattern.split_first(), text.split_first()) {
                    (None, None) => true,
                    (Some((b'*', rest)), None) => naive(rest, text),
                    (Some((b'*', rest)), Some((byte, tail))) => {
                        naive(rest, text) || (*byte != b'.' && naive(pattern, tail))
                    }
                    (Some((wanted, rest)), Some((byte, tail))) => wanted == byte && naive(rest, tail),
                    _ => false,
                }
            }
            prop_assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), naive(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
