//! Validates the resolver call and what is wanted of its response.

use super::error::ConfigError;
use super::rules::{Result, authority, read_template};
use super::scalar::{Text, is_settable};
use super::validated::{CacheConfig, CallConfig, ResolveConfig};
use super::wire;
use crate::key::KeySource;
use crate::key::query::{has_dot_segment, raw_param, split_path};
use crate::resolve::answer::{AnswerConfig, Wanted};
use crate::template::{Fit, Slot, Template};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The statuses that say that nobody owns the key, unless others are configured.
const NOT_FOUND: u16 = 404;

/// Validates the `resolve` strategy.
pub fn resolve(resolve: wire::Resolve, key: &KeySource) -> Result<ResolveConfig> {
    let cluster = resolve.cluster.map_or_else(|| "resolver".to_owned(), |cluster| cluster.0);
    let path = resolve.path.map_or_else(|| "/where".to_owned(), |path| path.0);
    let path = template("resolve.path", &path, key, Fit::Encoded)?;
    if has_dot_segment(&path.example()) {
        let problem = format!("got \"{}\" with `.` or `..` as a segment", path.example());
        return Err(ConfigError::new("resolve.path", problem, "a path without them"));
    }
    let body = resolve.body.map(|body| self::body(&body, "resolve.body", key)).transpose()?;
    let carries = |template: &Option<Template>| template.as_ref().is_some_and(Template::has_part);
    let is_carried = path.has_part() || carries(&body);
    let params = match resolve.query {
        Some(_) if is_carried => {
            let problem = "has no effect here: the path or the body carries the key";
            return Err(ConfigError::new("resolve.query", problem, "only where neither does"));
        }
        Some(_) if !key.is_single() => {
            let problem = "got a key of several parts, each with a parameter of its own";
            return Err(ConfigError::new("resolve.query", problem, "only with a key of one part"));
        }
        _ if is_carried => Vec::new(),
        Some(name) => vec![name.0],
        None if key.is_single() => vec![key.parameter()],
        None => key.names().map(str::to_owned).collect(),
    };
    let example = path.example();
    let query = split_path(example.as_bytes()).1.unwrap_or_default();
    if let Some(twice) = params.iter().find(|name| raw_param(query, name.as_bytes()).is_some()) {
        let problem = format!("got \"{example}\", which has the parameter `{twice}` already");
        return Err(ConfigError::new("resolve.path", problem, "a path without it: it carries the key"));
    }
    let mut separator = if example.contains('?') { '&' } else { '?' };
    let params = params.into_iter().map(|name| format!("{}{name}=", std::mem::replace(&mut separator, '&')));
    let mut headers = Vec::new();
    for (name, Text(value)) in resolve.headers.unwrap_or_default() {
        let path = format!("resolve.headers.{name}");
        let name = settable(&path, &name)?;
        let value =
            template(&path, &value, key, Fit::Ascii).map_err(|error| error.with_hint("resolve.headers"))?;
        if !value.example().bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(ConfigError::new(path, "has characters other than visible ASCII", "visible ASCII"));
        }
        headers.push((name, value));
    }
    let forward_headers = resolve.forward_headers.unwrap_or_default();
    let call = CallConfig {
        path,
        params: params.collect(),
        body,
        headers,
        forward_headers: forward_headers.into_iter().map(|name| name.0.to_ascii_lowercase()).collect(),
    };
    Ok(ResolveConfig {
        authority: authority(resolve.authority, &cluster),
        cluster,
        call,
        answer: answer(resolve.answer, resolve.set_headers)?,
        not_found: resolve.not_found.map_or_else(|| vec![NOT_FOUND], statuses),
        timeout: resolve.timeout.map_or(Duration::from_secs(1), |timeout| timeout.0),
        cache: resolve.cache.map(cache),
        max_in_flight: resolve.max_in_flight.map_or(1024, |count| count.0 as usize),
    })
}

