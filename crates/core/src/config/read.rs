//! Reads a whole configuration: each field with its default, and the rules between fields.

use super::node::{Checked, Node, Object};
use super::outside::{membership, runtime};
use super::strategy::{fallback, index, missing_target, resolve, shuffle_shard, target};
use super::{Config, OnError, ResolveConfig, Strategy};
use crate::authority::TargetPattern;
use crate::json::{self, Members, Value};
use crate::key::KeySource;
use crate::protobuf;
use crate::template::Placeholder;

/// What a plugin's configuration may have: first what a route's may have too, then what belongs to the
/// plugin as a whole.
const PLUGIN_FIELDS: &[&str] = &[
    "key",
    "path_prefix",
    "resolve",
    "index",
    "shuffle_shard",
    "target",
    "allowed_targets",
    "on_error",
    "fallback",
    "response_headers",
    "metadata",
    "runtime",
    "membership",
    "per_route",
];

/// What a route's configuration may have: all but the last three.
const ROUTE_FIELDS: &[&str] = PLUGIN_FIELDS.split_at(PLUGIN_FIELDS.len() - 3).0;

/// The strategies, of which there is at most one.
const STRATEGIES: &[&str] = &["resolve", "index", "shuffle_shard"];

/// The highest number a path segment may have; nobody means more, and a search has to end.
const LAST_SEGMENT: u32 = 63;

/// JSON text, or the bytes of a `google.protobuf.Struct`: Envoy hands a Struct over as it is.
pub fn document(text: &[u8]) -> Checked<Value> {
    if text.trim_ascii().is_empty() {
        return Ok(Value::Object(Members::default()));
    }
    let error = match json::parse(text) {
        Ok(document) => return Ok(document),
        Err(error) => error,
    };
    // The first field's tag is a line feed, so a Struct could be taken for the start of JSON, but it is
    // never the whole of one.
    protobuf::struct_to_json(text)
        .ok_or_else(|| Node::root(&Value::Null).error(format!("not JSON: {error}"), "a JSON object"))
}

pub fn plugin(document: &Value) -> Checked<Config> {
    let root = Node::root(document);
    let fields = root.object(PLUGIN_FIELDS)?;
    Ok(Config {
        per_route: fields.get_opt("per_route", |node| namespace(&node))?,
        runtime: fields.get_opt("runtime", |node| runtime(&node))?,
        membership: fields.get_opt("membership", |node| membership(&node))?,
        ..config(&root, &fields)?
    })
}

pub fn route(document: &Value) -> Checked<Config> {
    let root = Node::root(document);
    let fields = root.object(ROUTE_FIELDS)?;
    config(&root, &fields)
}

fn config(root: &Node<'_>, fields: &Object<'_>) -> Checked<Config> {
    let drop_in = fields.is_empty().then(|| "/join".to_owned());
    let (strategy, placeholder) = strategy(fields)?;
    let target = target(fields, placeholder)?;
    if target.is_none() && !matches!(strategy, Strategy::ShuffleShard(_)) {
        return Err(missing_target(root));
    }
    let is_shard = matches!(strategy, Strategy::ShuffleShard(_));
    let response_headers = fields.get_or("response_headers", false, |node| match node.boolean()? {
        true if !is_shard => Err(node.error("true has no meaning here", "true only beside `shuffle_shard`")),
        wanted => Ok(wanted),
    })?;
    Ok(Config {
        key: fields.get_or("key", KeySource::Query("client_id".to_owned()), |node| key(&node))?,
        path_prefix: fields.get_or("path_prefix", drop_in, |node| path(&node).map(Some))?,
        strategy,
        target,
        allowed_targets: fields.get_opt("allowed_targets", |node| allowed_targets(&node))?,
        on_error: fields.get_or("on_error", OnError::default(), |node| on_error(&node))?,
        response_headers,
        metadata: fields.get_opt("metadata", |node| namespace(&node))?,
        per_route: None,
        runtime: None,
        membership: None,
    })
}

/// The strategy, and what stands for its result in templates.
fn strategy(fields: &Object<'_>) -> Checked<(Strategy, Placeholder)> {
    let chosen = fields.at_most_one_of(STRATEGIES)?;
    if let (Some(("index" | "shuffle_shard", _)), Some(node)) = (&chosen, fields.get("fallback")) {
        return Err(node.error("has no meaning here", "only beside `resolve`: nothing else can fail"));
    }
    Ok(match chosen {
        Some(("index", node)) => {
            let index = index(&node)?;
            let placeholder = index.instances.placeholder();
            (Strategy::Index(index), placeholder)
        }
        Some(("shuffle_shard", node)) => {
            let shuffle = shuffle_shard(&node)?;
            let placeholder = shuffle.instances.placeholder();
            (Strategy::ShuffleShard(shuffle), placeholder)
        }
        other => {
            let resolve = other.map_or_else(|| Ok(ResolveConfig::default()), |(_, node)| resolve(&node))?;
            let fallback = fields.get_opt("fallback", |node| fallback(&node))?;
            (Strategy::Resolve(resolve, fallback), Placeholder::HostPort)
        }
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

fn allowed_targets(node: &Node<'_>) -> Checked<Vec<TargetPattern>> {
    const ALLOWED: &str = "a list of at least one host:port, in which `*` stands for part of a label";
    let pattern = |item: Node<'_>| {
        TargetPattern::parse(item.string(ALLOWED)?)
            .map_err(|problem| item.wrong(format!("host:port with `*` for part of a label, but {problem}")))
    };
    node.list(ALLOWED)?.map(pattern).collect()
}

fn on_error(node: &Node<'_>) -> Checked<OnError> {
    const ALLOWED: &str = "reject or continue";
    match node.string(ALLOWED)? {
        "reject" => Ok(OnError::Reject),
        "continue" => Ok(OnError::Continue),
        _ => Err(node.wrong(ALLOWED)),
    }
}

fn namespace(node: &Node<'_>) -> Checked<String> {
    node.string_where("a namespace of metadata", |name| !name.is_empty())
}

pub fn cluster(node: &Node<'_>) -> Checked<String> {
    node.string_where("the name of an Envoy cluster", |name| {
        !name.is_empty() && !name.contains(char::is_control)
    })
}

pub fn path(node: &Node<'_>) -> Checked<String> {
    node.string_where("a path that starts with `/`, without white space or `#`", |path| {
        path.starts_with('/') && path.bytes().all(|byte| matches!(byte, 0x21..=0x7e) && byte != b'#')
    })
}

pub fn parameter(node: &Node<'_>) -> Checked<String> {
    node.string_where("a query parameter's name as it stands in a URL", |name| {
        !name.is_empty() && name.bytes().all(|byte| matches!(byte, 0x21..=0x7e) && !b"&=?#".contains(&byte))
    })
}

pub fn header_name(node: &Node<'_>) -> Checked<String> {
    let name = node.string_where("a header's name", |name| is_token(name) || name == ":authority")?;
    // Envoy keeps names in lower case, and the client's Host under this one.
    Ok(if name.eq_ignore_ascii_case("host") { ":authority".to_owned() } else { name.to_ascii_lowercase() })
}

/// A token in the sense of RFC 9110.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
