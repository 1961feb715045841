//! Texts with placeholders, such as `poc-routing-server-{index}:8081`, compiled when they are configured.
//!
//! What a part of a key may become is decided by where it stands ([`Fit`]): a client chooses it, and must not be able to
//! choose more than was meant for it.

use crate::key::Key;
use crate::key::percent::encode;
use crate::target::host_port::HostPort;
use std::borrow::Cow;

/// What a placeholder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Slot {
    /// A part of the key, by its place.
    Part(usize, Fit),
    /// `{hostport}`: the host and the port that an answer or a list names.
    HostPort,
    /// `{host}`: its host.
    Host,
    /// `{port}`: its port.
    Port,
    /// `{name}`: the name that an answer or a list gives.
    Name,
    /// `{index}`: the number of the host.
    Index,
}

/// What a part of a key must be where it stands, and how it is written there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fit {
    /// In a host: 1 to 63 letters, digits and hyphens, without a hyphen at its ends; in lower case.
    Label,
    /// 1 to 65535.
    Port,
    /// A whole `host:port`.
    Address,
    /// 1 to 128 letters, digits and `._|-`.
    Name,
    /// Anything, percent-encoded.
    Encoded,
    /// UTF-8, escaped as in JSON.
    Json,
    /// Visible ASCII.
    Ascii,
}

impl Fit {
    /// The part as it is written here; `None` if it does not fit.
    pub fn write(self, part: &[u8]) -> Option<Cow<'_, str>> {
        let text = || std::str::from_utf8(part).ok();
        let ascii = |is_allowed: fn(&u8) -> bool, most: usize| {
            text().filter(|text| !text.is_empty() && text.len() <= most && part.iter().all(is_allowed))
        };
        match self {
            Self::Label => {
                let label = ascii(|byte| byte.is_ascii_alphanumeric() || *byte == b'-', 63)?;
                if label.starts_with('-') || label.ends_with('-') {
                    return None;
                }
                let has_upper = label.bytes().any(|byte| byte.is_ascii_uppercase());
                Some(if has_upper { Cow::Owned(label.to_ascii_lowercase()) } else { Cow::Borrowed(label) })
            }
            Self::Port => {
                let port = ascii(u8::is_ascii_digit, 5)?;
                (!port.starts_with('0') && port.parse::<u16>().is_ok()).then_some(Cow::Borrowed(port))
            }
            Self::Address => HostPort::parse(text()?).map(|address| Cow::Borrowed(address.as_str())),
            Self::Name => {
                ascii(|byte| byte.is_ascii_alphanumeric() || b"._|-".contains(byte), 128).map(Cow::Borrowed)
            }
            Self::Encoded => Some(encode(part).into()),
            Self::Json => {
                let quoted = serde_json::to_string(text()?).ok()?;
                Some(Cow::Owned(quoted.get(1..quoted.len() - 1)?.to_owned()))
            }
            Self::Ascii => ascii(u8::is_ascii_graphic, usize::MAX).map(Cow::Borrowed),
        }
    }
}

/// What the placeholders of one template are replaced with. What a template does not need may be absent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Values<'v> {
    /// The key.
    pub key: Option<&'v Key<'v>>,
    /// `{hostport}`
    pub hostport: Option<&'v str>,
    /// `{host}`
    pub host: Option<&'v str>,
    /// `{port}`
    pub port: Option<&'v str>,
    /// `{name}`
    pub name: Option<&'v str>,
    /// `{index}`
    pub index: Option<&'v str>,
}

impl Values<'static> {
    /// The shortest ones.
    pub const EXAMPLE: Self = Self {
        key: None,
        hostport: Some("a:1"),
        host: Some("a"),
        port: Some("1"),
        name: Some("a"),
        index: Some("1"),
    };
}

/// A part of the key does not fit where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit;

/// A compiled template.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Template {
    start: String,
    /// Each placeholder with the text behind it.
    slots: Vec<(Slot, String)>,
}

/// Why a text is not a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateError {
    /// A placeholder that does not exist here.
    Unknown(String),
    /// A brace without its partner.
    Unbalanced,
}

