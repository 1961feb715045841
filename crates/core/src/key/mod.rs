//! The key of a request, by which it is routed.

pub mod pattern;
pub mod percent;
pub mod query;

mod source;

pub use source::{Place, Source};

use percent::encode;
use std::borrow::Cow;
use std::ops::Range;

/// The longest key, decoded, all its parts together, in bytes.
pub const MAX_KEY: usize = 256;

/// The name of the only part of a key that has no pattern.
pub const ONLY_PART: &str = "key";

/// Where in a request the key is: one or more parts, each with a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeySource {
    /// In the order of the parts. Most keys have one group with one name.
    pub groups: Vec<Group>,
}

/// Parts that are found together: those of one pattern, or a single one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Group {
    /// The first one that is there and matches counts.
    pub sources: Vec<Source>,
    /// The names of the parts.
    pub names: Vec<String>,
    /// The value of a single part that no source gives.
    pub default: Option<String>,
}

/// A key that can be used: no part is empty, and it is neither too long nor has it control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key<'r> {
    bytes: Cow<'r, [u8]>,
    /// Where each part is in the bytes; empty if there is one part, which is all of them.
    parts: Vec<Range<usize>>,
    /// The key as it stands in the query, if it is a parameter's whole value.
    in_query: Option<&'r [u8]>,
}

/// Why a request has no key. Holds the configured name of what is missing or invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// It is absent or empty, or does not match its pattern.
    Missing(String),
    /// It is longer than [`MAX_KEY`], has control characters, or does not fit where it is wanted.
    Invalid(String),
}

impl KeySource {
    /// A key of one source without a pattern.
    pub fn plain(place: Place) -> Self {
        let sources = vec![Source { place, pattern: None }];
        Self { groups: vec![Group { sources, names: vec![ONLY_PART.to_owned()], default: None }] }
    }

    /// The names of the parts in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().flat_map(|group| group.names.iter().map(String::as_str))
    }

    /// Whether the key has exactly one part.
    pub fn is_single(&self) -> bool {
        self.names().take(2).count() == 1
    }

    fn sources(&self) -> impl Iterator<Item = &Source> {
        self.groups.iter().flat_map(|group| &group.sources)
    }

    /// The parameter that carries a key of one part to a resolver by default, as it stands in a URL.
    pub fn parameter(&self) -> String {
        self.sources().next().map(Source::parameter).unwrap_or_default()
    }

    /// The key's name in messages.
    pub fn name(&self) -> String {
        self.groups.first().map(Group::name).unwrap_or_default()
    }

    /// Whether the path is wanted. To read it costs a call to the host.
    pub fn needs_path(&self) -> bool {
        self.sources().any(|source| source.header().is_none())
    }

    /// Finds the key in the request path, and in headers.
    ///
    /// # Errors
    /// [`KeyError`] if it is missing or cannot be used.
    pub fn extract<'r>(
        &self,
        path: &'r [u8],
        header: impl Fn(&str) -> Option<Cow<'r, [u8]>>,
    ) -> Result<Key<'r>, KeyError> {
        if let [Group { sources, names, default: None }] = self.groups.as_slice()
            && let ([Source { place, pattern: None }], [_]) = (sources.as_slice(), names.as_slice())
        {
            // What most configurations have: nothing is copied.
            let (bytes, in_query) = place.value(path, &header).unwrap_or_default();
            let key = Key { bytes, parts: Vec::new(), in_query };
            return match key.bytes.len() {
                0 => Err(KeyError::Missing(self.name())),
                length if length > MAX_KEY || key.bytes.iter().any(u8::is_ascii_control) => {
                    Err(KeyError::Invalid(self.name()))
                }
                _ => Ok(key),
            };
        }
        self.extract_parts(path, &header)
    }

    fn extract_parts<'r>(
        &self,
        path: &'r [u8],
        header: &impl Fn(&str) -> Option<Cow<'r, [u8]>>,
    ) -> Result<Key<'r>, KeyError> {
        let (mut values, mut in_query) = (Vec::new(), None);
        for group in &self.groups {
            let found = group.sources.iter().find_map(|source| source.read(path, header));
            let (found, raw) = match (found, &group.default) {
                (Some(found), _) => found,
                (None, Some(default)) => (vec![Cow::Owned(default.clone().into_bytes())], None),
                (None, None) => return Err(KeyError::Missing(group.name())),
            };
            if found.iter().any(|part| part.iter().any(u8::is_ascii_control)) {
                return Err(KeyError::Invalid(group.name()));
            }
            values.extend(found);
            in_query = raw;
        }
        self.assemble(values, in_query)
    }

    /// The key of parts that are known by name, as if a request had them. A part that is not given takes its default.
    ///
    /// # Errors
    /// [`KeyError`] if no request could have such a key.
    pub fn key_of<'v>(&self, part: impl Fn(&str) -> Option<&'v [u8]>) -> Result<Key<'v>, KeyError> {
        let mut values = Vec::new();
        for group in &self.groups {
            for name in &group.names {
                let given = match part(name).filter(|value| !value.is_empty()) {
                    Some(value) => Some(group.normal(value).ok_or_else(|| KeyError::Missing(group.name()))?),
                    None => None,
                };
                let value = match (given.filter(|value| !value.is_empty()), &group.default) {
                    (Some(value), _) => value,
                    (None, Some(default)) => Cow::Owned(default.clone().into_bytes()),
                    (None, None) => return Err(KeyError::Missing(group.name())),
                };
                if value.iter().any(u8::is_ascii_control) {
                    return Err(KeyError::Invalid(group.name()));
                }
                values.push(value);
            }
        }
        self.assemble(values, None)
    }

    /// The key of all its parts.
    fn assemble<'r>(
        &self,
        mut values: Vec<Cow<'r, [u8]>>,
        in_query: Option<&'r [u8]>,
    ) -> Result<Key<'r>, KeyError> {
        if values.iter().map(|part| part.len()).sum::<usize>() > MAX_KEY {
            return Err(KeyError::Invalid(self.name()));
        }
        if values.len() == 1
            && let Some(bytes) = values.pop()
        {
            return Ok(Key { bytes, parts: Vec::new(), in_query });
        }
        // Netstrings: no two lists of parts give the same bytes.
        let (mut bytes, mut parts) = (Vec::new(), Vec::new());
        for value in values {
            bytes.extend_from_slice(format!("{}:", value.len()).as_bytes());
            parts.push(bytes.len()..bytes.len() + value.len());
            bytes.extend_from_slice(&value);
            bytes.push(b',');
        }
        Ok(Key { bytes: Cow::Owned(bytes), parts, in_query: None })
    }
}

