//! What is legal in a configuration and unwise.

use pinroute_core::config::{
    Config, Fallback, Hosts, MembershipSource, Outcome, Outcomes, PluginConfig, RuntimeSource, Strategy,
};
use pinroute_core::shard::Algorithm;
use pinroute_core::target::TargetKind;

use crate::found::Parsed;
use crate::wiring::Wiring;

/// A piece of advice about a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// The field that has it, or would.
    pub path: &'static str,
    /// What is unwise about it, and what to do.
    pub message: String,
    /// The line of what it is about, if that is not the field.
    pub line: Option<u64>,
}

/// The advice on a configuration that a file wires like this.
pub fn advice(parsed: &Parsed, wiring: &Wiring) -> Vec<Advice> {
    let config = parsed.config();
    let mut all = Vec::new();
    let mut add = |path, message: String| all.push(Advice { path, message, line: None });
    if let Strategy::Resolve(resolve, _) = &config.strategy {
        if config.allowed_targets.is_none() {
            add(
                "allowed_targets",
                "missing beside a resolver: its answers decide where Envoy connects to".to_owned(),
            );
        }
        let forwards = !resolve.call.forward_headers.is_empty();
        let keeps = resolve.cache.as_ref().is_some_and(|cache| !cache.stale_if_error.is_zero());
        if forwards && keeps && !resolve.not_found.contains(&401) && !resolve.not_found.contains(&403) {
            let message = "has neither 401 nor 403: a refusal by the resolver counts as its failure, and an expired response is used";
            add("resolve.not_found", message.to_owned());
        }
    }
    if let Strategy::ShuffleShard(shuffle) = &config.strategy {
        if shuffle.algorithm == Algorithm::LuaDjb2 {
            let message = "lua_djb2 gives every key neighbouring hosts and isolates nobody; rendezvous does, but moves the keys";
            add("shuffle_shard.algorithm", message.to_owned());
        }
        let (size, total) = (shuffle.shard_size, shuffle.hosts.count());
        if size >= total && !matches!(shuffle.hosts, Hosts::Live { .. }) {
            let message =
                format!("{size} of {total} hosts: every key may use all hosts, so none is isolated");
            add("shuffle_shard.shard_size", message);
        }
    }
    for (path, outcome) in outcomes(config) {
        if *outcome == Outcome::Continue && config.picks_by_host() {
            let message =
                "continue behind a dynamic forward proxy: Envoy connects to whatever host the client names";
            add(path, message.to_owned());
        }
    }
    for (path, target) in other_targets(config) {
        if let Some(header) = target.header()
            && config.target.as_ref().and_then(TargetKind::header) != Some(header)
        {
            let message = format!(
                "sets the header {header}, which is not that of the main target: the route may not read it"
            );
            add(path, message);
        }
    }
    if config.allow_untouched && !config.picks_by_host() {
        add(
            "allow_untouched",
            "has no effect: no target makes Envoy go where the client's Host says".to_owned(),
        );
    }
    if !has_live_number(config) {
        if config.metadata.is_some() {
            add("metadata", "has no effect: no number can change".to_owned());
        }
        if let Parsed::Plugin(plugin) = parsed
            && let PluginConfig { membership: Some(_), per_route: None, .. } = plugin.as_ref()
        {
            add("membership", "has no effect: no number can change".to_owned());
        }
    }
    all.extend(of_wiring(config, wiring));
    let named = match parsed {
        Parsed::Plugin(plugin) => of_plugin(plugin, wiring),
        Parsed::Route(_) => Vec::new(),
    };
    all.extend(named);
    all
}

/// What does not fit what the file says around a configuration.
fn of_wiring(config: &Config, wiring: &Wiring) -> Vec<Advice> {
    let mut all = Vec::new();
    if let Some(prefix) = &config.path_prefix {
        let wider = wiring
            .routes
            .iter()
            .filter(|route| route.prefix.as_ref().is_some_and(|path| !path.starts_with(prefix.as_str())));
        all.extend(wider.map(|route| Advice {
            path: "path_prefix",
            message: format!(
                "{prefix} is narrower than the {}, whose other requests pass untouched",
                route.name
            ),
            line: Some(route.line),
        }));
    }
    if let Strategy::Resolve(resolve, _) = &config.strategy {
        all.extend(unknown_cluster("resolve.cluster", &resolve.cluster, wiring));
    }
    let read: Vec<&str> = wiring.routes.iter().filter_map(|route| route.cluster_header.as_deref()).collect();
    let overrides: Vec<&str> = wiring.override_headers.iter().map(String::as_str).collect();
    for (path, target) in config.targets() {
        let (header, who, read) = match target {
            TargetKind::Header { name, .. } => (name, "routes", &read),
            TargetKind::Endpoints(name) => (name, "clusters", &overrides),
            TargetKind::Authority(_) | TargetKind::DynamicHost(_) => continue,
        };
        if !read.is_empty() && !read.iter().any(|read| read.eq_ignore_ascii_case(header)) {
            let message = format!("sets the header {header}, but the {who} read {}", listed(read));
            all.push(Advice { path, message, line: None });
        }
    }
    all.extend(wiring.fails_open.map(|line| Advice {
        path: "failure_policy",
        message: "FAIL_OPEN: while the VM is lost, requests go where the client's own headers say; use FAIL_RELOAD".to_owned(),
        line: Some(line),
    }));
    all
}

