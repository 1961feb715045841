//! Live values out of files and options, in place of the sources that Envoy would ask.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use pinroute_core::config::{PluginConfig, live_hosts};
use pinroute_core::live::clusters::endpoints;
use pinroute_core::live::compile::{Compiled, Compiler};
use pinroute_core::live::endpoints::Endpoints;
use pinroute_core::live::snapshot::Snapshot;
use pinroute_core::live::value::{Number, Scalar, Skipped, Source};
use pinroute_core::live::values::LiveValues;
use pinroute_core::shard::MAX_HOSTS;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::request::metadata;

/// The prefix of runtime keys by default.
const DEFAULT_PREFIX: &str = "shuffle_sharding";

/// Live values that somebody wants to be assumed.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// Runtime values: a flat object, the answer of the control plane's `GET /v1/runtime`, or that of `/runtime` of Envoy's
    /// admin interface.
    pub runtime: Option<Vec<u8>>,
    /// Numbers out of metadata, or the number of endpoints.
    pub set: Vec<SetValue>,
    /// Endpoints: the answer of `/clusters?format=json` of Envoy's admin interface.
    pub endpoints: Option<Vec<u8>>,
}

/// A number, and the source that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetValue {
    source: Source,
    number: Number,
    value: u32,
}

/// Why live values cannot be assumed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LiveError {
    /// The runtime values cannot be read.
    #[error(
        "runtime values: {0}; allowed: an object of names and values, the answer of GET /v1/runtime, or that of Envoy's /runtime"
    )]
    Runtime(String),
    /// The endpoints cannot be read.
    #[error("endpoints: {0}; allowed: the answer of Envoy's /clusters?format=json, with that cluster")]
    Endpoints(String),
    /// The filter would not ask this source.
    #[error("{source_name}: the configuration has no `{field}`, so the filter would not read this number")]
    NotRead {
        /// The source.
        source_name: &'static str,
        /// The field of the configuration.
        field: &'static str,
    },
}

/// `SOURCE.NUMBER=VALUE`
impl FromStr for SetValue {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const ALLOWED: &str = "allowed: SOURCE.NUMBER=VALUE with the source route_metadata, cluster_metadata or membership, the number \
             total_hosts, shard_size or replicas, and a value from 1 to 65536";
        let parts = text.split_once('=').and_then(|(name, value)| Some((name.split_once('.')?, value)));
        let Some(((source, number), value)) = parts else { return Err(ALLOWED.to_owned()) };
        if source.starts_with("runtime") {
            return Err("for runtime values use --runtime".to_owned());
        }
        let sources = [Source::RouteMetadata, Source::ClusterMetadata, Source::Membership];
        let numbers = [Number::TotalHosts, Number::ShardSize, Number::Replicas];
        let source = sources.into_iter().find(|known| known.name() == source);
        let number = numbers.into_iter().find(|known| known.name() == number);
        let value = value.parse().ok().filter(|value| (1..=MAX_HOSTS).contains(value));
        match (source, number, value) {
            (Some(Source::Membership), Some(Number::ShardSize), _) => {
                Err("a number of endpoints is no shard size".to_owned())
            }
            (Some(source), Some(number), Some(value)) => Ok(Self { source, number, value }),
            _ => Err(ALLOWED.to_owned()),
        }
    }
}

/// Live values in the filter's terms.
#[derive(Clone, Debug, Default)]
pub struct Assumed {
    /// Those for all requests.
    pub values: LiveValues,
    /// Metadata of the route, serialized.
    pub route_metadata: Option<Vec<u8>>,
    /// Metadata of the cluster, serialized.
    pub cluster_metadata: Option<Vec<u8>>,
    /// What the reader should know about them.
    pub warnings: Vec<String>,
}

impl Assumed {
    /// These values, for this plugin; `namespace` is that of its configuration or of its route's.
    ///
    /// # Errors
    /// [`LiveError`]
    pub fn new(live: &Live, plugin: &PluginConfig, namespace: Option<&str>) -> Result<Self, LiveError> {
        let mut assumed = Self::default();
        if let Some(bytes) = &live.runtime {
            let prefix = plugin.runtime.as_ref().map(|runtime| runtime.prefix.as_str());
            if prefix.is_none() {
                assumed.warnings.push(format!(
                    "the configuration has no `runtime`: the filter would not read these values; assumed: prefix {DEFAULT_PREFIX}"
                ));
            }
            let prefix = prefix.unwrap_or(DEFAULT_PREFIX);
            let (Compiled { snapshot, skipped }, matches) = runtime(bytes, prefix)?;
            if !matches {
                assumed.warnings.push(format!("no value begins with {prefix}."));
            }
            let invalid =
                |Skipped { name, value }: &Skipped| format!("{name} = {value} is invalid and ignored");
            assumed.warnings.extend(skipped.iter().map(invalid));
            assumed.values.runtime = Some(Arc::new(snapshot));
        }
        if let Some(bytes) = &live.endpoints {
            let not_read = LiveError::NotRead { source_name: "endpoints", field: "membership" };
            let cluster = &plugin.membership.as_ref().ok_or(not_read)?.cluster;
            let endpoints = endpoints(bytes, cluster).and_then(|reported| Endpoints::new(&reported));
            let unusable = || LiveError::Endpoints(format!("none of the cluster {cluster}"));
            assumed.values.endpoints = Some(Arc::new(endpoints.ok_or_else(unusable)?));
        } else if live_hosts(&plugin.config).is_some() {
            assumed.warnings.push("no endpoints given, so no host is known; see --endpoints".to_owned());
        }
        let (mut route, mut cluster) = (BTreeMap::new(), BTreeMap::new());
        for SetValue { source, number, value } in &live.set {
            let not_read = |field| LiveError::NotRead { source_name: source.name(), field };
            match source {
                Source::Membership => {
                    plugin.membership.as_ref().ok_or(not_read("membership"))?;
                    assumed.values.membership = Some(*value);
                }
                Source::RouteMetadata => {
                    namespace.ok_or(not_read("metadata"))?;
                    route.insert(number.name(), *value);
                }
                _ => {
                    namespace.ok_or(not_read("metadata"))?;
                    cluster.insert(number.name(), *value);
                }
            }
        }
        let namespace = namespace.unwrap_or_default();
        assumed.route_metadata = metadata(namespace, &route);
        assumed.cluster_metadata = metadata(namespace, &cluster);
        Ok(assumed)
    }
}

