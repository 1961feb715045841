//! What a resolver's response gives, and in which place.

use super::response::Headers;
use crate::config::unique::Name;
use crate::target::MAX_LIST;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// What is wanted of a response.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AnswerConfig {
    /// The target.
    pub target: Wanted,
    /// Request headers, with the places of their values.
    pub set_headers: Vec<(Arc<str>, Place)>,
}

/// What names the target.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// A `host:port`.
    HostPort(Place),
    /// A host, and its port or none.
    Host(Place, Option<Place>),
    /// A name.
    Name(Place),
    /// A list of `ip:port`: the owner, then those that are tried after it. Also one text, with commas between several.
    HostPorts(Place),
}

/// A place in a response.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A JSON pointer (RFC 6901) into the body, by its tokens.
    Pointer(Vec<String>),
    /// The whole body as text, trimmed.
    Text,
    /// A response header, by its name in lower case, which must occur exactly once.
    Header(String),
}

/// The longest value of a header that an answer sets, in bytes.
const MAX_HEADER: usize = 1024;

/// From here on, 2⁵³, a floating-point number may stand for several whole ones. Those that fit into 64 bits are read as such.
const NOT_EXACT: f64 = 9_007_199_254_740_992.0;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<'b> {
    /// A `host:port`, a host, or a name.
    pub target: Cow<'b, str>,
    /// The rest of a list of `ip:port`.
    pub others: Vec<Cow<'b, str>>,
    /// The port of a host.
    pub port: Option<Cow<'b, str>>,
    /// Request headers.
    pub headers: Vec<(Arc<str>, String)>,
}

/// A scalar in a response, or a list of texts.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Scalar<'b> {
    Text(Cow<'b, str>),
    /// A number or a boolean, as it is written in JSON.
    Other(String),
    /// A list of texts; `None` for an element that is something else.
    List(Vec<Option<Cow<'b, str>>>),
}

impl<'b> Scalar<'b> {
    fn text(self) -> Option<Cow<'b, str>> {
        match self {
            Self::Text(text) if !text.is_empty() => Some(text),
            Self::Text(_) | Self::Other(_) | Self::List(_) => None,
        }
    }

    fn any(self) -> Option<Cow<'b, str>> {
        match self {
            Self::Text(text) => Some(text),
            Self::Other(text) => Some(Cow::Owned(text)),
            Self::List(_) => None,
        }
    }

    /// Texts, at least one of them.
    fn texts(self) -> Option<Vec<Cow<'b, str>>> {
        let texts = match self {
            Self::Text(text) => text.split(',').map(|text| Cow::Owned(text.trim().to_owned())).collect(),
            Self::List(items) => items.into_iter().collect::<Option<Vec<_>>>()?,
            Self::Other(_) => return None,
        };
        (1..=MAX_LIST).contains(&texts.len()).then_some(texts)
    }
}

impl Place {
    /// Reads a JSON pointer. `None` if it does not begin with a slash, or has a tilde that escapes nothing.
    pub fn pointer(text: &str) -> Option<Self> {
        let tokens = text.strip_prefix('/')?.split('/');
        let unescape = |token: &str| {
            let is_valid = token.split('~').skip(1).all(|behind| behind.starts_with(['0', '1']));
            is_valid.then(|| token.replace("~1", "/").replace("~0", "~"))
        };
        tokens.map(unescape).collect::<Option<_>>().map(Self::Pointer)
    }
}

impl Default for AnswerConfig {
    /// That of the demo's resolver.
    fn default() -> Self {
        let target = Wanted::HostPort(Place::Pointer(vec!["hostport".to_owned()]));
        Self { target, set_headers: Vec::new() }
    }
}

impl AnswerConfig {
    fn places(&self) -> impl Iterator<Item = &Place> {
        let (first, second) = match &self.target {
            Wanted::HostPort(place) | Wanted::Name(place) | Wanted::HostPorts(place) => (place, None),
            Wanted::Host(host, port) => (host, port.as_ref()),
        };
        std::iter::once(first).chain(second).chain(self.set_headers.iter().map(|(_, place)| place))
    }

    /// Whether response headers are wanted.
    pub fn needs_headers(&self) -> bool {
        self.places().any(|place| matches!(place, Place::Header(_)))
    }

