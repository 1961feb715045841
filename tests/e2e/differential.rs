//! The same requests to the filter, the dynamic module and external processing, in the same Envoy: they agree on every
//! decision. Where they can, EDS and Lua take part.

use crate::ext_proc::{cluster, filter, socket};
use crate::live_rtds::SOON;
use crate::{assert_no_reload, native, one_route};
use pinroute_core::hash::mix;
use pinroute_core::key::percent::decode_form;
use pinroute_testkit::adapter;
use pinroute_testkit::config::Shipped;
use pinroute_testkit::control_plane::ControlPlane;
use pinroute_testkit::dns::Dns;
use pinroute_testkit::env::TestEnv;
use pinroute_testkit::eventually;
use pinroute_testkit::ext_proc::ExtProc;
use pinroute_testkit::fake_resolver::{FakeResolver, FakeResponse};
use pinroute_testkit::servers::{Servers, ServersOptions, name};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const DFP: &str = "dynamic_forward_proxy_cluster";
const ECHO: &str = "echo";
/// The listeners beside the filter's own, each with another adapter in its place: the dynamic module and the service.
const ALIKE: [&str; 2] = ["native", "ext_proc"];
const HCM: &str = "/filter_chains/0/filters/0/typed_config";

/// Keys as they stand in a query, ordinary and odd.
const KEYS: [&[u8]; 26] = [
    b"7",
    b"42",
    b"customer-A",
    b"a+b",
    b"a%20b",
    b"%C3%BC",
    b"\xc3\xbc",
    b"\xff\xfe",
    b"%ff",
    b"%00",
    b"%0d%0a",
    b"%",
    b"%zz",
    b"..",
    b"%2e%2e",
    b"a%2Fb",
    b"a/b",
    b"<b>",
    b"\"q\"",
    b"{x}|^`\\",
    b"a;b=c",
    b"-",
    b"UPPER",
    b"",
    b"a=b",
    b"9999999999999999999999",
];

/// Request headers, ordinary and odd, some of them forged.
const HEADERS: [&[u8]; 16] = [
    b"",
    b"",
    b"",
    b"x-shard-config: 9/9",
    b"x-target-host: 1\r\nx-target-host: 2",
    b"x-host-id: 0",
    b"x-target-cluster: backend_0",
    b"x-tenant: forged\r\nX-Tenant: twice",
    b"authorization: Bearer a",
    b"authorization: one\r\nauthorization: two",
    b"x-odd: \xff\xfe",
    b"tracestate: a=1",
    b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ntracestate: \xff",
    b"x-envoy-original-dst-host: 1.2.3.4:5",
    b"content-type: text/x",
    b"x-request-id: mine",
];

/// A pseudo-random number, the same in every run.
fn number(seed: u64, index: u64, below: usize) -> usize {
    (mix(seed.wrapping_mul(1_000_003).wrapping_add(index)) % below as u64) as usize
}

/// The request of this number, without its end.
fn request(index: u64) -> Vec<u8> {
    let pick = |seed, below| number(seed, index, below);
    let long = vec![b'x'; 200 + pick(1, 120)];
    let mut key = match pick(2, 40) {
        0 => &long,
        _ => KEYS[pick(3, KEYS.len())],
    }
    .to_vec();
    if pick(4, 3) > 0 {
        key = format!("customer-{}", pick(5, 400)).into_bytes();
    }
    let path: &[u8] = match pick(6, 12) {
        0 => b"/other",
        1 => b"/headers/deep/er",
        _ => b"/headers",
    };
    let mut bytes = [b"GET ", path].concat();
    match pick(7, 16) {
        0 => {}
        1 => bytes.extend_from_slice(b"?other=1"),
        2 => bytes.extend([b"?client_id=", key.as_slice(), b"&client_id=2"].concat()),
        3 => bytes.extend([b"?client%5Fid=1&x&client_id=", key.as_slice()].concat()),
        _ => bytes.extend([b"?client_id=", key.as_slice(), b"&v=", &key[..key.len().min(3)]].concat()),
    }
    bytes.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    bytes.extend_from_slice(
        [&b"h.example"[..], b"Acme.Example.com:80", b"a_b.example.com", b"127.0.0.1:1"][pick(8, 4)],
    );
    match pick(9, 8) {
        0 => {}
        1 => bytes.extend_from_slice(b"\r\nx-customer-id:   "),
        2 => bytes.extend([b"\r\nx-customer-id: ", key.as_slice(), b"\r\nx-customer-id: second"].concat()),
        _ => bytes.extend([b"\r\nx-customer-id: ", key.as_slice()].concat()),
    }
    if pick(10, 3) == 0 {
        bytes.extend([b"\r\ncookie: a=1; cell=", key.as_slice(), b"; b=2"].concat());
    }
    for seed in [11, 12] {
        let header = HEADERS[pick(seed, HEADERS.len())];
        if !header.is_empty() {
            bytes.extend([b"\r\n", header].concat());
        }
    }
    bytes
}

