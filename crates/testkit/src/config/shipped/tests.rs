//! Tests of loading and changing.

use super::*;

const YAML: &str = r#"
admin: { address: { socket_address: { address: 0.0.0.0, port_value: 9901 } } }
static_resources:
  listeners:
    - name: listener_0
      filter_chains:
        - filters:
            - typed_config:
                http_filters:
                  - name: pinroute
                    disabled: true
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
                      config:
                        name: pinroute
                        vm_config: { code: { local: { filename: /etc/envoy/lua/routing.lua } } }
                        configuration: { value: { allowed_targets: ["server-*:8081"] } }
                  - name: router
                    typed_config: { "@type": other }
  clusters:
    - name: resolver
      dns: &dns { resolvers: [{ socket_address: { address: 127.0.0.11, port_value: 53 } }] }
      load_assignment:
        endpoints: [{ address: { socket_address: { address: server, port_value: 8081 } } }]
    - name: proxy
      dns: *dns
      numbers: [1, -1, 0.5, 1s, "2", 1e3, true, null]
"#;

fn shipped() -> Shipped {
    Shipped::parse("test.yaml", YAML).unwrap()
}

fn configuration(shipped: &mut Shipped) -> Value {
    shipped.http_filter("pinroute").unwrap()["typed_config"]["config"]["configuration"].clone()
}

#[test]
fn numbers_keep_their_types() {
    let mut shipped = shipped();
    let expected = json!([1, -1, 0.5, "1s", "2", 1000.0, true, null]);
    assert_eq!(shipped.cluster("proxy").unwrap()["numbers"], expected);
}

#[test]
fn anchors_are_copies() {
    let mut shipped = shipped();
    assert_eq!(shipped.find_all("resolvers").len(), 2);
    let map = AddressMap::new()
        .replace(("127.0.0.11", 53), ("127.0.0.1", 5353))
        .replace_port(9901, ("127.0.0.1", 0))
        .keep_host(8081, 40000);
    shipped.replace_addresses(&map).unwrap();
    let addresses: Vec<String> = shipped.find_all("socket_address").iter().map(ToString::to_string).collect();
    let expected = [("127.0.0.1", 0), ("127.0.0.1", 5353), ("server", 40000), ("127.0.0.1", 5353)]
        .map(|(host, port)| json!({ "address": host, "port_value": port }).to_string());
    assert_eq!(addresses, expected);
}

#[test]
fn an_address_that_is_not_covered_is_an_error_with_the_file() {
    let error = shipped().replace_addresses(&AddressMap::new().keep_host(8081, 1)).unwrap_err();
    assert_eq!(
        format!("{error:#}"),
        "test.yaml: the address map does not cover 0.0.0.0:9901, 127.0.0.11:53; it has [*:8081]"
    );
}

#[test]
fn every_shipped_file_is_readable() {
    let names = Shipped::list().unwrap();
    assert!(names.contains(&"envoy.yaml".to_owned()), "{names:?}");
    for name in names {
        Shipped::load(&name).unwrap();
    }
}

#[test]
fn files_become_those_of_the_project() {
    let mut shipped = shipped();
    shipped.replace_files().unwrap();
    let expected = json!(paths::shipped_configs().join("lua/routing.lua").to_string_lossy());
    assert_eq!(shipped.find_all("filename"), [&expected]);
    assert_eq!(local("pinroute.wasm"), paths::project_root().join("dist/pinroute.wasm"));

    let mut missing = Shipped::parse("test.yaml", "{ filename: /etc/envoy/lua/none.lua }").unwrap();
    let error = missing.replace_files().unwrap_err().to_string();
    assert!(
        error.starts_with("test.yaml names ") && error.ends_with("none.lua, which is missing"),
        "{error}"
    );
}

#[test]
fn ports_in_texts_are_whole_numbers() {
    let mut shipped = shipped();
    shipped.replace_port_in_texts(8081, 9);
    assert_eq!(configuration(&mut shipped)["value"]["allowed_targets"], json!(["server-*:9"]));
    assert_eq!(with_port(":8081 a:8081/x,:80812 8081", 8081, 9), ":9 a:9/x,:80812 8081");
    assert_eq!(with_port("", 8081, 9), "");
}

#[test]
fn a_cluster_can_point_elsewhere() {
    let mut shipped = shipped();
    shipped.point_cluster("resolver", &Address::from(("127.0.0.1", 7))).unwrap();
    let mut found = Vec::new();
    find_all(shipped.cluster("resolver").unwrap(), "socket_address", &mut found);
    let expected = [
        json!({ "address": "127.0.0.11", "port_value": 53 }),
        json!({ "address": "127.0.0.1", "port_value": 7 }),
    ];
    assert_eq!(found, expected.iter().collect::<Vec<_>>());
    let error = shipped.cluster("none").unwrap_err().to_string();
    assert_eq!(error, "test.yaml has no cluster \"none\"");
}

#[test]
fn the_plugin_configuration_can_be_replaced() {
    let mut shipped = shipped();
    shipped.plugin_config("pinroute", &json!({ "key": { "query": "id" } })).unwrap();
    let any = configuration(&mut shipped);
    assert_eq!(any["@type"], "type.googleapis.com/google.protobuf.StringValue");
    assert_eq!(any["value"], r#"{"key":{"query":"id"}}"#);

    shipped.plugin_config_struct("pinroute", &json!({ "a": 1 })).unwrap();
    assert_eq!(configuration(&mut shipped)["value"], json!({ "a": 1 }));
    shipped.plugin_config_text("pinroute", "{").unwrap();
    assert_eq!(configuration(&mut shipped)["value"], "{");

    let error = shipped.plugin_config_text("router", "").unwrap_err().to_string();
    assert_eq!(error, "the filter \"router\" is neither Wasm nor a dynamic module");
    let error = shipped.plugin_config_text("none", "").unwrap_err().to_string();
    assert_eq!(error, "test.yaml has no HTTP filter \"none\"");
}
