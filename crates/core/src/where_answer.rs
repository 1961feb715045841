//! Reading the resolver's answer: a JSON object of which one string is wanted.

use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde::Deserialize;
use std::borrow::Cow;
use std::fmt;

/// The value of the member `hostport` of the JSON object in `body`.
///
/// `None` unless the body is one whole JSON object with exactly one such member at its top level and that
/// member is a string that is not empty. A body that names it twice is ambiguous, and is refused. The
/// other members are skipped without being stored, however deep they nest.
pub fn hostport(body: &[u8]) -> Option<Cow<'_, str>> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let Answer(text) = Answer::deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    Some(text).filter(|text| !text.is_empty())
}

struct Answer<'b>(Cow<'b, str>);

impl<'de> Deserialize<'de> for Answer<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AnswerVisitor)
    }
}

struct AnswerVisitor;

impl<'de> Visitor<'de> for AnswerVisitor {
    type Value = Answer<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a string `hostport`")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut members: M) -> Result<Self::Value, M::Error> {
        let mut found = None;
        while let Some(Text(name)) = members.next_key()? {
            if name != "hostport" {
                members.next_value::<IgnoredAny>()?;
            } else if found.replace(members.next_value::<Text<'de>>()?).is_some() {
                return Err(M::Error::duplicate_field("hostport"));
            }
        }
        let Text(text) = found.ok_or_else(|| M::Error::missing_field("hostport"))?;
        Ok(Answer(text))
    }
}

/// A string, borrowed where it has no escapes.
struct Text<'b>(Cow<'b, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
    fn bytes_that_are_not_utf8_elsewhere_do_no_harm() {
        assert_eq!(hostport(b"{\"x\":\"\xff\",\"hostport\":\"a:1\"}").as_deref(), Some("a:1"));
        assert_eq!(hostport(b"{\"hostport\":\"\xff:1\"}"), None);
    }

    #[test]
    fn anything_that_is_not_such_an_object_is_refused() {
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
    fn depth_is_no_danger() {
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
        fn it_agrees_with_a_whole_parser(name in "[a-z]{1,8}", value in "\\PC{1,20}", extra in "\\PC{0,20}") {
            let body = serde_json::json!({ name: extra, "hostport": value });
            let text = body.to_string();
            let found = hostport(text.as_bytes());
            prop_assert_eq!(found.as_deref(), body["hostport"].as_str());
        }
    }
}