/// What a client sees that depends on the decision.
#[derive(Debug, PartialEq)]
struct Seen {
    status: String,
    content_type: Option<String>,
    shard: Vec<String>,
    body: String,
}

/// The status of a request that Envoy itself refuses, because it is no HTTP.
const MALFORMED: &str = "malformed";

fn ask(address: SocketAddr, request: &[u8]) -> Seen {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(&[request, b"\r\nconnection: close\r\n\r\n"].concat()).unwrap();
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response);
    let text = String::from_utf8_lossy(&response).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default().to_owned();
    // Envoy's own error; if it is shown to a service, the connection is closed before the answer.
    if response.is_empty() || (status.contains(" 400 ") && body == "Bad Request") {
        let (shard, body) = (Vec::new(), String::new());
        return Seen { status: MALFORMED.to_owned(), content_type: None, shard, body };
    }
    let fields: Vec<_> = lines.filter_map(|line| line.split_once(": ")).collect();
    let all = |name: &str| {
        fields
            .iter()
            .filter(|(field, _)| *field == name)
            .map(|(_, value)| (*value).to_owned())
            .collect::<Vec<_>>()
    };
    let shard = ["x-shard-assignment", "x-shard-config", "x-target-host"];
    Seen {
        status,
        content_type: all("content-type").pop(),
        shard: shard.into_iter().flat_map(all).collect(),
        body: normal(body),
    }
}

/// What a server reflects of a request, without what differs each time.
fn normal(body: &str) -> String {
    // How Envoy says so depends on how often it has tried before.
    if body.starts_with("upstream connect error") || body == "no healthy upstream" {
        return "no upstream".to_owned();
    }
    let start = body.find('{').unwrap_or(0);
    let end = body.rfind('}').map_or(body.len(), |end| end + 1);
    let Ok(Value::Object(mut seen)) = serde_json::from_str(body.get(start..end).unwrap_or_default()) else {
        return body.to_owned();
    };
    if let Some(Value::Array(headers)) = seen.get_mut("headers") {
        headers.retain(|header| header[0] != "x-request-id");
        headers.sort_by_key(Value::to_string);
    }
    Value::Object(seen).to_string()
}

/// All of them, side by side.
struct Adapters {
    env: TestEnv,
    service: ExtProc,
    /// The listeners beside the filter's own.
    others: Vec<(&'static str, SocketAddr)>,
    _resolver: Option<FakeResolver>,
}

type Edit = fn(&mut Value);

/// What a batch needs.
struct Batch {
    config: Value,
    cluster: &'static str,
    /// Whether the resolver runs.
    resolves: bool,
    plane: Option<SocketAddr>,
    /// More listeners, made of the filter's.
    more: Vec<(&'static str, Edit)>,
    edit: Edit,
}

impl Batch {
    fn new(config: Value, cluster: &'static str) -> Self {
        Self { config, cluster, resolves: false, plane: None, more: Vec::new(), edit: |_| () }
    }

