//! A mistake in a configuration, named by the path of its field.

use serde_json::Value;
use serde_path_to_error::{Path, Segment};
use thiserror::Error;

/// A mistake in a configuration: where it is, what is wrong, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}: {problem}; allowed: {allowed}", if .path.is_empty() { "the configuration" } else { .path })]
pub struct ConfigError {
    /// The field, such as `resolve.timeout` or `allowed_targets[2]`; empty for the document as a whole.
    pub path: String,
    /// What is wrong with it, with the offending value.
    pub problem: String,
    /// What is allowed there.
    pub allowed: String,
}

/// The field whose value no message repeats.
const SECRET: &str = "seed";

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
        // Errors are logged, and a secret must not be.
        let is_secret = path.split('.').any(|field| field == SECRET);
        let problem = if is_secret {
            "got a value that is not shown".to_owned()
        } else {
            format!("got {}", shown(value))
        };
        Self::new(path, problem, allowed)
    }

    /// The error that serde reports for a document that was read whole.
    ///
    /// serde's errors are texts: those of this crate's own types say what is allowed, serde's own say "expected …".
    /// The offending value is looked up by the path.
    pub fn from_serde(document: &Value, path: &Path, message: &str) -> Self {
        let path_text = text(path);
        let expected = message.split_once(", expected ").map(|(_, expected)| expected);
        match expected {
            Some(fields) if message.starts_with("unknown field") => {
                let fields = fields.trim_start_matches("one of ").replace('`', "").replace(" or ", ", ");
                Self::new(path_text, "unknown field", fields)
            }
            Some("a sequence") => Self::value(path_text, at(document, path), "a list"),
            Some("a boolean") => Self::value(path_text, at(document, path), "true or false"),
            expected => Self::value(path_text, at(document, path), expected.unwrap_or(message)),
        }
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

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(MAX_SHOWN) {
        Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or_default()),
        None => text,
    }
}

/// Finds a null anywhere in a document. serde takes null for an absent field, but nobody writes it on purpose.
pub fn refuse_null(value: &Value, path: &str) -> Result<(), ConfigError> {
    match value {
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
