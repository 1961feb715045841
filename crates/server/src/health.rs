//! Asks a running server whether it is healthy, for the health check of a container that holds no other program.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ureq::Agent;

use crate::error::HealthError;

/// For the whole check. Well below the shortest interval that health checks usually have.
const LIMIT: Duration = Duration::from_secs(2);
/// A body that says more than this is not `ok`.
const BODY_LIMIT: u64 = 1024;

/// Checks that the server which listens on `address` answers this path with 200 `ok`, within 2 s. A wildcard
/// address stands for loopback.
///
/// # Errors
/// If it does not.
pub fn check_health(address: SocketAddr, path: &str) -> Result<(), HealthError> {
    let address = SocketAddr::new(reachable(address.ip()), address.port());
    if address.port() == 0 {
        return Err(HealthError::NoPort);
    }
    let url = format!("http://{address}{path}");
    let no_response = |error| HealthError::NoResponse { url: url.clone(), source: Box::new(error) };
    let config = Agent::config_builder()
        .proxy(None)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(LIMIT))
        .build();
    let mut response = config.new_agent().get(&url).call().map_err(no_response)?;
    let body = response.body_mut().with_config().limit(BODY_LIMIT).read_to_string().map_err(no_response)?;
    match (response.status().as_u16(), body.trim()) {
        (200, "ok") => Ok(()),
        (status, _) => Err(HealthError::Unhealthy { url, status, body }),
    }
}

fn reachable(bind: IpAddr) -> IpAddr {
    match bind {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;
    use std::time::Instant;

    use super::*;

    /// Responds to one request with these bytes, or holds the connection open if there are none.
    fn respond(response: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).unwrap();
            stream.write_all(response.as_bytes()).unwrap();
            if response.is_empty() {
                let _ = stream.read(&mut request);
            }
        });
        address
    }

    #[test]
    fn only_200_ok_is_healthy() {
        check_health(respond("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"), "/health").unwrap();
        for (response, expected) in [
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad",
                r#"/health responded with status 200: "bad""#,
            ),
            ("HTTP/1.1 503 x\r\ncontent-length: 2\r\n\r\nok", r#"/health responded with status 503: "ok""#),
            ("HTTP/1.1 302 x\r\nlocation: /\r\ncontent-length: 0\r\n\r\n", "status 302: \"\""),
            ("nonsense\r\n\r\n", "no response from http://127.0.0.1:"),
        ] {
            let error = check_health(respond(response), "/health").unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_server_that_does_not_respond_is_given_up() {
        let start = Instant::now();
        let error = check_health(respond(""), "/health").unwrap_err();
        assert!(matches!(error, HealthError::NoResponse { .. }), "{error}");
        assert!(start.elapsed() < LIMIT * 2);
    }

    #[test]
    fn a_wildcard_is_reached_on_loopback() {
        for (bind, reached) in [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("10.1.2.3", "10.1.2.3")] {
            assert_eq!(reachable(bind.parse().unwrap()), reached.parse::<IpAddr>().unwrap());
        }
        assert!(matches!(check_health("0.0.0.0:0".parse().unwrap(), "/health"), Err(HealthError::NoPort)));
    }
}
