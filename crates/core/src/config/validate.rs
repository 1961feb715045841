//! From a configuration as users write it to a validated one: defaults, and the rules between fields.

use super::error::ConfigError;
use super::live::live_hosts;
use super::rules::{Result, at_most_one, exactly_one, single_part};
use super::scalar::Text;
use super::targets::{Gives, missing_target, outcome, target};
use super::validated::{
    Config, Fallback, Hosts, IndexConfig, Listed, Outcome, Outcomes, Pick, PluginConfig, ShuffleConfig,
    Strategy,
};
use super::wire;
use crate::decision::SHARD_HEADERS;
use crate::key::{KeySource, Place};
use crate::live::endpoints::canonical_address;
use crate::resolve::answer::Wanted;
use crate::shard::Algorithm;
use crate::strategy::mode::IndexMode;
use crate::target::allowed::AllowedTargets;
use crate::target::host_port::HostPort;
use crate::target::{TargetKind, TargetRules};
use crate::template::{Fit, Slot, Template};
use crate::verify::Verify;
use serde_json::Value;
use std::collections::HashSet;
use std::sync::Arc;

/// The defaults of the seeds' scripts.
const DEFAULT_TOTAL_HOSTS: u32 = 8;
const DEFAULT_SHARD_SIZE: u32 = 2;

/// The most hosts that may be listed by name.
const MAX_NAMES: usize = 10_000;

