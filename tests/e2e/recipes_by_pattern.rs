//! The recipes of `envoy/recipes/` that find the owner by a pattern, as they are shipped: only addresses are replaced.

use crate::adapter::is_exception;
use crate::{assert_no_reload, crashing_module};
use pinroute_core::mode::IndexMode;
use pinroute_testkit::config::Shipped;
use pinroute_testkit::env::{TestEnv, TestEnvBuilder};
use pinroute_testkit::eventually;
use pinroute_testkit::fake_resolver::{FakeResolver, FakeResponse};
use pinroute_testkit::http::Response;
use pinroute_testkit::servers::name;
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

fn recipe(name: &str) -> TestEnvBuilder {
    TestEnv::builder(&format!("recipes/{name}.yaml"))
}

fn ask(env: &TestEnv, path: &str, headers: &[(&str, &str)]) -> Response {
    env.request("GET", path, headers, b"").unwrap()
}

/// The request as the host saw it; the response must be 200.
fn seen(env: &TestEnv, path: &str, headers: &[(&str, &str)]) -> Value {
    let response = ask(env, path, headers);
    assert_eq!(response.status, 200, "{path} {headers:?}: {}", response.text());
    response.json().unwrap()
}

/// The status and the text of an error.
fn error(env: &TestEnv, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let response = ask(env, path, headers);
    (response.status, response.text())
}

/// The values of a header in what [`seen`] gives.
fn values<'v>(seen: &'v Value, header: &str) -> Vec<&'v str> {
    let headers = seen["headers"].as_array().unwrap().iter();
    headers.filter(|pair| pair[0] == header).map(|pair| pair[1].as_str().unwrap()).collect()
}

#[test]
fn a_tenant_reaches_its_shard_and_an_unknown_one_the_default() {
    let resolver = FakeResolver::start(|path, _| match path {
        "/tenants/acme" => FakeResponse::ok("shard_1\n"),
        "/tenants/umbrella" => FakeResponse::ok("shard_2"),
        "/tenants/greedy" => FakeResponse::ok("resolver"),
        "/tenants/down" => FakeResponse::status(500, ""),
        _ => FakeResponse::status(404, ""),
    })
    .unwrap();
    let env = recipe("tenant-by-subdomain").replicas(3).resolver(resolver.addr()).start().unwrap();
    for (host, forged, shard, number) in [
        ("acme.example.com", "shard_2", "shard_1", 1),
        ("UMBRELLA.example.com:80", "shard_1", "shard_2", 2),
        ("nobody.example.com", "shard_1", "shard_default", 3),
    ] {
        for _ in 0..2 {
            let seen = seen(&env, "/echo", &[("host", host), ("x-shard", forged), ("x-shard", "resolver")]);
            assert_eq!(seen["instance"], json!(env.servers.hostport(number)), "{host}");
            assert_eq!(values(&seen, "x-shard"), [shard], "{host}");
        }
    }
    let calls = resolver.requests();
    let known = calls.iter().filter(|call| call.path != "/tenants/nobody");
    assert_eq!(known.count(), 2, "responses are cached");

    let refused = |host| error(&env, "/echo", &[("host", host), ("x-shard", "shard_1")]);
    assert_eq!(refused("example.com"), (400, "missing host".to_owned()));
    assert_eq!(refused("a.b.example.com"), (400, "missing host".to_owned()));
    assert_eq!(refused("greedy.example.com"), (502, "target not allowed".to_owned()));
    assert_eq!(refused("down.example.com"), (502, "resolver returned 500".to_owned()));

    let status = seen(&env, "/status", &[("host", "acme.example.com"), ("x-shard", "shard_1")]);
    assert_eq!(status["instance"], json!(env.servers.hostport(3)));
    assert!(values(&status, "x-shard").is_empty(), "the filter is off there, and Envoy removes the header");
    assert_no_reload(&env);
}

const DST: &str = "x-envoy-original-dst-host";

/// A server that switches to another protocol at once and then sends back what it gets. The response names the server
/// and shows the path and the destination header that arrived.
fn room_server(own: &'static str) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let head = read_head(&mut stream);
                let path = head.split(' ').nth(1).unwrap_or_default();
                let seen = fields(&head, DST).join("|");
                let answer = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                     x-room-server: {own}\r\nx-seen-path: {path}\r\nx-seen-destination: {seen}\r\n\r\n"
                );
                stream.write_all(answer.as_bytes())?;
                let mut back = stream.try_clone()?;
                std::io::copy(&mut stream, &mut back)
            });
        }
    });
    addr
}

