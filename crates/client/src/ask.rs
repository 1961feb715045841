//! One call of `/where` or `/join`.

use std::error::Error;
use std::time::Duration;

use http::{HeaderMap, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::host::Host;
use crate::options::BaseUrl;

/// No response of the contract comes close.
const BODY_LIMIT: usize = 64 << 10;
/// Of the text of an error response.
const TEXT_LIMIT: usize = 200;

/// Why a call failed, in few words that are the same for the same reason: causes are counted.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// No connection, or no address for the name.
    #[error("connect to {address}: {reason}")]
    Connect {
        /// The host and port.
        address: String,
        /// Why.
        reason: String,
    },
    /// No complete response in time.
    #[error("timeout of {path} after {after:?}")]
    Timeout {
        /// What was called.
        path: &'static str,
        /// The time.
        after: Duration,
    },
    /// Another status than 200.
    #[error("{path} {status}{text}")]
    Status {
        /// What was called.
        path: &'static str,
        /// The status.
        status: u16,
        /// A space and the first line of the body, if it is plain text.
        text: String,
    },
    /// The connection ended too early, or carried no HTTP.
    #[error("broken response of {0}")]
    Broken(&'static str),
    /// 200 without a `host:port`.
    #[error("unusable response of {0}")]
    Unusable(&'static str),
    /// The client id cannot stand in a URL.
    #[error("invalid client id")]
    InvalidId,
}

impl Cause {
    /// Whether there was a response, or a part of one.
    pub fn is_response(&self) -> bool {
        matches!(self, Self::Status { .. } | Self::Broken(_) | Self::Unusable(_))
    }
}

/// What can be called.
#[derive(Clone, Copy, Debug)]
pub enum Endpoint {
    /// Which host owns a client.
    Where,
    /// Registers a client at its host.
    Join,
}

impl Endpoint {
    /// The path.
    pub fn path(self) -> &'static str {
        match self {
            Self::Where => "/where",
            Self::Join => "/join",
        }
    }

    /// The member of the response that names the host.
    fn member(self) -> &'static str {
        match self {
            Self::Where => "hostport",
            Self::Join => "assigned",
        }
    }
}

/// Makes calls, on connections that it keeps.
#[derive(Debug)]
pub struct Asker {
    client: Client<HttpConnector, Empty<&'static [u8]>>,
    url: BaseUrl,
    timeout: Duration,
}

impl Asker {
    /// For one server.
    pub fn new(url: BaseUrl, timeout: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self { client: Client::builder(TokioExecutor::new()).build(connector), url, timeout }
    }

    /// The host that the response names.
    pub async fn ask(&self, endpoint: Endpoint, id: &str) -> Result<Host, Cause> {
        let uri = format!("{}{}?client_id={id}", self.url, endpoint.path());
        let uri = uri.parse().map_err(|_| Cause::InvalidId)?;
        match tokio::time::timeout(self.timeout, self.exchange(uri, endpoint)).await {
            Ok(answered) => answered,
            Err(_) => Err(Cause::Timeout { path: endpoint.path(), after: self.timeout }),
        }
    }

    async fn exchange(&self, uri: Uri, endpoint: Endpoint) -> Result<Host, Cause> {
        let path = endpoint.path();
        let response = self.client.get(uri).await;
        let response = response.map_err(|error| match error.is_connect() {
            true => Cause::Connect { address: self.url.authority().to_owned(), reason: reason(&error) },
            false => Cause::Broken(path),
        })?;
        let (head, body) = response.into_parts();
        let body =
            Limited::new(body, BODY_LIMIT).collect().await.map_err(|_| Cause::Broken(path))?.to_bytes();
        if head.status != StatusCode::OK {
            let text = first_line(&head.headers, &body);
            return Err(Cause::Status { path, status: head.status.as_u16(), text });
        }
        let body: Value = serde_json::from_slice(&body).map_err(|_| Cause::Unusable(path))?;
        let host = body.get(endpoint.member()).and_then(Value::as_str).and_then(Host::parse);
        host.ok_or(Cause::Unusable(path))
    }
}

/// Why there is no connection, without what differs from time to time.
fn reason(error: &(dyn Error + 'static)) -> String {
    let mut next = Some(error);
    while let Some(source) = next {
        // The connector's type is private.
        if source.to_string().starts_with("dns error") {
            return "name not resolved".to_owned();
        }
        if let Some(error) = source.downcast_ref::<std::io::Error>() {
            return error.kind().to_string();
        }
        next = source.source();
    }
    error.to_string()
}

/// A space and the first line of a body, unless it is of another type than plain text. Cut, and without what would
/// move a terminal's cursor.
fn first_line(headers: &HeaderMap, body: &[u8]) -> String {
    let plain =
        headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    let text = if plain { String::from_utf8_lossy(body) } else { "".into() };
    let line = text.lines().next().unwrap_or_default().trim();
    let line: String = line.chars().filter(|c| !c.is_control()).take(TEXT_LIMIT).collect();
    if line.is_empty() { line } else { format!(" {line}") }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_cause_has_the_first_line_of_a_text() {
        let mut headers = HeaderMap::new();
        assert_eq!(first_line(&headers, b" pinroute disabled\r\nmore"), " pinroute disabled");
        assert_eq!(first_line(&headers, b"a\x1b[2Jb"), " a[2Jb");
        assert_eq!(first_line(&headers, b"\xff"), " \u{fffd}");
        assert_eq!(first_line(&headers, b""), "");
        assert_eq!(first_line(&headers, &[b'x'; 500]).len(), 1 + TEXT_LIMIT);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
        assert_eq!(first_line(&headers, b"<html>"), "");
    }
}