/// Validates a plugin's configuration.
pub fn plugin(mut document: wire::Document) -> Result<PluginConfig> {
    let (runtime, membership) = (document.runtime.take(), document.membership.take());
    let per_route = document.per_route.take();
    let is_empty = document.is_empty() && runtime.is_none() && membership.is_none() && per_route.is_none();
    let config = config(document, is_empty)?;
    if runtime.is_some() && matches!(config.strategy, Strategy::ShuffleShard(_)) {
        single_part(&config.key, "runtime", "sizes of shards by key")?;
    }
    let live = live_hosts(&config);
    let membership = membership.map(|wire| super::live::membership(wire, live.is_some())).transpose()?;
    if let Some((path, cluster)) = live
        && membership.as_ref().is_none_or(|membership| membership.cluster != *cluster)
    {
        let problem = format!("got {}", serde_json::Value::from(cluster.as_str()));
        return Err(ConfigError::new(path, problem, "the cluster of `membership`, which must be configured"));
    }
    Ok(PluginConfig {
        per_route: per_route.map(|namespace| namespace.0),
        runtime: runtime.map(super::live::runtime).transpose()?,
        membership,
        config,
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
    let config = config(document, is_empty)?;
    match live_hosts(&config) {
        Some((path, _)) => {
            Err(ConfigError::new(path, "cannot be set for a route", "only in the plugin's configuration"))
        }
        None => Ok(config),
    }
}

fn config(document: wire::Document, is_empty: bool) -> Result<Config> {
    let key = document.key.map_or_else(
        || Ok(KeySource::plain(Place::Query("client_id".to_owned()))),
        |key| super::keys::key("key", key),
    )?;
    let strategies = [
        ("resolve", document.resolve.is_some()),
        ("index", document.index.is_some()),
        ("shuffle_shard", document.shuffle_shard.is_some()),
        ("template", document.template.is_some()),
    ];
    at_most_one("", &strategies)?;
    let allowed = document.allowed_targets.map(allowed_targets).transpose()?;
    let is_shuffle = document.shuffle_shard.is_some();
    let (strategy, gives) = if let Some(index) = document.index {
        let index = self::index("index", &index, &key)?;
        let gives = Gives::of(&index.hosts);
        (Strategy::Index(index), gives)
    } else if let Some(shuffle) = document.shuffle_shard {
        let shuffle = shuffle_shard(shuffle, &key)?;
        let gives = Gives::of(&shuffle.hosts);
        (Strategy::ShuffleShard(shuffle), gives)
    } else if document.template.is_some() {
        (Strategy::Template, Gives::Nothing)
    } else {
        let fallback = |fallback| self::fallback(fallback, &key, allowed.as_deref());
        let fallback = document.fallback.as_ref().map(fallback).transpose()?;
        let resolve = super::call::resolve(document.resolve.unwrap_or_default(), &key)?;
        let gives = match &resolve.answer.target {
            Wanted::HostPort(_) | Wanted::Host(_, Some(_)) => Gives::HostPort,
            Wanted::HostPorts(_) => Gives::Addresses,
            Wanted::Host(_, None) => Gives::Host,
            Wanted::Name(_) => Gives::Name,
        };
        (Strategy::Resolve(Box::new(resolve), fallback), gives)
    };
    let is_resolve = matches!(strategy, Strategy::Resolve(..));
    let resolve_only =
        [("fallback", document.fallback.is_some()), ("on_not_found", document.on_not_found.is_some())];
    if let Some((field, _)) = resolve_only.iter().find(|(_, is_set)| *is_set && !is_resolve) {
        return Err(ConfigError::new(*field, "has no effect here", "only with `resolve`"));
    }
    let target = target("target", document.target.as_ref(), gives, !is_resolve, &key, allowed.as_deref())?;
    if target.is_none() && (!is_shuffle || gives == Gives::Addresses) {
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
    let is_shard_down_set = document.on_shard_down.is_some();
    let verify = document.verify.map(|verify| super::targets::verify(verify, gives, &key)).transpose()?;
    let config = Config {
        path_prefix: document.path_prefix.map(|path| path.0).or(is_empty.then(|| "/join".to_owned())),
        strategy,
        target,
        allowed_targets: allowed,
        outcomes: Outcomes {
            missing_key: outcome("on_missing_key", document.on_missing_key)?,
            not_found: outcome("on_not_found", document.on_not_found)?,
            error: outcome("on_error", document.on_error)?,
        },
        on_shard_down: document.on_shard_down.map(|down| down.0).unwrap_or_default(),
        allow_untouched: document.allow_untouched.unwrap_or_default(),
        verify,
        request_headers,
        response_headers,
        metadata: document.metadata.map(|namespace| namespace.0),
        key,
    };
    if is_shard_down_set && live_hosts(&config).is_none() {
        return Err(ConfigError::new("on_shard_down", "has no effect here", "only with `hosts_from`"));
    }
    agree(&config)?;
    Ok(config)
}

/// Refuses fields that are sound each, but not together.
fn agree(config: &Config) -> Result<()> {
    let Outcomes { missing_key, not_found, error } = &config.outcomes;
    let outcomes = [("on_missing_key", missing_key), ("on_not_found", not_found), ("on_error", error)];
    if !config.allow_untouched && config.picks_by_host() {
        // A dynamic forward proxy goes wherever the client's Host says, to Envoy's own admin interface too.
        if let Some((field, _)) = outcomes.iter().find(|(_, outcome)| **outcome == Outcome::Continue) {
            let problem = "got \"continue\" beside an `authority` or `dynamic_host` target";
            return Err(ConfigError::new(
                *field,
                problem,
                "reject, or continue with `allow_untouched: true`",
            ));
        }
    }
    if let (Strategy::ShuffleShard(_), true, Some(target)) =
        (&config.strategy, config.request_headers, &config.target)
        && let Some((field, name)) = target.header_field()
        && SHARD_HEADERS.contains(&&**name)
    {
        let problem = format!("got \"{name}\", which shows the shard");
        let allowed = "another header's name, or `request_headers: false`";
        return Err(ConfigError::new(format!("target.{field}"), problem, allowed));
    }
    let has_lists = config.targets().any(|(_, target)| matches!(target, TargetKind::Endpoints(_)));
    if has_lists && config.verify.is_some() {
        let problem = "cannot be combined with `endpoints`, by which several hosts may answer";
        return Err(ConfigError::new("verify", problem, "with another target only"));
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
    owners(config)?;
    let is_key_itself = |target: &TargetKind| {
        let mut slots = target.template().into_iter().flat_map(Template::slots);
        slots.any(|slot| matches!(slot, Slot::Part(_, Fit::Address)))
    };
    if config.allowed_targets.is_none()
        && let Some((path, _)) = config.targets().find(|(_, target)| is_key_itself(target))
    {
        let problem = format!("is missing beside a `{path}` that is the key itself");
        return Err(ConfigError::new("allowed_targets", problem, "a list of at least one host:port"));
    }
    let rules = |kind: Option<&TargetKind>| TargetRules {
        kind: kind.cloned(),
        allowed: config.allowed_targets.clone(),
        called: None,
    };
    let (hosts, rules) = match &config.strategy {
        Strategy::Index(index) => (&index.hosts, rules(config.target.as_ref())),
        Strategy::ShuffleShard(shuffle) => (&shuffle.hosts, rules(config.target.as_ref())),
        Strategy::Resolve(_, Some(Fallback::Index(index, target))) => (&index.hosts, rules(Some(target))),
        Strategy::Resolve(..) | Strategy::Template => return Ok(()),
    };
    if let (Hosts::Listed { names, .. }, Some(TargetKind::Endpoints(_))) = (hosts, &rules.kind)
        && let Some(name) = names.iter().find(|name| canonical_address(name).is_none())
    {
        let problem = format!("got `endpoints` beside the host \"{name}\"");
        return Err(ConfigError::new("target", problem, "IP addresses with ports in `hosts`"));
    }
    if matches!(hosts, Hosts::Live { .. }) {
        return Ok(());
    }
    // The last number may be too large for where it is.
    for place in [0, hosts.count().saturating_sub(1)] {
        let name = hosts.name(place);
        let (Some(TargetKind::Authority(template) | TargetKind::DynamicHost(template)), false) =
            (&rules.kind, rules.uses_key())
        else {
            break;
        };
        let address = template.render(&hosts.values(&name, None)).unwrap_or_default();
        if HostPort::parse(&address).is_none() && HostPort::parse(&format!("{address}:80")).is_none() {
            let path =
                if matches!(config.strategy, Strategy::Resolve(..)) { "fallback.target" } else { "target" };
            let problem = format!("gives \"{address}\" for the host {name}");
            return Err(ConfigError::new(path, problem, "a host, with or without a port, for each host"));
        }
    }
    let is_allowed = |place| {
        let name = hosts.name(place);
        rules.host(&name, &hosts.values(&name, None), false).is_ok()
    };
    // What depends on the key cannot be known yet.
    if rules.uses_key() || (0..hosts.count()).any(is_allowed) {
        return Ok(());
    }
    let list = config.allowed_targets.as_ref().map(|list| list.to_string()).unwrap_or_default();
    let name = hosts.name(0);
    let anything = TargetRules { allowed: None, ..rules };
    let first = anything.host(&name, &hosts.values(&name, None), false).map_or(name, |host| host.to_string());
    let problem = format!("got {list}, which allows none of the hosts, such as {first}");
    Err(ConfigError::new("allowed_targets", problem, "entries that match the finished targets"))
}

/// Refuses a header that two fields would set or send.
fn owners(config: &Config) -> Result<()> {
    let Strategy::Resolve(resolve, _) = &config.strategy else { return Ok(()) };
    let mut seen: Vec<(&str, &str)> = Vec::new();
    let fields = (resolve.call.headers.iter().map(|(name, _)| ("resolve.headers", name.as_str())))
        .chain(resolve.call.forward_headers.iter().map(|name| ("resolve.forward_headers", name.as_str())))
        .chain(resolve.answer.set_headers.iter().map(|(name, _)| ("resolve.set_headers", &**name)));
    let twice = |field: String, name: &str, other: &str| {
        let problem = format!("got \"{name}\", which stands in `{other}` too");
        Err(ConfigError::new(field, problem, "each header in one of them"))
    };
    for (field, name) in fields {
        if let Some((other, _)) = seen.iter().find(|(_, known)| *known == name) {
            return twice(field.to_owned(), name, other);
        }
        seen.push((field, name));
    }
    // The targets may share a header with each other.
    for (path, target) in config.targets() {
        let Some((field, name)) = target.header_field() else { continue };
        if let Some((other, name)) = seen.iter().find(|(_, known)| **known == **name) {
            return twice(format!("{path}.{field}"), name, other);
        }
    }
    Ok(())
}

fn fallback(
    fallback: &wire::Fallback,
    key: &KeySource,
    allowed: Option<&AllowedTargets>,
) -> Result<Fallback> {
    let wire::Fallback { index, template, target } = fallback;
    exactly_one("fallback", &[("index", index.is_some()), ("template", template.is_some())])?;
    let target = |gives| {
        let target = super::targets::target("fallback.target", target.as_ref(), gives, true, key, allowed)?;
        target.ok_or_else(|| missing_target("fallback.target"))
    };
    match index {
        Some(index) => {
            let index = self::index("fallback.index", index, key)?;
            let gives = Gives::of(&index.hosts);
            Ok(Fallback::Index(index, target(gives)?))
        }
        None => Ok(Fallback::Template(target(Gives::Nothing)?)),
    }
}

fn index(path: &str, index: &wire::Index, key: &KeySource) -> Result<IndexConfig> {
    let mode = index.mode.map(|mode| mode.0).unwrap_or_default();
    let lists = [
        ("hosts", index.hosts.is_some()),
        ("names", index.names.is_some()),
        ("hosts_from", index.hosts_from.is_some()),
    ];
    if mode != IndexMode::default() {
        if let Some((field, _)) = lists.iter().find(|(_, is_set)| *is_set) {
            let problem = "cannot be combined with mode `numeric`";
            return Err(ConfigError::new(format!("{path}.{field}"), problem, "with mode `hash` only"));
        }
        single_part(key, &format!("{path}.mode"), "numeric")?;
    }
    let numbers = [("replicas", index.replicas.is_some()), ("base", index.base.is_some())];
    // A host may occur twice to get twice the share.
    let listed = listed(
        path,
        index.hosts.as_deref(),
        index.names.as_deref(),
        index.hosts_from.as_ref(),
        &numbers,
        false,
    )?;
    let hosts = listed.unwrap_or_else(|| Hosts::Numbered {
        count: index.replicas.map_or(1, |count| count.0),
        base: index.base.map_or(1, |base| base.0),
    });
    Ok(IndexConfig { mode, hosts })
}

fn shuffle_shard(shuffle: wire::ShuffleShard, key: &KeySource) -> Result<ShuffleConfig> {
    let path = "shuffle_shard";
    let algorithm = shuffle.algorithm.map(|name| name.0).unwrap_or_default();
    let secret_or_named = [
        ("seed", shuffle.seed.is_some()),
        ("hosts", shuffle.hosts.is_some()),
        ("names", shuffle.names.is_some()),
        ("hosts_from", shuffle.hosts_from.is_some()),
    ];
    if algorithm == Algorithm::LuaDjb2 {
        // The algorithm reproduces an existing assignment, which has neither names nor secrets.
        if let Some((field, _)) = secret_or_named.iter().find(|(_, is_set)| *is_set) {
            let problem = "cannot be combined with algorithm `lua_djb2`";
            return Err(ConfigError::new(
                format!("{path}.{field}"),
                problem,
                "with algorithm `rendezvous` only",
            ));
        }
        single_part(key, &format!("{path}.algorithm"), "lua_djb2")?;
    }
    let numbers = [("total_hosts", shuffle.total_hosts.is_some()), ("base", shuffle.base.is_some())];
    let (list, names, live) =
        (shuffle.hosts.as_deref(), shuffle.names.as_deref(), shuffle.hosts_from.as_ref());
    let listed = listed(path, list, names, live, &numbers, true)?;
    let hosts = listed.unwrap_or_else(|| Hosts::Numbered {
        count: shuffle.total_hosts.map_or(DEFAULT_TOTAL_HOSTS, |count| count.0),
        base: shuffle.base.map_or(0, |base| base.0),
    });
    Ok(ShuffleConfig {
        hosts,
        shard_size: shuffle.shard_size.map_or(DEFAULT_SHARD_SIZE, |size| size.0),
        algorithm,
        pick: shuffle.pick.unwrap_or(Pick::Path),
        seed: shuffle.seed.map(|seed| seed.0),
    })
}

/// Validates a list of hosts, if there is one. `numbers` are the fields that a list replaces.
fn listed(
    path: &str,
    hosts: Option<&[Text]>,
    names: Option<&[Text]>,
    live: Option<&super::scalar::Cluster>,
    numbers: &[(&str, bool)],
    distinct: bool,
) -> Result<Option<Hosts>> {
    let fields = [("hosts", hosts.is_some()), ("names", names.is_some()), ("hosts_from", live.is_some())];
    at_most_one(path, &fields)?;
    let Some((field, _)) = fields.into_iter().find(|(_, is_set)| *is_set) else { return Ok(None) };
    if let Some((number, _)) = numbers.iter().find(|(_, is_set)| *is_set) {
        let problem = format!("cannot be combined with `{field}`");
        let allowed = "one of them: a list gives the number";
        return Err(ConfigError::new(format!("{path}.{number}"), problem, allowed));
    }
    let (list, kind) = match (hosts, names, live) {
        (Some(list), ..) => (list, Listed::HostPorts),
        (None, Some(list), _) => (list, Listed::Names),
        (None, None, live) => return Ok(live.map(|name| Hosts::Live { cluster: name.0.clone() })),
    };
    let field_path = format!("{path}.{field}");
    let entry = match kind {
        Listed::HostPorts => "host:port",
        Listed::Names => "name",
    };
    if list.is_empty() {
        return Err(ConfigError::new(field_path, "got []", format!("a list of at least one {entry}")));
    }
    if list.len() > MAX_NAMES {
        let problem = format!("got {} hosts", list.len());
        return Err(ConfigError::new(field_path, problem, format!("at most {MAX_NAMES}")));
    }
    let mut seen = HashSet::new();
    for (at, Text(name)) in list.iter().enumerate() {
        let path = || format!("{field_path}[{at}]");
        let canonical = match kind {
            Listed::HostPorts => HostPort::parse(name).map(|host| host.canonical()),
            Listed::Names => Fit::Name.write(name.as_bytes()).map(|name| (name.into_owned(), 0)),
        };
        let Some(canonical) = canonical else {
            let allowed = match kind {
                Listed::HostPorts => "host:port",
                Listed::Names => "a name of 1 to 128 letters, digits and `._|-`",
            };
            return Err(ConfigError::value(path(), &Value::from(name.as_str()), allowed));
        };
        if distinct && !seen.insert(canonical) {
            let problem = format!("got \"{name}\", a host that was listed before");
            return Err(ConfigError::new(path(), problem, "each host once, in one spelling"));
        }
    }
    Ok(Some(Hosts::Listed { names: list.iter().map(|Text(name)| name.clone()).collect(), kind }))
}

fn allowed_targets(patterns: Vec<super::scalar::Pattern>) -> Result<Arc<AllowedTargets>> {
    if patterns.is_empty() {
        return Err(ConfigError::new("allowed_targets", "got []", "a list of at least one host:port"));
    }
    Ok(Arc::new(AllowedTargets(patterns.into_iter().map(|pattern| pattern.0).collect())))
}
