//! `check` refuses what the filter refuses, with the same words, and names the place.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../core/tests/config_errors/cases.rs"]
mod cases;

use cases::cases;
use pinroute_inspect::ReadError;
use pinroute_inspect::check::{Report, check};
use serde_json::{Value, json};

/// An Envoy configuration with these `http_filters`, as JSON, which is YAML too.
fn envoy(filters: &Value, virtual_hosts: &Value) -> String {
    let manager = json!({ "http_filters": filters, "route_config": { "virtual_hosts": virtual_hosts } });
    let listener = json!({ "filter_chains": [{ "filters": [{ "name": "hcm", "typed_config": manager }] }] });
    json!({ "static_resources": { "listeners": [listener] } }).to_string()
}

fn filter(name: &str, configuration: &Value) -> Value {
    let config = json!({ "vm_config": { "vm_id": "v" }, "configuration": configuration });
    json!({ "name": name, "typed_config": { "config": config } })
}

fn text(value: &str) -> Value {
    json!({ "@type": "type.googleapis.com/google.protobuf.StringValue", "value": value })
}

fn object(value: &Value) -> Value {
    json!({ "@type": "type.googleapis.com/google.protobuf.Struct", "value": value })
}

fn checked(text: &str) -> Report {
    check("f.yaml", text.as_bytes()).expect(text)
}

fn messages(text: &str) -> Vec<Option<String>> {
    checked(text).configurations.into_iter().map(|checked| checked.error.map(|error| error.message)).collect()
}

#[test]
fn every_mistake_has_the_filters_words_wherever_it_is() {
    for (config, expected) in cases() {
        let expected = vec![Some(expected)];
        assert_eq!(messages(config), expected, "{config}");
        let in_envoy =
            |configuration| messages(&envoy(&json!([filter("pinroute", &configuration)]), &json!([])));
        assert_eq!(in_envoy(text(config)), expected, "as text: {config}");
        match serde_json::from_str::<Value>(config) {
            // Twice the same member, or a number that no double holds, cannot be in a Struct.
            Ok(value) if value.is_object() && !expected[0].as_ref().unwrap().contains("each member once") => {
                assert_eq!(in_envoy(object(&value)), expected, "as Struct: {config}");
                let yaml = serde_saphyr::to_string(&value).unwrap();
                // What is no whole number comes out of Envoy's YAML as a text.
                let bare = |messages: &[Option<String>]| messages[0].as_ref().unwrap().replace('"', "");
                assert_eq!(bare(&messages(&yaml)), bare(&expected), "{yaml}");
            }
            _ => {}
        }
    }
}

#[test]
fn the_bad_one_of_two_filters_is_named() {
    let filters = json!([
        filter(
            "pinroute-a",
            &object(&json!({ "index": { "replicas": 2 }, "target": { "authority": "s-{index}:1" } }))
        ),
        filter("other", &object(&json!({ "nonsense": true }))),
        filter("pinroute-b", &object(&json!({ "resolve": { "timeout": 5 } }))),
        filter("router", &Value::Null),
    ]);
    let report = checked(&envoy(&filters, &json!([])));
    let found: Vec<_> = report
        .configurations
        .iter()
        .map(|checked| (checked.name.as_str(), checked.error.is_some()))
        .collect();
    assert_eq!(found, [("filter pinroute-a", false), ("filter pinroute-b", true)]);
    assert!(!report.ok);
}

#[test]
fn a_filter_is_one_of_ours_by_any_of_its_names() {
    for config in [
        json!({ "name": "my-pinroute", "vm_config": {} }),
        json!({ "root_id": "pinroute", "vm_config": {} }),
        json!({ "vm_config": { "vm_id": "pinroute_vm" } }),
        json!({ "vmConfig": { "code": { "local": { "filename": "/etc/envoy/pinroute.wasm" } } } }),
    ] {
        let text = json!({ "static_resources": { "listeners": [config] } }).to_string();
        let is_ours = text.contains("vmConfig") || checked(&text).configurations.len() == 1;
        assert!(is_ours, "{text}");
    }
    let text = json!({ "static_resources": { "x": [{ "name": "other", "vm_config": {} }] } }).to_string();
    assert_eq!(check("f", text.as_bytes()).unwrap_err(), ReadError::NoFilter);
}

