//! Envoy's configuration: a listener for each filter chain that is measured, all alike but for one filter.

use anyhow::{Context, Result};
use pinroute_testkit::{adapter, paths};
use serde_json::{Value, json};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// The resolver's cluster.
const RESOLVER: &str = "resolver";

/// The filter before the router.
#[derive(Clone, Debug)]
pub enum Filter {
    /// No filter.
    None,
    /// A Lua script.
    Lua(String),
    /// A Wasm module with its configuration.
    Wasm(PathBuf, Value),
    /// The dynamic module with its configuration.
    Native(Value),
    /// A filter that Envoy finds in a file, which it watches.
    Watched {
        /// The name in the file.
        name: &'static str,
        /// The file.
        file: PathBuf,
        /// The URL of the filter's type.
        kind: String,
    },
}

impl Filter {
    /// The smallest Wasm filter, with the name of what it does.
    pub fn least(work: &str) -> Self {
        Self::Wasm(empty_wasm(), json!({ "do": work }))
    }

    /// pinroute with a configuration.
    pub fn pinroute(config: Value) -> Self {
        Self::Wasm(paths::wasm(), config)
    }

    /// The configuration, if the filter is pinroute.
    pub fn pinroute_config(&self) -> Option<&Value> {
        match self {
            Self::Wasm(module, config) if *module == paths::wasm() => Some(config),
            _ => None,
        }
    }

    /// Whether it is pinroute with the endpoints of a cluster.
    pub fn has_endpoints(&self) -> bool {
        match self {
            Self::Wasm(_, config) | Self::Native(config) => config.pointer("/membership/eds").is_some(),
            _ => false,
        }
    }

    /// The same as a dynamic module, if the filter is pinroute.
    pub fn native(self) -> Self {
        match self {
            Self::Wasm(module, config) if module == paths::wasm() => Self::Native(config),
            other => other,
        }
    }
}

/// A listener with its filter chain.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// Its filter.
    pub filter: Filter,
    /// Whether a host answers, instead of Envoy itself.
    pub has_upstream: bool,
}

impl Chain {
    /// A chain.
    pub fn new(name: impl Into<String>, filter: Filter) -> Self {
        Self { name: name.into(), filter, has_upstream: false }
    }
}

/// A script of the project, by its path below the project's root.
pub fn script(path: &str) -> Result<String> {
    let path = paths::project_root().join(path);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// The smallest Wasm filter, which `make empty-filter` builds.
pub fn empty_wasm() -> PathBuf {
    paths::project_root().join("dist/empty-filter.wasm")
}

/// An Envoy configuration.
#[derive(Debug)]
pub struct Bootstrap<'c> {
    /// The listeners.
    pub chains: &'c [Chain],
    /// The resolver.
    pub resolver: SocketAddr,
    /// The cluster that pushes live values.
    pub xds: Value,
    /// Headers added to each response: names and values.
    pub shown: &'c [(&'c str, &'c str)],
}

impl Bootstrap<'_> {
    /// The document.
    pub fn document(&self) -> Value {
        json!({
            "node": { "id": "bench", "cluster": "bench" },
            "admin": { "address": any() },
            "static_resources": {
                "listeners": self.chains.iter().map(|chain| self.listener(chain)).collect::<Vec<_>>(),
                "clusters": [cluster(RESOLVER, self.resolver), self.xds],
            },
        })
    }

    fn listener(&self, chain: &Chain) -> Value {
        let shown: Vec<Value> = self
            .shown
            .iter()
            .map(|(name, value)| json!({ "header": { "key": name, "value": value } }))
            .collect();
        let mut filters: Vec<Value> = chain.filter.document(&chain.name).into_iter().collect();
        let route = if chain.has_upstream {
            // The server answers this path to whatever host a filter has set.
            json!({ "match": { "prefix": "/join" }, "route": { "cluster": RESOLVER, "prefix_rewrite": "/health" } })
        } else {
            // Envoy responds itself, so that no backend adds to the figures.
            json!({ "match": { "prefix": "/" }, "direct_response": { "status": 200 } })
        };
        filters.push(json!({
            "name": "router",
            "typed_config": { "@type": kind("filters.http.router.v3.Router") },
        }));
        json!({
            "name": chain.name,
            "address": any(),
            "filter_chains": [{ "filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": {
                    "@type": kind("filters.network.http_connection_manager.v3.HttpConnectionManager"),
                    "stat_prefix": "bench",
                    "stream_idle_timeout": "15s",
                    "route_config": {
                        "name": "local_route",
                        "virtual_hosts": [{
                            "name": "all",
                            "domains": ["*"],
                            "response_headers_to_add": shown,
                            "routes": [route],
                        }],
                    },
                    "http_filters": filters,
                },
            }] }],
        })
    }
}

impl Filter {
    /// Its place in a filter chain.
    pub fn document(&self, name: &str) -> Option<Value> {
        match self {
            Self::None => None,
            Self::Lua(script) => Some(json!({
                "name": "lua",
                "typed_config": {
                    "@type": kind("filters.http.lua.v3.Lua"),
                    "default_source_code": { "inline_string": script },
                },
            })),
            Self::Wasm(module, config) => Some(wasm(name, module, config)),
            Self::Watched { name, file, kind } => Some(json!({
                "name": name,
                "config_discovery": {
                    "config_source": { "resource_api_version": "V3", "path_config_source": {
                        "path": file, "watched_directory": { "path": file.parent() },
                    }},
                    "type_urls": [kind],
                },
            })),
            Self::Native(config) => {
                let any = json!({ "@type": "type.googleapis.com/google.protobuf.Struct", "value": config });
                Some(
                    json!({ "name": "native", "typed_config": adapter::filter("pinroute_native", Some(any)) }),
                )
            }
        }
    }
}

/// A Wasm filter in a VM of its own, so that no chain fills the caches of another.
fn wasm(name: &str, module: &Path, config: &Value) -> Value {
    let plugin = json!({
        "name": name,
        "failure_policy": "FAIL_RELOAD",
        "vm_config": {
            "vm_id": name,
            "runtime": "envoy.wasm.runtime.v8",
            "code": { "local": { "filename": module } },
        },
        "configuration": { "@type": "type.googleapis.com/google.protobuf.Struct", "value": config },
    });
    json!({ "name": "wasm", "typed_config": { "@type": kind("filters.http.wasm.v3.Wasm"), "config": plugin } })
}

fn kind(name: &str) -> String {
    format!("type.googleapis.com/envoy.extensions.{name}")
}

fn cluster(name: &str, address: SocketAddr) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "circuit_breakers": {
            "thresholds": [{ "max_connections": 65536, "max_pending_requests": 65536, "max_requests": 65536 }],
        },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": socket(address) } }] }],
        },
    })
}

/// Any free port.
fn any() -> Value {
    socket(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

fn socket(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip(), "port_value": address.port() } })
}