/// Reads up to and with the empty line, and nothing after it.
pub fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// The values of a header in what [`read_head`] gives.
pub fn fields<'h>(head: &'h str, name: &str) -> Vec<&'h str> {
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
}

/// A client's socket.
struct Socket {
    stream: TcpStream,
    head: String,
}

impl Socket {
    fn open(env: &TestEnv, path: &str, destination: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(env.addr()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: rooms.example.com\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{DST}: {destination}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let head = read_head(&mut stream);
        Self { stream, head }
    }

    fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    /// Fails unless the text comes back.
    fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
        let mut back = vec![0; text.len()];
        self.stream.read_exact(&mut back).unwrap();
        assert_eq!(back, text.as_bytes());
    }
}

/// Two room servers, a resolver that gives odd rooms to the first one, and the recipe with their addresses.
fn rooms() -> ([SocketAddr; 2], FakeResolver, TestEnvBuilder) {
    let servers = [room_server("odd"), room_server("even")];
    let resolver = FakeResolver::start(move |path, _| {
        let owner = match path.strip_prefix("/rooms/").unwrap_or_default() {
            "far" => "192.0.2.1:8081".to_owned(),
            room => match room.parse::<usize>() {
                Ok(room) => servers[1 - room % 2].to_string(),
                Err(_) => return FakeResponse::status(404, ""),
            },
        };
        FakeResponse::raw(format!("HTTP/1.1 200 OK\r\n{DST}: {owner}\r\ncontent-length: 0\r\n\r\n"))
    })
    .unwrap();
    let env = recipe("room-by-path").replicas(1).resolver(resolver.addr()).edit(move |shipped| {
        let allowed = plugin(shipped)["allowed_targets"].as_array_mut().unwrap();
        assert_eq!(allowed, &[json!("10.*.*.*:8081")], "an address of the shipped file");
        *allowed = servers.map(|server| json!(server.to_string())).to_vec();
        Ok(())
    });
    (servers, resolver, env)
}

fn plugin(shipped: &mut Shipped) -> &mut Value {
    &mut shipped.http_filter("pinroute").unwrap()["typed_config"]["config"]["configuration"]["value"]
}

#[test]
fn sockets_reach_the_owner_of_their_room_and_outlive_the_resolver() {
    let (servers, resolver, env) = rooms();
    let lobby = FakeResolver::start(|_, _| FakeResponse::ok("lobby")).unwrap();
    let env = env.address(("lobby", 8081), lobby.addr()).start().unwrap();
    let mut sockets: Vec<_> = (1..=50)
        .map(|room: usize| {
            // Each client asks for the wrong server.
            let (owner, other) = (1 - room % 2, room % 2);
            let socket = Socket::open(&env, &format!("/ws/room/{room}/chat?x=1"), servers[other]);
            assert_eq!(socket.status(), "101", "{}", socket.head);
            assert_eq!(fields(&socket.head, "x-room-server"), [["odd", "even"][owner]], "room {room}");
            assert_eq!(fields(&socket.head, "x-seen-destination"), [servers[owner].to_string()]);
            assert_eq!(fields(&socket.head, "x-seen-path"), [format!("/ws/room/{room}/chat?x=1")]);
            socket
        })
        .collect();
    for (number, socket) in sockets.iter_mut().enumerate() {
        socket.say(&format!("hello from {number}"));
    }
    let normal = Socket::open(&env, "/ws/room/1/../2/chat", servers[0]);
    assert_eq!(fields(&normal.head, "x-room-server"), ["even"], "{}", normal.head);
    assert_eq!(fields(&normal.head, "x-seen-path"), ["/ws/room/2/chat"]);

    for (path, status) in [("/ws/room/none/x", "404"), ("/ws/room/far/x", "502"), ("/ws/room/1", "400")] {
        assert_eq!(Socket::open(&env, path, servers[0]).status(), status, "{path}");
    }
    assert_eq!(ask(&env, "/", &[(DST, &servers[0].to_string())]).text(), "lobby");
    assert_eq!(
        lobby.requests()[0].header(DST),
        None,
        "the filter is off there, and Envoy removes the header"
    );

    drop(resolver);
    assert_eq!(
        Socket::open(&env, "/ws/room/77/x", servers[0]).status(),
        "502",
        "a room that nobody has asked for"
    );
    for round in 0..3 {
        for (number, socket) in sockets.iter_mut().enumerate() {
            socket.say(&format!("{number} is still here: {round}"));
        }
    }
    assert_no_reload(&env);
}

