//! A YAML document that remembers its lines. JSON is YAML too.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;
use serde_saphyr::options::{MergeKeyPolicy, NonFiniteFloatPolicy};

use crate::error::ReadError;

/// More than any Envoy configuration that a person waits for.
const MOST_NODES: usize = 5_000_000;

/// A value, and where it is in its file.
#[derive(Clone, Debug)]
pub struct Node {
    /// The line, counted from 1.
    pub line: u64,
    /// The bytes of the file that it was read from; those of its anchor, if it is an alias.
    bytes: Option<Range<usize>>,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Scalar(Value),
    List(Vec<Node>),
    Object(Vec<Member>),
}

/// A member of an object.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// The line of its name.
    pub line: u64,
    /// Its value.
    pub value: Node,
}

impl Node {
    /// All documents of a text.
    ///
    /// # Errors
    /// [`ReadError::NotYaml`]
    pub fn read_all(text: &str) -> Result<Vec<Self>, ReadError> {
        let options = serde_saphyr::options! {
            // Envoy does not know them: what `<<` holds stays under this name.
            merge_keys: MergeKeyPolicy::AsOrdinary,
            non_finite_float_policy: NonFiniteFloatPolicy::AsString,
            budget: serde_saphyr::budget! { max_events: MOST_NODES * 4, max_nodes: MOST_NODES },
        };
        let mut documents: Vec<Self> =
            serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
                let line = error.location().map(|location| location.line());
                let message = error.to_string();
                let message = message.lines().next().unwrap_or_default();
                // Nobody who reads this can set an option of the library.
                let message = message.split(", set DuplicateKeyPolicy").next().unwrap_or_default();
                // The message begins with its place, which the line gives.
                let without_place =
                    message.strip_prefix("error: line ").and_then(|rest| rest.split_once(": "));
                let message = without_place.map_or(message, |(_, message)| message).to_owned();
                ReadError::NotYaml { message, line }
            })?;
        // JSON says which of its values are numbers, and Envoy listens.
        if serde_json::from_str::<de::IgnoredAny>(text).is_err() {
            documents.iter_mut().for_each(|document| document.read_as_envoy(text));
        }
        Ok(documents)
    }

    /// Reads plain scalars as Envoy's loader of YAML does, which has its own idea of numbers.
    fn read_as_envoy(&mut self, file: &str) {
        match &mut self.content {
            Content::List(elements) => elements.iter_mut().for_each(|element| element.read_as_envoy(file)),
            Content::Object(members) => {
                members.iter_mut().for_each(|member| member.value.read_as_envoy(file));
            }
            Content::Scalar(Value::Null) => {}
            Content::Scalar(value) => {
                let source = self
                    .bytes
                    .as_ref()
                    .and_then(|bytes| Some((file.get(..bytes.start)?, file.get(bytes.clone())?.trim())));
                if let Some((_, raw)) = source.filter(|(before, raw)| is_plain(before, raw)) {
                    // Only a text goes over several lines, which its value has joined.
                    let folded = value.as_str().filter(|_| raw.contains('\n'));
                    *value = plain_scalar(folded.unwrap_or(raw));
                }
            }
        }
    }

    /// A member by its name, which may also be written in camel case, as Envoy allows it.
    pub fn get(&self, name: &str) -> Option<&Self> {
        let camel = camel_case(name);
        let is_it = |member: &&Member| member.name == name || member.name == camel;
        self.members().iter().find(is_it).map(|member| &member.value)
    }

    /// A member of a member, and so on.
    pub fn at(&self, names: &[&str]) -> Option<&Self> {
        names.iter().try_fold(self, |node, name| node.get(name))
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// The text of a member of a member, and so on; empty if there is none.
    pub fn text_at(&self, names: &[&str]) -> &str {
        self.at(names).and_then(Self::text).unwrap_or_default()
    }

    /// Whether it is `true`.
    pub fn is_true(&self) -> bool {
        matches!(self.content, Content::Scalar(Value::Bool(true)))
    }

    /// The elements, if it is a list.
    pub fn elements(&self) -> &[Self] {
        match &self.content {
            Content::List(elements) => elements,
            _ => &[],
        }
    }

    /// The members, if it is an object.
    pub fn members(&self) -> &[Member] {
        match &self.content {
            Content::Object(members) => members,
            _ => &[],
        }
    }

    /// Whether nothing is there.
    pub fn is_null(&self) -> bool {
        matches!(self.content, Content::Scalar(Value::Null))
    }

    /// Whether it is an object.
    pub fn is_object(&self) -> bool {
        matches!(self.content, Content::Object(_))
    }

    /// The same without lines.
    pub fn to_value(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(elements) => elements.iter().map(Self::to_value).collect(),
            Content::Object(members) => {
                let members = members.iter().map(|member| (member.name.clone(), member.value.to_value()));
                Value::Object(members.collect::<Map<_, _>>())
            }
        }
    }

    /// The line of a path as errors show it, such as `allowed_targets[2]`; of the innermost part that exists.
    pub fn line_of(&self, path: &str) -> Option<u64> {
        let (line, value, rest) = match path.strip_prefix('[') {
            Some(rest) => {
                let (number, rest) = rest.split_once(']')?;
                let element = self.elements().get(number.parse::<usize>().ok()?)?;
                (element.line, element, rest)
            }
            None => {
                // Names may contain dots themselves.
                let is_within = |member: &&Member| {
                    path.strip_prefix(&member.name)
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
                };
                let member =
                    self.members().iter().filter(is_within).max_by_key(|member| member.name.len())?;
                (member.line, &member.value, path.get(member.name.len()..)?)
            }
        };
        Some(value.line_of(rest.strip_prefix('.').unwrap_or(rest)).unwrap_or(line))
    }
}

