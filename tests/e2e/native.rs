//! The dynamic module: what it does beside what the other tests show with `PINROUTE_ADAPTER=native`.

use crate::is_older_than;
use crate::live_rtds::{SOON, clients, config_of, request_until, wait_for};
use crate::shuffle::answer_directly;
use pinroute_core::mode::IndexMode;
use pinroute_testkit::adapter::{MODULE, filter, for_native};
use pinroute_testkit::config::Shipped;
use pinroute_testkit::env::{TestEnv, TestEnvBuilder};
use pinroute_testkit::load::get_all;
use pinroute_testkit::xds::{Kind, Xds};
use pinroute_testkit::{eventually, paths};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tempfile::TempDir;

/// How often the configuration changes.
const CHANGES: usize = 200;
/// After so many changes Envoy has what it needs.
const WARM: usize = 40;
/// How much memory Envoy may take beyond what it has when it is warm.
const GROWTH: u64 = 8 << 20;

/// Whether this Envoy loads the module. 1.36 and 1.37 take only modules that were built for exactly them.
pub fn is_supported() -> bool {
    let is_old = is_older_than(38);
    if is_old {
        println!("not with an Envoy as old as this");
    }
    !is_old
}

fn env(config: &str) -> TestEnvBuilder {
    TestEnv::builder(&format!("native/{config}")).component_log_level("dynamic_modules:info")
}

#[test]
fn the_shipped_configurations_differ_from_those_for_wasm_in_the_filter_only() {
    let natives: Vec<_> =
        Shipped::list().unwrap().into_iter().filter(|name| name.starts_with("native/")).collect();
    assert!(natives.len() > 5, "{natives:?}");
    // `per-route.yaml` uses what only a module has.
    for native in natives.iter().filter(|name| !name.ends_with("per-route.yaml")) {
        let mut wasm = Shipped::load(native.trim_start_matches("native/")).unwrap().value().clone();
        for_native(&mut wasm);
        assert_eq!(Shipped::load(native).unwrap().value(), &wasm, "{native}");
    }
}

#[test]
fn each_route_may_have_a_configuration_of_its_own() {
    if !is_supported() {
        return;
    }
    let env = env("per-route.yaml").replicas(2).start().unwrap();
    for id in 0..10 {
        let owner = |key: &str| env.servers.hostport(1 + IndexMode::Hash.slot(key.as_bytes(), 2) as u8);
        let id = id.to_string();
        let joined = env.get(&format!("/join?client_id={id}")).unwrap().json().unwrap();
        assert_eq!(joined["assigned"], json!(owner(&id)));
        let room = env.get(&format!("/rooms/{id}/chat")).unwrap().json().unwrap();
        assert_eq!(room["instance"], json!(owner(&id)));
    }
    assert_eq!(env.get("/join").unwrap().text(), "missing client_id");
    assert_eq!(env.get("/orders").unwrap().text(), "missing x-customer-id");
    assert_eq!(env.get("/health").unwrap().text(), "ok");
    let stat = |name: &str| env.envoy.stat(&format!("pinroute.{name}")).unwrap();
    assert_eq!((stat("requests"), stat("routed"), stat("rejected.missing_key")), (22, 20, 2));
}

#[test]
fn a_wrong_configuration_is_refused_with_its_reason() {
    if !is_supported() {
        return;
    }
    let wrong = json!({ "key": { "qeury": "x" } });
    let error = env("index.yaml").plugin(wrong.clone()).start().unwrap_err().to_string();
    assert!(error.contains("configuration refused: key.qeury: unknown field"), "{error}");
    let of_route = env("per-route.yaml").edit(move |shipped| {
        shipped.edit(|config| {
            let route = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config\
                /virtual_hosts/0/routes/0/typed_per_filter_config/pinroute/filter_config/value";
            *config.pointer_mut(route).unwrap() = wrong;
        });
        Ok(())
    });
    let error = of_route.start().unwrap_err().to_string();
    assert!(error.contains("configuration of a route refused: key.qeury: unknown field"), "{error}");
}

