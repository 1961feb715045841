//! The operators' API over real HTTP, on a control plane with a folder of its own.

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::path::Path;
    use std::time::Duration;

    use pinroute_control_plane::{ControlPlane, Error, Numbers, Options, Token};
    use pinroute_testkit::http::{Client, Response};
    use serde_json::{Value, json};
    use tempfile::TempDir;
    use tokio::runtime::Runtime;

    /// A control plane that runs.
    struct Started {
        client: Client,
        plane: Option<ControlPlane>,
        runtime: Runtime,
    }

    fn options(folder: &Path) -> Options {
        Options {
            xds: "127.0.0.1:0".parse().unwrap(),
            api: "127.0.0.1:0".parse().unwrap(),
            data: folder.join("data"),
            prefix: "p".to_owned(),
            ..Options::default()
        }
    }

    impl Started {
        fn new(options: Options) -> Self {
            let runtime = Runtime::new().unwrap();
            let plane = runtime.block_on(ControlPlane::start(options)).unwrap();
            Self { client: Client::new(plane.api), plane: Some(plane), runtime }
        }

        fn stop(mut self) {
            self.runtime.block_on(self.plane.take().unwrap().stop());
        }

        fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
            self.client.request(method, path, headers, body.as_bytes()).unwrap()
        }

        /// The document that a call answers with 200.
        fn ok(&self, method: &str, path: &str, body: &str) -> Value {
            let response = self.call(method, path, &[], body);
            assert_eq!(response.status, 200, "{method} {path}: {}", response.text());
            response.json().unwrap()
        }

        fn get(&self, path: &str) -> Value {
            self.ok("GET", path, "")
        }

        /// Bytes as they are, on a connection of their own; the status and the body of the answer.
        fn raw(&self, request: &[u8]) -> (u16, String) {
            let mut stream = TcpStream::connect(self.plane.as_ref().unwrap().api).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            stream.write_all(request).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            let text = String::from_utf8(answer).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
        }
    }

    fn start() -> (TempDir, Started) {
        let folder = tempfile::tempdir().unwrap();
        let started = Started::new(options(folder.path()));
        (folder, started)
    }

    #[test]
    fn runtime_values_are_replaced_and_merged() {
        let (_folder, plane) = start();
        assert_eq!(plane.get("/v1/runtime"), json!({ "version": 0, "values": {} }));
        let set =
            plane.ok("PUT", "/v1/runtime", r#"{"values": {"p.total_hosts": 8.0, "x": "y", "b": true}}"#);
        assert_eq!(set, json!({ "version": 1, "values": { "p.total_hosts": 8, "x": "y", "b": true } }));
        let merged = plane.ok("PATCH", "/v1/runtime", r#"{"values": {"x": null, "p.replicas": 3}}"#);
        assert_eq!(merged["values"], json!({ "p.total_hosts": 8, "b": true, "p.replicas": 3 }));
        assert_eq!(merged, plane.get("/v1/runtime"));
        let same = plane.ok("PATCH", "/v1/runtime", r#"{"values": {"b": true}}"#);
        assert_eq!(same["version"], 2, "what changes nothing is no new version");
        assert_eq!(
            plane.ok("PUT", "/v1/runtime", r#"{"values": {}}"#),
            json!({ "version": 3, "values": {} })
        );
    }

    #[test]
    fn a_customer_has_a_size_of_its_own_or_none() {
        let (_folder, plane) = start();
        let long = "k".repeat(256);
        for (path, key) in [
            ("customer-A", "customer-A"),
            ("a%2Fb%20c", "a/b c"),
            ("a+b", "a+b"),
            ("%C3%A9.%25", "é.%"),
            ("%2E%2E", ".."),
            (long.as_str(), long.as_str()),
        ] {
            let path = format!("/v1/customers/{path}");
            assert_eq!(plane.call("GET", &path, &[], "").status, 404, "{path}");
            assert_eq!(plane.call("DELETE", &path, &[], "").status, 404, "{path}");
            assert_eq!(plane.ok("PUT", &path, r#"{"shard_size": 3}"#), json!({ "shard_size": 3 }));
            assert_eq!(plane.get(&path), json!({ "shard_size": 3 }));
            let name = format!("p.customer.{key}.shard_size");
            assert_eq!(plane.get("/v1/runtime")["values"], json!({ name: 3 }));
            assert_eq!(plane.call("DELETE", &path, &[], "").status, 204, "{path}");
            assert_eq!(plane.get("/v1/runtime")["values"], json!({}));
        }
    }

    #[test]
    fn hosts_keep_their_numbers() {
        let (_folder, plane) = start();
        let none =
            json!({ "cluster": "service_backend", "hosts": [], "ids": [], "total_hosts": 0, "version": 0 });
        assert_eq!(plane.get("/v1/hosts"), none);
        plane.ok("PUT", "/v1/hosts", r#"{"hosts": ["10.0.0.1:80", "10.0.0.2:80", "[::1]:80"]}"#);
        assert_eq!(plane.get("/v1/runtime")["values"], json!({ "p.total_hosts": 3 }));
        let gone = plane.ok("PUT", "/v1/hosts", r#"{"hosts": ["[::1]:80", "10.0.0.1:80"]}"#);
        assert_eq!((&gone["ids"], &gone["total_hosts"]), (&json!([0, 2]), &json!(3)));
        assert_eq!(gone["hosts"], json!(["10.0.0.1:80", "[::1]:80"]));
        let new = plane.ok(
            "PUT",
            "/v1/hosts",
            r#"{"cluster": "service_backend", "hosts": ["10.0.0.9:80", "[::1]:80", "10.0.0.1:80"]}"#,
        );
        assert_eq!(new["hosts"], json!(["10.0.0.1:80", "10.0.0.9:80", "[::1]:80"]));
        assert_eq!(new, plane.get("/v1/hosts?cluster=service_backend"));
        assert_eq!(plane.call("GET", "/v1/hosts?cluster=other", &[], "").status, 404);
        plane.ok("PUT", "/v1/hosts", r#"{"cluster": "other", "hosts": ["10.0.0.1:80"]}"#);
        assert_eq!(plane.get("/v1/hosts?cluster=other")["cluster"], "other");
    }

    #[test]
    fn the_number_of_hosts_may_be_left_to_metadata() {
        for numbers in [Numbers::Cds, Numbers::Eds] {
            let folder = tempfile::tempdir().unwrap();
            let plane = Started::new(Options { numbers, ..options(folder.path()) });
            plane.ok("PUT", "/v1/hosts", r#"{"hosts": ["10.0.0.1:80"]}"#);
            assert_eq!(plane.get("/v1/runtime"), json!({ "version": 0, "values": {} }));
        }
    }

    #[test]
    fn configurations_are_checked_by_the_filter() {
        let (_folder, plane) = start();
        let document = json!({ "index": { "hosts": ["a:1", "b:1"] } });
        let path = "/v1/configs/my%2Fname";
        assert_eq!(plane.ok("PUT", path, &document.to_string()), document);
        assert_eq!(plane.get(path), document);
        let wrong = plane.call("PUT", path, &[], r#"{"index": {"replicas": 0}}"#);
        assert_eq!(wrong.status, 422);
        let message = pinroute_core::config::parse(br#"{"index": {"replicas": 0}}"#).unwrap_err().to_string();
        assert_eq!(wrong.json().unwrap(), json!({ "error": message, "field": "index.replicas" }));
        assert_eq!(plane.get(path), document, "the last good one stays");
        assert_eq!(plane.call("DELETE", path, &[], "").status, 204);
        assert_eq!(plane.call("GET", path, &[], "").status, 404);
        assert_eq!(plane.call("DELETE", path, &[], "").status, 404);
    }

    const RUNTIME: &str = "/v1/runtime";

    /// Method, path, headers, body; status and field of the answer.
    type Bad<'c> = (&'c str, &'c str, &'c [(&'c str, &'c str)], &'c str, u16, &'c str);

    #[test]
    fn bad_input_names_the_field_and_changes_nothing() {
        let (_folder, plane) = start();
        plane.ok("PUT", RUNTIME, r#"{"values": {"p.total_hosts": 8, "p.customer.a.shard_size": 2}}"#);
        plane.ok("PUT", "/v1/hosts", r#"{"hosts": ["10.0.0.1:80", "10.0.0.2:80"]}"#);
        plane.ok("PUT", "/v1/configs/n", r#"{"index": {"hosts": ["a:1"]}}"#);
        let all = || ["/v1/runtime", "/v1/hosts", "/v1/configs/n", "/v1/history"].map(|path| plane.get(path));
        let before = all();

        let large = format!(r#"{{"values": {{"x": "{}"}}}}"#, "x".repeat(1 << 20));
        let deep = format!(r#"{{"values": {}}}"#, "[".repeat(10_000));
        let long_key = format!("/v1/customers/{}", "k".repeat(257));
        let long_value = format!(r#"{{"values": {{"{}": 1}}}}"#, "k".repeat(513));
        let long_name = format!("/v1/configs/{}", "k".repeat(257));
        let many_hosts: Vec<_> =
            (0..65_537).map(|n| format!("\"10.{}.{}.1:80\"", n / 256 % 256, n % 256)).collect();
        let many_hosts = format!(r#"{{"hosts": [{}]}}"#, many_hosts.join(","));
        let long_actor = "a".repeat(257);
        let size = r#"{"shard_size": 3}"#;
        let values = r#"{"values": {"p.total_hosts": 9}}"#;
        let cases: &[Bad] = &[
            // The body.
            ("PUT", RUNTIME, &[], "", 400, "body"),
            ("PUT", RUNTIME, &[], "{", 400, "body"),
            ("PUT", RUNTIME, &[], "values=1", 400, "body"),
            ("PUT", RUNTIME, &[], r#"{"values": {}} x"#, 400, "body"),
            ("PUT", RUNTIME, &[], "[]", 400, "body"),
            ("PUT", RUNTIME, &[], "null", 400, "body"),
            ("PUT", RUNTIME, &[], &deep, 400, "body"),
            ("PUT", RUNTIME, &[], r#"{"values": {"x": NaN}}"#, 400, "body"),
            ("PUT", RUNTIME, &[], r#"{"values": {"x": 1e999}}"#, 400, "body"),
            ("PUT", RUNTIME, &[], r#"{"values": {"x": "\ud800"}}"#, 400, "body"),
            ("PUT", RUNTIME, &[], &large, 413, "body"),
            ("PATCH", RUNTIME, &[], &large, 413, "body"),
            (
                "PUT",
                RUNTIME,
                &[],
                r#"{"values": {"p.customer..shard_size": 3}}"#,
                400,
                "values.p.customer..shard_size",
            ),
            ("PUT", "/v1/hosts", &[], r#"{"cluster": "*", "hosts": []}"#, 400, "cluster"),
            ("PUT", "/v1/configs/*", &[], "{}", 400, "NAME"),
            // Members.
            ("PUT", RUNTIME, &[], "{}", 400, "values"),
            ("PUT", RUNTIME, &[], r#"{"values": null}"#, 400, "values"),
            ("PUT", RUNTIME, &[], r#"{"values": [1]}"#, 400, "values"),
            ("PATCH", RUNTIME, &[], r#"{"values": "x"}"#, 400, "values"),
            ("PUT", RUNTIME, &[], r#"{"values": {}, "version": 3}"#, 400, "version"),
            ("PUT", RUNTIME, &[], r#"{"values": {}, "values": {}}"#, 400, "values"),
            ("PUT", RUNTIME, &[], r#"{"values": {"a": 1, "a": 2}}"#, 400, "a"),
            ("PATCH", RUNTIME, &[], r#"{"p.total_hosts": 9}"#, 400, "p.total_hosts"),
            // Runtime values.
            ("PUT", RUNTIME, &[], r#"{"values": {"": 1}}"#, 400, "values"),
            ("PUT", RUNTIME, &[], &long_value, 400, "values"),
            ("PUT", RUNTIME, &[], r#"{"values": {"x": null}}"#, 400, "values.x"),
            ("PUT", RUNTIME, &[], r#"{"values": {"x": {}}}"#, 400, "values.x"),
            ("PATCH", RUNTIME, &[], r#"{"values": {"ok": 1, "x": [1]}}"#, 400, "values.x"),
            ("PATCH", RUNTIME, &[], r#"{"values": {"p.total_hosts": 0}}"#, 400, "values.p.total_hosts"),
            ("PATCH", RUNTIME, &[], r#"{"values": {"p.total_hosts": "8"}}"#, 400, "values.p.total_hosts"),
            ("PATCH", RUNTIME, &[], r#"{"values": {"p.total_hosts": 8.5}}"#, 400, "values.p.total_hosts"),
            ("PATCH", RUNTIME, &[], r#"{"values": {"p.replicas": 65537}}"#, 400, "values.p.replicas"),
            (
                "PATCH",
                RUNTIME,
                &[],
                r#"{"values": {"p.default_shard_size": -1}}"#,
                400,
                "values.p.default_shard_size",
            ),
            (
                "PATCH",
                RUNTIME,
                &[],
                r#"{"values": {"p.customer.a.shard_size": true}}"#,
                400,
                "values.p.customer.a.shard_size",
            ),
            // Customers.
            ("PUT", "/v1/customers/", &[], size, 400, "KEY"),
            ("GET", "/v1/customers/", &[], "", 400, "KEY"),
            ("DELETE", "/v1/customers/", &[], "", 400, "KEY"),
            ("PUT", &long_key, &[], size, 400, "KEY"),
            ("PUT", "/v1/customers/a%00b", &[], size, 400, "KEY"),
            ("PUT", "/v1/customers/a%0Ab", &[], size, 400, "KEY"),
            ("PUT", "/v1/customers/%FF", &[], size, 400, "KEY"),
            ("PUT", "/v1/customers/100%", &[], size, 400, "KEY"),
            ("PUT", "/v1/customers/a", &[], "{}", 400, "shard_size"),
            ("PUT", "/v1/customers/a", &[], r#"{"shard_size": null}"#, 400, "shard_size"),
            ("PUT", "/v1/customers/a", &[], r#"{"shard_size": "3"}"#, 400, "shard_size"),
            ("PUT", "/v1/customers/a", &[], r#"{"shard_size": 0}"#, 400, "shard_size"),
            ("PUT", "/v1/customers/a", &[], r#"{"shard_size": 65537}"#, 400, "shard_size"),
            ("PUT", "/v1/customers/a", &[], r#"{"shard_size": 3, "size": 3}"#, 400, "size"),
            ("PUT", "/v1/customers/a", &[], "3", 400, "body"),
            ("PUT", "/v1/customers/a?dry_run=1", &[], size, 400, "dry_run"),
            ("DELETE", "/v1/customers/none", &[], "", 404, "KEY"),
            // Hosts.
            ("PUT", "/v1/hosts", &[], "{}", 400, "hosts"),
            ("PUT", "/v1/hosts", &[], r#"{"hosts": "10.0.0.1:80"}"#, 400, "hosts"),
            ("PUT", "/v1/hosts", &[], r#"{"hosts": ["10.0.0.1:80", 5]}"#, 400, "hosts[1]"),
            ("PUT", "/v1/hosts", &[], r#"{"hosts": ["10.0.0.1"]}"#, 400, "hosts[0]"),
            ("PUT", "/v1/hosts", &[], r#"{"hosts": ["name:80"]}"#, 400, "hosts[0]"),
            ("PUT", "/v1/hosts", &[], r#"{"hosts": ["10.0.0.1:0"]}"#, 400, "hosts[0]"),
            ("PUT", "/v1/hosts", &[], r#"{"hosts": ["10.0.0.1:80", "10.0.0.1:80"]}"#, 400, "hosts[1]"),
            ("PUT", "/v1/hosts", &[], &many_hosts, 413, "body"),
            ("PUT", "/v1/hosts", &[], r#"{"cluster": 5, "hosts": []}"#, 400, "cluster"),
            ("PUT", "/v1/hosts", &[], r#"{"cluster": null, "hosts": []}"#, 400, "cluster"),
            ("PUT", "/v1/hosts", &[], r#"{"cluster": "", "hosts": []}"#, 400, "cluster"),
            ("PUT", "/v1/hosts?cluster=x", &[], r#"{"hosts": []}"#, 400, "cluster"),
            ("GET", "/v1/hosts?cluster=none", &[], "", 404, "cluster"),
            // Configurations.
            ("PUT", "/v1/configs/", &[], "{}", 400, "NAME"),
            ("PUT", &long_name, &[], r#"{"index": {"hosts": ["a:1"]}}"#, 400, "NAME"),
            ("PUT", "/v1/configs/n", &[], "not JSON", 400, "body"),
            ("PUT", "/v1/configs/n", &[], r#"{"index": {}, "index": {}}"#, 400, "index"),
            ("PUT", "/v1/configs/n", &[], "[]", 422, "body"),
            ("PUT", "/v1/configs/n", &[], r#"{"indexx": {}}"#, 422, "indexx"),
            ("PUT", "/v1/configs/n", &[], r#"{"index": {"hosts": "a:1"}}"#, 422, "index.hosts"),
            ("GET", "/v1/configs/none", &[], "", 404, "NAME"),
            // Headers.
            ("PUT", RUNTIME, &[("if-match", "one")], values, 400, "If-Match"),
            ("PUT", RUNTIME, &[("if-match", "*")], values, 400, "If-Match"),
            ("PUT", RUNTIME, &[("if-match", "W/\"2\"")], values, 400, "If-Match"),
            ("PUT", RUNTIME, &[("if-match", "\"2")], values, 400, "If-Match"),
            ("PUT", RUNTIME, &[("if-match", "+2")], values, 400, "If-Match"),
            ("PUT", RUNTIME, &[("if-match", "2"), ("if-match", "2")], values, 400, "If-Match"),
            ("PUT", RUNTIME, &[("if-match", "7")], values, 412, "If-Match"),
            ("PUT", RUNTIME, &[("x-pinroute-actor", &long_actor)], values, 400, "x-pinroute-actor"),
            // Queries.
            ("GET", "/v1/runtime?version=1", &[], "", 400, "version"),
            ("GET", "/v1/history?limit=0", &[], "", 400, "limit"),
            ("GET", "/v1/history?limit=1001", &[], "", 400, "limit"),
            ("GET", "/v1/history?limit=ten", &[], "", 400, "limit"),
            ("GET", "/v1/history?limit=1&limit=2", &[], "", 400, "limit"),
            ("GET", "/v1/preview?total_hosts=0", &[], "", 400, "total_hosts"),
            ("GET", "/v1/preview?shard_size=65537", &[], "", 400, "shard_size"),
            ("GET", "/v1/preview?hosts=3", &[], "", 400, "hosts"),
            ("GET", "/v1/preview?total_hosts=%FF", &[], "", 400, "total_hosts"),
            // Methods and paths.
            ("POST", RUNTIME, &[], values, 405, "method"),
            ("DELETE", RUNTIME, &[], "", 405, "method"),
            ("PATCH", "/v1/customers/a", &[], size, 405, "method"),
            ("DELETE", "/v1/hosts", &[], "", 405, "method"),
            ("PUT", "/v1/nodes", &[], "", 405, "method"),
            ("GET", "/v1/unknown", &[], "", 404, "path"),
            ("PUT", "/v1/customers/a/b", &[], size, 404, "path"),
            ("PUT", "/v1/customers", &[], size, 404, "path"),
            ("GET", "/", &[], "", 404, "path"),
        ];
        for (method, path, headers, body, status, field) in cases {
            let case = format!("{method} {path} {headers:?} {:.80}", body);
            let response = plane.call(method, path, headers, body);
            assert_eq!(response.status, *status, "{case}: {}", response.text());
            let answer = response.json().unwrap();
            assert_eq!(answer["field"], *field, "{case}: {answer}");
            assert!(!answer["error"].as_str().unwrap().is_empty(), "{case}: {answer}");
            assert_eq!(answer.as_object().unwrap().len(), 2, "{case}: {answer}");
            assert_eq!(response.header("content-type"), Some("application/json"), "{case}");
            assert_eq!(all(), before, "{case} changed something");
        }
        assert!(cases.len() > 90);
    }

    #[test]
    fn bytes_that_no_client_library_sends_are_refused() {
        let (_folder, plane) = start();
        let put = |body: &[u8]| {
            let head = format!(
                "PUT /v1/runtime HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            plane.raw(&[head.as_bytes(), body].concat())
        };
        let (status, body) = put(b"{\"values\": {\"x\": \"\xff\"}}");
        assert!(status == 400 && body.contains("not UTF-8") && body.contains(r#""field":"body""#), "{body}");
        assert_eq!(put(b"\xef\xbb\xbf{\"values\": {}}").0, 400, "a byte order mark is no JSON");
        assert_eq!(put(b"{\"values\": {\"x\": 1}}").0, 200, "no content type is needed");
        let (status, _) = plane.raw(b"PUT /v1/runtime HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n");
        assert_eq!(status, 400);
        let chunk = [b"100000\r\n".as_slice(), &vec![b' '; 1 << 20], b"\r\n"].concat();
        let head =
            b"PUT /v1/runtime HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
        let (status, _) = plane.raw(&[head.as_slice(), &chunk, &chunk, b"0\r\n\r\n"].concat());
        assert_eq!(status, 413, "also if its length is not announced");
        let form = [("content-type", "application/x-www-form-urlencoded")];
        assert_eq!(plane.call("PATCH", RUNTIME, &form, r#"{"values": {"y": 1}}"#).status, 200);
        assert_eq!(plane.get(RUNTIME)["values"], json!({ "x": 1, "y": 1 }));
    }

    #[test]
    fn a_version_guards_against_lost_updates() {
        let (_folder, plane) = start();
        let put = |path: &str, version: &str, body: &str| {
            let response = plane.call("PUT", path, &[("if-match", version)], body);
            (response.status, response.header("etag").unwrap_or_default().to_owned())
        };
        let values = |number: u32| format!(r#"{{"values": {{"p.total_hosts": {number}}}}}"#);
        assert_eq!(put(RUNTIME, "0", &values(8)), (200, "\"1\"".to_owned()));
        assert_eq!(put(RUNTIME, "\"1\"", &values(9)), (200, "\"2\"".to_owned()));
        assert_eq!(put(RUNTIME, "1", &values(10)).0, 412);
        let patched = plane.call("PATCH", RUNTIME, &[("if-match", "\"1\"")], &values(10));
        assert_eq!(patched.status, 412);
        assert_eq!(
            patched.json().unwrap(),
            json!({ "error": "the version is 2, not 1", "field": "If-Match" })
        );
        assert_eq!(plane.get(RUNTIME)["values"]["p.total_hosts"], 9);
        let hosts = r#"{"cluster": "c", "hosts": ["10.0.0.1:80"]}"#;
        assert_eq!(put("/v1/hosts", "0", hosts), (200, "\"3\"".to_owned()));
        assert_eq!(put("/v1/hosts", "0", hosts).0, 412);
        assert_eq!(put("/v1/customers/a", "1", r#"{"shard_size": 3}"#).0, 412);
        assert_eq!(put("/v1/configs/n", "1", r#"{"index": {"hosts": ["a:1"]}}"#).0, 412);
        assert_eq!(put("/v1/configs/n", "0", r#"{"index": {"hosts": ["a:1"]}}"#).0, 200);
    }

    #[test]
    fn of_writers_with_the_same_version_one_wins() {
        let (_folder, plane) = start();
        let one = |number: usize| {
            let body = format!(r#"{{"values": {{"p.total_hosts": {}}}}}"#, number + 1);
            Client::new(plane.plane.as_ref().unwrap().api).request(
                "PUT",
                RUNTIME,
                &[("if-match", "0")],
                body.as_bytes(),
            )
        };
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let writers: Vec<_> =
                (0..8).map(|number| scope.spawn(move || one(number).unwrap().status)).collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert_eq!(plane.get(RUNTIME)["version"], 1);
    }

    #[test]
    fn a_connection_lasts_when_a_call_with_a_body_is_refused() {
        let (_folder, plane) = start();
        for (call, status) in [("PATCH /v1/nodes", 405), ("PUT /v1/nothing", 404), ("GET /healthz", 200)] {
            let mut stream = TcpStream::connect(plane.plane.as_ref().unwrap().api).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let head = format!("{call} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            // The body comes so late that an API that does not wait for it has answered.
            std::thread::sleep(Duration::from_millis(100));
            stream.write_all(b"1\r\n \r\n0\r\n\r\n").unwrap();
            stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
            let mut answers = String::new();
            stream.read_to_string(&mut answers).unwrap();
            assert!(answers.starts_with(&format!("HTTP/1.1 {status} ")), "{call}: {answers}");
            assert!(
                answers.ends_with("\r\n\r\nok\n") && answers.matches("HTTP/1.1 ").count() == 2,
                "{call}: {answers}"
            );
        }
    }

    #[test]
    fn changes_need_the_token_if_there_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let plane = Started::new(Options { token: Token::new("secret"), ..options(folder.path()) });
        let body = r#"{"values": {"x": 1}}"#;
        let status = |method: &str, path: &str, value: Option<&str>| {
            let header = value.map(|value| ("authorization", value));
            plane.call(method, path, header.as_slice(), body).status
        };
        for wrong in [
            None,
            Some("Bearer secre"),
            Some("Bearer secret1"),
            Some("Bearer"),
            Some("secret"),
            Some("Basic secret"),
        ] {
            for (method, path) in
                [("PUT", RUNTIME), ("PATCH", RUNTIME), ("DELETE", "/v1/customers/a"), ("POST", "/none")]
            {
                assert_eq!(status(method, path, wrong), 401, "{method} {path} {wrong:?}");
            }
        }
        let refused = plane.call("PUT", RUNTIME, &[], body);
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
        assert_eq!(refused.json().unwrap()["field"], "authorization");
        assert_eq!(plane.get(RUNTIME), json!({ "version": 0, "values": {} }), "reading needs none");
        let described = &plane.get("/openapi.json")["paths"]["/v1/runtime"]["put"]["security"];
        assert_eq!(*described, json!([{ "token": [] }]));
        assert_eq!(status("PUT", RUNTIME, Some("Bearer secret")), 200);
        assert_eq!(status("PUT", RUNTIME, Some("bearer  secret ")), 200);
    }

    #[test]
    fn without_a_token_the_api_listens_on_loopback_only() {
        let folder = tempfile::tempdir().unwrap();
        let open = Options { api: "0.0.0.0:0".parse().unwrap(), ..options(folder.path()) };
        let runtime = Runtime::new().unwrap();
        let error = runtime.block_on(ControlPlane::start(open.clone())).unwrap_err();
        assert!(
            matches!(error, Error::NoToken(_)) && error.to_string().contains("PINROUTE_API_TOKEN"),
            "{error}"
        );
        Started::new(Options { token: Token::new("secret"), ..open }).stop();
    }

    /// A page that lets its own name point to loopback can make a browser call the API there, but not with another host.
    #[test]
    fn without_a_token_a_foreign_page_cannot_call_the_api() {
        let folder = tempfile::tempdir().unwrap();
        let statuses = |plane: &Started| {
            ["evil.example:18001", "localhost"].map(|host| {
                let body = r#"{"values": {"x": 1}}"#;
                let length = body.len();
                let request = format!(
                    "PUT /v1/runtime HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer secret\r\n\
                     content-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
                plane.raw(request.as_bytes())
            })
        };
        let plane = Started::new(options(folder.path()));
        let [(foreign, problem), (own, _)] = statuses(&plane);
        assert_eq!((foreign, own), (403, 200));
        let problem: Value = serde_json::from_str(&problem).unwrap();
        assert_eq!(problem["field"], "host");
        assert!(problem["error"].as_str().unwrap().starts_with("got \"evil.example:18001\"; "), "{problem}");
        plane.stop();
        let plane = Started::new(Options { token: Token::new("secret"), ..options(folder.path()) });
        assert_eq!(statuses(&plane).map(|(status, _)| status), [200, 200]);
    }

    #[test]
    fn a_restart_keeps_everything() {
        let (folder, plane) = start();
        plane.ok("PUT", RUNTIME, r#"{"values": {"p.total_hosts": 8, "x": 0.1, "t": "é", "b": false}}"#);
        plane.ok("PUT", "/v1/hosts", r#"{"hosts": ["10.0.0.1:80", "10.0.0.2:80", "[::1]:80"]}"#);
        plane.ok("PUT", "/v1/hosts", r#"{"hosts": ["[::1]:80"]}"#);
        plane.ok("PUT", "/v1/configs/n", r#"{"index": {"hosts": ["a:1"]}}"#);
        plane.ok("PUT", "/v1/customers/a", r#"{"shard_size": 3}"#);
        plane.call("DELETE", "/v1/customers/a", &[], "");
        let all = |plane: &Started| {
            ["/v1/runtime", "/v1/hosts", "/v1/configs/n", "/v1/history"].map(|path| plane.get(path))
        };
        let before = all(&plane);
        plane.stop();
        let again = Started::new(options(folder.path()));
        assert_eq!(all(&again), before);
        let version = before[0]["version"].as_u64().unwrap();
        let next = again.ok("PATCH", RUNTIME, r#"{"values": {"x": 1}}"#);
        assert!(next["version"].as_u64().unwrap() > version, "a version is never used again");

        let second =
            Runtime::new().unwrap().block_on(ControlPlane::start(options(folder.path()))).unwrap_err();
        assert!(second.to_string().starts_with("another process has "), "{second}");
    }

    #[test]
    fn the_history_says_when_what_and_who() {
        let (_folder, plane) = start();
        plane.call("PUT", RUNTIME, &[("x-pinroute-actor", "Zoë")], r#"{"values": {"p.total_hosts": 8}}"#);
        plane.ok("PUT", "/v1/customers/a%2Fb", r#"{"shard_size": 3}"#);
        plane.ok("PUT", "/v1/configs/n", r#"{"shuffle_shard": {"seed": "secret-of-24-characters!"}, "key": {"header": "x"}, "target": {"header": {"name": "y", "value": "b{index}"}}}"#);
        plane.ok("PATCH", RUNTIME, &format!(r#"{{"values": {{"x": "{}"}}}}"#, "é".repeat(1000)));
        let history = plane.get("/v1/history");
        let changes = history["changes"].as_array().unwrap();
        assert_eq!(
            changes.iter().map(|change| change["revision"].as_u64().unwrap()).collect::<Vec<_>>(),
            [4, 3, 2, 1]
        );
        assert_eq!((&changes[3]["actor"], &changes[2]["actor"]), (&json!("Zoë"), &Value::Null));
        assert_eq!(changes[3]["what"], "PUT /v1/runtime p.total_hosts=8");
        assert_eq!(changes[2]["what"], "PUT /v1/customers/a%2Fb shard_size=3");
        assert_eq!(changes[1]["what"], "PUT /v1/configs/n", "a document may hold secrets");
        assert!(changes[0]["what"].as_str().unwrap().chars().count() <= 201);
        let at = changes[0]["at"].as_str().unwrap();
        assert!(at.len() >= 20 && at.contains('T') && at.ends_with('Z'), "{at}");
        assert_eq!(plane.get("/v1/history?limit=2")["changes"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn a_preview_says_who_would_move() {
        let (_folder, plane) = start();
        assert_eq!(
            plane.get("/v1/preview")["moved"],
            0,
            "before anything is set, the filter's own numbers count"
        );
        plane.ok(
            "PUT",
            RUNTIME,
            r#"{"values": {"p.total_hosts": 8, "p.default_shard_size": 2, "p.customer.a.shard_size": 4}}"#,
        );
        let more = plane.get("/v1/preview?total_hosts=12&shard_size=3");
        assert_eq!((&more["keys"], &more["refused"]), (&json!(10_000), &json!(0)));
        assert_eq!(
            (&more["from"]["total_hosts"], &more["to"]["total_hosts"]),
            (&json!([8, 8]), &json!([12, 12]))
        );
        assert_eq!(
            (&more["from"]["shard_size"], &more["to"]["shard_size"]),
            (&json!([2, 4]), &json!([3, 4]))
        );
        assert_eq!(more["moved_share"], 1.0, "{more}");
        assert!(
            more["overlap"]["before"]["2"].is_number() && more["overlap"]["after"]["3"].is_number(),
            "{more}"
        );
        let one = plane.get("/v1/preview?total_hosts=9");
        let (share, expected) =
            (one["moved_share"].as_f64().unwrap(), one["expected_share"].as_f64().unwrap());
        assert!((share - expected).abs() < 0.03 && (expected - 2.0 / 9.0).abs() < 0.01, "{share} {expected}");
        assert_eq!(plane.get("/v1/preview")["moved"], 0);
        assert_eq!(plane.get("/v1/runtime")["version"], 1, "a preview changes nothing");
    }

    #[test]
    fn the_description_lists_every_call() {
        let (_folder, plane) = start();
        let description = plane.get("/openapi.json");
        let mut calls = Vec::new();
        for (path, methods) in description["paths"].as_object().unwrap() {
            calls.extend(methods.as_object().unwrap().keys().map(|method| format!("{method} {path}")));
        }
        calls.sort();
        let expected = [
            "delete /v1/configs/{NAME}",
            "delete /v1/customers/{KEY}",
            "get /healthz",
            "get /metrics",
            "get /openapi.json",
            "get /readyz",
            "get /v1/configs/{NAME}",
            "get /v1/customers/{KEY}",
            "get /v1/history",
            "get /v1/hosts",
            "get /v1/nodes",
            "get /v1/preview",
            "get /v1/runtime",
            "patch /v1/runtime",
            "put /v1/configs/{NAME}",
            "put /v1/customers/{KEY}",
            "put /v1/hosts",
            "put /v1/runtime",
        ];
        assert_eq!(calls, expected);
        // Each of them exists, and no other method of these paths.
        for path in description["paths"].as_object().unwrap().keys() {
            for method in ["GET", "PUT", "PATCH", "DELETE", "POST"] {
                let is_listed = calls.contains(&format!("{} {path}", method.to_lowercase()));
                let response = plane.call(method, &path.replace(['{', '}'], ""), &[], "");
                assert_eq!(response.status != 405, is_listed, "{method} {path}");
            }
        }
        assert_eq!(description["paths"]["/v1/runtime"]["put"]["security"], Value::Null, "there is no token");
        assert_eq!(description["components"]["securitySchemes"]["token"]["scheme"], "bearer");
        let source = include_str!("../src/api/mod.rs");
        for route in source.split(".route(\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(
                route.ends_with('/') || description["paths"][route].is_object(),
                "{route} is not described"
            );
        }
    }

    #[test]
    fn health_and_readiness_are_answered() {
        let (_folder, plane) = start();
        for path in ["/healthz", "/readyz"] {
            let response = plane.call("GET", path, &[], "");
            assert_eq!((response.status, response.text().as_str()), (200, "ok\n"));
        }
        assert_eq!(plane.call("HEAD", "/healthz", &[], "").status, 200);
    }
}