/// Whether a scalar that was read from `raw`, after this text, may be something else than a text.
fn is_plain(before: &str, raw: &str) -> bool {
    let last = before.trim_end();
    // Of tags, only this one makes a text of whatever follows.
    let has_tag = last.strip_suffix('!').is_some_and(|rest| rest.ends_with([' ', '\n', ',', '[', '{']));
    // The header of a text of several lines, such as `|-`, ends the line above.
    let header =
        last.lines().next_back().and_then(|line| line.split(" #").next()?.split_whitespace().next_back());
    let is_block = before.get(last.len()..).is_some_and(|between| between.contains('\n'))
        && header
            .and_then(|word| word.strip_prefix(['|', '>']))
            .is_some_and(|rest| rest.chars().all(|c| matches!(c, '+' | '-') || c.is_ascii_digit()));
    !has_tag && !is_block && !raw.starts_with(['"', '\''])
}

/// A scalar without quotes, as Envoy's `parseYamlNode` reads it: a whole number of 32 bits is one, in C's notations; a larger one
/// is its digits, and a number with a fraction or an exponent is the text that it is.
fn plain_scalar(text: &str) -> Value {
    let lower = text.to_ascii_lowercase();
    let is_of_one_case = text == lower
        || text == text.to_ascii_uppercase()
        || text.strip_prefix(|c: char| c.is_ascii_uppercase()).is_some_and(|rest| lower.ends_with(rest));
    match lower.as_str() {
        "y" | "yes" | "true" | "on" if is_of_one_case => return true.into(),
        "n" | "no" | "false" | "off" if is_of_one_case => return false.into(),
        _ => {}
    }
    match whole_number(text) {
        Some(number) if i32::try_from(number).is_ok() => number.into(),
        Some(number) => number.to_string().into(),
        None => text.into(),
    }
}

/// A number as `strtoll` reads it, with the base that its prefix says.
fn whole_number(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let hexadecimal = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let (digits, base) = match (hexadecimal, digits.strip_prefix('0')) {
        (Some(digits), _) => (digits, 16),
        (None, Some(octal)) if !octal.is_empty() => (octal, 8),
        _ => (digits, 10),
    };
    // A second sign is none of C's.
    let is_digits = !digits.is_empty() && digits.chars().all(|c| c.is_digit(base));
    is_digits.then(|| i64::from_str_radix(&format!("{sign}{digits}"), base).ok()).flatten()
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |camel, word| {
        let mut letters = word.chars();
        let head: String = letters.next().map(|letter| letter.to_ascii_uppercase()).into_iter().collect();
        camel + &head + letters.as_str()
    })
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, defined } = Spanned::deserialize(deserializer)?;
        let span = defined.span();
        let bytes = span.byte_offset().zip(span.byte_len()).and_then(|(start, length)| {
            Some(usize::try_from(start).ok()?..usize::try_from(start.checked_add(length)?).ok()?)
        });
        Ok(Self { line: referenced.line(), bytes, content: value })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyContent)
    }
}

struct AnyContent;

