//! Patterns over a host, a path or a value: literals, `{name}`, `*`, and `**` at the end.
//!
//! The syntax is that of Envoy's URI templates. A pattern is matched from end to end in one pass: each `{name}` and `*`
//! takes as few bytes as it can, a literal is looked for at its first place, and the last one at the end. There is no second
//! try, so the time grows with the length of the text alone, and what matches is easy to tell.

use std::fmt;
use std::ops::Range;

/// What a pattern is matched against: the byte that no `{name}` and no `*` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A host, whose labels are separated by dots.
    Host,
    /// A path, whose segments are separated by slashes.
    Path,
    /// The value of a query parameter, a header or a cookie.
    Value,
}

impl Subject {
    fn separator(self) -> Option<u8> {
        match self {
            Self::Host => Some(b'.'),
            Self::Path => Some(b'/'),
            Self::Value => None,
        }
    }

    /// Whether a text may have this byte. A pattern with another one would never match.
    fn may_have(self, byte: u8) -> bool {
        match self {
            Self::Host => !byte.is_ascii_control() && !b" /:?#@[]".contains(&byte),
            Self::Path => !byte.is_ascii_control() && !b" ?#".contains(&byte),
            Self::Value => true,
        }
    }
}

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    subject: Subject,
    /// The literal before the first hole.
    start: Vec<u8>,
    holes: Vec<Hole>,
    /// Whether `**` ends it.
    is_open: bool,
}

/// A `{name}` or a `*`, and the literal behind it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Hole {
    name: Option<String>,
    literal: Vec<u8>,
}

/// Why a text is not a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternError {
    /// A brace without its partner, or an empty name.
    Braces,
    /// A name with anything but letters, digits and `_`, or that begins with a digit.
    Name,
    /// The same name twice.
    Repeated,
    /// Two holes without a literal between them.
    Touching,
    /// `**` anywhere but at the end.
    OpenInside,
    /// No name.
    Nameless,
    /// A character that no host, or no path without its query, has as it stands.
    Foreign,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Braces => "a brace without its partner",
            Self::Name => "a name that is not letters, digits and `_`",
            Self::Repeated => "a name that occurs twice",
            Self::Touching => "two of `{name}` and `*` without a text between them",
            Self::OpenInside => "`**` before its end",
            Self::Nameless => "no {name}",
            Self::Foreign => "a character that is never there",
        })
    }
}

