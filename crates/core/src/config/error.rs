//! A mistake in a configuration, named by the path of its field.

use serde_json::Value;
use serde_path_to_error::{Path, Segment};
use std::borrow::Cow;
use thiserror::Error;

/// A mistake in a configuration: where it is, what is wrong, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}: {}; allowed: {}", one_line(if .path.is_empty() { "the configuration" } else { .path }), one_line(.problem), one_line(.allowed))]
pub struct ConfigError {
    /// The field, such as `resolve.timeout` or `allowed_targets[2]`; empty for the document as a whole.
    pub path: String,
    /// What is wrong with it, with the offending value.
    pub problem: String,
    /// What is allowed there.
    pub allowed: String,
}

/// The fields whose values no message repeats.
const SECRETS: [&str; 2] = ["shuffle_shard.seed", "resolve.headers"];

/// What the mistake at a field suggests: a text behind what is allowed there.
const HINTS: [(&str, &str); 16] = [
    ("cache", "; see `resolve.cache`"),
    ("timeout", "; see `resolve.timeout`"),
    ("key", " such as { header: x-tenant }"),
    ("key.default", "; a default goes into `key.parts`"),
    ("key.parts", " such as { tenant: { header: x-tenant } }"),
    ("template", " without fields; the text goes into `target`"),
    ("fallback.template", " without fields; the text goes into `fallback.target`"),
    ("resolve.method", "; a `body` makes the call a POST request"),
    ("resolve.body", "; to send JSON, write it as an object, not as a text"),
    ("resolve.headers", "; to send a header of the request along, use `forward_headers`"),
    ("resolve.target", "; `target` goes beside `resolve`"),
    ("resolve.allowed_targets", "; `allowed_targets` goes beside `resolve`"),
    ("resolve.fallback", "; `fallback` goes beside `resolve`"),
    ("resolve.on_missing_key", "; `on_missing_key` goes beside `resolve`"),
    ("resolve.on_not_found", "; `on_not_found` goes beside `resolve`"),
    ("resolve.on_error", "; `on_error` goes beside `resolve`"),
];

/// The longest part of an offending value that a message repeats, in characters.
const MAX_SHOWN: usize = 120;

impl ConfigError {
    /// An error at a path.
    pub fn new(path: impl Into<String>, problem: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self { path: path.into(), problem: problem.into(), allowed: allowed.into() }
    }

    /// An error about a value.
    pub fn value(path: impl Into<String>, value: &Value, allowed: impl Into<String>) -> Self {
        let path = path.into();
        let problem = format!("got {}", shown_at(&path, value));
        Self::new(path, problem, allowed)
    }

    /// The same with the hint of a field, if there is one.
    pub fn with_hint(mut self, field: &str) -> Self {
        let hint = HINTS.iter().find(|(path, _)| *path == field);
        self.allowed.push_str(hint.map_or("", |(_, hint)| hint));
        self
    }

    /// The error that serde reports for a document that was read whole.
    ///
    /// serde's errors are texts: those of this crate's own types say what is allowed, serde's own say "expected …".
    /// The offending value is looked up by the path.
    pub fn from_serde(document: &Value, path: &Path, message: &str) -> Self {
        let path_text = text(path);
        let expected = message.split_once(", expected ").map(|(_, expected)| expected);
        let field = path_text.clone();
        let error = match expected {
            Some(fields) if message.starts_with("unknown field") => {
                let fields = fields.trim_start_matches("one of ").replace('`', "").replace(" or ", ", ");
                Self::new(path_text, "unknown field", fields)
            }
            Some("a sequence") => Self::value(path_text, at(document, path), "a list"),
            Some("a boolean") => Self::value(path_text, at(document, path), "true or false"),
            expected => Self::value(path_text, at(document, path), expected.unwrap_or(message)),
        };
        error.with_hint(&field)
    }
}

/// A path as errors show it: empty for the document as a whole.
pub fn text(path: &Path) -> String {
    match path.to_string() {
        root if root == "." => String::new(),
        path => path,
    }
}

fn at<'v>(document: &'v Value, path: &Path) -> &'v Value {
    path.iter().fold(document, |value, segment| {
        let inner = match segment {
            Segment::Map { key } | Segment::Enum { variant: key } => value.get(key),
            Segment::Seq { index } => value.get(index),
            Segment::Unknown => None,
        };
        inner.unwrap_or(value)
    })
}

/// A value as messages show it. Errors are logged, and a secret must not be: neither a secret's own value, nor one of the wrong
/// type that may hold it.
pub fn shown_at(path: &str, value: &Value) -> String {
    if !is_secret(path) {
        return shown(value);
    }
    let kind = match value {
        Value::Null => return "null".to_owned(),
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    format!("{kind} that is not shown")
}

/// Whether the value at a path is a secret, or may hold one.
pub fn is_secret(path: &str) -> bool {
    let is_within = |inner: &str, outer: &str| {
        inner
            .strip_prefix(outer)
            .is_some_and(|rest| rest.is_empty() || outer.is_empty() || rest.starts_with(['.', '[']))
    };
    SECRETS.iter().any(|secret| is_within(path, secret) || is_within(secret, path))
}

/// A text in which nothing ends a line of the log.
fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(escaped).collect())
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(MAX_SHOWN) {
        Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or_default()),
        None => text,
    }
}

/// The field whose value is a document of its own, in which a null is meant.
const FREE: &str = "resolve.body";

/// Finds a null anywhere in a document. serde takes null for an absent field, but nobody writes it on purpose.
pub fn refuse_null(value: &Value, path: &str) -> Result<(), ConfigError> {
    match value {
        Value::Array(_) | Value::Object(_) if path == FREE => Ok(()),
        Value::Null => {
            Err(ConfigError::value(path, value, "a value; to use the default, leave the field out"))
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(index, item)| refuse_null(item, &format!("{path}[{index}]"))),
        Value::Object(members) => members.iter().try_for_each(|(name, member)| {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            refuse_null(member, &path)
        }),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}
