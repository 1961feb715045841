//! From a configuration as users write it to a validated one: defaults, and the rules between fields.

use super::error::ConfigError;
use super::scalar::{Authority, Text};
use super::validated::{
    AdminConfig, CacheConfig, Config, Fallback, Hosts, IndexConfig, MembershipConfig, OnError, Pick,
    PluginConfig, ResolveConfig, RtdsConfig, RuntimeConfig, RuntimeSource, ShuffleConfig, Strategy,
};
use super::wire;
use crate::authority::of_cluster;
use crate::decision::SHARD_HEADERS;
use crate::key::KeySource;
use crate::shard::Algorithm;
use crate::target::allowed::AllowedTargets;
use crate::target::host_port::HostPort;
use crate::target::template::{Placeholder, Template, TemplateError};
use crate::target::{TargetKind, TargetRules};
use crate::verify::Verify;
use serde_json::Value;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

type Result<T> = std::result::Result<T, ConfigError>;

/// The defaults of the seeds' scripts.
const DEFAULT_TOTAL_HOSTS: u32 = 8;
const DEFAULT_SHARD_SIZE: u32 = 2;

/// The most hosts that may be listed by name.
const MAX_NAMES: usize = 10_000;

const TARGETS: &str = "authority, dynamic_host, header";

/// Validates a plugin's configuration.
pub fn plugin(mut document: wire::Document) -> Result<PluginConfig> {
    let (runtime, membership) = (document.runtime.take(), document.membership.take());
    let per_route = document.per_route.take();
    let is_empty = document.is_empty() && runtime.is_none() && membership.is_none() && per_route.is_none();
    Ok(PluginConfig {
        config: config(document, is_empty)?,
        per_route: per_route.map(|namespace| namespace.0),
        runtime: runtime.map(self::runtime).transpose()?,
        membership: membership.map(self::membership).transpose()?,
    })
}

/// Validates a route's configuration.
pub fn route(document: wire::Document) -> Result<Config> {
    let plugin_only = [
        ("runtime", document.runtime.is_some()),
        ("membership", document.membership.is_some()),
        ("per_route", document.per_route.is_some()),
    ];
    if let Some((field, _)) = plugin_only.iter().find(|(_, is_set)| *is_set) {
        return Err(ConfigError::new(
            *field,
            "cannot be set for a route",
            "only in the plugin's configuration",
        ));
    }
    let is_empty = document.is_empty();
    config(document, is_empty)
}

fn config(document: wire::Document, is_empty: bool) -> Result<Config> {
    let key = document.key.map_or_else(|| Ok(KeySource::Query("client_id".to_owned())), key)?;
    let strategies = [
        ("resolve", document.resolve.is_some()),
        ("index", document.index.is_some()),
        ("shuffle_shard", document.shuffle_shard.is_some()),
    ];
    at_most_one("", &strategies)?;
    let is_shuffle = document.shuffle_shard.is_some();
    let (strategy, placeholder) = if let Some(index) = document.index {
        let index = self::index("index", &index)?;
        let placeholder = index.hosts.placeholder();
        (Strategy::Index(index), placeholder)
    } else if let Some(shuffle) = document.shuffle_shard {
        let shuffle = shuffle_shard(shuffle)?;
        let placeholder = shuffle.hosts.placeholder();
        (Strategy::ShuffleShard(shuffle), placeholder)
    } else {
        let fallback = document.fallback.as_ref().map(fallback).transpose()?;
        (Strategy::Resolve(resolve(document.resolve.unwrap_or_default()), fallback), Placeholder::HostPort)
    };
    if document.fallback.is_some() && !matches!(strategy, Strategy::Resolve(..)) {
        return Err(ConfigError::new("fallback", "has no effect here", "only with `resolve`"));
    }
    let target = target("target", document.target.as_ref(), placeholder)?;
    if target.is_none() && !is_shuffle {
        return Err(missing_target("target"));
    }
    let request_headers = document.request_headers.unwrap_or(true);
    let response_headers = document.response_headers.unwrap_or_default();
    if !is_shuffle && (!request_headers || response_headers) {
        let (field, allowed) =
            if response_headers { ("response_headers", "true") } else { ("request_headers", "false") };
        let allowed = format!("{allowed} only with `shuffle_shard`");
        return Err(ConfigError::new(field, "has no effect here", allowed));
    }
    if !request_headers && target.is_none() {
        let problem = "leaves nothing for the filter to do without a `target`";
        return Err(ConfigError::new("request_headers", problem, "false only with a target"));
    }
    let config = Config {
        key,
        path_prefix: document.path_prefix.map(|path| path.0).or(is_empty.then(|| "/join".to_owned())),
        strategy,
        target,
        allowed_targets: document.allowed_targets.map(allowed_targets).transpose()?,
        on_error: document.on_error.map_or(OnError::default(), |name| name.0),
        allow_untouched: document.allow_untouched.unwrap_or_default(),
        verify: document.verify.map(|verify| self::verify(verify, placeholder)).transpose()?,
        request_headers,
        response_headers,
        metadata: document.metadata.map(|namespace| namespace.0),
    };
    agree(&config)?;
    Ok(config)
}