impl Group {
    /// A part as its sources would give it; `None` if none would.
    fn normal<'v>(&self, value: &'v [u8]) -> Option<Cow<'v, [u8]>> {
        self.sources.iter().find_map(|source| source.normal(value))
    }

    fn name(&self) -> String {
        self.sources.first().map(|source| source.name().into_owned()).unwrap_or_default()
    }
}

impl<'r> Key<'r> {
    /// The decoded bytes, which are hashed and compared. Several parts are netstrings.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A part, by its place.
    pub fn part(&self, place: usize) -> &[u8] {
        match self.parts.get(place) {
            Some(range) => self.bytes.get(range.clone()).unwrap_or_default(),
            None => &self.bytes,
        }
    }

    /// The same key without a loan from its request.
    pub fn into_owned(self) -> Key<'static> {
        Key { bytes: Cow::Owned(self.bytes.into_owned()), parts: self.parts, in_query: None }
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
    use proptest::prelude::*;

    fn plain(place: Place) -> KeySource {
        KeySource::plain(place)
    }

    fn query() -> KeySource {
        plain(Place::Query("client_id".into()))
    }

    fn extract<'r>(
        source: &KeySource,
        path: &'r [u8],
        header: Option<&'r [u8]>,
    ) -> Result<Key<'r>, KeyError> {
        source.extract(path, |_| header.map(Cow::Borrowed))
    }

    fn missing(name: &str) -> Result<Key<'static>, KeyError> {
        Err(KeyError::Missing(name.to_owned()))
    }

    fn headers(source: &Source, name: &str, default: Option<&str>) -> Group {
        Group {
            sources: vec![source.clone()],
            names: vec![name.to_owned()],
            default: default.map(str::to_owned),
        }
    }

    #[test]
    fn parts_are_found_in_their_order_or_have_a_default() {
        let header = |name: &str| Source { place: Place::Header(name.to_owned()), pattern: None };
        let groups = vec![headers(&header("x-id"), "id", None), headers(&header("x-ns"), "ns", Some("prod"))];
        let source = KeySource { groups };
        let read = |id: Option<&'static [u8]>, ns: Option<&'static [u8]>| {
            source.extract(b"/", |name| if name == "x-id" { id } else { ns }.map(Cow::Borrowed))
        };
        let key = read(Some(b"7"), None).unwrap();
        assert_eq!((key.bytes(), key.part(0), key.part(1)), (&b"1:7,4:prod,"[..], &b"7"[..], &b"prod"[..]));
        assert_eq!(read(None, Some(b"a")), missing("x-id"));
        assert_eq!(read(Some(b"7"), Some(b"a\0")), Err(KeyError::Invalid("x-ns".to_owned())));
        let long: &'static [u8] = &[b'x'; 200];
        assert_eq!(read(Some(long), Some(long)), Err(KeyError::Invalid("x-id".to_owned())));
    }

    proptest! {
        #[test]
        fn different_parts_are_different_keys(
            one in proptest::collection::vec("[0-9:,a]{1,6}", 2..4), other in proptest::collection::vec("[0-9:,a]{1,6}", 2..4),
        ) {
            let key = |values: &[String]| {
                let header = |at: usize| Source { place: Place::Header(at.to_string()), pattern: None };
                let groups = (0..values.len()).map(|at| headers(&header(at), &format!("p{at}"), None)).collect();
                let at = |name: &str| values.get(name.parse::<usize>().ok()?).map(|value| value.clone().into_bytes());
                KeySource { groups }.extract(b"", |name| at(name).map(Cow::Owned)).unwrap().into_owned()
            };
            prop_assert_eq!(key(&one).bytes() == key(&other).bytes(), one == other);
        }
    }

    #[test]
    fn a_query_parameter_is_hashed_decoded_and_sent_as_it_stood() {
        let key = extract(&query(), b"/join?x=1&client_id=a%20b+c%C3%A9", None).unwrap();
        assert_eq!(key.bytes(), "a b cé".as_bytes());
        assert_eq!(key.as_parameter(), "a%20b+c%C3%A9");
        let raw = extract(&query(), "/join?client_id=é".as_bytes(), None).unwrap();
        assert_eq!((raw.bytes(), &*raw.as_parameter()), ("é".as_bytes(), "%C3%A9"));
    }

    #[test]
    fn the_other_sources_are_sent_encoded() {
        let header = plain(Place::Header("x-customer-id".into()));
        let key = extract(&header, b"/", Some(b" a&b=\xff ")).unwrap();
        assert_eq!((key.bytes(), &*key.as_parameter()), (&b"a&b=\xff"[..], "a%26b%3D%FF"));

        let cookie = plain(Place::Cookie("sid".into()));
        let key = extract(&cookie, b"/", Some(b"xsid=0; sid=a+b=c; sid=2")).unwrap();
        assert_eq!((key.bytes(), &*key.as_parameter()), (&b"a+b=c"[..], "a%2Bb%3Dc"));

        let segment = plain(Place::PathSegment(1));
        let key = extract(&segment, b"/room/a+b%2f/x?client_id=1", None).unwrap();
        assert_eq!((key.bytes(), &*key.as_parameter()), (&b"a+b/"[..], "a%2Bb%2F"));
    }

    #[test]
    fn a_key_that_is_written_down_is_the_one_that_a_request_would_have() {
        let of = |place: Place, value: &[u8]| {
            plain(place).key_of(|_| Some(value)).map(|key| key.bytes().to_vec()).ok()
        };
        let header = || Place::Header("x-id".into());
        let cookie = || Place::Cookie("sid".into());
        assert_eq!(of(header(), b" 5\t"), Some(b"5".to_vec()));
        assert_eq!(of(header(), b"  "), None);
        assert_eq!(of(cookie(), b" 5 "), Some(b"5".to_vec()));
        assert_eq!(of(cookie(), b"5;6"), None);
        assert_eq!(of(Place::Query("id".into()), b" 5 "), Some(b" 5 ".to_vec()));
    }

    #[test]
    fn absent_and_empty_are_missing() {
        for path in
            ["/join", "/join?", "/join?client_id", "/join?client_id=", "/join?client_id=&client_id=1", ""]
        {
            assert_eq!(extract(&query(), path.as_bytes(), None), missing("client_id"), "{path}");
        }
        let header = plain(Place::Header("x".into()));
        assert_eq!(extract(&header, b"/", None), missing("x"));
        assert_eq!(extract(&header, b"/", Some(b"  ")), missing("x"));
        assert_eq!(extract(&plain(Place::Cookie("a".into())), b"/", Some(b"b=1; ab=2")), missing("a"));
        for path in ["/", "/a", "/a/", "/a?b/c"] {
            let extracted = extract(&plain(Place::PathSegment(1)), path.as_bytes(), None);
            assert_eq!(extracted, missing("path segment 1"), "{path}");
        }
        assert_eq!(extract(&plain(Place::PathSegment(1)), b"//x", None).unwrap().bytes(), b"x");
    }

    #[test]
    fn a_name_that_means_something_in_a_url_is_encoded() {
        assert_eq!(plain(Place::Header("a&b".into())).parameter(), "a%26b");
        assert_eq!(plain(Place::Header(":authority".into())).parameter(), "host");
        assert_eq!(plain(Place::Query("a%20b".into())).parameter(), "a%20b");
        assert_eq!(plain(Place::PathSegment(3)).parameter(), "client_id");
    }

    #[test]
    fn long_keys_and_control_characters_are_invalid() {
        let extract =
            |id: &str| extract(&query(), format!("/join?client_id={id}").as_bytes(), None).map(|_| ());
        assert_eq!(extract(&"x".repeat(256)), Ok(()));
        assert_eq!(extract(&"%41".repeat(256)), Ok(()));
        assert_eq!(extract(&"x".repeat(257)), Err(KeyError::Invalid("client_id".to_owned())));
        for id in ["%00", "a%0d%0aset-cookie:x", "%7f", "a%09b"] {
            assert_eq!(extract(id), Err(KeyError::Invalid("client_id".to_owned())), "{id}");
        }
    }
}