#[test]
fn a_socket_may_be_silent_for_longer_than_a_request_may_wait() {
    let (servers, _resolver, env) = rooms();
    // The only change to the file: 15 s would make this test slow.
    let env = env.edit(|shipped| {
        let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
        shipped.edit(|config| {
            let timeout = &mut config.pointer_mut(manager).unwrap()["stream_idle_timeout"];
            assert_eq!(timeout, &json!("15s"));
            *timeout = json!("0.5s");
        });
        Ok(())
    });
    let env = env.start().unwrap();
    let mut socket = Socket::open(&env, "/ws/room/1/x", servers[1]);
    assert_eq!(socket.status(), "101", "{}", socket.head);
    socket.stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    let silence = socket.stream.read(&mut [0]).expect_err("Envoy has closed the socket");
    assert!(matches!(silence.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{silence}");
    socket.say("still here");
}

/// What docs/recipes-a.md says of a crash.
#[test]
fn a_crash_ends_an_open_socket_at_its_next_message() {
    if is_exception() {
        return;
    }
    let (servers, _resolver, env) = rooms();
    let env = env.edit(crashing_module).start().unwrap();
    let open = || Socket::open(&env, "/ws/room/1/x", servers[1]);
    let mut socket = open();
    socket.say("before");
    assert_eq!(ask(&env, "/ws/room/1/x", &[("x-provoke-trap", "1")]).status, 503);
    // Until Envoy's back-off is over, there is no new VM.
    let mut next = eventually(Duration::from_secs(20), || match open() {
        socket if socket.status() == "101" => Ok(socket),
        socket => Err(socket.head),
    })
    .unwrap();
    next.say("after");
    socket.stream.write_all(b"after").unwrap();
    let end = socket.stream.read(&mut [0]);
    assert!(
        end.as_ref().map_or_else(|error| error.kind() == ErrorKind::ConnectionReset, |read| *read == 0),
        "{end:?}"
    );
}

#[test]
fn an_engine_is_found_by_its_name() {
    let env = recipe("engine-by-name").start().unwrap();
    let other = |number: u8| env.servers.hostport(3 - number);
    for number in [1, 2] {
        // The Host of a client has no effect, even if it is a name that the proxy could connect to.
        let headers = [("x-engine", &*number.to_string()), ("host", &*other(number))];
        let seen = seen(&env, "/echo", &headers);
        assert_eq!(seen["instance"], json!(env.servers.hostport(number)));
        assert_eq!(values(&seen, "host"), [env.servers.hostport(number)]);
    }
    let host = env.servers.hostport(1);
    let refused = |engine: &str| error(&env, "/echo", &[("x-engine", engine), ("host", &host)]);
    assert_eq!(error(&env, "/echo", &[("host", &host)]), (400, "missing x-engine".to_owned()));
    for engine in ["1.evil", "1:22", "1@evil", "1/", "-", "%31"] {
        assert_eq!(refused(engine), (400, "invalid x-engine".to_owned()), "{engine}");
    }
    assert_eq!(refused("9").0, 503, "there is no such name");
    assert_no_reload(&env);
}

#[test]
fn a_classifier_assigns_cells_and_a_cookie_overrules_the_session() {
    let cell = Arc::new(Mutex::new(String::new()));
    let says = Arc::clone(&cell);
    let resolver = FakeResolver::start(move |_, _| {
        FakeResponse::ok(json!({ "cell": says.lock().unwrap().as_str(), "why": ["test"] }).to_string())
    })
    .unwrap();
    let env = recipe("cell-by-cookie").resolver(resolver.addr()).start().unwrap();
    for (headers, subject, number) in [
        (&[("cookie", "a=b; session=zoe.5f3a"), ("x-user-id", "mallory")][..], "zoe", 2),
        (&[("cookie", "session=zoe2.5f3a; force-cell=cell-1")], "cell-1", 1),
        (&[("cookie", "session=not-signed"), ("x-user-id", "yan \"y\"")], "yan \"y\"", 2),
        (&[("x-user-id", "xavier")], "xavier", 1),
    ] {
        *cell.lock().unwrap() = format!("cell-{number}");
        let forged = format!("cell-{}", 3 - number);
        let seen = seen(&env, "/echo", &[headers, &[("x-cell", &*forged)]].concat());
        assert_eq!(seen["instance"], json!(env.servers.hostport(number)), "{subject}");
        assert_eq!(values(&seen, "x-cell"), [format!("cell-{number}")], "{subject}");
        let calls = resolver.requests();
        let call = calls.last().unwrap();
        assert!(call.head.starts_with(b"POST /classify "), "{}", call.path);
        assert_eq!(serde_json::from_slice::<Value>(&call.body).unwrap(), json!({ "subject": subject }));
    }
    let calls = resolver.requests().len();
    let nobody = seen(&env, "/echo", &[("x-cell", "cell-2")]);
    assert_eq!(nobody["instance"], json!(env.servers.hostport(1)));
    assert_eq!(resolver.requests().len(), calls, "without a subject there is no call");

    "resolver".clone_into(&mut cell.lock().unwrap());
    assert_eq!(error(&env, "/echo", &[("x-user-id", "greedy")]), (502, "target not allowed".to_owned()));
    assert_no_reload(&env);
}

#[test]
fn a_sandbox_may_start_slowly_and_only_its_published_port_is_reached() {
    const COLD: Duration = Duration::from_millis(1500);
    let resolver = FakeResolver::start(|path, _| match path {
        "/sandboxes/a1b2" => FakeResponse::ok(json!({ "host": name(2) }).to_string()).delayed(COLD),
        "/sandboxes/b-2" => FakeResponse::ok(json!({ "host": name(1) }).to_string()),
        "/sandboxes/far" => FakeResponse::ok(json!({ "host": "elsewhere.example" }).to_string()),
        _ => FakeResponse::status(404, ""),
    })
    .unwrap();
    let env = recipe("sandbox-by-port-and-id").resolver(resolver.addr()).start().unwrap();
    let host = |port: u16, id: &str| format!("{port}-{id}.sandbox.example.com");
    let port = env.servers.port();

    // While it starts, many ask for it; the default timeout would be too short.
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let seen = seen(&env, "/echo", &[("host", &host(port, "a1b2"))]);
                assert_eq!(seen["instance"], json!(env.servers.hostport(2)));
            });
        }
        // Another port of it is another key, with a call of its own.
        scope.spawn(|| {
            let refused = error(&env, "/echo", &[("host", &host(22, "a1b2"))]);
            assert_eq!(refused, (502, "target not allowed".to_owned()));
        });
    });
    assert!(start.elapsed() >= COLD, "{:?}", start.elapsed());
    assert_eq!(resolver.requests().len(), 2, "all requests for one name wait for one call");

    // The ports of one sandbox are apart, also in the cache: the one that is refused comes first.
    let refused = |host: &str| error(&env, "/echo", &[("host", host), ("x-target-host", &name(1))]);
    for _ in 0..2 {
        assert_eq!(refused(&host(22, "b-2")), (502, "target not allowed".to_owned()));
        let seen = seen(&env, "/echo", &[("host", &host(port, "b-2"))]);
        assert_eq!(seen["instance"], json!(env.servers.hostport(1)));
    }
    assert_eq!(refused(&host(port, "far")), (502, "target not allowed".to_owned()));
    assert_eq!(refused(&host(port, "gone")).0, 404);
    assert_eq!(refused(&host(0, "b-2")), (400, "invalid host".to_owned()));
    assert_eq!(refused("web-b-2.sandbox.example.com"), (400, "invalid host".to_owned()));
    // A client cannot name the host itself.
    assert_eq!(refused(&env.servers.hostport(1)), (400, "missing host".to_owned()));
    assert_no_reload(&env);
}