    fn start(self) -> Adapters {
        let dns = Dns::start().unwrap();
        let servers = Servers::start(4, &ServersOptions::default(), &dns).unwrap();
        let echo: SocketAddr = servers.addr(1).into();
        let with_port = self.config.to_string().replace("8081", &servers.port().to_string());
        let mut options = Vec::new();
        let running = self.resolves.then(|| fickle(servers.port()));
        let resolver = running.as_ref().map_or("127.0.0.1:1".parse().unwrap(), FakeResolver::addr);
        options.push(format!("--resolver=http://{resolver}"));
        options.extend(self.plane.map(|plane| format!("--xds=http://{plane}")));
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let service = ExtProc::start(&serde_json::from_str(&with_port).unwrap(), &options).unwrap();
        let address = service.address();
        let Self { config, cluster: route, plane, more, edit, .. } = self;
        let backends: Vec<SocketAddr> = (1..=4).map(|server| servers.addr(server).into()).collect();
        let alike = ALIKE.into_iter().filter(|name| *name != "native" || native::is_supported());
        let names: Vec<_> = alike.chain(more.iter().map(|(name, _)| *name)).collect();
        let env = TestEnv::builder("envoy.yaml")
            .with_servers(dns, servers)
            .plugin(config)
            .resolver(resolver)
            .edit(one_route(route))
            .edit(move |shipped| {
                shipped.add_cluster(cluster(&socket(address)))?;
                shipped.add_cluster(plain(ECHO, echo))?;
                for (number, backend) in backends.iter().enumerate() {
                    shipped.add_cluster(plain(&format!("backend_{number}"), *backend))?;
                }
                if let Some(plane) = plane {
                    let mut xds = cluster(&socket(plane));
                    xds["name"] = json!("xds_cluster");
                    xds["load_assignment"]["cluster_name"] = json!("xds_cluster");
                    shipped.add_cluster(xds)?;
                    let mut eds = Shipped::load("shuffle-shard-eds.yaml")?;
                    shipped.add_cluster(eds.cluster("service_backend")?.clone())?;
                }
                shipped.edit(|config| {
                    config["node"] = json!({ "id": "both", "cluster": "test" });
                    let listeners = config["static_resources"]["listeners"].as_array_mut().unwrap();
                    // The client reads until the connection is closed.
                    listeners[0].pointer_mut(HCM).unwrap()["delayed_close_timeout"] = json!("0.01s");
                    // A client that names a host that is not there need not wait for it.
                    let host =
                        listeners[0].pointer_mut(&format!("{HCM}/route_config/virtual_hosts/0")).unwrap();
                    host.as_object_mut().unwrap().remove("retry_policy");
                    edit(&mut listeners[0]);
                    let [module, service] = ALIKE.map(|name| {
                        let mut twin = listeners[0].clone();
                        twin["name"] = json!(name);
                        twin
                    });
                    listeners.extend([module, service]);
                    adapter::for_native(&mut listeners[1]);
                    *listeners[2].pointer_mut(&format!("{HCM}/http_filters/0")).unwrap() = filter();
                    if !native::is_supported() {
                        listeners.remove(1);
                    }
                    for (name, change) in more {
                        let mut other = listeners[0].clone();
                        other["name"] = json!(name);
                        change(&mut other);
                        listeners.push(other);
                    }
                });
                Ok(())
            })
            .start()
            .unwrap();
        let others = names.into_iter().map(|name| (name, env.envoy.listener_addr(name).unwrap())).collect();
        Adapters { env, service, others, _resolver: running }
    }
}

fn plain(name: &str, address: SocketAddr) -> Value {
    json!({ "name": name, "type": "STATIC", "connect_timeout": "1s", "load_assignment": {
        "cluster_name": name, "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": socket(address) } }] }],
    } })
}

