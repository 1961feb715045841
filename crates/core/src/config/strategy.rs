//! Reads the strategies and their targets.

use super::node::{Checked, ConfigError, Node, Object};
use super::read::{cluster, header_name, parameter, path};
use super::{
    CacheConfig, Fallback, IndexConfig, Instances, Pick, ResolveConfig, ShuffleConfig, TargetConfig,
};
use crate::authority::HostPort;
use crate::index::IndexMode;
use crate::shuffle::{Algorithm, MAX_HOSTS};
use crate::template::{Placeholder, Template, TemplateError};
use std::time::Duration;

/// The most questions a worker may have under way.
const MOST_IN_FLIGHT: u32 = 1_000_000;

/// The most answers a worker may remember: a few hundred megabytes' worth.
const MOST_ENTRIES: u32 = 1_000_000;

/// What the seeds' filters have without being told otherwise.
const DEFAULT_TOTAL_HOSTS: u32 = 8;
const DEFAULT_SHARD_SIZE: u32 = 2;

/// The most hosts that may be listed by name. Each is compared with all before it.
const MOST_NAMES: usize = 10_000;

/// The kinds of target.
const TARGETS: &[&str] = &["authority", "dynamic_host", "header"];

/// Headers that say how a message is framed or who it is for, and are Envoy's business.
const NOT_TARGETS: [&str; 7] =
    ["host", "connection", "content-length", "transfer-encoding", "te", "upgrade", "keep-alive"];

pub fn resolve(node: &Node<'_>) -> Checked<ResolveConfig> {
    let fields = node.object(&["cluster", "path", "query", "timeout", "cache", "max_in_flight"])?;
    let default = ResolveConfig::default();
    Ok(ResolveConfig {
        cluster: fields.get_or("cluster", default.cluster, |node| cluster(&node))?,
        path: fields.get_or("path", default.path, |node| path(&node))?,
        query: fields.get_opt("query", |node| parameter(&node))?,
        // Envoy counts in whole milliseconds and takes 0 for no limit at all.
        timeout: fields.get_or("timeout", default.timeout, |node| node.duration(Duration::from_millis(1)))?,
        cache: fields.get_opt("cache", |node| cache(&node))?,
        max_in_flight: fields.get_or("max_in_flight", default.max_in_flight, |node| {
            Ok(node.integer(1..=MOST_IN_FLIGHT)? as usize)
        })?,
    })
}

fn cache(node: &Node<'_>) -> Checked<CacheConfig> {
    let fields = node.object(&["ttl", "max_entries", "negative_ttl", "stale_if_error"])?;
    let default = CacheConfig::default();
    Ok(CacheConfig {
        ttl: fields.get_or("ttl", default.ttl, |node| node.duration(Duration::from_millis(1)))?,
        max_entries: fields.get_or("max_entries", default.max_entries, |node| {
            Ok(node.integer(1..=MOST_ENTRIES)? as usize)
        })?,
        negative_ttl: fields
            .get_or("negative_ttl", default.negative_ttl, |node| node.duration(Duration::ZERO))?,
        stale_if_error: fields
            .get_or("stale_if_error", default.stale_if_error, |node| node.duration(Duration::ZERO))?,
    })
}

pub fn fallback(node: &Node<'_>) -> Checked<Fallback> {
    let fields = node.object(&["index", "target"])?;
    let index = match fields.get("index") {
        Some(node) => index(&node)?,
        None => return Err(node.error("`index` is missing", "an object with index and target")),
    };
    let target = target(&fields, index.instances.placeholder())?.ok_or_else(|| missing_target(node))?;
    Ok(Fallback { index, target })
}

pub fn index(node: &Node<'_>) -> Checked<IndexConfig> {
    let fields = node.object(&["mode", "replicas", "base", "hosts"])?;
    let mode = fields.get_or("mode", IndexMode::default(), |node| {
        let allowed = "hash or numeric";
        IndexMode::from_name(node.string(allowed)?).ok_or_else(|| node.wrong(allowed))
    })?;
    if let (Some(node), IndexMode::Numeric) = (fields.get("hosts"), mode) {
        return Err(
            node.error("cannot stand beside mode `numeric`", "a list of hosts is indexed by the hash alone")
        );
    }
    Ok(IndexConfig { mode, instances: instances(&fields, "replicas", 1, 1, false)? })
}

pub fn shuffle_shard(node: &Node<'_>) -> Checked<ShuffleConfig> {
    let fields = node.object(&["total_hosts", "shard_size", "algorithm", "base", "hosts", "pick", "seed"])?;
    let algorithm = fields.get_or("algorithm", Algorithm::default(), |node| {
        let allowed = "rendezvous or lua_djb2";
        match node.string(allowed)? {
            "rendezvous" => Ok(Algorithm::Rendezvous),
            "lua_djb2" => Ok(Algorithm::LuaDjb2),
            _ => Err(node.wrong(allowed)),
        }
    })?;
    if algorithm == Algorithm::LuaDjb2 {
        // It reproduces an existing assignment, in which there are neither names nor secrets.
        for name in ["seed", "hosts"] {
            if let Some(node) = fields.get(name) {
                return Err(node
                    .error("cannot stand beside algorithm `lua_djb2`", "with algorithm `rendezvous` only"));
            }
        }
    }
    Ok(ShuffleConfig {
        instances: instances(&fields, "total_hosts", DEFAULT_TOTAL_HOSTS, 0, true)?,
        shard_size: fields.get_or("shard_size", DEFAULT_SHARD_SIZE, |node| node.integer(1..=MAX_HOSTS))?,
        algorithm,
        pick: fields.get_or("pick", Pick::default(), |node| pick(&node))?,
        seed: fields
            .get_opt("seed", |node| node.string_where("a text that is not empty", |seed| !seed.is_empty()))?,
    })
}

