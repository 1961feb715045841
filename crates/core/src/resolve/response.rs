//! Reads the resolver's response: a JSON object of which one string is wanted.

use serde::Deserialize;
use std::borrow::Cow;

/// How a resolver call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response<'b> {
    /// Without a response: the call could not be made, or broke off.
    Failed,
    /// With a complete response.
    Complete {
        /// Its status.
        status: u16,
        /// Its body, which may be anything.
        body: &'b [u8],
    },
}

/// The members of the body that are wanted. The others are skipped, however deep they nest.
#[derive(Deserialize)]
struct Body<'b> {
    #[serde(borrow)]
    hostport: Cow<'b, str>,
}

/// The value of the member `hostport` of the JSON object in `body`.
///
/// `None` unless the body is one whole JSON object with exactly one such member at its top level, which is a string
/// that is not empty. A body in which it occurs twice is ambiguous and refused.
pub fn hostport(body: &[u8]) -> Option<Cow<'_, str>> {
    // A derived struct would accept a list of its fields too.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    let Body { hostport } = serde_json::from_slice(body).ok()?;
    (!hostport.is_empty()).then_some(hostport)
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
