//! Reading the resolver's answer: a JSON object of which one string is wanted.

use crate::json::Reader;
use std::borrow::Cow;

/// The value of the member `hostport` of the JSON object in `body`.
///
/// `None` unless the body is one whole JSON object with exactly one such member at its top level and that
/// member is a string that is not empty. A body that names it twice is ambiguous, and is refused. The
/// other members are skipped without being stored, however deep they nest.
pub fn hostport(body: &[u8]) -> Option<Cow<'_, str>> {
    let mut reader = Reader::of(body);
    let (mut found, mut twice) = (None, false);
    let read = reader.object(&mut |reader, name| {
        if name != "hostport" {
            return reader.skip();
        }
        twice |= found.replace(reader.string()?).is_some();
        Ok(())
    });
    read.and_then(|()| reader.end()).ok()?;
    found.filter(|text| !twice && !text.is_empty())
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
