//! The filter chains that are compared.

use crate::chain::{Chain, Filter, script};
use crate::load::{HOST, Keys};
use anyhow::{Context, Result, ensure};
use pinroute_testkit::xds::XDS_CLUSTER;
use serde_json::{Value, json};

/// Keys that a cache or a JIT compiler has seen before.
pub const WARM: Keys = Keys::Cycle(100);

/// A chain with its requests.
#[derive(Clone, Debug)]
pub struct Variant {
    /// The chain.
    pub chain: Chain,
    /// For people.
    pub label: &'static str,
    /// Its requests' keys.
    pub keys: Keys,
}

/// The chain without a filter, which the others are compared with.
pub const BARE: &str = "bare";

/// All variants but the bare chain. `port` is the resolver's.
pub fn all(port: u16) -> Result<Vec<Variant>> {
    let new = |name: &str, label, keys, filter| Variant { chain: Chain::new(name, filter), label, keys };
    let lua = |path: &str| script(path).map(Filter::Lua);
    let djb2 = json!({ "total_hosts": 8, "shard_size": 2, "algorithm": "lua_djb2" });
    let rendezvous = json!({ "total_hosts": 8, "shard_size": 2 });
    let cache = json!({ "ttl": "60s", "max_entries": 10_000, "negative_ttl": "1s", "stale_if_error": "60s" });
    let lua_shuffle = script("envoy/lua/shuffle_shard.lua")?;
    let mut all = vec![
        new("wasm-empty", "Wasm, empty: the limit", WARM, Filter::least("nothing")),
        new(
            "wasm-route",
            "Wasm, reads :path and replaces :authority, no logic",
            WARM,
            Filter::least("route"),
        ),
        new("wasm-shard", "Wasm, reads two headers and sets four, no logic", WARM, Filter::least("shard")),
        new("wasm-ask", "Wasm, asks the resolver, no logic, every key new", Keys::New, Filter::least("ask")),
        new("lua-empty", "Lua, empty", WARM, lua("bench/lua/empty.lua")?),
        new("lua-resolve", "Lua, resolve", WARM, lua("envoy/lua/routing.lua")?),
        new("resolve-warm", "pinroute, resolve, cached", WARM, resolve(port, Some(&cache))),
        new("lua-resolve-new", "Lua, resolve, every key new", Keys::New, lua("envoy/lua/routing.lua")?),
        new(
            "lua-resolve-traced",
            "Lua, resolve with tracing headers, every key new",
            Keys::New,
            Filter::Lua(traced(&script("envoy/lua/routing.lua")?)?),
        ),
        new("resolve-new", "pinroute, resolve, cache, every key new", Keys::New, resolve(port, Some(&cache))),
        new("resolve-uncached", "pinroute, resolve, no cache, every key new", Keys::New, resolve(port, None)),
        new("resolve-text", "pinroute, resolve, text answer, cached", WARM, resolve_text(&cache)),
        new(
            "resolve-text-new",
            "pinroute, resolve, text answer, every key new",
            Keys::New,
            resolve_text(&cache),
        ),
        new("resolve-host", "pinroute, resolve, host key, pointer, cached", WARM, resolve_host(port, &cache)),
        new(
            "resolve-host-new",
            "pinroute, resolve, host key, pointer, every key new",
            Keys::New,
            resolve_host(port, &cache),
        ),
        new("lua-index", "Lua, index (FNV-1a)", WARM, lua("bench/lua/index.lua")?),
        new("index", "pinroute, index (FNV-1a)", WARM, index(None)),
        new("index-live", "pinroute, index, live runtime", WARM, index(Some(RUNTIME))),
        new("template", "pinroute, template", WARM, template(&json!({ "query": "client_id" }))),
        new(
            "template-path",
            "pinroute, template of a path pattern",
            WARM,
            template(&json!({ "path": "/{key}" })),
        ),
        new("lua-shuffle", "Lua, shuffle", WARM, Filter::Lua(lua_shuffle.clone())),
        new("djb2", "pinroute, shuffle lua_djb2", WARM, shuffle(&djb2, true, None)),
        new("rendezvous", "pinroute, shuffle rendezvous", WARM, shuffle(&rendezvous, true, None)),
        new(
            "rendezvous-live",
            "pinroute, shuffle rendezvous, live runtime",
            WARM,
            shuffle(&rendezvous, true, Some(RUNTIME)),
        ),
        new(
            "rendezvous-new",
            "pinroute, shuffle rendezvous, every key new",
            Keys::New,
            shuffle(&rendezvous, true, None),
        ),
        new(
            "lua-shuffle-request",
            "Lua, shuffle, no response headers",
            WARM,
            Filter::Lua(without_response(&lua_shuffle)?),
        ),
        new(
            "djb2-request",
            "pinroute, shuffle lua_djb2, no response headers",
            WARM,
            shuffle(&djb2, false, None),
        ),
        new(
            "rendezvous-request",
            "pinroute, shuffle rendezvous, no response headers",
            WARM,
            shuffle(&rendezvous, false, None),
        ),
        new(
            "rendezvous-target",
            "pinroute, shuffle rendezvous, target header only",
            WARM,
            target_only(shuffle(&rendezvous, false, None)),
        ),
    ];
    all.push(new("failover", "pinroute, shuffle, 8 endpoints in order", WARM, failover(FLEET)));
    all.extend(native(&all));
    Ok(all)
}

