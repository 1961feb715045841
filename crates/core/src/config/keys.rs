//! Validates where the key is.

use super::error::ConfigError;
use super::rules::{Result, at_most_one, exactly_one};
use super::scalar::Text;
use super::wire;
use crate::key::pattern::{Pattern, Subject, is_name};
use crate::key::{Group, KeySource, ONLY_PART, Place, Source};
use serde_json::Value;

/// The most sources of a `first`, and the most parts.
const MAX_SOURCES: usize = 16;

/// Validates a key.
pub fn key(path: &str, key: wire::Key) -> Result<KeySource> {
    let has_source = has_source(&key);
    let fields = [("first", key.first.is_some()), ("parts", key.parts.is_some())];
    at_most_one(path, &fields)?;
    if fields.iter().all(|(_, is_set)| !is_set) {
        let source = source(path, key, true)?;
        return Ok(KeySource { groups: vec![group(vec![source])] });
    }
    if has_source || key.pattern.is_some() {
        let problem = "got a source beside `first` or `parts`";
        return Err(ConfigError::new(path, problem, "one of them"));
    }
    if let Some(sources) = key.first {
        return Ok(KeySource { groups: vec![first(&format!("{path}.first"), sources)?] });
    }
    let parts = key.parts.unwrap_or_default();
    let path = format!("{path}.parts");
    if parts.is_empty() || parts.len() > MAX_SOURCES {
        let problem = format!("got {} parts", parts.len());
        return Err(ConfigError::new(path, problem, format!("1 to {MAX_SOURCES} parts")));
    }
    let mut groups = Vec::new();
    for (name, wire::Object(part)) in parts {
        let path = format!("{path}.{name}");
        if !is_name(&name) {
            let allowed = "a name of letters, digits and `_` that begins with none of the digits";
            return Err(ConfigError::value(path, &Value::from(name), allowed));
        }
        groups.push(self::part(&path, name, part)?);
    }
    Ok(KeySource { groups })
}

fn part(path: &str, name: String, part: wire::Part) -> Result<Group> {
    let wire::Part { query, header, cookie, path_segment, host, path: path_pattern, pattern, first, default } =
        part;
    let key = wire::Key {
        query,
        header,
        cookie,
        path_segment,
        host,
        path: path_pattern,
        pattern,
        first: None,
        parts: None,
    };
    let mut group = match first {
        Some(_) if has_source(&key) || key.pattern.is_some() => {
            return Err(ConfigError::new(path, "got a source beside `first`", "one of them"));
        }
        Some(sources) => self::first(&format!("{path}.first"), sources)?,
        None => group(vec![source(path, key, false)?]),
    };
    if group.names.len() != 1 {
        let problem = format!("got a pattern with {} names", group.names.len());
        return Err(ConfigError::new(path, problem, "a pattern with one name"));
    }
    group.names = vec![name];
    group.default = default.map(|default| default.0);
    let is_usable = |text: &String| text.len() <= crate::key::MAX_KEY && !text.chars().any(char::is_control);
    if let Some(default) = group.default.as_ref().filter(|default| !is_usable(default)) {
        let allowed = format!("1 to {} bytes without control characters", crate::key::MAX_KEY);
        return Err(ConfigError::value(format!("{path}.default"), &Value::from(default.as_str()), allowed));
    }
    Ok(group)
}

fn first(path: &str, sources: Vec<wire::Object<wire::Key>>) -> Result<Group> {
    if sources.is_empty() || sources.len() > MAX_SOURCES {
        let problem = format!("got {} sources", sources.len());
        return Err(ConfigError::new(path, problem, format!("1 to {MAX_SOURCES} sources")));
    }
    let mut read = Vec::new();
    for (at, wire::Object(key)) in sources.into_iter().enumerate() {
        let path = format!("{path}[{at}]");
        if key.first.is_some() || key.parts.is_some() {
            return Err(ConfigError::new(path, "nests `first` or `parts`", "sources only"));
        }
        read.push(source(&path, key, false)?);
    }
    let group = group(read);
    for (at, source) in group.sources.iter().enumerate() {
        let names = names(source);
        if names != group.names {
            let problem =
                format!("gives {} and the first source gives {}", names.join(", "), group.names.join(", "));
            return Err(ConfigError::new(format!("{path}[{at}]"), problem, "the same names in each source"));
        }
    }
    Ok(group)
}

fn group(sources: Vec<Source>) -> Group {
    let names = sources.first().map(names).unwrap_or_default();
    Group { sources, names, default: None }
}

fn names(source: &Source) -> Vec<String> {
    match &source.pattern {
        Some(pattern) => pattern.names().map(str::to_owned).collect(),
        None => vec![ONLY_PART.to_owned()],
    }
}

fn has_source(key: &wire::Key) -> bool {
    let wire::Key { query, header, cookie, path_segment, host, path, .. } = key;
    (query.is_some() || header.is_some() || cookie.is_some())
        || (path_segment.is_some() || host.is_some() || path.is_some())
}

/// Validates a source. At the top, an error names `first` and `parts` too.
fn source(path: &str, key: wire::Key, is_top: bool) -> Result<Source> {
    let wire::Key { query, header, cookie, path_segment, host, path: path_pattern, pattern, .. } = key;
    let mut fields = vec![
        ("query", query.is_some()),
        ("header", header.is_some()),
        ("cookie", cookie.is_some()),
        ("path_segment", path_segment.is_some()),
        ("host", host.is_some()),
        ("path", path_pattern.is_some()),
    ];
    if is_top {
        fields.extend([("first", false), ("parts", false)]);
    }
    exactly_one(path, &fields)?;
    let compile = |field: &str, Text(text): Text, subject| {
        Pattern::parse(&text, subject).map_err(|error| {
            let problem = format!("got {} with {error}", Value::from(text.as_str()));
            ConfigError::new(
                format!("{path}.{field}"),
                problem,
                "a pattern such as `{key}-*`, not a regular expression",
            )
        })
    };
    let value_of = query
        .map(|name| Place::Query(name.0))
        .or_else(|| header.map(|name| Place::Header(name.into_name())))
        .or_else(|| cookie.map(|name| Place::Cookie(name.0)));
    if let Some(place) = value_of {
        let pattern = pattern.map(|text| compile("match", text, Subject::Value)).transpose()?;
        return Ok(Source { place, pattern });
    }
    if pattern.is_some() {
        let allowed = "only with `query`, `header` and `cookie`";
        return Err(ConfigError::new(format!("{path}.match"), "has no effect here", allowed));
    }
    match (host, path_pattern) {
        (Some(text), _) => {
            Ok(Source { place: Place::Host, pattern: Some(compile("host", text, Subject::Host)?) })
        }
        (None, Some(Text(text))) if !text.starts_with('/') => {
            let allowed = "a pattern that starts with `/`";
            Err(ConfigError::value(format!("{path}.path"), &Value::from(text), allowed))
        }
        (None, Some(text)) => {
            Ok(Source { place: Place::Path, pattern: Some(compile("path", text, Subject::Path)?) })
        }
        (None, None) => {
            let segment = path_segment.map_or(0, |segment| segment.0 as usize);
            Ok(Source { place: Place::PathSegment(segment), pattern: None })
        }
    }
}