impl<'de> Visitor<'de> for AnyContent {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Content, E> {
        // JSON has no infinity: it stays a text, which every field for a number refuses.
        let number = Number::from_f64(value).map_or_else(|| value.to_string().into(), Value::Number);
        Ok(Content::Scalar(number))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_none<E: de::Error>(self) -> Result<Content, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Content, D::Error> {
        Content::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Content, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = list.next_element()? {
            elements.push(element);
        }
        Ok(Content::List(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Content, A::Error> {
        let mut members = Vec::new();
        while let Some((name, value)) = map.next_entry::<Spanned<String>, Node>()? {
            members.push(Member { line: name.referenced.line(), name: name.value, value });
        }
        Ok(Content::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const YAML: &str = "a:\n  b.c:\n    - 1\n    - x: two\n  d: &anchor\n    e: 0.5\nf: *anchor\ng: null\n";

    fn read(text: &str) -> Node {
        Node::read_all(text).unwrap().remove(0)
    }

    fn node() -> Node {
        read(YAML)
    }

    #[test]
    fn scalars_are_what_envoy_makes_of_them() {
        for (yaml, expected) in [
            ("16", json!(16)),
            ("-0x10", json!(-16)),
            ("010", json!(8)),
            ("+2", json!(2)),
            ("2147483648", json!("2147483648")),
            ("0x80000000", json!("2147483648")),
            ("2.0", json!("2.0")),
            ("2e0", json!("2e0")),
            ("08", json!("08")),
            ("0o10", json!("0o10")),
            ("1_0", json!("1_0")),
            (".inf", json!(".inf")),
            ("NaN", json!("NaN")),
            ("a b # c", json!("a b")),
            ("+-2", json!("+-2")),
            ("yes", json!(true)),
            ("Off", json!(false)),
            ("TRUE", json!(true)),
            ("tRue", json!("tRue")),
            ("~", json!(null)),
            ("'2'", json!("2")),
            ("\"yes\"", json!("yes")),
            ("! 2", json!("2")),
            ("!!str 2", json!(2)),
            ("|-\n  2", json!("2")),
            (">2- # é\n  2", json!("2")),
            ("\n  2", json!(2)),
            ("n", json!(false)),
            ("-010", json!(-8)),
            ("0X1f", json!(31)),
            ("two\n  words", json!("two words")),
        ] {
            for before in ["", "\u{feff}", "\u{feff}# é\r\n"] {
                let document = read(&format!("{before}a: {yaml}\n")).to_value();
                assert_eq!(document["a"], expected, "{before:?} {yaml}");
            }
            let aliased = read(&format!("a: &x {yaml}\nb: *x\n")).to_value();
            assert_eq!(aliased["b"], expected, "{yaml}");
        }
        assert_eq!(
            read("{\"a\": 2.0, \"b\": 5000000000}").to_value(),
            json!({ "a": 2.0, "b": 5_000_000_000_u64 })
        );
        assert_eq!(read("<<: { a: 1 }\n").to_value(), json!({ "<<": { "a": 1 } }));
    }

    #[test]
    fn what_is_no_yaml_is_said_in_one_line() {
        let message = Node::read_all("a: 1\na: 2\n").unwrap_err();
        assert!(message.to_string().ends_with("duplicate mapping key: a"), "{message}");
    }

    #[test]
    fn a_path_has_the_line_of_its_innermost_part() {
        let line = |path| node().line_of(path);
        assert_eq!(line("a"), Some(1));
        assert_eq!(line("a.b.c"), Some(2));
        assert_eq!(line("a.b.c[1].x"), Some(4));
        assert_eq!(line("a.b.c[1].y"), Some(4));
        assert_eq!(line("a.d.e"), Some(6));
        assert_eq!(line("a.d.missing"), Some(5));
        assert_eq!(line("missing"), None);
        assert_eq!(line("a.b.c[7]"), Some(2));
    }

    #[test]
    fn the_value_is_that_of_the_document() {
        let expected = json!({
            "a": { "b.c": [1, { "x": "two" }], "d": { "e": "0.5" } }, "f": { "e": "0.5" }, "g": null
        });
        assert_eq!(node().to_value(), expected);
    }

    #[test]
    fn members_may_be_in_camel_case() {
        let node = read("{ vmConfig: { vm_id: x } }");
        assert_eq!(node.text_at(&["vm_config", "vm_id"]), "x");
    }
}