/// Refuses fields that are sound each, but not together.
fn agree(config: &Config) -> Result<()> {
    if config.on_error == OnError::Continue && !config.allow_untouched && config.picks_by_host() {
        // A dynamic forward proxy goes wherever the client's Host says, to Envoy's own admin interface too.
        let problem = "got \"continue\" beside an `authority` or `dynamic_host` target";
        return Err(ConfigError::new(
            "on_error",
            problem,
            "reject, or continue with `allow_untouched: true`",
        ));
    }
    if let (Strategy::ShuffleShard(_), true, Some(TargetKind::Header { name, .. })) =
        (&config.strategy, config.request_headers, &config.target)
        && SHARD_HEADERS.contains(&&**name)
    {
        let problem = format!("got \"{name}\", which shows the shard");
        let allowed = "another header's name, or `request_headers: false`";
        return Err(ConfigError::new("target.header.name", problem, allowed));
    }
    if let Some(Verify { value, .. }) = &config.verify {
        if value.is_some() && matches!(&config.strategy, Strategy::Resolve(_, Some(_))) {
            let problem = "cannot be combined with `fallback`, whose hosts have other names";
            return Err(ConfigError::new("verify.value", problem, "no value: the host of the target counts"));
        }
        if value.is_none() && config.target.is_none() {
            return Err(ConfigError::new("verify", "`value` is missing", "a value, or a target with a host"));
        }
    }
    let rules = |kind: Option<&TargetKind>| TargetRules {
        kind: kind.cloned(),
        allowed: config.allowed_targets.clone(),
    };
    let hosts = match &config.strategy {
        Strategy::Index(index) => Some((&index.hosts, rules(config.target.as_ref()))),
        Strategy::ShuffleShard(shuffle) => Some((&shuffle.hosts, rules(config.target.as_ref()))),
        Strategy::Resolve(_, fallback) => {
            fallback.as_ref().map(|fallback| (&fallback.index.hosts, rules(Some(&fallback.target))))
        }
    };
    let has_allowed = |(hosts, rules): (&Hosts, TargetRules)| match hosts {
        Hosts::Numbered { count, base } => {
            (*base..).take(*count as usize).any(|number| rules.host(&number.to_string(), None).is_ok())
        }
        Hosts::Named(names) => {
            names.iter().any(|name| rules.host(name, HostPort::parse(name).as_ref()).is_ok())
        }
    };
    if hosts.is_none_or(has_allowed) {
        return Ok(());
    }
    let problem = "got entries that allow none of the configured hosts";
    Err(ConfigError::new("allowed_targets", problem, "entries that match the finished targets"))
}

fn verify(verify: wire::Verify, placeholder: Placeholder) -> Result<Verify> {
    let Some(header) = verify.response_header else {
        let problem = "`response_header` is missing";
        return Err(ConfigError::new("verify", problem, "the header by which a host says who it is"));
    };
    let value = verify.value.map(|Text(text)| {
        template("verify.value", &text, placeholder, |text| !text.chars().any(char::is_control))
    });
    Ok(Verify { response_header: header.0.to_ascii_lowercase(), value: value.transpose()? })
}

/// Refuses two fields of which only one may be set.
fn at_most_one(path: &str, fields: &[(&str, bool)]) -> Result<()> {
    let mut set = fields.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| *name);
    match (set.next(), set.next()) {
        (Some(one), Some(other)) => {
            let path = if path.is_empty() { other.to_owned() } else { format!("{path}.{other}") };
            let problem = format!("got both `{one}` and `{other}`");
            Err(ConfigError::new(path, problem, format!("exactly one of {}", names(fields))))
        }
        _ => Ok(()),
    }
}

