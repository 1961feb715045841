//! The token that changes need.

use std::fmt;

use axum::http::{HeaderMap, header};
use subtle::ConstantTimeEq;

/// A token. Its text is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token with this text; `None` if it is empty.
    pub fn new(text: &str) -> Option<Self> {
        Some(Self(text.trim().to_owned())).filter(|Self(text)| !text.is_empty())
    }

    /// Whether a request carries it.
    pub(super) fn is_in(&self, headers: &HeaderMap) -> bool {
        let Some(value) = headers.get(header::AUTHORIZATION) else { return false };
        let bytes = value.as_bytes();
        let (scheme, given) = bytes.split_at_checked(b"bearer ".len()).unwrap_or_default();
        // In constant time, so that nobody finds the token byte by byte.
        scheme.eq_ignore_ascii_case(b"bearer ") & bool::from(given.trim_ascii().ct_eq(self.0.as_bytes()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}
