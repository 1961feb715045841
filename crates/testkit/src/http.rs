//! A small HTTP client for tests. No status is an error.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use ureq::Agent;
use ureq::config::AutoHeaderValue;
use ureq::http::Request;

/// For one call. Far above the timeouts that tests wait for.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// A larger body is an error in the test.
const BODY_LIMIT: u64 = 64 << 20;

/// Keeps connections alive, follows no redirect, uses no proxy, and treats every status alike.
#[derive(Debug, Clone)]
pub struct Client {
    agent: Agent,
    base: String,
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case, in the order of the response; a repeated header has several entries.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, whole.
    pub body: Vec<u8>,
}

impl Client {
    /// A client for one server.
    #[must_use]
    pub fn new(server: SocketAddr) -> Self {
        let config = Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .allow_non_standard_methods(true)
            .timeout_global(Some(CALL_TIMEOUT))
            .user_agent(AutoHeaderValue::None)
            .accept(AutoHeaderValue::None)
            .build();
        Self { agent: config.new_agent(), base: format!("http://{server}") }
    }

    /// `http://HOST:PORT`, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.base
    }

    /// `GET path`; the path begins with a slash and may have a query.
    ///
    /// # Errors
    /// If no complete response came.
    pub fn get(&self, path: &str) -> Result<Response> {
        self.request("GET", path, &[], b"")
    }

    /// Any request. Without a body there is no `content-length` either. A `host` header may be given.
    ///
    /// # Errors
    /// If no complete response came, or if this client cannot express the request: then use
    /// [`TestEnv::raw`](crate::env::TestEnv::raw).
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response> {
        let context = || format!("{method} {}{path}", self.base);
        let mut builder = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        let response = if body.is_empty() {
            self.agent.run(builder.body(()).with_context(context)?)
        } else {
            self.agent.run(builder.body(body).with_context(context)?)
        };
        let (parts, mut body) = response.with_context(context)?.into_parts();
        Ok(Response {
            status: parts.status.as_u16(),
            headers: parts
                .headers
                .iter()
                .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
                .collect(),
            body: body.with_config().limit(BODY_LIMIT).read_to_vec().with_context(context)?,
        })
    }
}

impl Response {
    /// The first header of that name, if it is there and is UTF-8.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.header_all(name).into_iter().next()
    }

    /// Every header of that name that is UTF-8.
    #[must_use]
    pub fn header_all(&self, name: &str) -> Vec<&str> {
        let same = self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        same.filter_map(|(_, value)| std::str::from_utf8(value).ok()).collect()
    }

    /// The body as text; what is not UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// If it is none; the message shows status and body.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("not JSON, status {}: {:?}", self.status, self.text()))
    }
}
