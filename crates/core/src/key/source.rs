//! One place in a request that a key, or some of its parts, may be taken from.

use super::pattern::Pattern;
use super::percent::{decode_form, decode_segment, encode};
use super::query::{raw_param, split_path};
use std::borrow::Cow;
use std::net::Ipv4Addr;

/// A place, and the pattern that the parts are cut out by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// The place.
    pub place: Place,
    /// The pattern; without one, the whole value is the part.
    pub pattern: Option<Pattern>,
}

/// A place in a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A query parameter, by its name.
    Query(String),
    /// A request header, by its name in lower case.
    Header(String),
    /// A cookie, by its name.
    Cookie(String),
    /// A segment of the path, counted from 0: in `/a/b`, `a` is 0.
    PathSegment(usize),
    /// The host of the authority, in lower case, without its port. Always with a pattern.
    Host,
    /// The path without its query, as it stands. Always with a pattern; parts are decoded after it was matched.
    Path,
}

/// The header that names the host.
const AUTHORITY: &str = ":authority";

/// The longest label of a host that may be a part.
const MAX_LABEL: usize = 63;

/// A value, and how it stood in the query if it did.
type Value<'r> = (Cow<'r, [u8]>, Option<&'r [u8]>);

/// Parts, and how the only one stood in the query if it did.
type Parts<'r> = (Vec<Cow<'r, [u8]>>, Option<&'r [u8]>);

impl Source {
    /// The parts in a request. `None` if the value is absent or empty, or does not match.
    pub fn read<'r>(
        &self,
        path: &'r [u8],
        header: &impl Fn(&str) -> Option<Cow<'r, [u8]>>,
    ) -> Option<Parts<'r>> {
        let (value, raw) = self.place.value(path, header).filter(|(value, _)| !value.is_empty())?;
        let Some(pattern) = &self.pattern else { return Some((vec![value], raw)) };
        let mut ranges = Vec::new();
        if !pattern.matches(&value, |range| ranges.push(range)) {
            return None;
        }
        let part = |range: std::ops::Range<usize>| match &value {
            Cow::Borrowed(bytes) => Cow::Borrowed(bytes.get(range).unwrap_or_default()),
            Cow::Owned(bytes) => Cow::Owned(bytes.get(range).unwrap_or_default().to_vec()),
        };
        let parts = ranges.into_iter().map(part);
        match self.place {
            Place::Host => {
                let parts: Vec<_> = parts.collect();
                parts.iter().all(|part| is_label(part)).then_some((parts, None))
            }
            // An encoded slash stays within its part.
            Place::Path => Some((parts.map(decoded).collect(), None)),
            _ => Some((parts.collect(), None)),
        }
    }

    /// A part as this source would give it; `None` if it would not.
    pub fn normal<'v>(&self, part: &'v [u8]) -> Option<Cow<'v, [u8]>> {
        match self.place {
            Place::Host => Some(Cow::Owned(part.to_ascii_lowercase())).filter(|part| is_label(part)),
            // Blanks around a value are not part of it, and a cookie ends at a semicolon.
            Place::Header(_) if self.pattern.is_none() => Some(Cow::Borrowed(part.trim_ascii())),
            Place::Cookie(_) if part.contains(&b';') => None,
            Place::Cookie(_) if self.pattern.is_none() => Some(Cow::Borrowed(part.trim_ascii())),
            _ => Some(Cow::Borrowed(part)),
        }
    }

    /// The parameter that carries a key of one part to a resolver by default, as it stands in a URL.
    pub fn parameter(&self) -> String {
        match &self.place {
            Place::Query(name) => name.clone(),
            // Neither has a name; this one is what the resolver of the demo reads.
            Place::PathSegment(_) | Place::Path => "client_id".to_owned(),
            Place::Header(_) | Place::Cookie(_) | Place::Host => encode(self.name().as_bytes()).to_string(),
        }
    }

    /// The name in messages.
    pub fn name(&self) -> Cow<'_, str> {
        match &self.place {
            Place::Host => Cow::Borrowed("host"),
            Place::Path => Cow::Borrowed("path"),
            // Envoy's name for the Host header.
            Place::Header(name) if name == AUTHORITY => Cow::Borrowed("host"),
            Place::Query(name) | Place::Header(name) | Place::Cookie(name) => Cow::Borrowed(name),
            Place::PathSegment(number) => Cow::Owned(format!("path segment {number}")),
        }
    }

    /// The header that holds the value, if a header does. Otherwise the path does.
    pub fn header(&self) -> Option<&str> {
        match &self.place {
            Place::Header(name) => Some(name),
            Place::Cookie(_) => Some("cookie"),
            Place::Host => Some(AUTHORITY),
            Place::Query(_) | Place::PathSegment(_) | Place::Path => None,
        }
    }
}

