//! What external processing cannot do. A configuration that asks for it is refused when it is loaded.

use pinroute_core::config::{Config, ConfigError, PluginConfig, RuntimeConfig, RuntimeSource, Strategy};
use pinroute_core::target::TargetKind;
use thiserror::Error;

use crate::options::{Options, ServerUrl};

/// Why a configuration is refused: something in it that this service cannot do, by the path of its field.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(transparent)]
pub struct LoadError(#[from] ConfigError);

/// A configuration that this service supports, with the servers that it needs.
#[derive(Clone, Debug)]
pub struct Supported {
    /// How requests are decided.
    pub config: Config,
    /// The resolver, if it is called.
    pub resolver: Option<ServerUrl>,
    /// The source of live values, and its server.
    pub runtime: Option<(RuntimeConfig, ServerUrl)>,
}

impl Supported {
    /// The configuration in the options.
    ///
    /// # Errors
    /// [`LoadError`]
    pub fn new(options: &Options) -> Result<Self, LoadError> {
        let PluginConfig { config, per_route, runtime, membership } = options.config.clone();
        let refuse = |path: &str, problem: &str, allowed: &str| {
            Err(LoadError(ConfigError::new(path, format!("external processing {problem}"), allowed)))
        };
        for (path, target) in config.targets() {
            if let TargetKind::DynamicHost(_) = target {
                let problem = "cannot set Envoy's filter state";
                let allowed = "`header`, with Envoy's set_filter_state filter behind it, or `authority`";
                return refuse(&format!("{path}.dynamic_host"), problem, allowed);
            }
        }
        if config.metadata.is_some() {
            let problem = "does not see the metadata of routes and clusters";
            return refuse("metadata", problem, "no `metadata`; numbers come by `runtime.rtds`");
        }
        if membership.is_some() {
            let problem = "does not count the endpoints of Envoy's clusters";
            return refuse("membership", problem, "no `membership`; numbers come by `runtime.rtds`");
        }
        if per_route.is_some() {
            let problem = "does not see the metadata of routes";
            let allowed = "no `per_route`; a route's ExtProcPerRoute may name another service";
            return refuse("per_route", problem, allowed);
        }
        let calls = matches!(config.strategy, Strategy::Resolve(..));
        let resolver = options.resolver.clone().filter(|_| calls);
        if calls && resolver.is_none() {
            return refuse("resolve.cluster", "does not know Envoy's clusters", "--resolver with its URL");
        }
        let runtime = match (runtime, &options.xds) {
            (None, _) => None,
            (Some(RuntimeConfig { source: RuntimeSource::Admin(_), .. }), _) => {
                let problem = "does not poll Envoy's admin interface";
                return refuse("runtime.admin", problem, "`runtime.rtds`");
            }
            (Some(RuntimeConfig { source: RuntimeSource::Envoy, .. }), _) => {
                return refuse("runtime.envoy", "cannot read Envoy's runtime", "`runtime.rtds`");
            }
            (Some(_), None) => {
                let problem = "does not know Envoy's clusters";
                return refuse("runtime.rtds.cluster", problem, "--xds with the URL of the control plane");
            }
            (Some(runtime), Some(xds)) => Some((runtime, xds.clone())),
        };
        Ok(Self { config, resolver, runtime })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(config: &str, resolver: Option<&str>, xds: Option<&str>) -> Result<Supported, String> {
        let options = Options {
            listen: "127.0.0.1:0".parse().unwrap(),
            config: pinroute_core::config::parse(config.as_bytes()).unwrap(),
            resolver: resolver.map(|url| url.parse().unwrap()),
            xds: xds.map(|url| url.parse().unwrap()),
            metrics: None,
            node: String::new(),
            drain: None,
        };
        Supported::new(&options).map_err(|error| error.to_string())
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_the_path_of_its_field() {
        let shuffle = r#""key": {"query": "id"}, "shuffle_shard": {"total_hosts": 4, "shard_size": 2}"#;
        let resolve = Some("http://a:1");
        let cases = [
            (r#"{"target": {"dynamic_host": "{hostport}"}}"#.to_owned(), "target.dynamic_host: "),
            (
                r#"{"on_missing_key": {"target": {"dynamic_host": "a:1"}}}"#.to_owned(),
                "on_missing_key.target.dynamic_host: ",
            ),
            (format!(r#"{{{shuffle}, "metadata": "envoy.lb"}}"#), "metadata: "),
            (format!(r#"{{{shuffle}, "membership": {{"cluster": "c"}}}}"#), "membership: "),
            (format!(r#"{{{shuffle}, "per_route": "pinroute"}}"#), "per_route: "),
            (format!(r#"{{{shuffle}, "runtime": {{"envoy": {{}}}}}}"#), "runtime.envoy: "),
            (format!(r#"{{{shuffle}, "runtime": {{"prefix": "p", "admin": {{}}}}}}"#), "runtime.admin: "),
            (
                format!(r#"{{{shuffle}, "runtime": {{"prefix": "p", "rtds": {{"cluster": "x"}}}}}}"#),
                "runtime.rtds.cluster: ",
            ),
        ];
        for (config, expected) in cases {
            let error = load(&config, resolve, None).unwrap_err();
            assert!(error.starts_with(expected), "{config}: {error}");
        }
        let error = load("{}", None, None).unwrap_err();
        assert_eq!(
            error,
            "resolve.cluster: external processing does not know Envoy's clusters; allowed: --resolver with its URL"
        );
    }

    #[test]
    fn what_can_be_done_is_loaded_with_its_servers() {
        let config = r#"{"runtime": {"prefix": "p", "rtds": {"cluster": "x"}}}"#;
        let loaded = load(config, Some("http://a:1"), Some("http://b:2")).unwrap();
        assert_eq!(loaded.resolver.unwrap().to_string(), "http://a:1");
        assert_eq!(loaded.runtime.unwrap().1.to_string(), "http://b:2");
        let index = r#"{"index": {"replicas": 2}, "target": {"authority": "a-{index}:1"}}"#;
        assert!(load(index, Some("http://a:1"), None).unwrap().resolver.is_none(), "it calls nobody");
    }
}