    /// Reads a response.
    ///
    /// # Errors
    /// The name of what is absent, of another type, or there twice.
    pub fn read<'b>(&self, body: &'b [u8], headers: Headers<'b>) -> Result<Found<'b>, Cow<'static, str>> {
        let mut values = self.values(body, headers).into_iter();
        let mut next = || values.next().flatten();
        let mut others = Vec::new();
        let (target, port) = match &self.target {
            Wanted::HostPorts(_) => {
                let mut texts = next().and_then(Scalar::texts).ok_or("hostports")?.into_iter();
                let owner = texts.next().ok_or("hostports")?;
                others.extend(texts);
                (owner, None)
            }
            Wanted::HostPort(_) => (next().and_then(Scalar::text).ok_or("hostport")?, None),
            Wanted::Name(_) => (next().and_then(Scalar::text).ok_or("name")?, None),
            Wanted::Host(_, port) => {
                let host = next().and_then(Scalar::text).ok_or("host")?;
                (host, port.as_ref().map(|_| next().and_then(Scalar::any).ok_or("port")).transpose()?)
            }
        };
        let mut set = Vec::with_capacity(self.set_headers.len());
        for (name, _) in &self.set_headers {
            let fits = |text: &Cow<'_, str>| text.len() <= MAX_HEADER && !text.chars().any(char::is_control);
            let value = next().and_then(Scalar::any).filter(fits).ok_or_else(|| name.to_string())?;
            set.push((Arc::clone(name), value.into_owned()));
        }
        Ok(Found { target, others, port, headers: set })
    }

    /// The values at the places, in their order.
    fn values<'b>(&self, body: &'b [u8], headers: Headers<'b>) -> Vec<Option<Scalar<'b>>> {
        let mut found: Vec<Option<Scalar<'b>>> = self.places().map(|_| None).collect();
        let pointers: Vec<(usize, &[String])> = self
            .places()
            .enumerate()
            .filter_map(|(at, place)| match place {
                Place::Pointer(tokens) => Some((at, tokens.as_slice())),
                Place::Text | Place::Header(_) => None,
            })
            .collect();
        if !pointers.is_empty() {
            let mut json = serde_json::Deserializer::from_slice(body);
            let seek = Seek { pointers, found: &mut found };
            if seek.deserialize(&mut json).and_then(|()| json.end()).is_err() {
                // Nothing of a body that is not whole can be trusted.
                found.fill(None);
                return found;
            }
        }
        for (slot, place) in found.iter_mut().zip(self.places()) {
            let text = match place {
                Place::Pointer(_) => continue,
                Place::Text => std::str::from_utf8(body).ok().map(str::trim),
                Place::Header(name) => headers.once(name).and_then(|value| std::str::from_utf8(value).ok()),
            };
            *slot = text.map(|text| Scalar::Text(Cow::Borrowed(text)));
        }
        found
    }
}

/// Looks for values below one point of a document. Everything else is skipped, however deep it nests.
struct Seek<'a, 'p, 'b> {
    /// Which value, and what is left of its pointer.
    pointers: Vec<(usize, &'p [String])>,
    found: &'a mut Vec<Option<Scalar<'b>>>,
}

impl<'b> Seek<'_, '_, 'b> {
    /// What is wanted below the member or element of this name.
    fn below(&mut self, name: &str) -> Seek<'_, '_, 'b> {
        let below = self.pointers.iter().filter_map(|(at, tokens)| match tokens.split_first() {
            Some((first, rest)) if first == name => Some((*at, rest)),
            _ => None,
        });
        Seek { pointers: below.collect(), found: self.found }
    }

    /// The values that are wanted at this point, and are no elements of a list.
    fn here(&self) -> Vec<usize> {
        let is_open = |at: &usize| matches!(self.found.get(*at), Some(None));
        let here = self.pointers.iter().filter(|(_, tokens)| tokens.is_empty()).map(|(at, _)| *at);
        here.filter(is_open).collect()
    }

    /// A scalar was found.
    fn take<E>(&mut self, scalar: &Scalar<'b>) -> Result<(), E> {
        for (at, tokens) in &self.pointers {
            let Some(slot) = self.found.get_mut(*at).filter(|_| tokens.is_empty()) else { continue };
            match (slot, scalar) {
                (Some(Scalar::List(items)), Scalar::Text(text)) => items.push(Some(text.clone())),
                (Some(Scalar::List(items)), _) => items.push(None),
                (slot, scalar) => _ = slot.replace(scalar.clone()),
            }
        }
        Ok(())
    }
}