/// Refuses anything but exactly one of some fields.
fn exactly_one(path: &str, fields: &[(&str, bool)]) -> Result<()> {
    at_most_one(path, fields)?;
    if fields.iter().any(|(_, is_set)| *is_set) {
        return Ok(());
    }
    Err(ConfigError::new(path, "got none of its fields", format!("exactly one of {}", names(fields))))
}

fn names(fields: &[(&str, bool)]) -> String {
    fields.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

fn key(key: wire::Key) -> Result<KeySource> {
    let fields = [
        ("query", key.query.is_some()),
        ("header", key.header.is_some()),
        ("cookie", key.cookie.is_some()),
        ("path_segment", key.path_segment.is_some()),
    ];
    exactly_one("key", &fields)?;
    let wire::Key { query, header, cookie, path_segment } = key;
    let segment = path_segment.map_or(0, |segment| segment.0 as usize);
    Ok(query
        .map(|name| KeySource::Query(name.0))
        .or_else(|| header.map(|name| KeySource::Header(name.into_name())))
        .or_else(|| cookie.map(|name| KeySource::Cookie(name.0)))
        .unwrap_or(KeySource::PathSegment(segment)))
}

fn resolve(resolve: wire::Resolve) -> ResolveConfig {
    let cluster = resolve.cluster.map_or_else(|| "resolver".to_owned(), |cluster| cluster.0);
    ResolveConfig {
        authority: authority(resolve.authority, &cluster),
        cluster,
        path: resolve.path.map_or_else(|| "/where".to_owned(), |path| path.0),
        query: resolve.query.map(|name| name.0),
        timeout: resolve.timeout.map_or(Duration::from_secs(1), |timeout| timeout.0),
        cache: resolve.cache.map(cache),
        max_in_flight: resolve.max_in_flight.map_or(1024, |count| count.0 as usize),
    }
}

fn authority(configured: Option<Authority>, cluster: &str) -> String {
    configured.map_or_else(|| of_cluster(cluster).to_owned(), |authority| authority.0)
}

fn cache(cache: wire::Cache) -> CacheConfig {
    let default = CacheConfig::default();
    CacheConfig {
        ttl: cache.ttl.map_or(default.ttl, |ttl| ttl.0),
        max_entries: cache.max_entries.map_or(default.max_entries, |count| count.0 as usize),
        negative_ttl: cache.negative_ttl.map_or(default.negative_ttl, |ttl| ttl.0),
        stale_if_error: cache.stale_if_error.map_or(default.stale_if_error, |time| time.0),
    }
}

fn fallback(fallback: &wire::Fallback) -> Result<Fallback> {
    let wire::Fallback { index, target } = fallback;
    let Some(index) = index else {
        return Err(ConfigError::new("fallback", "`index` is missing", "an object with index and target"));
    };
    let index = self::index("fallback.index", index)?;
    let placeholder = index.hosts.placeholder();
    let target = self::target("fallback.target", target.as_ref(), placeholder)?;
    Ok(Fallback { index, target: target.ok_or_else(|| missing_target("fallback.target"))? })
}

fn index(path: &str, index: &wire::Index) -> Result<IndexConfig> {
    let mode = index.mode.map(|mode| mode.0).unwrap_or_default();
    if index.hosts.is_some() && mode != Default::default() {
        let path = format!("{path}.hosts");
        return Err(ConfigError::new(
            path,
            "cannot be combined with mode `numeric`",
            "with mode `hash` only",
        ));
    }
    let numbers = [("replicas", index.replicas.is_some()), ("base", index.base.is_some())];
    let hosts = match &index.hosts {
        // A host may occur twice to get twice the share.
        Some(names) => Hosts::Named(host_names(path, names, &numbers, false)?),
        None => Hosts::Numbered {
            count: index.replicas.map_or(1, |count| count.0),
            base: index.base.map_or(1, |base| base.0),
        },
    };
    Ok(IndexConfig { mode, hosts })
}

fn shuffle_shard(shuffle: wire::ShuffleShard) -> Result<ShuffleConfig> {
    let path = "shuffle_shard";
    let algorithm = shuffle.algorithm.map(|name| name.0).unwrap_or_default();
    let secret_or_named = [("seed", shuffle.seed.is_some()), ("hosts", shuffle.hosts.is_some())];
    if let (Algorithm::LuaDjb2, Some((field, _))) =
        (algorithm, secret_or_named.iter().find(|(_, is_set)| *is_set))
    {
        // The algorithm reproduces an existing assignment, which has neither names nor secrets.
        let problem = "cannot be combined with algorithm `lua_djb2`";
        return Err(ConfigError::new(format!("{path}.{field}"), problem, "with algorithm `rendezvous` only"));
    }
    let numbers = [("total_hosts", shuffle.total_hosts.is_some()), ("base", shuffle.base.is_some())];
    let hosts = match &shuffle.hosts {
        Some(names) => Hosts::Named(host_names(path, names, &numbers, true)?),
        None => Hosts::Numbered {
            count: shuffle.total_hosts.map_or(DEFAULT_TOTAL_HOSTS, |count| count.0),
            base: shuffle.base.map_or(0, |base| base.0),
        },
    };
    Ok(ShuffleConfig {
        hosts,
        shard_size: shuffle.shard_size.map_or(DEFAULT_SHARD_SIZE, |size| size.0),
        algorithm,
        pick: shuffle.pick.unwrap_or(Pick::Path),
        seed: shuffle.seed.map(|seed| seed.0),
    })
}

/// Validates a list of hosts. `numbers` are the fields that a list replaces.
fn host_names(path: &str, names: &[Text], numbers: &[(&str, bool)], distinct: bool) -> Result<Vec<String>> {
    if let Some((field, _)) = numbers.iter().find(|(_, is_set)| *is_set) {
        let problem = "cannot be combined with `hosts`";
        return Err(ConfigError::new(
            format!("{path}.{field}"),
            problem,
            "one of them: a list gives the number",
        ));
    }
    if names.is_empty() {
        return Err(ConfigError::new(format!("{path}.hosts"), "got []", "a list of at least one host:port"));
    }
    if names.len() > MAX_NAMES {
        let problem = format!("got {} hosts", names.len());
        return Err(ConfigError::new(format!("{path}.hosts"), problem, format!("at most {MAX_NAMES}")));
    }
    let mut seen = HashSet::new();
    for (at, Text(name)) in names.iter().enumerate() {
        let path = || format!("{path}.hosts[{at}]");
        let Some(host) = HostPort::parse(name) else {
            return Err(ConfigError::value(path(), &Value::from(name.as_str()), "host:port"));
        };
        if distinct && !seen.insert(host.canonical()) {
            let problem = format!("got \"{name}\", a host that was listed before");
            return Err(ConfigError::new(path(), problem, "each host once, in one spelling"));
        }
    }
    Ok(names.iter().map(|Text(name)| name.clone()).collect())
}

fn allowed_targets(patterns: Vec<super::scalar::Pattern>) -> Result<Arc<AllowedTargets>> {
    if patterns.is_empty() {
        return Err(ConfigError::new("allowed_targets", "got []", "a list of at least one host:port"));
    }
    Ok(Arc::new(AllowedTargets(patterns.into_iter().map(|pattern| pattern.0).collect())))
}

/// The target. Without one, a host that is a `host:port` itself becomes the authority.
fn target(path: &str, target: Option<&wire::Target>, placeholder: Placeholder) -> Result<Option<TargetKind>> {
    let Some(wire::Target { authority, dynamic_host, header }) = target else {
        return Ok(match placeholder {
            Placeholder::Index => None,
            Placeholder::HostPort | Placeholder::Host => {
                Some(TargetKind::Authority(Template::only_placeholder()))
            }
        });
    };
    let fields = [
        ("authority", authority.is_some()),
        ("dynamic_host", dynamic_host.is_some()),
        ("header", header.is_some()),
    ];
    exactly_one(path, &fields)?;
    if let Some(Text(text)) = authority {
        return Ok(Some(TargetKind::Authority(address(&format!("{path}.authority"), text, placeholder)?)));
    }
    if let Some(Text(text)) = dynamic_host {
        return Ok(Some(TargetKind::DynamicHost(address(
            &format!("{path}.dynamic_host"),
            text,
            placeholder,
        )?)));
    }
    let both = header.as_ref().and_then(|header| Some((header.name.as_ref()?, header.value.as_ref()?)));
    let Some((name, Text(value))) = both else {
        let problem = "`name` or `value` is missing";
        return Err(ConfigError::new(
            format!("{path}.header"),
            problem,
            "an object with both name and value",
        ));
    };
    let is_text = |text: &str| !text.chars().any(char::is_control);
    let value = template(&format!("{path}.header.value"), value, placeholder, is_text)?;
    Ok(Some(TargetKind::Header { name: name.0.to_ascii_lowercase().into(), value }))
}

fn missing_target(path: &str) -> ConfigError {
    ConfigError::new(path, "the field is missing", format!("a target with exactly one of {TARGETS}"))
}

/// A host with or without a port, once its placeholder is replaced.
fn address(path: &str, text: &str, placeholder: Placeholder) -> Result<Template> {
    template(path, text, placeholder, |text| {
        // A port is the end of an address: even a digit after it would change it.
        let ends_well = placeholder == Placeholder::Index || text.ends_with(example(placeholder));
        ends_well && (HostPort::parse(text).is_some() || HostPort::parse(&format!("{text}:80")).is_some())
    })
}

/// A value that a placeholder may be replaced with.
fn example(placeholder: Placeholder) -> &'static str {
    match placeholder {
        Placeholder::Index => "1",
        Placeholder::HostPort | Placeholder::Host => "a:1",
    }
}