/// The values of a file, and whether the name of any begins with the prefix.
fn runtime(bytes: &[u8], prefix: &str) -> Result<(Compiled, bool), LiveError> {
    let wrong = |problem: &str| LiveError::Runtime(problem.to_owned());
    let text = std::str::from_utf8(bytes).map_err(|_| wrong("not UTF-8 text"))?;
    let document: Value = serde_saphyr::from_str(text)
        .map_err(|error| wrong(error.to_string().lines().next().unwrap_or_default()))?;
    let Value::Object(document) = document else { return Err(wrong("not an object")) };
    let last = Snapshot::default();
    let mut compiler = Compiler::new(prefix, &last);
    let mut matches = false;
    let mut add = |name: &str, value: Scalar<'_>| {
        matches |= name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'));
        compiler.add(name, value);
    };
    match (document.get("entries"), document.get("values")) {
        (Some(Value::Object(entries)), _) => {
            for (name, entry) in entries {
                let value = entry.get("final_value").and_then(Value::as_str);
                add(name, Scalar::Text(value.ok_or_else(|| wrong("an entry without final_value"))?));
            }
        }
        (None, Some(Value::Object(values))) => add_all(&mut add, "", values),
        _ => add_all(&mut add, "", &document),
    }
    Ok((compiler.finish(1), matches))
}

/// Adds values whose names may also be nested, as in a runtime layer of an Envoy configuration.
fn add_all(add: &mut impl FnMut(&str, Scalar<'_>), outer: &str, values: &Map<String, Value>) {
    for (name, value) in values {
        let name = format!("{outer}{name}");
        let scalar = match value {
            Value::Object(inner) => {
                add_all(add, &format!("{name}."), inner);
                continue;
            }
            Value::Number(number) => number.as_f64().map_or(Scalar::Other, Scalar::Number),
            Value::String(text) => Scalar::Text(text),
            Value::Bool(truth) => Scalar::Bool(*truth),
            Value::Null | Value::Array(_) => Scalar::Other,
        };
        add(&name, scalar);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_of_runtime_values_are_the_same() {
        let forms = [
            r#"{"p.total_hosts": 12, "p.customer.a.shard_size": 3}"#,
            "p.total_hosts: 12\np.customer.a.shard_size: 3\n",
            "p: { total_hosts: 12, customer: { a: { shard_size: 3 } } }",
            r#"{"version": 7, "values": {"p.total_hosts": 12, "p.customer.a.shard_size": 3}}"#,
            r#"{"layers": [], "entries": {"p.total_hosts": {"final_value": "12", "layer_values": []},
                "p.customer.a.shard_size": {"final_value": "3", "layer_values": []}}}"#,
        ];
        for form in forms {
            let (Compiled { snapshot, skipped }, matches) = runtime(form.as_bytes(), "p").unwrap();
            assert!(matches && !runtime(form.as_bytes(), "other").unwrap().1, "{form}");
            assert_eq!(snapshot.number(Number::TotalHosts), Some(12), "{form}");
            assert_eq!((snapshot.shard_size_of(b"a"), skipped.len()), (Some(3), 0), "{form}");
        }
        for wrong in ["[]", "{", "3", r#"{"entries": {"p.total_hosts": 12}}"#] {
            assert!(runtime(wrong.as_bytes(), "p").is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_number_has_a_source_a_name_and_a_value() {
        for runtime in ["runtime.total_hosts=3", "runtime_key.shard_size=3", "runtime.p.customer.a=3"] {
            let error = runtime.parse::<SetValue>().unwrap_err();
            assert_eq!(error, "for runtime values use --runtime", "{runtime}");
        }
        let set = "membership.total_hosts=12".parse::<SetValue>();
        let expected = SetValue { source: Source::Membership, number: Number::TotalHosts, value: 12 };
        assert_eq!(set, Ok(expected));
        let wrong = [
            "",
            "membership",
            "membership.total_hosts",
            "membership.total_hosts=0",
            "membership.shard_size=2",
        ];
        for wrong in
            wrong.into_iter().chain(["plugin.total_hosts=2", "membership.x=2", "membership.total_hosts=x"])
        {
            assert!(wrong.parse::<SetValue>().is_err(), "{wrong}");
        }
    }
}