impl Template {
    /// Reads a template. `slot` gives what a name stands for.
    ///
    /// # Errors
    /// [`TemplateError`] for an unknown placeholder or a single brace.
    pub fn parse(text: &str, slot: impl Fn(&str) -> Option<Slot>) -> Result<Self, TemplateError> {
        let mut template = Self { start: String::new(), slots: Vec::new() };
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            let (name, after) = behind.split_once('}').ok_or(TemplateError::Unbalanced)?;
            if before.contains('}') || name.contains('{') {
                return Err(TemplateError::Unbalanced);
            }
            let slot = slot(name).ok_or_else(|| TemplateError::Unknown(name.to_owned()))?;
            template.last_text().push_str(before);
            template.slots.push((slot, String::new()));
            rest = after;
        }
        if rest.contains('}') {
            return Err(TemplateError::Unbalanced);
        }
        template.last_text().push_str(rest);
        Ok(template)
    }

    /// A text without placeholders.
    pub fn literal(text: &str) -> Self {
        Self { start: text.to_owned(), slots: Vec::new() }
    }

    /// Adds another template behind this one.
    pub fn append(&mut self, other: Self) {
        self.last_text().push_str(&other.start);
        self.slots.extend(other.slots);
    }

    /// The same with every text between placeholders changed.
    pub fn map_texts(self, change: impl Fn(&str) -> String) -> Self {
        let slots = self.slots.into_iter().map(|(slot, text)| (slot, change(&text))).collect();
        Self { start: change(&self.start), slots }
    }

    fn last_text(&mut self) -> &mut String {
        match self.slots.last_mut() {
            Some((_, text)) => text,
            None => &mut self.start,
        }
    }

    /// The template that consists of a placeholder alone.
    pub fn only(slot: Slot) -> Self {
        Self { start: String::new(), slots: vec![(slot, String::new())] }
    }

    /// The placeholders in their order.
    pub fn slots(&self) -> impl Iterator<Item = Slot> {
        self.slots.iter().map(|(slot, _)| *slot)
    }

    /// Whether a part of the key occurs.
    pub fn has_part(&self) -> bool {
        self.slots().any(|slot| matches!(slot, Slot::Part(..)))
    }

    /// Says how parts of the key are written here: `fit` gets the text before the placeholder, with a letter in place of each
    /// earlier one, and whether the placeholder is alone.
    pub fn fit_parts(&mut self, fit: impl Fn(&str, bool) -> Fit) {
        let is_alone = self.slots.len() == 1
            && self.start.is_empty()
            && self.slots.iter().all(|(_, text)| text.is_empty());
        let mut before = self.start.clone();
        for (slot, text) in &mut self.slots {
            if let Slot::Part(_, as_fit) = slot {
                *as_fit = fit(&before, is_alone);
            }
            before.push('a');
            before.push_str(text);
        }
    }

    /// The text with the values in place of the placeholders.
    ///
    /// # Errors
    /// [`Unfit`] if a part of the key does not fit.
    pub fn render(&self, values: &Values<'_>) -> Result<String, Unfit> {
        let mut text = self.start.clone();
        for (slot, after) in &self.slots {
            match slot {
                Slot::Part(place, fit) => {
                    let part = values.key.ok_or(Unfit)?.part(*place);
                    text.push_str(&fit.write(part).ok_or(Unfit)?);
                }
                Slot::HostPort => text.push_str(values.hostport.unwrap_or_default()),
                Slot::Host => text.push_str(values.host.unwrap_or_default()),
                Slot::Port => text.push_str(values.port.unwrap_or_default()),
                Slot::Name => text.push_str(values.name.unwrap_or_default()),
                Slot::Index => text.push_str(values.index.unwrap_or_default()),
            }
            text.push_str(after);
        }
        Ok(text)
    }

    /// Whether the parts of a key fit, each by itself.
    pub fn fits(&self, key: &Key<'_>) -> bool {
        self.slots().all(|slot| match slot {
            Slot::Part(place, fit) => fit.write(key.part(place)).is_some(),
            _ => true,
        })
    }

    /// The text with a mark in place of the placeholders, for the log.
    pub fn shown(&self) -> String {
        let slots = self.slots.iter().map(|(_, after)| format!("{{…}}{after}"));
        [self.start.clone()].into_iter().chain(slots).collect()
    }

    /// The text with examples in place of the placeholders.
    pub fn example(&self) -> String {
        let mut text = self.start.clone();
        for (slot, after) in &self.slots {
            text.push_str(match slot {
                Slot::HostPort | Slot::Part(_, Fit::Address) => "a:1",
                Slot::Index | Slot::Port | Slot::Part(_, Fit::Port) => "1",
                Slot::Host | Slot::Name | Slot::Part(..) => "a",
            });
            text.push_str(after);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn index(name: &str) -> Option<Slot> {
        (name == "index").then_some(Slot::Index)
    }

    #[test]
    fn placeholders_are_replaced_wherever_they_are() {
        let render = |text, value| {
            let values = Values { index: Some(value), ..Values::default() };
            Template::parse(text, index).expect(text).render(&values).unwrap()
        };
        assert_eq!(render("server-{index}:8081", "3"), "server-3:8081");
        assert_eq!(render("{index}{index}", "7"), "77");
        assert_eq!(render("fixed", "1"), "fixed");
        assert_eq!(render("", "1"), "");
        assert_eq!(Template::only(Slot::Index), Template::parse("{index}", index).unwrap());
    }

    #[test]
    fn other_placeholders_and_single_braces_are_refused() {
        let error = |text| Template::parse(text, index).expect_err(text);
        assert_eq!(error("a-{hostport}"), TemplateError::Unknown("hostport".into()));
        assert_eq!(error("{}"), TemplateError::Unknown(String::new()));
        for single in ["{index", "index}", "{{index}}", "}{index}{", "{index}}"] {
            assert_eq!(error(single), TemplateError::Unbalanced, "{single}");
        }
    }

    #[test]
    fn a_part_must_fit_where_it_stands() {
        for (fit, right, wrong) in [
            (Fit::Label, &["a", "a-1", "0"][..], &["-a", "a-", "a.b", "a_b", "", "é", "a b", "a:1"][..]),
            (Fit::Port, &["1", "65535"], &["0", "65536", "01", "+1", "", "1.0", "999999"]),
            (Fit::Address, &["a:1", "[::1]:80"], &["a", ":1", "user@a:1", "a:0", ""]),
            (Fit::Name, &["a.b|c_d-e", "A"], &["", "a b", "a/b", "é", "a:1"]),
            (Fit::Ascii, &["a{}\"", "~"], &["", "a b", "é", "\u{7f}"]),
        ] {
            assert!(right.iter().all(|text| fit.write(text.as_bytes()).as_deref() == Some(*text)), "{fit:?}");
            assert!(!wrong.iter().any(|text| fit.write(text.as_bytes()).is_some()), "{fit:?}");
        }
        assert_eq!(Fit::Label.write(b"ABC").as_deref(), Some("abc"));
        assert_eq!(Fit::Label.write(&[b'a'; 64]), None);
        assert_eq!(Fit::Encoded.write(b"a/b\xff").as_deref(), Some("a%2Fb%FF"));
        assert_eq!(Fit::Json.write(b"a\"b\\").as_deref(), Some("a\\\"b\\\\"));
        assert_eq!(Fit::Json.write(b"\xff"), None);
    }

    proptest! {
        #[test]
        fn nothing_outside_its_alphabet_is_written(part: Vec<u8>) {
            let alphabet = |fit: Fit, is_allowed: fn(char) -> bool| {
                fit.write(&part).is_none_or(|written| written.chars().all(is_allowed))
            };
            prop_assert!(alphabet(Fit::Label, |c| matches!(c, 'a'..='z' | '0'..='9' | '-')));
            prop_assert!(alphabet(Fit::Port, |c| c.is_ascii_digit()));
            prop_assert!(alphabet(Fit::Name, |c| c.is_ascii_alphanumeric() || "._|-".contains(c)));
            prop_assert!(alphabet(Fit::Encoded, |c| c.is_ascii_alphanumeric() || "-._~%".contains(c)));
            prop_assert!(alphabet(Fit::Ascii, |c| c.is_ascii_graphic()));
            if let Some(written) = Fit::Json.write(&part) {
                let read: String = serde_json::from_str(&format!("\"{written}\"")).unwrap();
                prop_assert_eq!(read.as_bytes(), &part[..]);
            }
        }
    }
}
