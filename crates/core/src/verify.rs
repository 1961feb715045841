//! Whether the host that answers is the one that the request was sent to.

use crate::target::host_port::HostPort;
use crate::target::{Host, Target};
use crate::template::Template;
use std::net::IpAddr;

/// How a host that answers is compared with the one that the request was sent to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Verify {
    /// The response header by which a host says who it is, in lower case.
    pub response_header: String,
    /// What it must say; by default the host of the target, or its first label.
    pub value: Option<Template>,
}

impl Verify {
    /// Whether a host that calls itself `name` is this one. Case, a final dot and the spelling of an IP address do not matter.
    pub fn is_right(&self, host: &Host, name: &[u8]) -> bool {
        let name = name.trim_ascii();
        if let Some(called) = &host.called {
            return name.eq_ignore_ascii_case(called.trim().as_bytes());
        }
        let address = match &host.target {
            None => &host.name,
            Some(Target::Authority(address) | Target::Header { value: address, .. }) => address,
            Some(Target::DynamicHost { host, .. }) => host,
        };
        let whole = HostPort::parse(address).map_or(address.as_str(), |parsed| parsed.host());
        if let Some(ip) = ip(whole.as_bytes()) {
            return self::ip(name) == Some(ip);
        }
        let whole = whole.strip_suffix('.').unwrap_or(whole);
        let name = name.strip_suffix(b".").unwrap_or(name);
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
        is(whole) || whole.split_once('.').is_some_and(|(label, _)| is(label))
    }
}

/// An IP address, in any spelling, with or without brackets.
fn ip(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    inner.parse().ok().map(|ip: IpAddr| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(target: Target) -> Host {
        Host { name: "7".to_owned(), target: Some(target), headers: Vec::new(), called: None }
    }

    fn authority(text: &str) -> Host {
        host(Target::Authority(text.to_owned()))
    }

    #[test]
    fn a_host_is_known_by_its_name_or_its_first_label() {
        let verify = Verify { response_header: "x-host".to_owned(), value: None };
        let cases: [(Host, &[&str], &[&str]); 7] = [
            (authority("s-1:8081"), &["s-1", "S-1", " s-1 "], &["s-2", "s-1:8081", "", "s"]),
            (authority("s-1.svc.local:80"), &["s-1", "s-1.svc.local"], &["s-1.svc", "s-1.svc.local:80"]),
            (authority("10.0.0.1:80"), &["10.0.0.1"], &["10"]),
            (authority("[2001:DB8:0::1]:80"), &["[2001:db8::1]", "2001:db8::1"], &["[2001:db8::2]", "2001"]),
            (authority("s-1.svc.local.:80"), &["s-1", "s-1.svc.local", "s-1.svc.local."], &["s-1.svc", "."]),
            (host(Target::DynamicHost { host: "s-1".to_owned(), port: None }), &["s-1"], &["s-2"]),
            (host(Target::Header { name: "x".into(), value: "shard_1".to_owned() }), &["shard_1"], &["7"]),
        ];
        for (host, right, wrong) in cases {
            assert!(right.iter().all(|name| verify.is_right(&host, name.as_bytes())), "{host:?}");
            assert!(!wrong.iter().any(|name| verify.is_right(&host, name.as_bytes())), "{host:?}");
        }
    }

    #[test]
    fn a_value_is_compared_as_it_is_rendered() {
        let verify = Verify { response_header: "x-host".to_owned(), value: None };
        let host = Host { called: Some("server 7".to_owned()), ..authority("s-1:80") };
        assert!(verify.is_right(&host, b"Server 7"));
        assert!(!verify.is_right(&host, b"s-1"));
    }
}
