//! Which adapter a test runs with: the Wasm filter, or the dynamic module.
//!
//! Tests and shipped configurations are written for Wasm. [`for_native`] turns an Envoy configuration into that of the
//! module; nothing else differs.

use std::env;

use serde_json::{Map, Value, json};

use crate::config::walk;

/// The Wasm filter's type.
const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
/// The dynamic module's type.
pub const MODULE: &str =
    "type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter";
/// The namespace of metadata that may hold a route's configuration in shipped configurations and tests.
const PER_ROUTE: &str = "pinroute";

/// An adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adapter {
    /// The Wasm filter.
    Wasm,
    /// The dynamic module.
    Native,
}

impl Adapter {
    /// What `$PINROUTE_ADAPTER` says: `native`, or else `wasm`.
    #[must_use]
    pub fn current() -> Self {
        match env::var("PINROUTE_ADAPTER").as_deref() {
            Ok("native") => Self::Native,
            _ => Self::Wasm,
        }
    }

    /// The name of one of the filter's metrics in Envoy's `/stats`, or the start of such names, from that under Wasm.
    #[must_use]
    pub fn stat(self, name: &str) -> String {
        match (self, name.strip_prefix("wasmcustom.pinroute_")) {
            (Self::Native, Some(name)) => format!("pinroute.{name}"),
            _ => name.to_owned(),
        }
    }

    /// The inverse of [`stat`](Self::stat).
    #[must_use]
    pub fn stat_under_wasm(self, name: &str) -> String {
        match (self, name.strip_prefix("pinroute.")) {
            (Self::Native, Some(name)) => format!("wasmcustom.pinroute_{name}"),
            _ => name.to_owned(),
        }
    }

    /// The component of Envoy's log that the filter writes to.
    #[must_use]
    pub fn log_component(self) -> &'static str {
        match self {
            Self::Wasm => "wasm",
            Self::Native => "dynamic_modules",
        }
    }

    /// The levels of Envoy's log for this adapter, from those for Wasm.
    #[must_use]
    pub fn log_levels(self, levels: &str) -> String {
        levels.replace("wasm:", &format!("{}:", self.log_component()))
    }
}

/// Turns each pinroute filter in an Envoy configuration, or in a part of one, into the dynamic module. A route's
/// configuration in its metadata becomes JSON text: Envoy shows a module no objects.
pub fn for_native(config: &mut Value) {
    walk(config, &mut |value| {
        if let Some(module) = module_name(value) {
            let configuration = value.pointer_mut("/config/configuration").map(Value::take);
            *value = filter(module, configuration);
        } else if let Some(route) = value.pointer_mut(&format!("/filter_metadata/{PER_ROUTE}"))
            && route.as_object().is_some_and(|members| !members.contains_key("json"))
        {
            *route = json!({ "json": route.to_string() });
        }
    });
}

/// The module in place of the Wasm filter `value`, if it is one of pinroute's.
fn module_name(value: &Value) -> Option<&'static str> {
    if value.get("@type")?.as_str()? != WASM {
        return None;
    }
    let file = value.pointer("/config/vm_config/code/local/filename")?.as_str()?;
    match file.rsplit('/').next()? {
        "pinroute.wasm" => Some("pinroute_native"),
        "pinroute-trap.wasm" => Some("pinroute_native_trap"),
        _ => None,
    }
}

/// A filter that is a dynamic module, with this configuration.
#[must_use]
pub fn filter(module: &str, configuration: Option<Value>) -> Value {
    let mut filter = Map::from_iter([
        ("@type".to_owned(), json!(MODULE)),
        (
            "dynamic_module_config".to_owned(),
            json!({ "name": module, "do_not_close": true, "metrics_namespace": "pinroute" }),
        ),
        ("filter_name".to_owned(), json!("pinroute")),
    ]);
    filter.extend(configuration.map(|configuration| ("filter_config".to_owned(), configuration)));
    Value::Object(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pinroute_filters_are_turned() {
        let wasm = |file: &str| {
            json!({ "@type": WASM, "config": {
                "vm_config": { "code": { "local": { "filename": file } } },
                "configuration": { "@type": "x", "value": "y" },
            }})
        };
        let mut config = json!([
            wasm("/x/pinroute.wasm"), wasm("/x/other.wasm"),
            { "filter_metadata": { "pinroute": { "index": { "replicas": 2 } }, "envoy.lb": { "a": {} } } },
        ]);
        for_native(&mut config);
        assert_eq!(config[0]["dynamic_module_config"]["name"], "pinroute_native");
        assert_eq!(config[0]["filter_config"], json!({ "@type": "x", "value": "y" }));
        assert_eq!(config[1], wasm("/x/other.wasm"));
        assert_eq!(
            config[2]["filter_metadata"]["pinroute"],
            json!({ "json": "{\"index\":{\"replicas\":2}}" })
        );
        assert_eq!(config[2]["filter_metadata"]["envoy.lb"], json!({ "a": {} }));
    }

    #[test]
    fn a_metric_has_the_same_name_in_its_namespace() {
        let (wasm, native) = ("wasmcustom.pinroute_cache.hit", "pinroute.cache.hit");
        assert_eq!(Adapter::Native.stat(wasm), native);
        assert_eq!(Adapter::Native.stat_under_wasm(native), wasm);
        assert_eq!(Adapter::Wasm.stat(wasm), wasm);
        assert_eq!(Adapter::Native.stat("cluster.a.b"), "cluster.a.b");
    }
}
