//! The key of a request, by which it is routed.

pub mod pattern;
pub mod percent;
pub mod query;

use percent::{decode_form, decode_segment, encode};
use query::{raw_param, split_path};
use std::borrow::Cow;

/// The longest key, decoded, in bytes.
pub const MAX_KEY: usize = 256;

/// Where in a request the key is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeySource {
    /// A query parameter, by its name.
    Query(String),
    /// A request header, by its name in lower case.
    Header(String),
    /// A cookie, by its name.
    Cookie(String),
    /// A segment of the path, counted from 0: in `/a/b`, `a` is 0.
    PathSegment(usize),
}

/// A key that can be used: neither empty, nor too long, nor with control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key<'r> {
    bytes: Cow<'r, [u8]>,
    /// The key as it stands in the query, if it comes from there.
    in_query: Option<&'r [u8]>,
}

/// Why a request has no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// It is absent or empty.
    Missing,
    /// It is longer than [`MAX_KEY`] or has control characters.
    Invalid,
}

impl KeySource {
    /// The parameter that carries the key to a resolver by default, as it stands in a URL.
    pub fn parameter(&self) -> String {
        match self {
            Self::Query(name) => name.clone(),
            // A path segment has no name; this one is what the resolver of the demo reads.
            Self::PathSegment(_) => "client_id".to_owned(),
            Self::Header(_) | Self::Cookie(_) => encode(self.name().as_bytes()).to_string(),
        }
    }

    /// The key's name in messages.
    pub fn name(&self) -> Cow<'_, str> {
        match self {
            // Envoy's name for the Host header.
            Self::Header(name) if name == ":authority" => Cow::Borrowed("host"),
            Self::Query(name) | Self::Header(name) | Self::Cookie(name) => Cow::Borrowed(name),
            Self::PathSegment(number) => Cow::Owned(format!("path segment {number}")),
        }
    }

    /// The header that holds the key, if a header does. Otherwise the path does.
    pub fn header(&self) -> Option<&str> {
        match self {
            Self::Header(name) => Some(name),
            Self::Cookie(_) => Some("cookie"),
            Self::Query(_) | Self::PathSegment(_) => None,
        }
    }

    /// Finds the key in the request path, or in the value of the header that [`Self::header`] names.
    ///
    /// # Errors
    /// [`KeyError`] if it is missing or cannot be used.
    pub fn extract<'r>(&self, path: &'r [u8], header: Option<&'r [u8]>) -> Result<Key<'r>, KeyError> {
        let key = match self {
            Self::Query(name) => {
                let query = split_path(path).1.unwrap_or_default();
                let raw = raw_param(query, name.as_bytes()).ok_or(KeyError::Missing)?;
                Key { bytes: decode_form(raw), in_query: Some(raw) }
            }
            Self::Header(_) => Key::plain(header.ok_or(KeyError::Missing)?.trim_ascii()),
            Self::Cookie(name) => {
                Key::plain(cookie(header.unwrap_or_default(), name.as_bytes()).ok_or(KeyError::Missing)?)
            }
            Self::PathSegment(number) => {
                let path = split_path(path).0;
                let segments = path.strip_prefix(b"/").unwrap_or(path);
                let raw = segments.split(|byte| *byte == b'/').nth(*number).ok_or(KeyError::Missing)?;
                Key { bytes: decode_segment(raw), in_query: None }
            }
        };
        if key.bytes.is_empty() {
            Err(KeyError::Missing)
        } else if key.bytes.len() > MAX_KEY || key.bytes.iter().any(u8::is_ascii_control) {
            Err(KeyError::Invalid)
        } else {
            Ok(key)
        }
    }
}

/// The value of the first cookie called `name` in a `cookie` header.
fn cookie<'h>(header: &'h [u8], name: &[u8]) -> Option<&'h [u8]> {
    header
        .split(|byte| *byte == b';')
        .find_map(|pair| pair.trim_ascii().strip_prefix(name)?.strip_prefix(b"="))
}

impl<'r> Key<'r> {
    fn plain(bytes: &'r [u8]) -> Self {
        Self { bytes: Cow::Borrowed(bytes), in_query: None }
    }

