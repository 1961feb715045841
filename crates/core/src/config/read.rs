//! Reads each field, with its default and the rules on it.

use super::node::{Checked, ConfigError, Node, Object};
use super::{Config, OnError, ResolveConfig, TargetConfig};
use crate::authority::TargetPattern;
use crate::key::KeySource;
use crate::protobuf;
use crate::template::{Placeholder, Template, TemplateError};
use serde_json::Value;
use std::time::Duration;

const FIELDS: &[&str] = &["key", "path_prefix", "resolve", "target", "allowed_targets", "on_error"];

/// The most questions a worker may have under way.
const MOST_IN_FLIGHT: u32 = 1_000_000;

/// The highest number a path segment may have; nobody means more, and a search has to end.
const LAST_SEGMENT: u32 = 63;

pub fn document(text: &[u8]) -> Checked<Config> {
    let document = parse(text)?;
    let fields = Node::root(&document).object(FIELDS)?;
    let drop_in = fields.is_empty().then(|| "/join".to_owned());
    Ok(Config {
        key: fields.get_or("key", KeySource::Query("client_id".to_owned()), |node| key(&node))?,
        path_prefix: fields.get_or("path_prefix", drop_in, |node| path(&node).map(Some))?,
        resolve: fields.get_or("resolve", ResolveConfig::default(), |node| resolve(&node))?,
        target: target(&fields, Placeholder::HostPort)?,
        allowed_targets: fields.get_opt("allowed_targets", |node| allowed_targets(&node))?,
        on_error: fields.get_or("on_error", OnError::default(), |node| on_error(&node))?,
    })
}

/// JSON text, or the bytes of a `google.protobuf.Struct`: Envoy hands a Struct over as it is.
fn parse(text: &[u8]) -> Checked<Value> {
    if text.trim_ascii().is_empty() {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    let error = match serde_json::from_slice(text) {
        Ok(document) => return Ok(document),
        Err(error) => error,
    };
    // The first field's tag is a line feed, so a Struct could be taken for the start of JSON, but it is
    // never the whole of one.
    protobuf::struct_to_json(text).ok_or_else(|| ConfigError {
        path: String::new(),
        problem: format!("not JSON: {error}"),
        allowed: "a JSON object".to_owned(),
    })
}

fn key(node: &Node<'_>) -> Checked<KeySource> {
    const KINDS: &[&str] = &["query", "header", "cookie", "path_segment"];
    match node.object(KINDS)?.exactly_one_of(KINDS)? {
        ("query", name) => parameter(&name).map(KeySource::Query),
        ("header", name) => header_name(&name).map(KeySource::Header),
        ("cookie", name) => name.string_where("a cookie's name", is_token).map(KeySource::Cookie),
        (_, number) => Ok(KeySource::PathSegment(number.integer(0..=LAST_SEGMENT)? as usize)),
    }
}

fn resolve(node: &Node<'_>) -> Checked<ResolveConfig> {
    let fields = node.object(&["cluster", "path", "query", "timeout", "max_in_flight"])?;
    let default = ResolveConfig::default();
    Ok(ResolveConfig {
        cluster: fields.get_or("cluster", default.cluster, |node| cluster(&node))?,
        path: fields.get_or("path", default.path, |node| path(&node))?,
        query: fields.get_opt("query", |node| parameter(&node))?,
        // Envoy counts in whole milliseconds and takes 0 for no limit at all.
        timeout: fields.get_or("timeout", default.timeout, |node| node.duration(Duration::from_millis(1)))?,
        max_in_flight: fields.get_or("max_in_flight", default.max_in_flight, |node| {
            Ok(node.integer(1..=MOST_IN_FLIGHT)? as usize)
        })?,
    })
}

fn target(fields: &Object<'_>, placeholder: Placeholder) -> Checked<TargetConfig> {
    const KINDS: &[&str] = &["authority"];
    let Some(node) = fields.get("target") else {
        let default = format!("{{{}}}", placeholder.name());
        return Template::parse(&default, placeholder).map(TargetConfig::Authority).map_err(|_| {
            ConfigError {
                path: "target".to_owned(),
                problem: "missing".to_owned(),
                allowed: format!("exactly one of {}", KINDS.join(", ")),
            }
        });
    };
    let (_, authority) = node.object(KINDS)?.exactly_one_of(KINDS)?;
    template(&authority, placeholder).map(TargetConfig::Authority)
}

/// A text that must have its placeholder: without it every request would go to the same place.
fn template(node: &Node<'_>, placeholder: Placeholder) -> Checked<Template> {
    let allowed = format!("a text with {{{}}}", placeholder.name());
    let parsed = Template::parse(node.string(&allowed)?, placeholder);
    match parsed {
        Ok(template) if template.has_placeholder() => Ok(template),
        Ok(_) => Err(node.wrong(allowed)),
        Err(TemplateError::Unknown(name)) => {
            Err(node.error(format!("unknown placeholder {{{name}}}"), allowed))
        }
        Err(TemplateError::Unbalanced) => Err(node.error("a brace without its partner", allowed)),
    }
}

fn allowed_targets(node: &Node<'_>) -> Checked<Vec<TargetPattern>> {
    const ALLOWED: &str = "a list of at least one host:port, in which `*` stands for part of a label";
    let pattern = |item: Node<'_>| {
        TargetPattern::parse(item.string(ALLOWED)?)
            .map_err(|problem| item.wrong(format!("host:port with `*` for part of a label, but {problem}")))
    };
    node.list(ALLOWED)?.into_iter().map(pattern).collect()
}

fn on_error(node: &Node<'_>) -> Checked<OnError> {
    const ALLOWED: &str = "reject or continue";
    match node.string(ALLOWED)? {
        "reject" => Ok(OnError::Reject),
        "continue" => Ok(OnError::Continue),
        _ => Err(node.wrong(ALLOWED)),
    }
}

fn cluster(node: &Node<'_>) -> Checked<String> {
    node.string_where("the name of an Envoy cluster", |name| {
        !name.is_empty() && !name.contains(char::is_control)
    })
}

fn path(node: &Node<'_>) -> Checked<String> {
    node.string_where("a path that starts with `/`, without white space or `#`", |path| {
        path.starts_with('/') && path.bytes().all(|byte| matches!(byte, 0x21..=0x7e) && byte != b'#')
    })
}

fn parameter(node: &Node<'_>) -> Checked<String> {
    node.string_where("a query parameter's name as it stands in a URL", |name| {
        !name.is_empty() && name.bytes().all(|byte| matches!(byte, 0x21..=0x7e) && !b"&=?#".contains(&byte))
    })
}

fn header_name(node: &Node<'_>) -> Checked<String> {
    let name = node.string_where("a header's name", |name| is_token(name) || name == ":authority")?;
    // Envoy keeps names in lower case, and the client's Host under this one.
    Ok(if name.eq_ignore_ascii_case("host") { ":authority".to_owned() } else { name.to_ascii_lowercase() })
}

/// A token in the sense of RFC 9110.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