/// The chains that are measured with the dynamic module too.
const NATIVE: [(&str, &str); 8] = [
    ("resolve-warm", "native, resolve, cached"),
    ("resolve-new", "native, resolve, cache, every key new"),
    ("resolve-uncached", "native, resolve, no cache, every key new"),
    ("index", "native, index (FNV-1a)"),
    ("template", "native, template"),
    ("djb2", "native, shuffle lua_djb2"),
    ("rendezvous", "native, shuffle rendezvous"),
    ("failover", "native, shuffle, 8 endpoints in order"),
];

fn native(all: &[Variant]) -> Vec<Variant> {
    let twin = |(name, label): (&str, &'static str)| {
        let Variant { chain, keys, .. } = all.iter().find(|one| one.chain.name == name)?.clone();
        let chain = Chain::new(format!("native-{name}"), chain.filter.native());
        Some(Variant { chain, label, keys })
    };
    NATIVE.into_iter().filter_map(twin).collect()
}

/// The chains that are measured with a host behind Envoy too.
pub fn with_upstream(port: u16) -> Result<Vec<Variant>> {
    let names = [
        "lua-resolve",
        "resolve-warm",
        "native-resolve-warm",
        "lua-index",
        "index",
        "native-index",
        "lua-shuffle",
        "djb2",
        "native-djb2",
    ];
    named(port, &names.map(str::to_owned))
}

/// Some variants, by the names of their chains.
pub fn named(port: u16, names: &[String]) -> Result<Vec<Variant>> {
    let variants = all(port)?;
    let known: Vec<&str> = variants.iter().map(|variant| variant.chain.name.as_str()).collect();
    for name in names {
        ensure!(known.contains(&name.as_str()), "no chain {name:?}; there are {}", known.join(", "));
    }
    Ok(variants.into_iter().filter(|variant| names.contains(&variant.chain.name)).collect())
}

/// The resource with live values.
pub const RUNTIME: &str = "runtime";

/// Its values.
pub fn runtime() -> Value {
    let customers: serde_json::Map<String, Value> =
        (0..10).map(|number| (crate::load::key(number * 10), json!({ "shard_size": 2 }))).collect();
    json!({ "shuffle_sharding": {
        "total_hosts": 8, "default_shard_size": 2, "replicas": 8, "customer": customers,
    } })
}

/// The `resolve` strategy as the shipped configuration has it, with or without a cache.
pub fn resolve(port: u16, cache: Option<&Value>) -> Filter {
    let mut resolve = json!({ "cluster": "resolver", "path": "/where", "timeout": "1s" });
    if let (Some(cache), Some(resolve)) = (cache, resolve.as_object_mut()) {
        resolve.insert("cache".to_owned(), cache.clone());
    }
    Filter::pinroute(json!({
        "key": { "query": "client_id" },
        "path_prefix": "/join",
        "resolve": resolve,
        "target": { "authority": "{hostport}" },
        "allowed_targets": [format!("poc-routing-server-*:{port}")],
    }))
}

/// A resolving filter with more time for the resolver: a busy machine is no fault of the filter.
pub fn patient(filter: &Filter) -> Filter {
    let mut config = filter.pinroute_config().cloned().unwrap_or_default();
    if let Some(timeout) = config.pointer_mut("/resolve/timeout") {
        *timeout = json!("10s");
    }
    Filter::pinroute(config)
}

/// The `resolve` strategy with a response that is the target's name, and nothing else: `ok`.
fn resolve_text(cache: &Value) -> Filter {
    Filter::pinroute(json!({
        "key": { "query": "client_id" },
        "resolve": { "cluster": "resolver", "path": "/health", "answer": { "name": "text" }, "cache": cache },
        "target": { "header": { "name": "x-target-cluster", "value": "backend_{name}" } },
        "allowed_targets": ["backend_*"],
    }))
}

/// The `resolve` strategy with a key of the host, and a response in which the target is one member of several. The
/// resolver answers with its own address, and with all that it received.
fn resolve_host(port: u16, cache: &Value) -> Filter {
    Filter::pinroute(json!({
        "key": { "host": format!("{{key}}.{HOST}") },
        "resolve": {
            "cluster": "resolver", "path": "/echo/{key}", "answer": { "hostport": "/instance" }, "cache": cache,
        },
        "target": { "authority": "{hostport}" },
        "allowed_targets": [format!("poc-routing-server-*:{port}")],
    }))
}