    /// The decoded bytes, which are hashed and compared.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The key as the value of a query parameter: as it stood if it came from a query, else encoded.
    ///
    /// Bytes outside printable ASCII that a client sent without encoding are encoded, which decodes to the
    /// same key, because the result must be text.
    pub fn as_parameter(&self) -> Cow<'_, str> {
        let Some(raw) = self.in_query else { return encode(&self.bytes).into() };
        let is_plain = |byte: &u8| matches!(byte, 0x21..=0x7e);
        match std::str::from_utf8(raw) {
            Ok(text) if raw.iter().all(is_plain) => Cow::Borrowed(text),
            _ => {
                let mut encoded = String::with_capacity(raw.len() * 3);
                for byte in raw {
                    match byte {
                        0x21..=0x7e => encoded.push(char::from(*byte)),
                        _ => encoded.extend(encode(&[*byte])),
                    }
                }
                Cow::Owned(encoded)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query() -> KeySource {
        KeySource::Query("client_id".into())
    }

    #[test]
    fn a_query_parameter_is_hashed_decoded_and_sent_as_it_stood() {
        let key = query().extract(b"/join?x=1&client_id=a%20b+c%C3%A9", None).unwrap();
        assert_eq!(key.bytes(), "a b cé".as_bytes());
        assert_eq!(key.as_parameter(), "a%20b+c%C3%A9");
        let raw = query().extract("/join?client_id=é".as_bytes(), None).unwrap();
        assert_eq!((raw.bytes(), &*raw.as_parameter()), ("é".as_bytes(), "%C3%A9"));
    }

    #[test]
    fn the_other_sources_are_sent_encoded() {
        let header = KeySource::Header("x-customer-id".into());
        let key = header.extract(b"/", Some(b" a&b=\xff ")).unwrap();
        assert_eq!((key.bytes(), &*key.as_parameter()), (&b"a&b=\xff"[..], "a%26b%3D%FF"));

        let cookie = KeySource::Cookie("sid".into());
        let key = cookie.extract(b"/", Some(b"xsid=0; sid=a+b=c; sid=2")).unwrap();
        assert_eq!((key.bytes(), &*key.as_parameter()), (&b"a+b=c"[..], "a%2Bb%3Dc"));

        let segment = KeySource::PathSegment(1);
        let key = segment.extract(b"/room/a+b%2f/x?client_id=1", None).unwrap();
        assert_eq!((key.bytes(), &*key.as_parameter()), (&b"a+b/"[..], "a%2Bb%2F"));
    }

    #[test]
    fn absent_and_empty_are_missing() {
        for path in
            ["/join", "/join?", "/join?client_id", "/join?client_id=", "/join?client_id=&client_id=1", ""]
        {
            assert_eq!(query().extract(path.as_bytes(), None), Err(KeyError::Missing), "{path}");
        }
        let header = KeySource::Header("x".into());
        assert_eq!(header.extract(b"/", None), Err(KeyError::Missing));
        assert_eq!(header.extract(b"/", Some(b"  ")), Err(KeyError::Missing));
        assert_eq!(KeySource::Cookie("a".into()).extract(b"/", Some(b"b=1; ab=2")), Err(KeyError::Missing));
        for path in ["/", "/a", "/a/", "/a?b/c"] {
            let extracted = KeySource::PathSegment(1).extract(path.as_bytes(), None);
            assert_eq!(extracted, Err(KeyError::Missing), "{path}");
        }
        assert_eq!(KeySource::PathSegment(1).extract(b"//x", None).unwrap().bytes(), b"x");
    }

    #[test]
    fn a_name_that_means_something_in_a_url_is_encoded() {
        assert_eq!(KeySource::Header("a&b".into()).parameter(), "a%26b");
        assert_eq!(KeySource::Header(":authority".into()).parameter(), "host");
        assert_eq!(KeySource::Query("a%20b".into()).parameter(), "a%20b");
        assert_eq!(KeySource::PathSegment(3).parameter(), "client_id");
    }

    #[test]
    fn long_keys_and_control_characters_are_invalid() {
        let extract =
            |id: &str| query().extract(format!("/join?client_id={id}").as_bytes(), None).map(|_| ());
        assert_eq!(extract(&"x".repeat(256)), Ok(()));
        assert_eq!(extract(&"%41".repeat(256)), Ok(()));
        assert_eq!(extract(&"x".repeat(257)), Err(KeyError::Invalid));
        for id in ["%00", "a%0d%0aset-cookie:x", "%7f", "a%09b"] {
            assert_eq!(extract(id), Err(KeyError::Invalid), "{id}");
        }
    }
}