/// Envoy shows a module nothing of virtual hosts, and `pinroute check` sees no routes that come from a server.
#[test]
fn a_namespace_of_metadata_brings_a_warning_that_it_is_that_of_routes_only() {
    if !is_supported() {
        return;
    }
    let env = env("index.yaml").plugin(json!({ "per_route": "pinroute" })).start().unwrap();
    env.envoy.wait_for_log("per_route: Envoy shows a dynamic module the metadata of routes only").unwrap();
}

#[test]
fn a_panic_loses_one_request() {
    if !is_supported() {
        return;
    }
    let env = env("index.yaml").concurrency(2).edit(|shipped| {
        let module = paths::native().with_file_name("libpinroute_native_trap.so");
        assert!(module.exists(), "{} is missing: run `make native-trap`", module.display());
        shipped.http_filter("pinroute")?["typed_config"]["dynamic_module_config"]["name"] =
            json!("pinroute_native_trap");
        Ok(())
    });
    let env = env.start().unwrap();
    for _ in 0..20 {
        let client = env.client();
        let response = client.request("GET", "/join?client_id=1", &[("x-provoke-trap", "1")], b"").unwrap();
        assert_eq!((response.status, response.text().as_str()), (500, "internal error"));
        assert_eq!(client.get("/join?client_id=1").unwrap().status, 200, "the next request is fine");
    }
    env.envoy.wait_for_log("pinroute: panicked at").unwrap();
    assert_eq!(env.envoy.stat("pinroute.routed").unwrap(), 20);
}

#[test]
fn a_load_on_four_workers_loses_no_request() {
    if !is_supported() {
        return;
    }
    const KEYS: usize = 500;
    let plugin = json!({ "resolve": { "cache": { "ttl": "0.05s", "negative_ttl": "0.05s" } } });
    let env = env("envoy.yaml").concurrency(4).plugin(plugin).start().unwrap();
    // Many clients leave while they wait: others may wait for the same call.
    let leaving: Vec<_> = (0..50)
        .map(|key| {
            let mut stream = std::net::TcpStream::connect(env.addr()).unwrap();
            let request = format!("GET /join?client_id={key} HTTP/1.1\r\nhost: h\r\n\r\n");
            std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
            stream
        })
        .collect();
    drop(leaving);
    let paths: Vec<_> = (0..10_000).map(|number| format!("/join?client_id={}", number % KEYS)).collect();
    assert_eq!(get_all(env.addr(), 32, &paths).unwrap(), [(200, paths.len())].into());
    let stat = |name: &str| env.envoy.stat(&format!("pinroute.{name}")).unwrap();
    assert_eq!(stat("requests"), stat("routed") + stat("abandoned"), "each request is accounted for");
    assert!(stat("cache.hit") > 0 && stat("resolver.ok") > 0);
}

/// A file with the filter's configuration, which Envoy watches.
struct FilterFile {
    dir: TempDir,
    file: PathBuf,
}

impl FilterFile {
    fn new(config: &Value) -> Self {
        let dir = TempDir::new().unwrap();
        let file = Self { file: dir.path().join("filter.json"), dir };
        file.write(config);
        file
    }

    fn write(&self, config: &Value) {
        let any = json!({ "@type": "type.googleapis.com/google.protobuf.Struct", "value": config });
        let resource = json!({ "resources": [{
            "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            "name": "pinroute",
            "typed_config": filter("pinroute_native", Some(any)),
        }]});
        let new = self.file.with_extension("new");
        std::fs::write(&new, resource.to_string()).unwrap();
        std::fs::rename(&new, &self.file).unwrap();
    }

    fn source(&self) -> Value {
        json!({ "name": "pinroute", "config_discovery": {
            "config_source": { "resource_api_version": "V3", "path_config_source": {
                "path": self.file, "watched_directory": { "path": self.dir.path() },
            }},
            "type_urls": [MODULE],
        }})
    }
}

