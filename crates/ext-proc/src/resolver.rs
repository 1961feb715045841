//! Calls to the resolver. How a call ends has the status that Envoy gives to a call of the filter, so that clients see the
//! same errors.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderName, HeaderValue};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use pinroute_core::decision::Call;
use pinroute_core::request;
use pinroute_core::response::{Headers, Response};
use tokio::time::{Instant, timeout_at};

use crate::options::ServerUrl;

/// The largest body of a response. No response that is used comes close.
const BODY_LIMIT: usize = 1 << 20;

/// Makes calls, on connections that it keeps.
#[derive(Clone, Debug)]
pub struct Resolver {
    client: Client<HttpConnector, Full<Bytes>>,
    url: ServerUrl,
}

/// A call that is ready to be sent.
#[derive(Debug)]
pub struct Prepared {
    request: Request<Full<Bytes>>,
    timeout: Duration,
}

/// How a call ended.
#[derive(Debug)]
pub enum Ended {
    /// In the middle of a response.
    Failed,
    /// With a response, of the resolver or in its place.
    Complete {
        /// The status.
        status: u16,
        /// The headers.
        headers: Vec<(String, Vec<u8>)>,
        /// The body.
        body: Bytes,
    },
}

impl Ended {
    fn without_response(status: StatusCode) -> Self {
        Self::Complete { status: status.as_u16(), headers: Vec::new(), body: Bytes::new() }
    }

    /// In the core's terms.
    pub fn response(&self) -> Response<'_> {
        match self {
            Self::Failed => Response::Failed,
            Self::Complete { status, headers, body } => {
                Response::Complete { status: *status, body, headers: Headers(headers) }
            }
        }
    }
}

impl Resolver {
    /// Calls this server.
    pub fn new(url: ServerUrl) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self { client: Client::builder(TokioExecutor::new()).build(connector), url }
    }

    /// The HTTP request of a call; `None` if it cannot be one.
    pub fn prepare<W>(&self, call: &Call<W>, request: &impl request::Request) -> Option<Prepared> {
        let body = call.body.clone().unwrap_or_default();
        let mut sent = Request::new(Full::from(body));
        *sent.method_mut() = call.method().parse().ok()?;
        *sent.uri_mut() = self.url.with_path(&escaped(&call.path))?;
        let headers = sent.headers_mut();
        headers.insert(HOST, call.authority.parse().ok()?);
        for (name, value) in call.headers_for(request) {
            headers.append(name.parse::<HeaderName>().ok()?, HeaderValue::from_bytes(value.as_bytes()).ok()?);
        }
        Some(Prepared { request: sent, timeout: call.timeout })
    }

    /// Sends a call and receives the response.
    pub async fn send(&self, Prepared { request, timeout }: Prepared) -> Ended {
        let deadline = Instant::now() + timeout;
        let response = match timeout_at(deadline, self.client.request(request)).await {
            Err(_) => return Ended::without_response(StatusCode::GATEWAY_TIMEOUT),
            Ok(Err(error)) if is_not_http(&error) => {
                return Ended::without_response(StatusCode::BAD_GATEWAY);
            }
            Ok(Err(_)) => return Ended::without_response(StatusCode::SERVICE_UNAVAILABLE),
            Ok(Ok(response)) => response,
        };
        let (head, body) = response.into_parts();
        match timeout_at(deadline, Limited::new(body, BODY_LIMIT).collect()).await {
            Ok(Ok(body)) => Ended::Complete {
                status: head.status.as_u16(),
                headers: head
                    .headers
                    .iter()
                    .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
                    .collect(),
                body: body.to_bytes(),
            },
            Ok(Err(_)) | Err(_) => Ended::Failed,
        }
    }
}

/// Whether the resolver's response was no HTTP.
fn is_not_http(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            return error.is_parse();
        }
        next = error.source();
    }
    false
}

/// A path in which the characters that Envoy sends on and [`http::Uri`] does not accept are percent-encoded. To a resolver
/// that decodes they are the same.
fn escaped(path: &str) -> String {
    let is_legal = |c: char| {
        c.is_ascii_graphic() && !matches!(c, '"' | '#' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}')
    };
    let mut escaped = String::with_capacity(path.len());
    let mut buffer = [0; 4];
    for c in path.chars() {
        if is_legal(c) {
            escaped.push(c);
        } else {
            for byte in c.encode_utf8(&mut buffer).bytes() {
                escaped.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_keeps_its_meaning() {
        assert_eq!(escaped("/where?a=b%20c+d&e=/?:@!$'()*,;~"), "/where?a=b%20c+d&e=/?:@!$'()*,;~");
        assert_eq!(escaped("/w?a=<\"ü>|"), "/w?a=%3C%22%C3%BC%3E%7C");
        let url: ServerUrl = "http://a:1".parse().unwrap();
        for byte in 0..=255_u8 {
            let path = format!("/where?client_id={}", char::from(byte));
            assert!(url.with_path(&escaped(&path)).is_some(), "{path:?}");
        }
    }
}
