//! A YAML document that remembers its lines. JSON is YAML too.

use std::fmt;

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

/// A value, and where it is in its file.
#[derive(Clone, Debug)]
pub struct Node {
    /// The line, counted from 1.
    pub line: u64,
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
        let Spanned { value, referenced, .. } = Spanned::deserialize(deserializer)?;
        Ok(Self { line: referenced.line(), content: value })
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
    use super::*;

    const YAML: &str = "a:\n  b.c:\n    - 1\n    - x: two\n  d: &anchor\n    e: 0.5\nf: *anchor\ng: null\n";

    fn node() -> Node {
        serde_saphyr::from_str(YAML).unwrap()
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
        let expected = serde_json::json!({
            "a": { "b.c": [1, { "x": "two" }], "d": { "e": 0.5 } }, "f": { "e": 0.5 }, "g": null
        });
        assert_eq!(node().to_value(), expected);
    }

    #[test]
    fn members_may_be_in_camel_case() {
        let node: Node = serde_saphyr::from_str("{ vmConfig: { vm_id: x } }").unwrap();
        assert_eq!(node.text_at(&["vm_config", "vm_id"]), "x");
    }
}