/// Whether a text may be the name of a part of a key.
pub fn is_name(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl Pattern {
    /// Compiles a pattern. The literals of a host pattern are taken in lower case.
    ///
    /// # Errors
    /// [`PatternError`]
    pub fn parse(text: &str, subject: Subject) -> Result<Self, PatternError> {
        let (text, is_open) = match text.strip_suffix("**") {
            Some(text) => (text, true),
            None => (text, false),
        };
        let literal_of = |text: &str| match subject {
            Subject::Host => text.to_ascii_lowercase(),
            Subject::Path | Subject::Value => text.to_owned(),
        };
        let mut pattern = Self { subject, start: Vec::new(), holes: Vec::new(), is_open };
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}', '*']) {
            let (literal, hole) = rest.split_at(at);
            pattern.last_literal().extend_from_slice(literal_of(literal).as_bytes());
            let (name, after) = if let Some(inside) = hole.strip_prefix('{') {
                let (name, after) = inside.split_once('}').ok_or(PatternError::Braces)?;
                (Some(name), after)
            } else if let Some(after) = hole.strip_prefix('*') {
                (None, after)
            } else {
                return Err(PatternError::Braces);
            };
            pattern.push(name, after)?;
            rest = after;
        }
        pattern.last_literal().extend_from_slice(literal_of(rest).as_bytes());
        if is_open && pattern.holes.last().is_some_and(|hole| hole.literal.is_empty()) {
            return Err(PatternError::Touching);
        }
        if pattern.names().next().is_none() {
            return Err(PatternError::Nameless);
        }
        if !pattern.literals().all(|literal| literal.iter().all(|byte| subject.may_have(*byte))) {
            return Err(PatternError::Foreign);
        }
        Ok(pattern)
    }

    fn push(&mut self, name: Option<&str>, after: &str) -> Result<(), PatternError> {
        if name.is_none() && after.starts_with('*') {
            return Err(PatternError::OpenInside);
        }
        if self.holes.last().is_some_and(|hole| hole.literal.is_empty()) {
            return Err(PatternError::Touching);
        }
        if let Some(name) = name {
            match name {
                "" => return Err(PatternError::Braces),
                name if !is_name(name) => return Err(PatternError::Name),
                name if self.names().any(|known| known == name) => return Err(PatternError::Repeated),
                _ => {}
            }
        }
        self.holes.push(Hole { name: name.map(str::to_owned), literal: Vec::new() });
        Ok(())
    }

    fn last_literal(&mut self) -> &mut Vec<u8> {
        match self.holes.last_mut() {
            Some(hole) => &mut hole.literal,
            None => &mut self.start,
        }
    }

    fn literals(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(&self.start).chain(self.holes.iter().map(|hole| &hole.literal)).map(Vec::as_slice)
    }

    /// The names in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.holes.iter().filter_map(|hole| hole.name.as_deref())
    }

    /// Matches a text. `found` gets the place of each name's part, in the order of [`Self::names`], as far as the pattern
    /// matches. Returns whether all of it does.
    pub fn matches(&self, text: &[u8], mut found: impl FnMut(Range<usize>)) -> bool {
        if !text.starts_with(&self.start) {
            return false;
        }
        let mut at = self.start.len();
        for (index, hole) in self.holes.iter().enumerate() {
            let is_last = index + 1 == self.holes.len() && !self.is_open;
            let Some(rest) = text.get(at..) else { return false };
            let length = if is_last {
                rest.ends_with(&hole.literal).then(|| rest.len() - hole.literal.len())
            } else {
                // At least one byte belongs to the hole.
                rest.get(1..).and_then(|rest| find(rest, &hole.literal)).map(|at| at + 1)
            };
            let Some(part) = length.and_then(|length| rest.get(..length)).filter(|part| !part.is_empty())
            else {
                return false;
            };
            if self.subject.separator().is_some_and(|separator| part.contains(&separator)) {
                return false;
            }
            if hole.name.is_some() {
                found(at..at + part.len());
            }
            at += part.len() + hole.literal.len();
        }
        self.is_open || at == text.len()
    }
}