fn statuses<const MIN: u32, const MAX: u32>(list: Vec<super::scalar::Integer<MIN, MAX>>) -> Vec<u16> {
    list.into_iter().filter_map(|status| u16::try_from(status.0).ok()).collect()
}

fn settable(path: &str, name: &str) -> Result<String> {
    if is_settable(name) {
        return Ok(name.to_ascii_lowercase());
    }
    let problem = format!("got {}", Value::from(name));
    Err(ConfigError::new(path, problem, "a header's name, but not one of HTTP's own"))
}

fn template(path: &str, text: &str, key: &KeySource, fit: Fit) -> Result<Template> {
    let names = key.names().map(|name| format!("{{{name}}}")).collect::<Vec<_>>().join(" or ");
    let slot = |name: &str| key.names().position(|part| part == name).map(|at| Slot::Part(at, fit));
    read_template(path, text, &format!("a text, with {names} or without"), slot)
}

/// JSON with parts of the key in its texts, as a template.
fn body(value: &Value, path: &str, key: &KeySource) -> Result<Template> {
    let escaped = |text: &str| {
        let quoted = Value::from(text).to_string();
        quoted.get(1..quoted.len() - 1).unwrap_or_default().to_owned()
    };
    let mut json = Template::literal("");
    let mut add = |text: &str| json.append(Template::literal(text));
    match value {
        Value::String(text) => {
            let text = template(path, text, key, Fit::Json).map_err(|error| error.with_hint(path))?;
            let text = text.map_texts(escaped);
            json.append(Template::literal("\""));
            json.append(text);
            json.append(Template::literal("\""));
        }
        Value::Array(items) => {
            add("[");
            for (at, item) in items.iter().enumerate() {
                json.append(Template::literal(if at == 0 { "" } else { "," }));
                json.append(body(item, &format!("{path}[{at}]"), key)?);
            }
            json.append(Template::literal("]"));
        }
        Value::Object(members) => {
            add("{");
            for (at, (name, member)) in members.iter().enumerate() {
                let comma = if at == 0 { "" } else { "," };
                json.append(Template::literal(&format!("{comma}\"{}\":", escaped(name))));
                json.append(body(member, &format!("{path}.{name}"), key)?);
            }
            json.append(Template::literal("}"));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => add(&value.to_string()),
    }
    Ok(json)
}

fn answer(
    answer: Option<wire::Answer>,
    set_headers: Option<BTreeMap<String, wire::Place>>,
) -> Result<AnswerConfig> {
    let target = match answer {
        None => AnswerConfig::default().target,
        Some(wire::Answer { hostport, host, port, name, hostports }) => {
            match (hostport, host, port, name, hostports) {
                (Some(place), None, None, None, None) => Wanted::HostPort(place.0),
                (None, Some(host), port, None, None) => Wanted::Host(host.0, port.map(|port| port.0)),
                (None, None, None, Some(place), None) => Wanted::Name(place.0),
                (None, None, None, None, Some(place)) => Wanted::HostPorts(place.0),
                _ => {
                    let problem = "got none of them, or fields that exclude each other";
                    let allowed = "hostport, or host with or without port, or name, or hostports";
                    return Err(ConfigError::new("resolve.answer", problem, allowed));
                }
            }
        }
    };
    let mut set = Vec::new();
    for (name, place) in set_headers.unwrap_or_default() {
        set.push((Arc::from(settable(&format!("resolve.set_headers.{name}"), &name)?), place.0));
    }
    Ok(AnswerConfig { target, set_headers: set })
}

fn cache(cache: wire::Cache) -> CacheConfig {
    let default = CacheConfig::default();
    CacheConfig {
        ttl: cache.ttl.map_or(default.ttl, |ttl| ttl.0),
        max_entries: cache.max_entries.map_or(default.max_entries, |count| count.0 as usize),
        negative_ttl: cache.negative_ttl.map_or(default.negative_ttl, |ttl| ttl.0),
        stale_if_error: cache.stale_if_error.map_or(default.stale_if_error, |time| time.0),
        drop_on: cache.drop_on.map_or(default.drop_on, statuses),
    }
}