#[test]
fn the_configurations_of_routes_are_checked_too() {
    let filters = json!([filter("pinroute", &object(&json!({ "per_route": "ns" })))]);
    let metadata = |value: Value| json!({ "filter_metadata": { "ns": value, "other": { "nonsense": 1 } } });
    let hosts = json!([{
        "name": "all",
        "metadata": metadata(json!({ "index": { "hosts": ["a:1"] } })),
        "routes": [
            { "name": "good", "metadata": metadata(json!({ "json": r#"{"index":{"hosts":["a:1"]}}"# })) },
            { "match": { "prefix": "/" }, "metadata": metadata(json!({ "per_route": "x" })) },
            { "name": "none", "metadata": { "filter_metadata": {} } },
        ],
    }]);
    let report = checked(&envoy(&filters, &hosts));
    let found: Vec<_> = report
        .configurations
        .iter()
        .map(|checked| (checked.name.as_str(), checked.error.as_ref().map(|error| error.message.as_str())))
        .collect();
    let refused = "per_route: cannot be set for a route; allowed: only in the plugin's configuration";
    assert_eq!(
        found,
        [
            ("filter pinroute", None),
            ("virtual host all", None),
            ("route good", None),
            ("route at line 1 of virtual host all", Some(refused)),
        ]
    );
}

/// To a dynamic module, Envoy shows no metadata of virtual hosts, and no objects in that of routes.
#[test]
fn what_a_dynamic_module_would_never_see_is_a_mistake() {
    let module = json!({ "dynamic_module_config": { "name": "pinroute_native" }, "filter_config": object(&json!({
        "per_route": "ns",
    }))});
    let filters = json!([{ "name": "pinroute", "typed_config": module }]);
    let config = json!({ "index": { "hosts": ["a:1"] } });
    let metadata = |value: Value| json!({ "filter_metadata": { "ns": value } });
    let as_text = json!({ "json": config.to_string() });
    let hosts = json!([{
        "name": "all",
        "metadata": metadata(as_text.clone()),
        "routes": [
            { "name": "text", "metadata": metadata(as_text) },
            { "name": "object", "metadata": metadata(config) },
        ],
    }]);
    let of_host = "the configuration: in the metadata of a virtual host, which Envoy shows to no dynamic module; \
        allowed: the virtual host's `typed_per_filter_config`, or the metadata of its routes";
    let of_route = "the configuration: an object in metadata, which Envoy shows to no dynamic module; \
        allowed: a single member `json` with the configuration as text";
    let expected = [None, Some(of_host), None, Some(of_route)].map(|message| message.map(str::to_owned));
    assert_eq!(messages(&envoy(&filters, &hosts)), expected);
}

#[test]
fn yaml_gives_lines() {
    let yaml = "key: { header: x-id }\nshuffle_shard:\n  total_hosts: 8\n  shard_size: many\n";
    let report = checked(yaml);
    assert!(
        report.to_string().starts_with("f.yaml:4: error: shuffle_shard.shard_size: got \"many\"; "),
        "{report}"
    );
    let block = "
static_resources:
  - name: pinroute
    vm_config: { vm_id: x }
    configuration:
      '@type': type.googleapis.com/google.protobuf.StringValue
      value: |
        {
          \"index\": { \"replicas\": 0 }
        }
";
    assert!(checked(block).to_string().starts_with("f.yaml:9: error: filter pinroute: index.replicas: "));
}

/// Each was given to Envoy 1.40.0, which refused the first ones with these words and took the others.
#[test]
fn yaml_is_read_as_envoy_reads_it() {
    for (config, expected) in [
        ("index: { replicas: 2.0 }", "index.replicas: got \"2.0\"; "),
        ("index: { replicas: 0o10 }", "index.replicas: got \"0o10\"; "),
        ("on_error: { reject: 500.0 }", "on_error.reject: got \"500.0\"; "),
        ("key: { query: !!str true }", "key.query: got true; "),
        ("<<: { index: { replicas: 2 } }", "<<: unknown field; "),
    ] {
        let report = checked(config).to_string();
        assert!(report.contains(&format!("error: {expected}")), "{config}: {report}");
    }
    for names in ["[1.5, 2.5]", "[5000000000, 5000000001]"] {
        let config =
            format!("index: {{ names: {names} }}\ntarget: {{ header: {{ name: x-a, value: '{{name}}' }} }}");
        assert!(checked(&config).ok, "{names}");
    }
}

/// Envoy 1.40.0 says the same to each.
#[test]
fn a_configuration_stands_where_envoy_reads_it() {
    const HOST: &str = "type.googleapis.com/google.protobuf";
    let any = |kind: &str, rest: Value| {
        let mut any = json!({ "@type": kind });
        any.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        messages(&envoy(&json!([filter("pinroute", &any)]), &json!([]))).remove(0)
    };
    for (kind, rest) in [
        ("Struct", json!({ "value": null })),
        ("BytesValue", json!({})),
        // `{}` and two blanks, so that it needs padding; and a text that differs in the two alphabets.
        ("BytesValue", json!({ "value": "e30gIA==" })),
        ("BytesValue", json!({ "value": "e30gIA" })),
        ("BytesValue", json!({ "value": "eyJrZXkiOnsicXVlcnkiOiJ-In19" })),
        ("BytesValue", json!({ "value": "eyJrZXkiOnsicXVlcnkiOiJ+In19" })),
    ] {
        assert_eq!(any(&format!("{HOST}.{kind}"), rest.clone()), None, "{kind} {rest}");
    }
    let without_value = any(&format!("{HOST}.Struct"), json!({ "index": { "replicas": 2 } })).unwrap();
    assert!(without_value.starts_with("configuration: got \"index\" beside the type; "), "{without_value}");
    let no_url = any("google.protobuf.Struct", json!({ "value": {} })).unwrap();
    assert!(no_url.starts_with("configuration: got the type \"google.protobuf.Struct\"; "), "{no_url}");
    for empty in [Value::Null, json!({})] {
        assert_eq!(messages(&envoy(&json!([filter("pinroute", &empty)]), &json!([]))), [None], "{empty}");
    }
}

#[test]
fn large_files_are_read() {
    let clusters: String =
        (0..30_000).map(|n| format!("  - {{ name: c{n}, a: [1, 2, 3], b: .inf }}\n")).collect();
    let text =
        format!("static_resources:\n  clusters:\n{clusters}  x: {{ name: pinroute, vm_config: {{}} }}\n");
    assert!(checked(&text).ok);
}

#[test]
fn what_is_unwise_is_said() {
    let warnings = |config: Value, hosts: Value| -> Vec<String> {
        let report = checked(&envoy(&json!([filter("pinroute", &object(&config))]), &hosts));
        assert!(report.ok, "{report}");
        report.configurations[0].warnings.iter().map(|warning| warning.path.to_owned()).collect()
    };
    let route = |prefix: &str| json!([{ "routes": [{ "match": { "prefix": prefix }, "route": { "cluster": "c" } }] }]);
    let index = json!({ "index": { "replicas": 2 }, "target": { "authority": "s-{index}:1" } });
    let with = |field: &str, value: Value| {
        let mut config = index.clone();
        config[field] = value;
        config
    };
    assert_eq!(warnings(index.clone(), route("/")), [""; 0]);
    assert_eq!(warnings(json!({ "resolve": {} }), route("/")), ["allowed_targets"]);
    let prefixed = with("path_prefix", json!("/join"));
    assert_eq!(warnings(prefixed.clone(), route("/")), ["path_prefix"]);
    assert_eq!(warnings(prefixed.clone(), route("/join/x")), [""; 0]);
    let disabled = json!([{ "routes": [{
        "match": { "prefix": "/" }, "route": { "cluster": "c" },
        "typed_per_filter_config": { "pinroute": { "disabled": true } },
    }] }]);
    assert_eq!(warnings(prefixed, disabled), [""; 0]);
    let mut untouched = with("allow_untouched", json!(true));
    untouched["on_missing_key"] = json!("continue");
    assert_eq!(warnings(untouched, route("/")), ["on_missing_key"]);
    let header = |name: &str| json!({ "target": { "header": { "name": name, "value": "x" } } });
    assert_eq!(warnings(with("on_error", header("x-shard")), route("/")), ["on_error"]);
    let mut same = with("on_error", header("x-shard"));
    same["target"] = json!({ "header": { "name": "x-shard", "value": "s_{index}" } });
    assert_eq!(warnings(same, route("/")), [""; 0]);
    let lua = json!({ "shuffle_shard": { "algorithm": "lua_djb2", "shard_size": 8 } });
    assert_eq!(warnings(lua, route("/")), ["shuffle_shard.algorithm", "shuffle_shard.shard_size"]);
    let forwarded = json!({
        "resolve": { "forward_headers": ["authorization"], "cache": {} }, "allowed_targets": ["s-*:1"],
    });
    assert_eq!(warnings(forwarded, route("/")), ["resolve.not_found"]);
    let no_effect = json!({
        "resolve": {}, "allowed_targets": ["s-*:1"], "metadata": "envoy.lb", "membership": { "cluster": "c" },
    });
    assert_eq!(warnings(no_effect, route("/")), ["metadata", "membership"]);
}

#[test]
fn a_file_that_is_neither_is_refused() {
    assert_eq!(check("f", b"\xff").unwrap_err(), ReadError::NotText);
    assert!(matches!(check("f", b"a: [").unwrap_err(), ReadError::NotYaml { .. }));
    assert!(checked("").ok && checked("# nothing\n").ok, "an empty configuration is one");
    assert!(matches!(check("f", b"a: 1\n---\nb: 2\n").unwrap_err(), ReadError::NotYaml { .. }));
}

/// The warnings of all configurations, as `NAME: PATH`.
fn warned(yaml: &str) -> Vec<String> {
    let report = checked(yaml);
    assert!(report.ok, "{report}");
    let all = report.configurations.iter().flat_map(|one| one.warnings.iter().map(move |it| (one, it)));
    all.map(|(one, it)| format!("{}: {} {}", one.name, it.path, it.line.unwrap_or_default())).collect()
}

/// A connection manager with these routes, and the filter `pinroute`.
fn wired(filter: &str, value: &str, routes: &str, rest: &str) -> String {
    format!(
        "static_resources:
  listeners:
    - filter_chains:
        - filters:
            - typed_config:
                route_config:
                  virtual_hosts:
                    - name: all
                      routes:
                        {routes}
                http_filters:
                  - name: pinroute{filter}
                    typed_config:
                      config:
                        vm_config: {{ vm_id: v }}
                        configuration:
                          '@type': type.googleapis.com/google.protobuf.Struct
                          value: {value}
                  - name: composite
                    typed_config: {{ inner: {{ name: inside }} }}
{rest}"
    )
}

const INDEX: &str = "{ index: { replicas: 2 }, target: { authority: 's-{index}:1' } }";

#[test]
fn wiring_that_has_no_effect_is_a_warning() {
    let warned = |filter: &str, value: &str, route: &str| {
        warned(&wired(
            filter,
            value,
            &format!("- {{ match: {{ prefix: / }}, route: {{ cluster: c }}, {route} }}"),
            "",
        ))
    };
    assert_eq!(warned("", INDEX, ""), [""; 0]);
    // A namespace that nothing is in.
    let per_route = INDEX.replacen('{', "{ per_route: ns,", 1);
    assert_eq!(warned("", &per_route, ""), ["filter pinroute: per_route 18"]);
    let metadata = |namespace: &str| format!("metadata: {{ filter_metadata: {{ {namespace}: {INDEX} }} }}");
    assert_eq!(warned("", &per_route, &metadata("ns")), [""; 0]);
    assert_eq!(warned("", &per_route, &metadata("other")).len(), 1);
    // A filter that is not there.
    let own = |name: &str| format!("typed_per_filter_config: {{ {name}: {{ config: {{}} }} }}");
    let unknown = ["filter pinroute: typed_per_filter_config 10"];
    assert_eq!(warned("", INDEX, &own("pinrout")), unknown);
    assert_eq!(warned("", INDEX, &own("inside")), [""; 0]);
    // A filter that nothing enables.
    let disabled = "\n                    disabled: true";
    assert_eq!(warned(disabled, INDEX, ""), ["filter pinroute: disabled 13"]);
    assert_eq!(warned(disabled, INDEX, &own("pinroute")), [""; 0]);
}

#[test]
fn without_a_table_of_routes_nothing_is_known_of_them() {
    let filter = json!({
        "name": "pinroute", "disabled": true,
        "typed_config": { "config": { "vm_config": {}, "configuration": object(&json!({
            "index": { "replicas": 2 }, "target": { "authority": "s-{index}:1" }, "per_route": "ns",
        })) } },
    });
    let manager = json!({ "http_filters": [filter], "rds": { "route_config_name": "x" } });
    let text = json!({ "static_resources": { "listeners": [manager] } }).to_string();
    assert_eq!(warned(&text), [""; 0]);
}

#[test]
fn names_are_compared_with_those_of_the_file() {
    let clusters = "  clusters: [{ name: resolver }, { name: admin }]\n";
    let config =
        "{ resolve: { cluster: C }, allowed_targets: ['s-*:1'], shuffle: 0 }".replace(", shuffle: 0", "");
    let route = "- { match: { prefix: / }, route: { cluster: c } }";
    let warned_of =
        |cluster: &str, rest: &str| warned(&wired("", &config.replace('C', cluster), route, rest));
    assert_eq!(warned_of("resolver", clusters), [""; 0]);
    assert_eq!(warned_of("resolvr", clusters), ["filter pinroute: resolve.cluster 18"]);
    assert_eq!(warned_of("resolvr", ""), [""; 0]);
    let dynamic = format!("{clusters}dynamic_resources: {{ cds_config: {{}} }}\n");
    assert_eq!(warned_of("resolvr", &dynamic), [""; 0]);

    let shards =
        "{ shuffle_shard: { total_hosts: 8 }, target: { header: { name: X-Shard, value: 's_{index}' } },
                                   runtime: { prefix: p, admin: { cluster: amdin } },
                                   membership: { cluster: hosts, admin: admin } }";
    let header =
        |name: &str| format!("- {{ match: {{ safe_regex: x }}, route: {{ cluster_header: {name} }} }}");
    let found = warned(&wired("", shards, &header("x-shard"), clusters));
    assert_eq!(
        found,
        ["filter pinroute: runtime.admin.cluster 19", "filter pinroute: membership.cluster 20"]
    );
    assert_eq!(warned(&wired("", shards, &header("x-shrad"), ""))[..1], ["filter pinroute: target 18"]);
    let endpoints = "{ shuffle_shard: { hosts_from: hosts }, target: { endpoints: { header: X-Shard } },
                                   membership: { cluster: hosts, eds: {} } }";
    let selects = |name: &str| {
        let policy = format!("{{ typed_config: {{ override_host_sources: [{{ header: {name} }}] }} }}");
        let policies = format!("policies: [{{ typed_extension_config: {policy} }}]");
        format!(
            "  clusters: [{{ name: hosts, load_balancing_policy: {{ {policies} }} }}, {{ name: xds_cluster }}]\n"
        )
    };
    let warned_with = |name| warned(&wired("", endpoints, "- {}", &selects(name)));
    assert_eq!(warned_with("x-shard"), [""; 0]);
    assert_eq!(warned_with("x-other"), ["filter pinroute: target 18"]);
    let open = wired("", INDEX, "- {}", "")
        .replace("vm_config:", "failure_policy: FAIL_OPEN\n                        vm_config:");
    assert_eq!(warned(&open), ["filter pinroute: failure_policy 15"]);
    let two = format!("{}\n                        {}", header("x-shrad"), header("x-shard"));
    assert_eq!(warned(&wired("", shards, &two, "")), [""; 0]);
}

#[test]
fn an_empty_file_is_a_warning_and_findings_have_the_order_of_lines() {
    assert!(
        checked("# nothing\n").to_string().contains("f.yaml: warning: the file is empty: all defaults\n")
    );
    assert!(!checked("key: { header: x }\n").to_string().contains("empty"));
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../envoy/per-route.yaml"));
    let report = check("f", text.unwrap().as_bytes()).unwrap().to_string();
    let lines: Vec<u32> =
        report.lines().map(|line| line.split(':').nth(1).unwrap().parse().unwrap()).collect();
    assert!(lines.len() > 3 && lines.is_sorted(), "{report}");
}

#[test]
fn a_mistake_of_syntax_has_its_line() {
    let unreadable = |text: &str, is_optional| {
        let error = check("f", text.as_bytes()).unwrap_err();
        Report::unreadable("f", &error, is_optional)
    };
    let report = unreadable("a: 1\nb: [\nc: 2\n", true);
    assert!(report.to_string().starts_with("f:2: error: neither YAML nor JSON: unclosed"), "{report}");
    assert!(!report.ok);
    assert!(unreadable("a: 1\n---\nb: 2\n", false).to_string().starts_with("f:3: error: neither"));
    let envoy = "static_resources: {}\n";
    assert!(!unreadable(envoy, false).ok && unreadable(envoy, true).to_string().starts_with("f: warning: "));
}