/// The same for what only a plugin has.
fn of_plugin(plugin: &PluginConfig, wiring: &Wiring) -> Vec<Advice> {
    let mut all = Vec::new();
    if let Some(runtime) = &plugin.runtime {
        all.extend(match &runtime.source {
            RuntimeSource::Rtds(rtds) => unknown_cluster("runtime.rtds.cluster", &rtds.cluster, wiring),
            RuntimeSource::Admin(admin) => unknown_cluster("runtime.admin.cluster", &admin.cluster, wiring),
            RuntimeSource::Envoy => None,
        });
    }
    if let Some(membership) = &plugin.membership {
        all.extend(unknown_cluster("membership.cluster", &membership.cluster, wiring));
        all.extend(match &membership.source {
            MembershipSource::Count(admin) | MembershipSource::Endpoints(admin) => {
                unknown_cluster("membership.admin", &admin.cluster, wiring)
            }
            MembershipSource::Eds(server) => {
                unknown_cluster("membership.eds.cluster", &server.cluster, wiring)
            }
        });
    }
    if let Some(namespace) = &plugin.per_route
        && wiring.has_routes
        && wiring.lacks_metadata
    {
        let message =
            format!("no route or virtual host of this file has metadata in the namespace {namespace}");
        all.push(Advice { path: "per_route", message, line: None });
    }
    if let Some(line) = wiring.never_enabled {
        let message = "the filter is disabled, and no route or virtual host enables it".to_owned();
        all.push(Advice { path: "disabled", message, line: Some(line) });
    }
    all.extend(wiring.unknown_filters.iter().map(|(name, line)| Advice {
        path: "typed_per_filter_config",
        message: format!("{name} is none of this connection manager's http_filters, so it has no effect"),
        line: Some(*line),
    }));
    all
}

fn unknown_cluster(path: &'static str, cluster: &str, wiring: &Wiring) -> Option<Advice> {
    let known = wiring.clusters.as_ref().filter(|known| !known.contains(cluster))?;
    let names: Vec<&str> = known.iter().map(String::as_str).collect();
    let message = format!("{cluster} is not a cluster of this file, which has {}", listed(&names));
    Some(Advice { path, message, line: None })
}

/// The first few names.
fn listed(names: &[&str]) -> String {
    const SHOWN: usize = 5;
    let mut names = names.to_vec();
    names.sort_unstable();
    names.dedup();
    let more = if names.len() > SHOWN { ", …" } else { "" };
    names.truncate(SHOWN);
    names.join(", ") + more
}

fn outcomes(config: &Config) -> [(&'static str, &Outcome); 3] {
    let Outcomes { missing_key, not_found, error } = &config.outcomes;
    [("on_missing_key", missing_key), ("on_not_found", not_found), ("on_error", error)]
}

/// The targets of the fallback and of the outcomes.
fn other_targets(config: &Config) -> impl Iterator<Item = (&'static str, &TargetKind)> {
    let fallback = match &config.strategy {
        Strategy::Resolve(_, Some(Fallback::Index(_, target) | Fallback::Template(target))) => Some(target),
        _ => None,
    };
    let outcomes = outcomes(config).into_iter().filter_map(|(path, outcome)| match outcome {
        Outcome::Target(target, _) => Some((path, target)),
        Outcome::Reject(_) | Outcome::Continue => None,
    });
    fallback.map(|target| ("fallback", target)).into_iter().chain(outcomes)
}

/// Whether a decision depends on a number that may have a live value.
fn has_live_number(config: &Config) -> bool {
    match &config.strategy {
        Strategy::ShuffleShard(_) => true,
        Strategy::Index(index) | Strategy::Resolve(_, Some(Fallback::Index(index, _))) => {
            matches!(index.hosts, Hosts::Numbered { .. } | Hosts::Live { .. })
        }
        Strategy::Resolve(..) | Strategy::Template => false,
    }
}