impl Place {
    /// The value in a request.
    pub fn value<'r>(
        &self,
        path: &'r [u8],
        header: &impl Fn(&str) -> Option<Cow<'r, [u8]>>,
    ) -> Option<Value<'r>> {
        match self {
            Self::Query(name) => {
                let raw = raw_param(split_path(path).1.unwrap_or_default(), name.as_bytes())?;
                Some((decode_form(raw), Some(raw)))
            }
            Self::Header(name) => Some((within(header(name)?, |value| Some(value.trim_ascii()))?, None)),
            Self::Cookie(name) => {
                Some((within(header("cookie")?, |all| cookie(all, name.as_bytes()))?, None))
            }
            Self::PathSegment(number) => {
                let path = split_path(path).0;
                let segments = path.strip_prefix(b"/").unwrap_or(path);
                let raw = segments.split(|byte| *byte == b'/').nth(*number)?;
                Some((decode_segment(raw), None))
            }
            Self::Host => Some((Cow::Owned(host(&header(AUTHORITY)?)?.to_ascii_lowercase()), None)),
            Self::Path => Some((Cow::Borrowed(split_path(path).0), None)),
        }
    }
}

/// A part of a value, which is copied only if the value is not borrowed and the part is not all of it.
fn within<'r>(value: Cow<'r, [u8]>, part: impl Fn(&[u8]) -> Option<&[u8]>) -> Option<Cow<'r, [u8]>> {
    match value {
        Cow::Borrowed(bytes) => part(bytes).map(Cow::Borrowed),
        Cow::Owned(bytes) => {
            let found = part(&bytes)?;
            Some(Cow::Owned(if found.len() == bytes.len() { bytes } else { found.to_vec() }))
        }
    }
}

fn decoded(part: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    match part {
        Cow::Borrowed(bytes) => decode_segment(bytes),
        Cow::Owned(bytes) => Cow::Owned(decode_segment(&bytes).into_owned()),
    }
}

/// The value of the first cookie called `name` in a `cookie` header.
fn cookie<'h>(header: &'h [u8], name: &[u8]) -> Option<&'h [u8]> {
    header
        .split(|byte| *byte == b';')
        .find_map(|pair| pair.trim_ascii().strip_prefix(name)?.strip_prefix(b"="))
        .map(<[u8]>::trim_ascii)
}

/// The host of an authority without its port and a final dot. `None` for user information and IP literals.
fn host(authority: &[u8]) -> Option<&[u8]> {
    let host = match authority.iter().rposition(|byte| *byte == b':') {
        Some(colon) => {
            let (host, port) = authority.split_at(colon);
            port.get(1..)?.iter().all(u8::is_ascii_digit).then_some(host)?
        }
        None => authority,
    };
    let host = host.strip_suffix(b".").unwrap_or(host);
    let is_literal = || std::str::from_utf8(host).is_ok_and(|text| text.parse::<Ipv4Addr>().is_ok());
    (!host.iter().any(|byte| matches!(byte, b'@' | b'[' | b':')) && !is_literal()).then_some(host)
}

/// Whether a part of a host may be one: it is in lower case already.
fn is_label(part: &[u8]) -> bool {
    let is_allowed = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    part.len() <= MAX_LABEL && part.iter().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::super::pattern::Subject;
    use super::*;

    fn read(place: Place, pattern: &str, subject: Subject, path: &str, header: &str) -> Option<Vec<String>> {
        let source = Source { place, pattern: Some(Pattern::parse(pattern, subject).expect(pattern)) };
        let (parts, _) = source.read(path.as_bytes(), &|_| Some(Cow::Borrowed(header.as_bytes())))?;
        Some(parts.iter().map(|part| String::from_utf8_lossy(part).into_owned()).collect())
    }

    #[test]
    fn parts_of_a_host() {
        let host = |authority| read(Place::Host, "{key}.example.com", Subject::Host, "/", authority);
        for authority in ["a.example.com", "A.Example.COM:8080", "a.example.com.", "a.example.com.:80"] {
            assert_eq!(host(authority), Some(vec!["a".to_owned()]), "{authority}");
        }
        for authority in [
            "user@a.example.com",
            "a.b.example.com",
            "example.com",
            "a.example.com:x",
            "a%41.example.com",
            "[::1]:80",
            "",
        ] {
            assert_eq!(host(authority), None, "{authority}");
        }
        let long = format!("{}.example.com", "a".repeat(64));
        assert_eq!(host(&long), None);
        assert_eq!(read(Place::Host, "{a}.{b}.{c}.{d}", Subject::Host, "/", "10.0.0.1:80"), None);
    }

    #[test]
    fn parts_of_a_path_are_decoded_after_it_was_split() {
        let path = |path| read(Place::Path, "/ws/{a}/{b}/**", Subject::Path, path, "");
        assert_eq!(path("/ws/x%2Fy/a+b/?q=/1"), Some(vec!["x/y".to_owned(), "a+b".to_owned()]));
        assert_eq!(path("/ws/x%2Fy"), None);
    }

    #[test]
    fn parts_of_a_value_are_taken_out_of_the_decoded_value() {
        let query = |path| read(Place::Query("id".into()), "{key}-*", Subject::Value, path, "");
        assert_eq!(query("/?id=a%2Db"), Some(vec!["a".to_owned()]));
        assert_eq!(query("/?id=a"), None);
        let cookie = read(Place::Cookie("sid".into()), "*.{key}", Subject::Value, "/", "x=1; sid= s1.b ;");
        assert_eq!(cookie, Some(vec!["b".to_owned()]));
    }
}
