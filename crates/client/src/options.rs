//! What a run needs to know.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::Uri;

/// What to request, how often, and for how long.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to send requests.
    pub url: BaseUrl,
    /// The client ids, percent-encoded as in a URL. Requests go through them in this order, again and again.
    pub clients: Vec<String>,
    /// How many requests are in flight at most; 0 counts as 1.
    pub concurrency: usize,
    /// How many requests to start in a second; if `None`, each as soon as an earlier one ends.
    pub rate: Option<Rate>,
    /// How long to start requests; if `None`, until each client had one.
    pub duration: Option<Duration>,
    /// How long one response may take.
    pub timeout: Duration,
}

/// Why a run cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not the URL of a server.
    #[error("not a URL: {0}")]
    Url(#[source] http::uri::InvalidUri),
    /// Another scheme, or none.
    #[error("only http:// is supported, such as http://127.0.0.1:10000")]
    Scheme,
    /// More than a scheme, a host and a port.
    #[error("a path, a query or user information is not supported: the client requests /where and /join")]
    NotOnlyHost,
    /// Not a positive number.
    #[error("not a number of requests per second, from 0.001 to 1000000")]
    Rate,
    /// The histograms of latencies cannot be created.
    #[error("cannot measure latencies")]
    Histogram(#[from] hdrhistogram::CreationError),
}

/// `http://HOST:PORT`, without a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl(String);

impl FromStr for BaseUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let uri: Uri = text.parse().map_err(Error::Url)?;
        if uri.scheme_str() != Some("http") {
            return Err(Error::Scheme);
        }
        let authority = uri.authority().ok_or(Error::Scheme)?.as_str();
        if uri.path_and_query().is_some_and(|path| path != "/") || authority.contains('@') {
            return Err(Error::NotOnlyHost);
        }
        Ok(Self(format!("http://{authority}")))
    }
}

impl BaseUrl {
    /// The host and port.
    pub(crate) fn authority(&self) -> &str {
        self.0.strip_prefix("http://").unwrap_or(&self.0)
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Requests per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate(f64);

impl Rate {
    /// When to start the request of this number, counted from 0, after the start of the run.
    pub(crate) fn start_of(self, number: u64) -> Duration {
        Duration::try_from_secs_f64(number as f64 / self.0).unwrap_or(Duration::MAX)
    }

    /// How many requests to start within `duration`.
    pub(crate) fn within(self, duration: Duration) -> u64 {
        let product = (self.0 * duration.as_secs_f64()).ceil() as u64;
        // It may be rounded up to one more than are due.
        let last = product.saturating_sub(1);
        if self.start_of(last) < duration { product } else { last }
    }
}

impl FromStr for Rate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let rate = text.parse().ok().filter(|rate| (0.001..=1e6).contains(rate));
        rate.map(Self).ok_or(Error::Rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_scheme_and_a_host() {
        for (text, expected) in [
            ("http://127.0.0.1:10000", "http://127.0.0.1:10000"),
            ("http://demo.example/", "http://demo.example"),
            ("HTTP://[::1]:80", "http://[::1]:80"),
        ] {
            assert_eq!(text.parse::<BaseUrl>().unwrap().to_string(), expected);
        }
        for (text, expected) in [
            ("https://demo.example", "only http:// is supported"),
            ("demo.example:80", "only http:// is supported"),
            ("/where", "only http:// is supported"),
            ("http://demo.example/shop", "a path, a query"),
            ("http://demo.example?a=1", "a path, a query"),
            ("http://me@demo.example", "a path, a query"),
            ("http://", "not a URL"),
            ("", "not a URL"),
        ] {
            let error = text.parse::<BaseUrl>().unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_rate_is_a_positive_number() {
        let rate: Rate = "200".parse().unwrap();
        assert_eq!(rate.start_of(0), Duration::ZERO);
        assert_eq!(rate.start_of(300), Duration::from_millis(1500));
        assert_eq!(rate.within(Duration::from_secs(60)), 12_000);
        let within = |rate: &str, seconds| rate.parse::<Rate>().unwrap().within(Duration::from_secs(seconds));
        assert_eq!((within("0.07", 100), within("0.55", 100), within("0.5", 3)), (7, 55, 2));
        for text in ["0", "-1", "NaN", "inf", "2e6", "fast", ""] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
