//! Whether the host that answers is the one that the request was sent to.

use crate::target::host_port::HostPort;
use crate::target::{Host, Target};
use crate::template::Template;

/// How a host that answers is compared with the one that the request was sent to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Verify {
    /// The response header by which a host says who it is, in lower case.
    pub response_header: String,
    /// What it must say; by default the host of the target, or its first label.
    pub value: Option<Template>,
}

impl Verify {
    /// Whether a host that calls itself `name` is this one. Case does not matter.
    pub fn is_right(&self, host: &Host, name: &[u8]) -> bool {
        let name = name.trim_ascii();
        if let Some(called) = &host.called {
            return name.eq_ignore_ascii_case(called.as_bytes());
        }
        let address = match &host.target {
            None => &host.name,
            Some(Target::Authority(address) | Target::Header { value: address, .. }) => address,
            Some(Target::DynamicHost { host, .. }) => host,
        };
        let (whole, is_literal) = match HostPort::parse(address) {
            Some(parsed) => (parsed.host(), parsed.ip().is_some()),
            None => (address.as_str(), address.starts_with('[')),
        };
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
        is(whole) || (!is_literal && whole.split_once('.').is_some_and(|(label, _)| is(label)))
    }
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
        let cases: [(Host, &[&str], &[&str]); 6] = [
            (authority("s-1:8081"), &["s-1", "S-1", " s-1 "], &["s-2", "s-1:8081", "", "s"]),
            (authority("s-1.svc.local:80"), &["s-1", "s-1.svc.local"], &["s-1.svc", "s-1.svc.local:80"]),
            (authority("10.0.0.1:80"), &["10.0.0.1"], &["10"]),
            (authority("[2001:db8::1]:80"), &["[2001:db8::1]"], &["[2001:db8::2]"]),
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