/// The first place of a literal.
fn find(text: &[u8], literal: &[u8]) -> Option<usize> {
    let Some((first, rest)) = literal.split_first() else { return Some(0) };
    let mut from = 0;
    loop {
        let tail = text.get(from..)?;
        let at = from + tail.iter().position(|byte| byte == first)?;
        if text.get(at + 1..)?.starts_with(rest) {
            return Some(at);
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(pattern: &str, subject: Subject, text: &str) -> Option<Vec<String>> {
        let pattern = Pattern::parse(pattern, subject).expect(pattern);
        let mut parts = Vec::new();
        pattern
            .matches(text.as_bytes(), |range| parts.push(text.get(range).unwrap().to_owned()))
            .then_some(parts)
    }

    #[test]
    fn each_name_takes_as_little_as_it_can() {
        use Subject::{Host, Path, Value};
        for (pattern, subject, text, expected) in [
            ("{key}.example.com", Host, "a.example.com", &["a"][..]),
            ("{Key}.EXAMPLE.com", Host, "a.example.com", &["a"]),
            ("{port}-{id}.sandbox.test", Host, "3000-a-b.sandbox.test", &["3000", "a-b"]),
            ("*.{key}.test", Host, "x.y.test", &["y"]),
            ("/ws/pod/{key}/**", Path, "/ws/pod/7/", &["7"]),
            ("/ws/pod/{key}/**", Path, "/ws/pod/7/a/b", &["7"]),
            ("/{a}/x/{b}", Path, "/1/x/2", &["1", "2"]),
            ("{key}-*", Value, "a-b-c", &["a"]),
            ("*-{key}", Value, "a-b-c", &["b-c"]),
            ("{key}", Value, "any.thing/at all", &["any.thing/at all"]),
            ("v1.{key}.", Value, "v1.a.b.", &["a.b"]),
            ("{a}--{b}", Value, "x---y", &["x", "-y"]),
        ] {
            let expected = expected.iter().map(|part| (*part).to_owned()).collect();
            assert_eq!(parts(pattern, subject, text), Some(expected), "{pattern} {text}");
        }
        for (pattern, subject, text) in [
            ("{key}.example.com", Host, "a.b.example.com"),
            ("{key}.example.com", Host, ".example.com"),
            ("{key}.example.com", Host, "a.example.com.evil"),
            ("/ws/pod/{key}/**", Path, "/ws/pod/7"),
            ("/ws/pod/{key}", Path, "/ws/pod/7/"),
            ("/ws/pod/{key}", Path, "/ws/pod/"),
            ("{key}-*", Value, "a-"),
            ("{key}-*", Value, "-b"),
            ("{a}-{b}.test", Host, "x.y-z.test"),
            ("{a}-b", Value, "a-b-c"),
            ("x{a}x", Value, "x"),
            ("x{a}x", Value, "xx"),
        ] {
            assert_eq!(parts(pattern, subject, text), None, "{pattern} {text}");
        }
    }

    #[test]
    fn there_is_no_second_try() {
        // A pattern of regular expressions would take `a-b` for the first name.
        assert_eq!(parts("{a}-c{b}", Subject::Value, "a-b-cd"), Some(vec!["a-b".into(), "d".into()]));
        assert_eq!(parts("{a}-{b}-c", Subject::Value, "x-y-z-c"), Some(vec!["x".into(), "y-z".into()]));
        assert_eq!(parts("{a}.x{b}/y", Subject::Path, "1.x2/3.x4/y"), None);
    }

    #[test]
    fn mistakes_are_told_apart() {
        use PatternError::{Braces, Name, Nameless, OpenInside, Repeated, Touching};
        for (text, error) in [
            ("{a", Braces),
            ("a}", Braces),
            ("{}", Braces),
            ("{a-b}", Name),
            ("{1}", Name),
            ("{a}x{a}", Repeated),
            ("{a}{b}", Touching),
            ("{a}*", Touching),
            ("*{a}", Touching),
            ("{a}**", Touching),
            ("**/{a}", OpenInside),
            ("/{a}/**/", OpenInside),
            ("***{a}", OpenInside),
            ("/a/*", Nameless),
            ("", Nameless),
            ("**", Nameless),
        ] {
            assert_eq!(Pattern::parse(text, Subject::Value), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_matched_without_a_panic(
            pattern in "[a.{}*]{0,12}|(a|\\.|\\{x\\}|\\{y\\}|\\*){0,6}(\\*\\*)?",
            text in "[a.xy]{0,40}",
        ) {
            for subject in [Subject::Host, Subject::Path, Subject::Value] {
                let Ok(pattern) = Pattern::parse(&pattern, subject) else { continue };
                let mut parts = Vec::new();
                if pattern.matches(text.as_bytes(), |range| parts.push(text.get(range).unwrap().to_owned())) {
                    prop_assert_eq!(parts.len(), pattern.names().count());
                    prop_assert!(parts.iter().all(|part| !part.is_empty()));
                    if subject == Subject::Host {
                        prop_assert!(parts.iter().all(|part| !part.contains('.')));
                    }
                }
            }
        }

        /// What a pattern is made of is found again, if the parts hold no byte of the literals.
        #[test]
        fn parts_are_found_again(parts in proptest::collection::vec("[a-z]{1,8}", 1..5)) {
            let names: Vec<String> = (0..parts.len()).map(|number| format!("{{p{number}}}")).collect();
            for separator in ["-", "--", ".-."] {
                let pattern = Pattern::parse(&names.join(separator), Subject::Value).unwrap();
                let text = parts.join(separator);
                let mut found = Vec::new();
                prop_assert!(pattern.matches(text.as_bytes(), |range| found.push(text.get(range).unwrap().to_owned())));
                prop_assert_eq!(&found, &parts);
            }
        }
    }
}