/// A new configuration takes over under load, with the live values from its first request on. What belongs to the old one
/// goes with it: its memory, its thread, and its stream.
#[test]
fn two_hundred_configurations_lose_no_request_and_leave_nothing_behind() {
    if !is_supported() {
        return;
    }
    let xds = Xds::start().unwrap();
    let config = |size: usize| {
        json!({
            "key": { "header": "x-customer-id" },
            "shuffle_shard": { "total_hosts": 8, "shard_size": size },
            "runtime": { "rtds": { "cluster": "xds_cluster" } },
            "response_headers": true,
        })
    };
    xds.set_runtime("runtime", &json!({ "shuffle_sharding": { "total_hosts": 10 } }));
    let file = FilterFile::new(&config(1));
    let source = file.source();
    let env = env("shuffle-shard-rtds.yaml")
        .replicas(1)
        .concurrency(2)
        .component_log_level("dynamic_modules:warning")
        .address(("control-plane", 18000), xds.addr())
        .edit(answer_directly)
        .edit(move |shipped| {
            *shipped.http_filter("pinroute")? = source;
            Ok(())
        });
    let env = env.start().unwrap();
    let clients = clients(&env);
    wait_for(&clients, "a", "1/10");
    let threads = || std::fs::read_dir(format!("/proc/{}/task", env.envoy.pid())).unwrap().count();
    let before = threads();
    let (done, requests, mut warm) = (AtomicBool::new(false), AtomicU64::new(0), 0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| request_until(&env, &done, &requests, |config| config.ends_with("/10")));
        }
        for change in 1..=CHANGES {
            let size = 1 + change % 9;
            file.write(&config(size));
            wait_for(&clients, "a", &format!("{size}/10"));
            if change == WARM {
                warm = env.envoy.resident_memory().unwrap();
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    let end = env.envoy.resident_memory().unwrap();
    println!(
        "{requests:?} requests; Envoy's memory: {} KiB when warm, {} KiB at the end",
        warm >> 10,
        end >> 10
    );
    assert!(end < warm + GROWTH, "Envoy has grown from {} to {} KiB", warm >> 10, end >> 10);
    assert!(requests.load(Ordering::Relaxed) > CHANGES as u64);
    eventually(SOON, || match (threads(), xds.streams(Kind::Runtime)) {
        (threads, 1) if threads <= before => Ok(()),
        other => Err(format!("{other:?} threads and streams, {before} threads before")),
    })
    .unwrap();
}

/// Envoy's own runtime is read with all its layers: the static one when the configuration is loaded, changes soon after.
#[test]
fn envoys_own_runtime_decides() {
    if !is_supported() {
        return;
    }
    let plugin = json!({
        "key": { "header": "x-customer-id" },
        "shuffle_shard": { "total_hosts": 3, "shard_size": 1 },
        "runtime": { "envoy": {} },
        "response_headers": true,
    });
    let env = env("shuffle-shard.yaml").replicas(1).concurrency(2).plugin(plugin).edit(|shipped| {
        shipped.edit(|config| {
            config["layered_runtime"] = json!({ "layers": [
                { "name": "static", "static_layer": {
                    "shuffle_sharding": { "total_hosts": 8, "default_shard_size": 2 } } },
                { "name": "admin", "admin_layer": {} },
            ]});
        });
        answer_directly(shipped)
    });
    let version = std::env::var("PINROUTE_ENVOY_VERSION").unwrap_or_default();
    if ["1.38.", "1.39."].iter().any(|old| version.starts_with(old)) {
        let error = env.start().unwrap_err().to_string();
        assert!(error.contains("configuration refused: runtime.envoy: needs Envoy 1.40"), "{error}");
        return;
    }
    let env = env.start().unwrap();
    let clients = clients(&env);
    for client in &clients {
        assert_eq!(config_of(client, "a"), "2/8", "from the first request on");
    }
    let set =
        |change: &str| env.envoy.admin_post(&format!("/runtime_modify?shuffle_sharding.{change}")).unwrap();
    set("total_hosts=12");
    wait_for(&clients, "a", "2/12");
    set("default_shard_size=5");
    wait_for(&clients, "a", "5/12");
    set("total_hosts=0");
    eventually(SOON, || match env.envoy.stat("pinroute.runtime.invalid").unwrap() {
        0 => Err("not yet".to_owned()),
        _ => Ok(()),
    })
    .unwrap();
    wait_for(&clients, "a", "5/12");
    set("enabled=false");
    wait_for(&clients, "a", "-");
    set("enabled=true");
    set("total_hosts=");
    wait_for(&clients, "a", "5/8");
    // The last two changes may be seen at once.
    assert!(env.envoy.stat("pinroute.runtime.updates").unwrap() >= 4);
}
