//! What makes two hosts the same.

use std::fmt;

use pinroute_core::target::host_port::HostPort;

/// A host as a response names it.
///
/// Two are the same if their first labels and their ports are: `/where` may name the whole domain of a host that
/// knows only its own label. Case does not matter. An IP address counts whole.
#[derive(Clone, Debug)]
pub struct Host {
    text: String,
    label: String,
    port: u16,
}

impl Host {
    /// Reads `HOST:PORT`.
    pub fn parse(text: &str) -> Option<Self> {
        let parsed = HostPort::parse(text)?;
        let (mut label, port) = parsed.canonical();
        if parsed.ip().is_none() {
            label.truncate(label.find('.').unwrap_or(label.len()));
        }
        Some(Self { text: text.to_owned(), label, port })
    }
}

impl PartialEq for Host {
    fn eq(&self, other: &Self) -> bool {
        self.label == other.label && self.port == other.port
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(one: &str, other: &str) -> bool {
        Host::parse(one).unwrap() == Host::parse(other).unwrap()
    }

    #[test]
    fn names_are_compared_by_first_label_and_port() {
        for other in
            ["server-1:8081", "Server-1:8081", "server-1.shop.svc.cluster.local:8081", "server-1.:8081"]
        {
            assert!(same("server-1.svc:8081", other), "{other}");
        }
        for other in ["server-2.svc:8081", "server-1.svc:8082", "server-11.svc:8081", "server:8081"] {
            assert!(!same("server-1.svc:8081", other), "{other}");
        }
    }

    #[test]
    fn addresses_are_compared_whole() {
        assert!(same("10.0.0.1:80", "10.0.0.1:80"));
        assert!(same("[2001:DB8::1]:80", "[2001:db8:0::1]:80"));
        assert!(!same("10.0.0.1:80", "10.0.0.2:80"));
        assert!(!same("[2001:db8::1]:80", "[2001:db8::2]:80"));
        assert!(!same("10.0.0.1:80", "ten.0.0.1.example:80"));
    }

    #[test]
    fn a_host_without_a_port_is_none() {
        for text in ["server-1", "server-1:0", "", ":80", "a b:80", "http://a:80"] {
            assert!(Host::parse(text).is_none(), "{text}");
        }
    }
}
