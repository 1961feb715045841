//! `allowed_targets`: which hosts requests may be sent to.

use super::host_port::HostPort;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// The list of `allowed_targets`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AllowedTargets(pub Vec<TargetPattern>);

impl AllowedTargets {
    /// Whether an entry matches.
    pub fn allow(&self, target: &HostPort<'_>) -> bool {
        self.0.iter().any(|pattern| pattern.matches(target))
    }

    /// Whether an entry allows a port, of any host.
    pub fn allow_port(&self, port: u16) -> bool {
        self.0.iter().any(|pattern| pattern.matches_port(port))
    }

    /// Whether an entry may match a name: it has no port.
    pub fn allow_names(&self) -> bool {
        self.0.iter().any(|pattern| pattern.port.is_none())
    }

    /// Whether an entry matches a header's value: a `host:port`, or else a name.
    pub fn allow_text(&self, text: &str) -> bool {
        match HostPort::parse(text) {
            Some(target) => self.allow(&target),
            None => self.0.iter().any(|pattern| pattern.matches_name(text)),
        }
    }
}

impl fmt::Display for AllowedTargets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(patterns) = self;
        let shown = patterns.iter().take(3).map(ToString::to_string).collect::<Vec<_>>().join(", ");
        write!(f, "[{shown}{}]", if patterns.len() > 3 { ", …" } else { "" })
    }
}

/// One entry of `allowed_targets`: a glob over `host:port`.
///
/// `*` matches any run of characters within one label or within the port, neither a dot nor the colon before
/// the port. An entry without `:port` allows every port. An IPv6 literal must be written out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TargetPattern {
    /// As it was written, for names.
    name: String,
    /// In lower case, without a final dot.
    host: String,
    port: Option<PortPattern>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum PortPattern {
    Exactly(u16),
    /// With a `*` in it.
    Like(String),
}

impl TargetPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// Describes the mistake.
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
                return Err("the text in brackets is not an IPv6 address");
            }
        } else if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.*|".contains(&byte)) {
            return Err("a host has letters, digits, `-`, `_`, `.` and `*` only, a name also `|`");
        }
        let port = match port {
            None => None,
            Some(port) if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit() || b == b'*') => {
                return Err("a port has digits and `*` only");
            }
            Some(port) if port.contains('*') => Some(PortPattern::Like(port.to_owned())),
            Some(port) => match port.parse() {
                // 08081 is refused too: it is a mistake.
                Ok(number) if !port.starts_with('0') => Some(PortPattern::Exactly(number)),
                _ => return Err("a port is a number from 1 to 65535"),
            },
        };
        let name = host.to_owned();
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        Ok(Self { name, host, port })
    }

    /// Whether the pattern allows `target`. Case and a final dot of the host do not matter.
    pub fn matches(&self, target: &HostPort<'_>) -> bool {
        let host = target.host().strip_suffix('.').unwrap_or(target.host());
        let host_matches = match target.ip() {
            // The same IPv6 address can be written in several ways.
            Some(IpAddr::V6(ip)) => self.ipv6() == Some(ip),
            _ => glob(self.host.as_bytes(), host.as_bytes(), u8::eq_ignore_ascii_case),
        };
        host_matches && self.matches_port(target.port())
    }

    fn matches_port(&self, port: u16) -> bool {
        match &self.port {
            None => true,
            Some(PortPattern::Exactly(only)) => *only == port,
            Some(PortPattern::Like(like)) => glob(like.as_bytes(), port.to_string().as_bytes(), u8::eq),
        }
    }

    /// Whether the pattern allows a name. Case matters.
    pub fn matches_name(&self, name: &str) -> bool {
        self.port.is_none() && glob(self.name.as_bytes(), name.as_bytes(), u8::eq)
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

/// Matches `text` against `pattern`; `same` compares two bytes. Backtracks to the last `*` only, so the time is at most
/// the product of the lengths.
fn glob(pattern: &[u8], text: &[u8], same: fn(&u8, &u8) -> bool) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(at), text.get(seen)) {
            (None, None) => return true,
            (Some(b'*'), _) => {
                star = Some((at, seen));
                at += 1;
            }
            (Some(wanted), Some(byte)) if same(wanted, byte) => {
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
            prop_assert_eq!(glob(pattern.as_bytes(), text.as_bytes(), u8::eq), naive(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