#[test]
fn a_host_sees_the_path_without_its_tenant() {
    let env = recipe("key-in-path").start().unwrap();
    // Both servers' tenants occur.
    let owners: Vec<_> = (0..16)
        .map(|number| {
            let tenant = format!("tenant-{number}");
            let owner = 1 + u8::try_from(IndexMode::Hash.slot(tenant.as_bytes(), 2)).unwrap();
            (tenant, env.servers.hostport(owner))
        })
        .collect();
    for number in [1, 2] {
        let [owner, other] = [number, 3 - number].map(|number| env.servers.hostport(number));
        let (tenant, _) = owners.iter().find(|(_, hostport)| *hostport == owner).unwrap();
        let (stranger, _) = owners.iter().find(|(_, hostport)| *hostport == other).unwrap();
        for (path, expected) in [
            (format!("/t/{tenant}/echo?x=/t/{stranger}/"), format!("/echo?x=/t/{stranger}/")),
            (format!("/t/{tenant}/echo/t/{stranger}/x"), format!("/echo/t/{stranger}/x")),
            (format!("/t/{stranger}/../{tenant}/echo"), "/echo".to_owned()),
        ] {
            let seen = seen(&env, &path, &[("host", &other)]);
            assert_eq!((&seen["instance"], &seen["path"]), (&json!(owner), &json!(expected)), "{path}");
        }
    }
    assert_eq!(seen(&env, "/t/a%2Fb/echo", &[])["path"], json!("/echo"));
    assert_eq!(error(&env, "/t/acme", &[]), (400, "missing path".to_owned()));
    assert_eq!(env.get("/where?client_id=acme").unwrap().status, 404, "the resolver is not for clients");
    assert_no_reload(&env);
}
