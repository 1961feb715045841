//! Every invalid configuration is refused with one message that names the field, the value and what is allowed.
//! The whole message is asserted: users find the mistake by it.

use pinroute_core::config;

mod cases;

use cases::cases;

#[test]
fn every_mistake_is_named_with_its_path_and_value() {
    for (text, expected) in cases() {
        let error = config::parse(text.as_bytes()).expect_err(text);
        assert_eq!(error.to_string(), expected, "{text}");
    }
    assert!(cases().count() >= 30);
}

#[test]
fn a_route_has_the_plugins_fields_but_those_of_the_plugin_as_a_whole() {
    let route = |text: &str| config::parse_route(&serde_json::from_str(text).expect(text));
    let plugin = |text: &str| config::parse(text.as_bytes()).map(|plugin| plugin.config);
    assert_eq!(route("{}"), plugin("{}"));
    let config = r#"{"index":{"hosts":["a:1"]}}"#;
    assert_eq!(route(config), plugin(config));
    assert_eq!(route(&serde_json::json!({ "json": config }).to_string()), plugin(config));
    let message = |text| route(text).expect_err(text).to_string();
    assert!(message(r#"{"per_route":"x"}"#).starts_with("per_route: cannot be set for a route; allowed: "));
    assert!(message(r#"{"json":"{"}"#).starts_with("the configuration: not JSON"));
    assert!(message(r#"{"json":"{}","index":{}}"#).starts_with("json: unknown field"));
    assert!(message("3").starts_with("the configuration: got a number"));
}

#[test]
fn only_the_dynamic_module_reads_envoys_own_runtime() {
    let plugin = |text: &str| config::parse(text.as_bytes()).unwrap().without_own_runtime();
    let error = plugin(r#"{"runtime":{"envoy":{}}}"#).unwrap_err().to_string();
    assert_eq!(
        error,
        "runtime.envoy: only the dynamic module can read Envoy's runtime; allowed: `rtds` or `admin`"
    );
    assert!(plugin(r#"{"runtime":{"rtds":{}}}"#).is_ok() && plugin("{}").is_ok());
}

#[test]
fn a_target_that_the_list_may_allow_is_accepted() {
    for text in [
        r#"{"template":{},"target":{"authority":"h-{key}:8081"},"allowed_targets":["h-*:8082","h-*"]}"#,
        r#"{"template":{},"target":{"authority":"h-{key}:8081"},"allowed_targets":["h-*:8*1"]}"#,
        r#"{"template":{},"target":{"authority":"{key}"},"allowed_targets":["h-*:8081"]}"#,
        r#"{"key":{"host":"{port}-{id}.test"},"template":{},"target":{"authority":"{id}:{port}"},"allowed_targets":["*:1"]}"#,
        r#"{"template":{},"target":{"authority":"{key}.svc"}}"#,
        r#"{"resolve":{},"target":{"header":{"name":"x-a","value":"{hostport}"}},"allowed_targets":["h:1"]}"#,
        r#"{"resolve":{"answer":{"name":"text"}},"target":{"header":{"name":"x-a","value":"{name}"}},
            "allowed_targets":["h:1","shard_*"],"on_error":{"target":{"header":{"name":"x-a","value":"b"}}}}"#,
    ] {
        assert!(config::parse(text.as_bytes()).is_ok(), "{text}");
    }
}

#[test]
fn the_log_names_every_part_of_the_key() {
    let shown = |key: &str| {
        let text = format!(r#"{{"key":{key},"index":{{"hosts":["a:1"]}}}}"#);
        config::parse(text.as_bytes()).expect(key).config.to_string()
    };
    assert_eq!(shown(r#"{"header":"X-Env"}"#), "key x-env, index of 1 named hosts");
    let parts = r#"{"parts":{"id":{"header":"x-id"},"env":{"header":"x-env","default":"prod"}}}"#;
    assert_eq!(shown(parts), "key (env, id), index of 1 named hosts");
}

#[test]
fn a_long_value_is_cut_in_the_message() {
    let text = format!(r#"{{"on_error":"{}"}}"#, "é".repeat(10_000));
    let message = config::parse(text.as_bytes()).expect_err("refused").to_string();
    assert!(message.len() < 400 && message.contains('…'), "{message}");
}

#[test]
fn bytes_that_are_not_text_are_refused() {
    assert!(config::parse(b"{\"on_error\":\"\xff\"}").is_err());
}