impl<'de: 'b, 'b> DeserializeSeed<'de> for Seek<'_, '_, 'b> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de: 'b, 'b> Visitor<'de> for Seek<'_, '_, 'b> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(mut self, value: bool) -> Result<(), E> {
        self.take(&Scalar::Other(value.to_string()))
    }

    fn visit_i64<E>(mut self, value: i64) -> Result<(), E> {
        self.take(&Scalar::Other(value.to_string()))
    }

    fn visit_u64<E>(mut self, value: u64) -> Result<(), E> {
        self.take(&Scalar::Other(value.to_string()))
    }

    fn visit_f64<E>(mut self, value: f64) -> Result<(), E> {
        // A whole number this large may have lost digits: it would be another tenant's.
        if value.abs() >= NOT_EXACT {
            return Ok(());
        }
        self.take(&Scalar::Other(value.to_string()))
    }

    fn visit_borrowed_str<E>(mut self, value: &'de str) -> Result<(), E> {
        self.take(&Scalar::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(mut self, value: &str) -> Result<(), E> {
        self.take(&Scalar::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut seen: Vec<Cow<'de, str>> = Vec::new();
        while let Some(Name(name)) = map.next_key()? {
            let below = self.below(&name);
            if below.pointers.is_empty() {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            if seen.contains(&name) {
                return Err(A::Error::custom("a wanted member occurs twice"));
            }
            map.next_value_seed(below)?;
            seen.push(name);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        let wanted = self.here();
        self.take::<A::Error>(&Scalar::List(Vec::new()))?;
        let mut at = 0_usize;
        loop {
            let mut below = self.below(&at.to_string());
            below.pointers.extend(wanted.iter().map(|at| (*at, [].as_slice())));
            let more = match below.pointers.is_empty() {
                true => seq.next_element::<IgnoredAny>()?.map(drop),
                false => seq.next_element_seed(below)?,
            };
            if more.is_none() {
                return Ok(());
            }
            at += 1;
            // What is neither a text nor a number nor a list has left nothing.
            for slot in &wanted {
                if let Some(Some(Scalar::List(items))) = self.found.get_mut(*slot) {
                    items.resize(at, None);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hostport(body: &[u8]) -> Option<Cow<'_, str>> {
        AnswerConfig::default().read(body, Headers::default()).ok().map(|found| found.target)
    }

    fn place(pointer: &str) -> Place {
        Place::pointer(pointer).expect(pointer)
    }

    #[test]
    fn values_are_found_along_their_pointers() {
        let body =
            br#"{"proxy":{"address":"a:1","port":80,"x":[{"t":true},{"t":"b"}]},"a/b":{"~":"c:1"},"n":-1.5}"#;
        let at = |pointer: &str| {
            let config = AnswerConfig {
                target: Wanted::HostPort(place("/proxy/address")),
                set_headers: vec![("x-a".into(), place(pointer))],
            };
            config.read(body, Headers::default()).map(|mut found| found.headers.remove(0).1)
        };
        for (pointer, expected) in [
            ("/proxy/port", "80"),
            ("/proxy/x/0/t", "true"),
            ("/proxy/x/1/t", "b"),
            ("/a~1b/~0", "c:1"),
            ("/n", "-1.5"),
        ] {
            assert_eq!(at(pointer).as_deref(), Ok(expected), "{pointer}");
        }
        for pointer in
            ["/proxy", "/proxy/x", "/proxy/x/2/t", "/proxy/x/01/t", "/proxy/x/-", "/none", "/n/x", "/"]
        {
            assert_eq!(at(pointer), Err("x-a".into()), "{pointer}");
        }
        assert!(["", "a", "/~2", "/~"].iter().all(|text| Place::pointer(text).is_none()));
    }

    #[test]
    fn a_wanted_member_that_occurs_twice_makes_the_answer_unusable() {
        let config = AnswerConfig { target: Wanted::Name(place("/a/b")), set_headers: vec![] };
        let read =
            |body: &'static str| config.read(body.as_bytes(), Headers::default()).map(|found| found.target);
        assert_eq!(read(r#"{"x":1,"x":2,"a":{"b":"s","c":1,"c":2}}"#), Ok("s".into()));
        for body in [
            r#"{"a":{"b":"s","b":"s"}}"#,
            r#"{"a":{"b":"s"},"a":{}}"#,
            r#"{"a":{"b":7}}"#,
            r#"{"a":{"b":"s"}"#,
        ] {
            assert_eq!(read(body), Err("name".into()), "{body}");
        }
    }

    #[test]
    fn a_number_that_may_have_lost_digits_is_no_value() {
        let set_headers = vec![(Arc::from("x-tenant"), place("/t"))];
        let config = AnswerConfig { set_headers, ..AnswerConfig::default() };
        let read = |number: &str| {
            let body = format!(r#"{{"hostport":"a:1","t":{number}}}"#);
            let found =
                config.read(body.as_bytes(), Headers::default()).map(|found| found.headers[0].1.clone());
            found.ok()
        };
        assert_eq!(read("18446744073709551615").as_deref(), Some("18446744073709551615"));
        assert_eq!(read("-1.5").as_deref(), Some("-1.5"));
        for number in [
            "18446744073709551616",
            "-9223372036854775809",
            "9007199254740993.0",
            "123456789012345678901",
            "1e300",
        ] {
            assert_eq!(read(number), None, "{number}");
        }
    }

    #[test]
    fn text_and_headers() {
        let headers = [
            ("x-owner".to_owned(), b" a:1 ".to_vec()),
            ("twice".to_owned(), vec![]),
            ("twice".to_owned(), vec![]),
        ];
        let read = |target, body: &'static [u8]| {
            let config = AnswerConfig { target, set_headers: vec![] };
            config
                .read(body, Headers(&headers))
                .map(|found| (found.target.into_owned(), found.port.map(Cow::into_owned)))
        };
        let header = |name: &str| Place::Header(name.to_owned());
        assert_eq!(read(Wanted::HostPort(Place::Text), b" b:1\n"), Ok(("b:1".into(), None)));
        assert_eq!(read(Wanted::HostPort(Place::Text), b" "), Err("hostport".into()));
        assert_eq!(read(Wanted::HostPort(Place::Text), b"\xff"), Err("hostport".into()));
        assert_eq!(read(Wanted::HostPort(header("x-owner")), b""), Ok(("a:1".into(), None)));
        assert_eq!(read(Wanted::Name(header("twice")), b""), Err("name".into()));
        let both = || Wanted::Host(place("/server"), Some(place("/port")));
        assert_eq!(read(both(), br#"{"server":"s","port":80}"#), Ok(("s".into(), Some("80".into()))));
        assert_eq!(read(both(), br#"{"server":"s","port":"80"}"#), Ok(("s".into(), Some("80".into()))));
        assert_eq!(read(both(), br#"{"server":"s"}"#), Err("port".into()));
        assert_eq!(read(both(), br#"{"port":80}"#), Err("host".into()));
    }

    #[test]
    fn a_list_is_read_whole_or_not_at_all() {
        let read = |place: Place, body: &str| {
            let config = AnswerConfig { target: Wanted::HostPorts(place), set_headers: vec![] };
            let found = config.read(body.as_bytes(), Headers::default()).ok()?;
            let others = found.others.iter().map(|text| format!(" {text}")).collect::<String>();
            Some(format!("{}{others}", found.target))
        };
        let owners = |body: &str| read(place("/owners"), body);
        assert_eq!(owners(r#"{"x":[1],"owners":["a:1","b:1","c:1"]}"#).as_deref(), Some("a:1 b:1 c:1"));
        assert_eq!(owners(r#"{"owners":"a:1"}"#).as_deref(), Some("a:1"));
        assert_eq!(owners(r#"{"owners":"a:1, b:1"}"#).as_deref(), Some("a:1 b:1"));
        assert_eq!(read(Place::Text, "a:1,b:1\n").as_deref(), Some("a:1 b:1"));
        for body in [
            r#"{"owners":[]}"#,
            r#"{"owners":["a:1",1]}"#,
            r#"{"owners":["a:1",null]}"#,
            r#"{"owners":[{"x":"a:1"},"b:1"]}"#,
            r#"{"owners":["x",["a","b"]]}"#,
            r#"{"owners":[["a","b"],["c"]]}"#,
            r#"{"owners":["a:1"],"owners":["b:1"]}"#,
            r#"{"owners":{"0":"a:1"}}"#,
            r#"{"owners":7}"#,
            r#"{"owners":["a:1"]"#,
        ] {
            assert_eq!(owners(body), None, "{body}");
        }
        let long = format!(r#"{{"owners":[{}"a:1"]}}"#, r#""a:1","#.repeat(MAX_LIST));
        assert_eq!(owners(&long), None);
        assert_eq!(hostport(br#"{"hostport":["a:1"]}"#), None);
        let both = AnswerConfig {
            target: Wanted::HostPorts(place("/owners")),
            set_headers: vec![("x-first".into(), place("/owners/0"))],
        };
        let found = both.read(br#"{"owners":["a:1","b:1"]}"#, Headers::default()).unwrap();
        assert_eq!((found.others.len(), found.headers[0].1.as_str()), (1, "a:1"));
    }

    #[test]
    fn the_string_is_found_among_other_members() {
        for body in [
            r#"{"client_id":"123","hostport":"a:1"}"#,
            " { \"x\" : [1,{\"hostport\":\"no:1\"}] ,\n\"hostport\"\t:\"a:1\" , \"y\":null } ",
            r#"{"hostport":"\u0061:1"}"#,
            r#"{"\u0068ostport":"a:1"}"#,
        ] {
            assert_eq!(hostport(body.as_bytes()).as_deref(), Some("a:1"), "{body}");
        }
    }

    #[test]
    fn a_body_without_escapes_is_not_copied() {
        assert!(matches!(hostport(br#"{"hostport":"a:1"}"#), Some(Cow::Borrowed("a:1"))));
    }

    #[test]
    fn bytes_that_are_not_utf8_matter_only_where_they_are_wanted() {
        assert_eq!(hostport(b"{\"x\":\"\xff\",\"hostport\":\"a:1\"}").as_deref(), Some("a:1"));
        assert_eq!(hostport(b"{\"hostport\":\"\xff:1\"}"), None);
    }

    #[test]
    fn anything_else_is_refused() {
        for body in [
            "",
            " ",
            "null",
            "1",
            "[]",
            "\"a:1\"",
            "{}",
            "<html>",
            "a:1",
            r#"{"hostport":null}"#,
            r#"{"hostport":1}"#,
            r#"{"hostport":["a:1"]}"#,
            r#"{"hostport":{"hostport":"a:1"}}"#,
            r#"{"hostport":""}"#,
            r#"["hostport","a:1"]"#,
            r#"["a:1"]"#,
            r#"{"x":{"hostport":"a:1"}}"#,
            r#"{"hostport":"a:1""#,
            r#"{"hostport":"a:"#,
            r#"{"hostport":"a:1"} x"#,
            r#"{"hostport":"a:1","hostport":"a:1"}"#,
            r#"{"hostport":"a:1","hostport":"b:1"}"#,
            r#"{"hostport":"a:1",}"#,
            r#"{"HostPort":"a:1"}"#,
            "{\"hostport\":\"a\n:1\"}",
        ] {
            assert_eq!(hostport(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn deep_nesting_is_skipped() {
        let deep = format!(r#"{{"x":{}{},"hostport":"a:1"}}"#, "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(hostport(deep.as_bytes()).as_deref(), Some("a:1"));
        assert_eq!(hostport("[".repeat(200_000).as_bytes()), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(body: Vec<u8>) {
            let _ = hostport(&body);
        }

        #[test]
        fn it_agrees_with_a_document_read_whole(name in "[a-z]{1,8}", value in "\\PC{1,20}", extra in "\\PC{0,20}") {
            let body = serde_json::json!({ name: extra, "hostport": value });
            let text = body.to_string();
            let found = hostport(text.as_bytes());
            prop_assert_eq!(found.as_deref(), body["hostport"].as_str());
        }
    }
}
