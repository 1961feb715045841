//! The host that a call names. A web page may call an API on loopback through a name of its own that it lets point there (DNS
//! rebinding), and then nothing but this host tells it from a call of the operator.

use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};

/// The host of a request if nobody but a foreign page would call this machine by it: a name of the public DNS.
pub fn foreign(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let named = |value: &axum::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let text = uri.authority().map(ToString::to_string).or_else(|| headers.get(header::HOST).map(named))?;
    let is_ours = text.parse::<Authority>().is_ok_and(|authority| {
        let host = authority.host().trim_end_matches('.').to_ascii_lowercase();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        address.parse::<IpAddr>().is_ok() || !host.contains('.') || host.ends_with(".localhost")
    });
    (!is_ours).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn names_of_the_public_dns_are_foreign() {
        let of = |host: &str| {
            let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::try_from(host).unwrap())]);
            foreign(&Uri::from_static("/v1/runtime"), &headers)
        };
        for ours in
            ["127.0.0.1:18001", "[::1]:1", "localhost", "LOCALHOST:1", "a.localhost:2", "control-plane:1"]
        {
            assert_eq!(of(ours), None, "{ours}");
        }
        for other in ["evil.example", "evil.example:18001", "127.0.0.1.nip.io", "localhost.evil.example.", ""]
        {
            assert_eq!(of(other).as_deref(), Some(other));
        }
        assert_eq!(foreign(&Uri::from_static("/"), &HeaderMap::new()), None, "HTTP/1.0");
        let absolute = Uri::from_static("http://evil.example/v1/runtime");
        assert_eq!(foreign(&absolute, &HeaderMap::new()).as_deref(), Some("evil.example"));
    }
}