impl Adapters {
    /// Sends requests to all listeners. Those of [`ALIKE`] agree on everything; others on the decision.
    fn agree(&self, label: &str, numbers: std::ops::Range<u64>) {
        let mut statuses = std::collections::BTreeMap::new();
        for index in numbers {
            let bytes = request(index);
            let ours = ask(self.env.addr(), &bytes);
            for (name, address) in &self.others {
                // Lua's getter joins the values of a header, and the script takes keys of any length.
                let is_beyond_lua = ours.body.starts_with("invalid") || has(&bytes, b"second");
                if *name == "lua" && is_beyond_lua {
                    continue;
                }
                let theirs = ask(*address, &bytes);
                let shown = String::from_utf8_lossy(&bytes).into_owned();
                if ALIKE.contains(name) {
                    assert_eq!(ours, theirs, "{label}, {name}, request {index}: {shown}");
                } else {
                    assert_eq!(
                        decision(&ours),
                        decision(&theirs),
                        "{label}, {name}, request {index}: {shown}"
                    );
                }
            }
            *statuses.entry(ours.status).or_insert(0_u32) += 1;
        }
        println!("{label}: {statuses:?}");
        let malformed = statuses.remove(MALFORMED).unwrap_or_default();
        assert!(
            statuses.len() > 1 && malformed * 5 < statuses.values().sum::<u32>(),
            "{label}: {statuses:?}"
        );
        assert_no_reload(&self.env);
    }
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Status, shard and host, which do not depend on how the target is carried out.
fn decision(seen: &Seen) -> (&str, &[String], Option<Value>) {
    let body = serde_json::from_str::<Value>(&seen.body).ok();
    (&seen.status, &seen.shard, body.map(|body| body["instance"].clone()))
}

/// A resolver that fails in every way, by the key, and the same way each time.
fn fickle(port: u16) -> FakeResolver {
    FakeResolver::start(move |path, _| {
        // What stands for the same bytes gets the same answer.
        let hash = decode_form(path.as_bytes())
            .iter()
            .copied()
            .fold(7_u64, |hash, byte| mix(hash ^ u64::from(byte)));
        let host = |number: u64| format!("{}:{port}", name(1 + (number % 4) as u8));
        match hash % 16 {
            0 => FakeResponse::status(404, "nobody"),
            1 => FakeResponse::status(500, "x"),
            2 => FakeResponse::ok(r#"{"hostport":7}"#),
            3 => FakeResponse::ok("no JSON \u{fc}"),
            4 => FakeResponse::ok(r#"{"hostport":"169.254.169.254:80"}"#),
            5 => FakeResponse::nothing().close(),
            6 => FakeResponse::raw("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{").close(),
            7 => FakeResponse::status(503, ""),
            8 => FakeResponse::ok(r#"{"hostport":"evil.example:80"}"#),
            _ => {
                let body = json!({ "hostport": host(hash >> 8), "tenant": hash % 100 }).to_string();
                FakeResponse::raw(format!(
                    "HTTP/1.1 200 OK\r\nx-owner: {}\r\ncontent-length: {}\r\n\r\n{body}",
                    host(hash >> 8),
                    body.len()
                ))
            }
        }
    })
    .unwrap()
}

#[test]
fn all_adapters_resolve_alike() {
    let allowed = json!(["poc-routing-server-*"]);
    let configs = [
        ("resolve", json!({ "resolve": {}, "allowed_targets": allowed })),
        (
            "resolve with a cache",
            json!({
                "resolve": { "cache": { "ttl": "600s", "negative_ttl": "600s" }, "set_headers": { "x-tenant": "/tenant" },
                    "forward_headers": ["authorization"] },
                "allowed_targets": allowed, "on_not_found": { "reject": 404 }, "path_prefix": "/headers",
            }),
        ),
        (
            "resolve with a fallback",
            json!({
                "resolve": { "answer": { "hostport": { "header": "x-owner" } }, "max_in_flight": 4 },
                "fallback": { "index": { "replicas": 4, "base": 1 }, "target": { "authority": "poc-routing-server-{index}:8081" } },
                "allowed_targets": allowed, "on_missing_key": { "target": { "authority": "poc-routing-server-2:8081" } },
                "on_not_found": { "reject": 410 },
            }),
        ),
        (
            "resolve by POST",
            json!({
                "key": { "first": [{ "cookie": "cell" }, { "header": "x-customer-id" }] },
                "resolve": { "path": "/tenants/{key}/shard", "body": { "id": "{key}" }, "cache": {}, "headers": { "x-api-key": "s" } },
                "allowed_targets": allowed, "on_error": { "reject": 599 },
            }),
        ),
    ];
    for (number, (label, config)) in configs.into_iter().enumerate() {
        let first = number as u64 * 400;
        let mut batch = Batch::new(config, DFP);
        batch.resolves = true;
        batch.start().agree(label, first..first + 400);
    }
    // Nobody listens there.
    let down =
        json!({ "resolve": { "cache": {} }, "allowed_targets": allowed, "on_error": { "reject": 503 } });
    Batch::new(down, DFP).start().agree("a resolver that is down", 1600..1900);
}

#[test]
fn all_adapters_compute_alike() {
    let authority = json!({ "authority": "poc-routing-server-{index}:8081" });
    let configs = [
        ("index", json!({ "index": { "mode": "numeric", "replicas": 4 }, "target": authority }), DFP),
        (
            "template of a host",
            json!({
                "key": { "host": "{key}.example.com" }, "template": {}, "on_missing_key": "continue",
                "target": { "header": { "name": "x-target-cluster", "value": "cell_{key}" } },
            }),
            ECHO,
        ),
        (
            "template of parts",
            json!({
                "key": { "parts": { "a": { "cookie": "cell", "default": "none" }, "b": { "path": "/{b}/**" } } },
                "template": {}, "target": { "header": { "name": "x-envoy-original-dst-host", "value": "{b}-{a}" } },
                "on_missing_key": { "reject": 418 },
            }),
            ECHO,
        ),
        (
            "shuffle of listed hosts",
            json!({
                "key": { "header": "x-customer-id" },
                "shuffle_shard": { "names": ["red", "green", "blue", "grey", "black"], "shard_size": 2, "seed": "s" },
                "target": { "header": { "name": "x-target-cluster", "value": "{name}" } }, "request_headers": false,
            }),
            ECHO,
        ),
    ];
    for (number, (label, config, cluster)) in configs.into_iter().enumerate() {
        let first = 2000 + number as u64 * 400;
        Batch::new(config, cluster).start().agree(label, first..first + 400);
    }
}

/// The seeds' script in the place of the filter.
fn lua(listener: &mut Value) {
    let script = pinroute_testkit::paths::shipped_configs().join("lua/shuffle_shard.lua");
    *listener.pointer_mut(&format!("{HCM}/http_filters/0")).unwrap() = json!({
        "name": "envoy.filters.http.lua",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "default_source_code": { "inline_string": std::fs::read_to_string(script).unwrap() },
        },
    });
}

#[test]
fn lua_takes_part_where_it_can() {
    let mut batch = Batch::new(
        json!({
            "key": { "header": "x-customer-id" },
            "shuffle_shard": { "total_hosts": 8, "shard_size": 2, "algorithm": "lua_djb2" },
            "target": { "header": { "name": "x-target-cluster", "value": "backend_{index}" } }, "response_headers": true,
        }),
        ECHO,
    );
    batch.more = vec![("lua", lua)];
    batch.start().agree("shuffle as Lua does", 3600..4100);
}

/// One cluster whose endpoints carry the number that the filter's header becomes.
fn by_endpoint(listener: &mut Value) {
    let mut eds = Shipped::load("shuffle-shard-eds.yaml").unwrap();
    let to_metadata = eds.http_filter("envoy.filters.http.header_to_metadata").unwrap().clone();
    listener
        .pointer_mut(&format!("{HCM}/http_filters"))
        .unwrap()
        .as_array_mut()
        .unwrap()
        .insert(1, to_metadata);
}

/// One cluster for each host.
fn by_cluster(listener: &mut Value) {
    let manager = listener.pointer_mut(HCM).unwrap();
    manager["http_filters"].as_array_mut().unwrap().remove(1);
    let configuration = &mut manager["http_filters"][0]["typed_config"]["config"]["configuration"]["value"];
    let text = configuration.as_str().unwrap();
    let mut config: Value = serde_json::from_str(text).unwrap();
    config["target"] = json!({ "header": { "name": "x-target-cluster", "value": "backend_{index}" } });
    *configuration = json!(config.to_string());
    let route = manager.pointer_mut("/route_config/virtual_hosts/0/routes/0/route").unwrap();
    *route = json!({ "cluster_header": "x-target-cluster" });
}

#[test]
fn all_adapters_and_approaches_agree_while_values_change() {
    let plane = ControlPlane::start(&[]).unwrap();
    let set = |total: u32, size: u32, customer: u32| {
        let values = json!({ "values": {
            "shuffle_sharding.total_hosts": total, "shuffle_sharding.default_shard_size": size,
            "shuffle_sharding.customer.customer-7.shard_size": customer,
        } });
        plane.call("PATCH", "/v1/runtime", &values).unwrap();
    };
    let mut batch = Batch::new(
        json!({
            "key": { "header": "x-customer-id" }, "shuffle_shard": { "total_hosts": 4, "shard_size": 2 },
            "runtime": { "prefix": "shuffle_sharding", "rtds": { "cluster": "xds_cluster" } },
            "target": { "header": { "name": "x-host-id", "value": "{index}" } }, "response_headers": true,
        }),
        "service_backend",
    );
    batch.plane = Some(plane.xds());
    batch.edit = by_endpoint;
    batch.more = vec![("rtds", by_cluster)];
    let adapters = batch.start();
    let hosts: Vec<_> = (1..=4).map(|server| adapters.env.servers.addr(server).to_string()).collect();
    plane.call("PUT", "/v1/hosts", &json!({ "hosts": hosts })).unwrap();
    for (step, (total, size, customer)) in
        [(4, 2, 1), (3, 1, 3), (4, 3, 2), (2, 2, 1), (4, 1, 4)].into_iter().enumerate()
    {
        set(total, size, customer);
        let probe = b"GET /headers HTTP/1.1\r\nhost: h\r\nx-customer-id: customer-7";
        let expected = format!("{}/{total}", customer.min(total));
        eventually(SOON, || {
            let listeners = adapters.others.iter().map(|(_, address)| *address).chain([adapters.env.addr()]);
            let seen: Vec<_> = listeners.map(|address| ask(address, probe)).collect();
            let is_there = |seen: &Seen| seen.status.contains(" 200 ") && seen.shard.contains(&expected);
            if seen.iter().all(is_there) { Ok(()) } else { Err(format!("{expected}: {seen:?}")) }
        })
        .unwrap();
        let first = 4100 + step as u64 * 200;
        adapters.agree(&format!("{size} of {total} hosts"), first..first + 200);
    }
    assert!(adapters.service.metric("pinroute_runtime_updates_total").unwrap() >= 5);
}