/// A text that must have its placeholder: without it, every request would go to the same place.
fn template(
    path: &str,
    text: &str,
    placeholder: Placeholder,
    fits: impl Fn(&str) -> bool,
) -> Result<Template> {
    let allowed = format!("a text with {{{}}}", placeholder.name());
    let value = Value::from(text);
    match Template::parse(text, placeholder) {
        Ok(template) if !template.has_placeholder() => Err(ConfigError::value(path, &value, allowed)),
        Ok(template) if fits(&template.render(example(placeholder))) => Ok(template),
        Ok(_) => {
            let allowed = format!("{allowed} that is well-formed once the placeholder is replaced");
            Err(ConfigError::value(path, &value, allowed))
        }
        Err(TemplateError::Unknown(name)) => Err(ConfigError::new(
            path,
            format!("got {value} with the unknown placeholder {{{name}}}"),
            allowed,
        )),
        Err(TemplateError::Unbalanced) => {
            Err(ConfigError::new(path, format!("got {value} with a brace without its partner"), allowed))
        }
    }
}

fn runtime(runtime: wire::Runtime) -> Result<RuntimeConfig> {
    let wire::Runtime { prefix, rtds, admin } = runtime;
    exactly_one("runtime", &[("rtds", rtds.is_some()), ("admin", admin.is_some())])?;
    let source = match (rtds, admin.unwrap_or_default()) {
        (Some(wire::Rtds { cluster, authority, resource }), _) => {
            let cluster = cluster.map_or_else(|| "xds_cluster".to_owned(), |cluster| cluster.0);
            RuntimeSource::Rtds(RtdsConfig {
                authority: self::authority(authority, &cluster),
                cluster,
                resource: resource.map_or_else(|| "runtime".to_owned(), |resource| resource.0),
            })
        }
        (None, wire::Admin { cluster, refresh }) => {
            RuntimeSource::Admin(self::admin(cluster, refresh.map(|refresh| refresh.0)))
        }
    };
    Ok(RuntimeConfig {
        prefix: prefix.map_or_else(|| "shuffle_sharding".to_owned(), |prefix| prefix.0),
        source,
    })
}

fn membership(membership: wire::Membership) -> Result<MembershipConfig> {
    let wire::Membership { cluster, admin, refresh } = membership;
    let Some(cluster) = cluster else {
        return Err(ConfigError::new(
            "membership",
            "`cluster` is missing",
            "the cluster whose endpoints are counted",
        ));
    };
    Ok(MembershipConfig { cluster: cluster.0, admin: self::admin(admin, refresh.map(|refresh| refresh.0)) })
}

fn admin(cluster: Option<super::scalar::Cluster>, refresh: Option<Duration>) -> AdminConfig {
    AdminConfig {
        cluster: cluster.map_or_else(|| "admin".to_owned(), |cluster| cluster.0),
        refresh: refresh.unwrap_or(Duration::from_secs(1)),
    }
}