/// The `index` strategy, with live values from a resource.
pub fn index(resource: Option<&str>) -> Filter {
    with_runtime(
        json!({
            "key": { "query": "client_id" },
            "path_prefix": "/join",
            "index": { "mode": "hash", "replicas": 8, "base": 1 },
            "target": { "authority": "poc-routing-server-{index}:8081" },
        }),
        resource,
    )
}

/// The `template` strategy with this key.
fn template(key: &Value) -> Filter {
    Filter::pinroute(json!({
        "key": key, "template": {}, "target": { "authority": "poc-routing-server-{key}:8081" },
    }))
}

/// The `shuffle_shard` strategy, with live values from a resource.
pub fn shuffle(strategy: &Value, response_headers: bool, resource: Option<&str>) -> Filter {
    with_runtime(
        json!({
            "key": { "header": "x-customer-id" },
            "shuffle_shard": strategy,
            "target": { "header": { "name": "x-target-cluster", "value": "backend_{index}" } },
            "response_headers": response_headers,
        }),
        resource,
    )
}

/// A cluster whose endpoints are pushed.
pub const FLEET: &str = "fleet";

/// The `shuffle_shard` strategy over the endpoints of a cluster, with the target that lists them.
pub fn failover(cluster: &str) -> Filter {
    Filter::pinroute(json!({
        "key": { "header": "x-customer-id" },
        "shuffle_shard": { "hosts_from": cluster, "shard_size": 2 },
        "target": { "endpoints": { "header": "x-shard-endpoints" } },
        "membership": { "cluster": cluster, "eds": { "cluster": XDS_CLUSTER } },
        "response_headers": true,
    }))
}

/// The same without the headers that show the shard.
fn target_only(filter: Filter) -> Filter {
    let mut config = filter.pinroute_config().cloned().unwrap_or_default();
    if let Some(config) = config.as_object_mut() {
        config.insert("request_headers".to_owned(), json!(false));
    }
    Filter::pinroute(config)
}

fn with_runtime(mut config: Value, resource: Option<&str>) -> Filter {
    if let (Some(resource), Some(config)) = (resource, config.as_object_mut()) {
        let rtds = json!({ "cluster": XDS_CLUSTER, "resource": resource });
        config.insert("runtime".to_owned(), json!({ "prefix": "shuffle_sharding", "rtds": rtds }));
    }
    Filter::pinroute(config)
}

/// The Lua shuffle for so many hosts.
pub fn lua_shuffle_of(hosts: u64) -> Result<Filter> {
    let text = script("envoy/lua/shuffle_shard.lua")?;
    let changed = text.replace("TOTAL_HOSTS = 8", &format!("TOTAL_HOSTS = {hosts}"));
    ensure!(hosts == 8 || changed != text, "the script has no number of hosts");
    Ok(Filter::Lua(changed))
}

/// The script that calls the resolver, with the tracing headers that pinroute passes on.
fn traced(script: &str) -> Result<String> {
    let authority = "    [\":authority\"] = \"resolver\",\n";
    ensure!(script.contains(authority), "no headers of a call");
    let carried = ["x-request-id", "traceparent", "tracestate", "b3"]
        .map(|name| format!("    [\"{name}\"] = handle:headers():get(\"{name}\"),\n"));
    Ok(script.replace(authority, &format!("{authority}{}", carried.concat())))
}

/// The script without its response half, and without the metadata for that half.
fn without_response(script: &str) -> Result<String> {
    let (request, _) = script.split_once("function envoy_on_response").context("no response half")?;
    let kept: Vec<&str> = request.lines().filter(|line| !line.contains("dynamicMetadata")).collect();
    Ok(kept.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use pinroute_core::config;

    #[test]
    fn the_filters_configurations_are_right() {
        for variant in all(8081).unwrap() {
            if let Some(config) = variant.chain.filter.pinroute_config() {
                config::parse(config.to_string().as_bytes()).expect(variant.label);
            }
        }
    }

    #[test]
    fn a_chain_that_does_not_exist_is_named_beside_those_that_do() {
        let error = named(8081, &["index".into(), "indx".into()]).unwrap_err().to_string();
        assert!(error.starts_with("no chain \"indx\"; there are wasm-empty, "), "{error}");
        assert_eq!(named(8081, &["index".into()]).unwrap().len(), 1);
    }

    #[test]
    fn the_response_half_can_be_left_out() {
        let script = script("envoy/lua/shuffle_shard.lua").unwrap();
        let half = without_response(&script).unwrap();
        assert!(half.contains("function envoy_on_request") && half.contains("x-target-cluster"));
        assert!(!half.contains("response") && half.ends_with("end\n\n") || half.ends_with("end\n"), "{half}");
    }
}