fn pick(node: &Node<'_>) -> Checked<Pick> {
    const ALLOWED: &str = "path, random, round_robin or an object with header";
    match node.string(ALLOWED) {
        Ok("path") => Ok(Pick::Path),
        Ok("random") => Ok(Pick::Random),
        Ok("round_robin") => Ok(Pick::RoundRobin),
        Ok(_) => Err(node.wrong(ALLOWED)),
        Err(not_a_string) => {
            let fields = node.object(&["header"])?;
            let header = fields.get("header").ok_or(not_a_string)?;
            header_name(&header).map(Pick::Header)
        }
    }
}

/// A count with the number of the first, or a list of names in place of both.
fn instances(
    fields: &Object<'_>,
    count: &'static str,
    default_count: u32,
    default_base: u32,
    distinct: bool,
) -> Checked<Instances> {
    let Some(hosts) = fields.get("hosts") else {
        return Ok(Instances::Numbered {
            count: fields.get_or(count, default_count, |node| node.integer(1..=MAX_HOSTS))?,
            base: fields.get_or("base", default_base, |node| node.integer(0..=1_000_000_000))?,
        });
    };
    for name in [count, "base"] {
        if let Some(node) = fields.get(name) {
            return Err(
                node.error("cannot stand beside `hosts`", "one of them: a list says how many there are")
            );
        }
    }
    const ALLOWED: &str = "a list of at least one host:port";
    let items = hosts.list(ALLOWED)?;
    if items.len() > MOST_NAMES {
        return Err(hosts.error(format!("got {} hosts", items.len()), format!("at most {MOST_NAMES}")));
    }
    let mut names: Vec<String> = Vec::with_capacity(items.len());
    for item in items {
        let name = item.string_where("host:port", |name| HostPort::parse(name).is_some())?;
        // In an index list a host may stand twice to get twice the share; in a shard that means nothing.
        if distinct && names.iter().any(|other| other.eq_ignore_ascii_case(&name)) {
            return Err(item.error(format!("got \"{name}\" a second time"), "each host once"));
        }
        names.push(name);
    }
    Ok(Instances::Named(names))
}

/// The target; absent, the instance itself becomes the authority where it is a `host:port`.
pub fn target(fields: &Object<'_>, placeholder: Placeholder) -> Checked<Option<TargetConfig>> {
    let Some(node) = fields.get("target") else {
        return Ok(match placeholder {
            Placeholder::Index => None,
            Placeholder::HostPort | Placeholder::Host => Some(TargetConfig::Authority(Template::only())),
        });
    };
    match node.object(TARGETS)?.exactly_one_of(TARGETS)? {
        ("authority", node) => address(&node, placeholder).map(TargetConfig::Authority),
        ("dynamic_host", node) => address(&node, placeholder).map(TargetConfig::DynamicHost),
        (_, node) => header(&node, placeholder),
    }
    .map(Some)
}

pub fn missing_target(node: &Node<'_>) -> Box<ConfigError> {
    node.error("`target` is missing", format!("a target with exactly one of {}", TARGETS.join(", ")))
}

fn header(node: &Node<'_>, placeholder: Placeholder) -> Checked<TargetConfig> {
    let fields = node.object(&["name", "value"])?;
    let (Some(name), Some(value)) = (fields.get("name"), fields.get("value")) else {
        return Err(node.wrong("an object with both name and value"));
    };
    let header = header_name(&name)?;
    if header.starts_with(':') || NOT_TARGETS.contains(&header.as_str()) {
        return Err(name.wrong("a header that is not HTTP's own"));
    }
    let is_text = |text: &str| text.chars().all(|c| !c.is_control());
    Ok(TargetConfig::Header { name: header, value: template(&value, placeholder, is_text)? })
}

/// A host with or without a port, once it is filled in.
fn address(node: &Node<'_>, placeholder: Placeholder) -> Checked<Template> {
    template(node, placeholder, |text| {
        // What follows a port would change it, be it only a digit.
        let ends_well = placeholder == Placeholder::Index || text.ends_with(example(placeholder));
        ends_well && (HostPort::parse(text).is_some() || HostPort::parse(&format!("{text}:80")).is_some())
    })
}

/// Something that may stand in a placeholder's stead.
fn example(placeholder: Placeholder) -> &'static str {
    match placeholder {
        Placeholder::Index => "1",
        Placeholder::HostPort | Placeholder::Host => "a:1",
    }
}

/// A text that must have its placeholder: without it every request would go to the same place.
fn template(node: &Node<'_>, placeholder: Placeholder, fits: impl Fn(&str) -> bool) -> Checked<Template> {
    let allowed = format!("a text with {{{}}}", placeholder.name());
    let parsed = Template::parse(node.string(&allowed)?, placeholder);
    match parsed {
        Ok(template) if !template.has_placeholder() => Err(node.wrong(allowed)),
        Ok(template) if fits(&template.render(example(placeholder))) => Ok(template),
        Ok(_) => Err(node.wrong(format!("{allowed} that is well-formed once it is filled in"))),
        Err(TemplateError::Unknown(name)) => {
            Err(node.error(format!("unknown placeholder {{{name}}}"), allowed))
        }
        Err(TemplateError::Unbalanced) => Err(node.error("a brace without its partner", allowed)),
    }
}
