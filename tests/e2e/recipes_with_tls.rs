//! The recipe with a key of the connection, where the key is the name that the client asked for by SNI.

use crate::assert_no_reload;
use pinroute_core::mode::IndexMode;
use pinroute_testkit::config::Shipped;
use pinroute_testkit::env::TestEnv;
use serde_json::{Value, json};
use std::process::Command;
use tempfile::TempDir;

/// Sends a request over TLS with this server name, or without one, and prints the response. It checks Envoy's certificate.
const CLIENT: &str = r"
import socket, ssl, sys
port, certificate, name, request = sys.argv[1:]
context = ssl.create_default_context(cafile=certificate)
context.check_hostname = bool(name)
with socket.create_connection(('127.0.0.1', int(port)), timeout=20) as plain:
    with context.wrap_socket(plain, server_hostname=name or None) as stream:
        stream.sendall(request.encode())
        while chunk := stream.recv(65536):
            sys.stdout.buffer.write(chunk)
";

/// Runs a program to its end, and returns its output.
fn run(program: &str, arguments: &[&str]) -> String {
    let output =
        Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A certificate for these names, with its key. Returns their paths.
fn certificate(dir: &TempDir, names: &[String]) -> [String; 2] {
    let [certificate, key] =
        ["certificate.pem", "key.pem"].map(|file| dir.path().join(file).to_str().unwrap().to_owned());
    let names: Vec<_> = names.iter().map(|name| format!("DNS:{name}")).collect();
    let names = format!("subjectAltName={}", names.join(","));
    let key_kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", &key];
    let common =
        ["req", "-x509", "-days", "2", "-subj", "/CN=pinroute", "-addext", &names, "-out", &certificate];
    run("openssl", &[&common[..], &key_kind].concat());
    [certificate, key]
}

/// What docs/recipes.md says of SNI.
fn by_server_name(certificate: &str, key: &str) -> impl FnOnce(&mut Shipped) -> anyhow::Result<()> + use<> {
    let context = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": { "tls_certificates": [
            { "certificate_chain": { "filename": certificate }, "private_key": { "filename": key } },
        ] },
    });
    move |shipped| {
        let filter = shipped.http_filter("envoy.filters.http.header_mutation")?;
        let append = &mut filter["typed_config"]["mutations"]["request_mutations"][1]["append"];
        assert_eq!(append["header"]["key"], "x-client-key");
        append["header"]["value"] = json!("%REQUESTED_SERVER_NAME%");
        shipped.edit(|config| {
            let listener = &mut config["static_resources"]["listeners"][0];
            listener["listener_filters"] = json!([{
                "name": "envoy.filters.listener.tls_inspector",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
                },
            }]);
            listener["filter_chains"][0]["transport_socket"] =
                json!({ "name": "envoy.transport_sockets.tls", "typed_config": context });
        });
        Ok(())
    }
}

#[test]
fn the_name_that_a_client_asks_for_by_sni_decides() {
    // Some names of each host.
    let names: Vec<String> = (0..6).map(|number| format!("tenant-{number}.example")).collect();
    let number = |name: &str| 1 + IndexMode::Hash.slot(name.as_bytes(), 2) as u8;
    let of = |host: u8| names.iter().find(|name| number(name) == host).unwrap();
    let dir = TempDir::new().unwrap();
    let [certificate, key] = certificate(&dir, &names);
    let env = TestEnv::builder("recipes/key-from-connection.yaml")
        .replicas(2)
        .edit(by_server_name(&certificate, &key))
        .start()
        .unwrap();
    let ask = |server_name: &str, lines: &str| {
        let host = env.servers.hostport(if server_name.is_empty() { 1 } else { 3 - number(server_name) });
        let request = format!("GET /echo HTTP/1.1\r\nhost: {host}\r\n{lines}connection: close\r\n\r\n");
        let port = env.addr().port().to_string();
        let response = run("python3", &["-c", CLIENT, &port, &certificate, server_name, &request]);
        let (head, body) = response.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{response:?}"));
        let instance = serde_json::from_str::<Value>(body).ok().map(|seen| seen["instance"].clone());
        (head.split(' ').nth(1).unwrap().to_owned(), instance.unwrap_or_else(|| json!(body)))
    };
    for host in [1, 2] {
        let (name, other) = (of(host), of(3 - host));
        let expected = ("200".to_owned(), json!(env.servers.hostport(host)));
        for lines in [
            String::new(),
            format!("x-client-key: {other}\r\n"),
            format!("X-Client-Key: {other}\r\nx-client-key: {other}\r\n"),
        ] {
            assert_eq!(ask(name, &lines), expected, "{name} {lines:?}");
        }
        assert_eq!(ask(&name.to_uppercase(), ""), expected, "Envoy gives the name in lower case");
    }
    let missing = ("400".to_owned(), json!("missing x-client-key"));
    assert_eq!(ask("", ""), missing);
    assert_eq!(ask("", &format!("x-client-key: {}\r\n", of(1))), missing);
    assert_no_reload(&env);
}
