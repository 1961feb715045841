//! `pinroute control-plane`, as the process that operators start: options, signals, and what is left after kill -9.

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::path::Path;
    use std::process::{Child, Command, Output, Stdio};
    use std::sync::mpsc::channel;
    use std::time::{Duration, Instant, SystemTime};

    use pinroute_testkit::eventually;
    use pinroute_testkit::http::Client;
    use serde_json::{Value, json};

    /// How often the process is killed; the variable `PINROUTE_KILLS` may ask for more.
    const KILLS: u32 = 20;
    /// How many clients write meanwhile.
    const WRITERS: usize = 4;
    const PATIENCE: Duration = Duration::from_secs(20);

    /// `pinroute control-plane` with nothing of the tests' own environment in it.
    fn command(arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pinroute"));
        command
            .arg("control-plane")
            .env_clear()
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn finish(arguments: &[&str]) -> Output {
        command(arguments).output().unwrap()
    }

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    /// A control plane that runs, killed when dropped.
    struct ControlPlane {
        child: Child,
        xds: SocketAddr,
        api: SocketAddr,
        client: Client,
    }

    impl ControlPlane {
        fn start(data: &Path, arguments: &[&str]) -> Self {
            Self::start_by(command(&[]), data, arguments)
        }

        fn start_by(mut command: Command, data: &Path, arguments: &[&str]) -> Self {
            let ports = ["--xds=127.0.0.1:0", "--api=127.0.0.1:0", "--log-format=json", "--data"];
            let mut child = command.args(ports).arg(data).args(arguments).spawn().unwrap();
            let (sender, lines) = channel();
            let output = BufReader::new(child.stdout.take().unwrap());
            // Read to the end, or the process would block on the pipe.
            std::thread::spawn(move || {
                output.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)))
            });
            let (xds, api) = loop {
                let line: Value = serde_json::from_str(&lines.recv_timeout(PATIENCE).unwrap()).unwrap();
                let fields = &line["fields"];
                if fields["message"] == "listening" {
                    let address = |name: &str| fields[name].as_str().unwrap().parse().unwrap();
                    break (address("xds"), address("api"));
                }
            };
            Self { child, xds, api, client: Client::new(api) }
        }

        fn get(&self, path: &str) -> Value {
            self.client.get(path).unwrap().json().unwrap()
        }

        fn signal(&self, name: &str) {
            let sent =
                Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
            assert!(sent.success());
        }
    }

    impl Drop for ControlPlane {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    /// Opens a stream of the aggregated service, byte for byte: the preface, SETTINGS, and HEADERS without compression.
    fn open_stream(xds: SocketAddr) -> TcpStream {
        let mut block = Vec::new();
        for (name, value) in [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "xds"),
            (":path", "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ] {
            block.push(0);
            for text in [name, value] {
                block.push(text.len() as u8);
                block.extend_from_slice(text.as_bytes());
            }
        }
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        let headers = [0, 0, block.len() as u8, 1, 4, 0, 0, 0, 1];
        let mut stream = TcpStream::connect(xds).unwrap();
        let preface: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        stream.write_all(&[preface, &settings, &headers, &block].concat()).unwrap();
        stream
    }

    #[test]
    fn a_signal_ends_it_in_time_with_streams_and_requests_open() {
        for signal in ["TERM", "INT"] {
            let folder = tempfile::tempdir().unwrap();
            let mut plane = ControlPlane::start(folder.path(), &[]);
            let _stream = open_stream(plane.xds);
            let is_open = || match plane.client.get("/metrics").unwrap().text() {
                metrics if metrics.contains("pinroute_control_plane_streams 1\n") => Ok(()),
                metrics => Err(metrics),
            };
            eventually(PATIENCE, is_open).unwrap();
            let _silent = TcpStream::connect(plane.xds).unwrap();
            let mut request = TcpStream::connect(plane.api).unwrap();
            request
                .write_all(b"PUT /v1/runtime HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{")
                .unwrap();
            std::thread::sleep(Duration::from_millis(50));
            let start = Instant::now();
            plane.signal(signal);
            let status = plane.child.wait().unwrap();
            assert!(start.elapsed() < Duration::from_secs(3), "{signal}: {:?}", start.elapsed());
            assert_eq!(status.code(), Some(0), "{signal}");
        }
    }

    #[test]
    fn a_signal_ends_it_in_time_while_a_preview_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let mut plane = ControlPlane::start(folder.path(), &[]);
        let mut requests = Vec::new();
        for _ in 0..4 {
            let mut request = TcpStream::connect(plane.api).unwrap();
            let call = b"GET /v1/preview?total_hosts=65536&shard_size=65536 HTTP/1.1\r\nhost: a\r\n\r\n";
            request.write_all(call).unwrap();
            requests.push(request);
        }
        std::thread::sleep(Duration::from_millis(300));
        let start = Instant::now();
        plane.signal("TERM");
        let status = plane.child.wait().unwrap();
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
        assert_eq!(status.code(), Some(0));
    }

    #[test]
    fn what_cannot_start_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().to_str().unwrap();
        let first = ControlPlane::start(folder.path(), &[]);
        let refused = |arguments: &[&str], message: &str| {
            let output = finish(arguments);
            let error = text(&output.stderr);
            assert!(error.starts_with("pinroute: ") && error.contains(message), "{error}");
            assert_eq!(output.status.code(), Some(1), "{error}");
        };
        let free = ["--xds=127.0.0.1:0", "--api=127.0.0.1:0"];
        refused(&[&free[..], &["--data", data]].concat(), "another process has ");
        let other = folder.path().join("other");
        let other = ["--data", other.to_str().unwrap()];
        refused(
            &[&other[..], &["--xds=127.0.0.1:0", "--api=0.0.0.0:0"]].concat(),
            "set PINROUTE_API_TOKEN, or listen on loopback",
        );
        let taken = format!("--xds={}", first.xds);
        refused(&[&other[..], &[&taken, "--api=127.0.0.1:0"]].concat(), "Address already in use");
        std::fs::write(folder.path().join("file"), "").unwrap();
        let file = folder.path().join("file");
        refused(&[&free[..], &["--data", file.to_str().unwrap()]].concat(), "cannot open ");
    }

    #[test]
    fn health_is_that_of_the_control_plane_on_this_machine() {
        let folder = tempfile::tempdir().unwrap();
        let plane = ControlPlane::start(folder.path(), &[]);
        let port = plane.api.port();
        // A wildcard stands for loopback, and needs no token to ask.
        for api in [format!("--api=127.0.0.1:{port}"), format!("--api=0.0.0.0:{port}")] {
            let output = finish(&[&api, "--health"]);
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
        }
        drop(plane);
        let output = finish(&[&format!("--api=127.0.0.1:{port}"), "--health"]);
        assert_eq!(output.status.code(), Some(1));
        let error = text(&output.stderr);
        let expected = format!("pinroute: no response from http://127.0.0.1:{port}/readyz: ");
        assert!(error.starts_with(&expected), "{error}");
    }

    #[test]
    fn a_token_by_variable_opens_other_addresses() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = command(&["--xds=127.0.0.1:0", "--api=0.0.0.0:0", "--log-format=json", "--data"])
            .arg(folder.path())
            .env("PINROUTE_API_TOKEN", "secret")
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let port = line["fields"]["api"].as_str().unwrap().parse::<SocketAddr>().unwrap().port();
        let client = Client::new(SocketAddr::from(([127, 0, 0, 1], port)));
        let body = br#"{"values": {"x": 1}}"#;
        assert_eq!(client.request("PUT", "/v1/runtime", &[], body).unwrap().status, 401);
        let token = [("authorization", "Bearer secret")];
        assert_eq!(client.request("PUT", "/v1/runtime", &token, body).unwrap().status, 200);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!line.to_string().contains("secret"));
    }

    #[test]
    fn wrong_options_exit_with_2() {
        let long = "c".repeat(257);
        let cluster = format!("--hosts-cluster={long}");
        let too_long = format!("invalid value '{long}' for '--hosts-cluster <NAME>': not a name of 1 to 256");
        for (option, message) in [
            (cluster.as_str(), too_long.as_str()),
            ("--hosts-cluster=*", "invalid value '*' for '--hosts-cluster <NAME>': not a name of 1 to 256"),
            ("--xds=localhost:18000", "invalid value 'localhost:18000' for '--xds <ADDRESS>'"),
            ("--api=18001", "invalid value '18001' for '--api <ADDRESS>'"),
            ("--numbers=dns", "invalid value 'dns' for '--numbers <NUMBERS>'"),
            ("--demo-speed=0", "invalid value '0' for '--demo-speed <FACTOR>'"),
            ("--prefix=a.", "invalid value 'a.' for '--prefix <PREFIX>': runtime.prefix: got \"a.\""),
            ("--colour=red", "unexpected argument '--colour' found"),
        ] {
            let output = finish(&[option]);
            let error = text(&output.stderr);
            assert!(error.starts_with(&format!("error: {message}")), "{error}");
            assert_eq!(output.status.code(), Some(2));
        }
    }

    #[test]
    fn help_names_every_option_and_shows_calls() {
        let output = finish(&["--help"]);
        let help = text(&output.stdout);
        for option in [
            "xds",
            "api",
            "api-token",
            "data",
            "prefix",
            "resource",
            "numbers",
            "xds-cluster",
            "module",
            "demo",
            "demo-speed",
            "hosts-from",
            "hosts-cluster",
            "hosts-interval",
        ] {
            assert!(
                help.contains(&format!("--{option} ")) || help.contains(&format!("--{option}\n")),
                "{option}"
            );
        }
        for part in [
            "curl -X PATCH http://127.0.0.1:18001/v1/runtime",
            "[default: pinroute-data]",
            "authorization: Bearer",
            "such as PINROUTE_DATA for --data",
        ] {
            assert!(help.contains(part), "{part} is missing in\n{help}");
        }
        assert!(output.status.success());
    }

    /// What one client has written. Even numbers are pairs of runtime values, and odd ones are sizes of a shard.
    #[derive(Clone, Copy, Default)]
    struct Written {
        /// The last number.
        tried: u64,
        /// The last number of either kind that was acknowledged.
        acknowledged: [u64; 2],
        /// How many were.
        count: u64,
    }

    impl Written {
        /// The shard size for a number, within what is allowed.
        fn size(number: u64) -> u64 {
            if number == 0 { 0 } else { number % 65_536 + 1 }
        }

        /// Writes ever higher numbers, by two kinds of changes in turn, until the process is gone.
        fn until_the_end(mut self, api: SocketAddr, writer: usize) -> Self {
            let client = Client::new(api);
            loop {
                self.tried += 1;
                let (method, path, body) = if self.tried.is_multiple_of(2) {
                    let values = json!({ format!("left.{writer}"): self.tried, format!("right.{writer}"): self.tried });
                    ("PATCH", "/v1/runtime".to_owned(), json!({ "values": values }))
                } else {
                    (
                        "PUT",
                        format!("/v1/customers/writer-{writer}"),
                        json!({ "shard_size": Self::size(self.tried) }),
                    )
                };
                match client.request(method, &path, &[], body.to_string().as_bytes()) {
                    Ok(response) => {
                        assert_eq!(response.status, 200, "{}", response.text());
                        self.acknowledged[self.tried as usize % 2] = self.tried;
                        self.count += 1;
                    }
                    Err(_) => return self,
                }
            }
        }

        /// Checks what is there: all that was acknowledged, and of the last change all or nothing.
        fn check(self, values: &Value, writer: usize) {
            let value = |name: String| values[name].as_u64().unwrap_or(0);
            let size = value(format!("shuffle_sharding.customer.writer-{writer}.shard_size"));
            let (left, right) = (value(format!("left.{writer}")), value(format!("right.{writer}")));
            assert_eq!(left, right, "writer {writer}: half of a change");
            // What was tried after the last one that was acknowledged may be there or not.
            let Self { tried, acknowledged: [pair, single], .. } = self;
            let sizes: Vec<_> = (single..=tried)
                .filter(|number| *number == single || number % 2 == 1)
                .map(Self::size)
                .collect();
            assert!(sizes.contains(&size), "writer {writer}: {size} is none of {sizes:?}");
            let pairs: Vec<_> = (pair..=tried).step_by(2).collect();
            assert!(pairs.contains(&left), "writer {writer}: {left} is none of {pairs:?}");
        }
    }

    /// A moment that differs from one call to the next, of up to a quarter of a second.
    fn some_time() -> Duration {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Duration::from_micros(u64::from(now.subsec_nanos()).wrapping_mul(2_654_435_761) % 250_000)
    }

    #[test]
    fn nothing_that_was_acknowledged_is_lost_by_kill_9() {
        let kills = std::env::var("PINROUTE_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let mut written = [Written::default(); WRITERS];
        let mut version = 0;
        for round in 0..=kills {
            let plane = ControlPlane::start(folder.path(), &[]);
            let runtime = plane.get("/v1/runtime");
            for (writer, written) in written.iter().enumerate() {
                written.check(&runtime["values"], writer);
            }
            let last = runtime["version"].as_u64().unwrap();
            assert!(last >= version, "round {round}: the version went back from {version} to {last}");
            version = last;
            if round == kills {
                break;
            }
            written = std::thread::scope(|scope| {
                let writers: Vec<_> = written
                    .iter()
                    .enumerate()
                    .map(|(writer, written)| scope.spawn(move || written.until_the_end(plane.api, writer)))
                    .collect();
                std::thread::sleep(some_time());
                // Dropping it sends SIGKILL.
                drop(plane);
                let mut writers = writers.into_iter().map(|writer| writer.join().unwrap());
                std::array::from_fn(|_| writers.next().unwrap())
            });
        }
        let acknowledged: u64 = written.iter().map(|written| written.count).sum();
        eprintln!("{kills} kills, {acknowledged} changes acknowledged, last version {version}");
        assert!(version > 0);
    }

    /// A limit on the size of files does what a full disk does.
    #[test]
    fn a_store_whose_disk_was_full_is_written_again() {
        let script = r#"trap "" XFSZ; ulimit -S -f 8192; exec "$0" "$@""#;
        let mut limited = Command::new("/bin/sh");
        limited.args(["-c", script, env!("CARGO_BIN_EXE_pinroute"), "control-plane"]);
        limited.env_clear().stdout(Stdio::piped()).stderr(Stdio::null());
        let folder = tempfile::tempdir().unwrap();
        let plane = ControlPlane::start_by(limited, folder.path(), &[]);
        let add = |number: usize| {
            let body = json!({ "values": { format!("key.{number}"): "x".repeat(400_000) } }).to_string();
            plane.client.request("PATCH", "/v1/runtime", &[], body.as_bytes()).unwrap()
        };
        let (added, refused) = (0..100)
            .map(|number| (number, add(number)))
            .find(|(_, response)| response.status != 200)
            .unwrap();
        let problem: Value = refused.json().unwrap();
        assert_eq!((refused.status, &problem["field"]), (503, &json!("store")), "{problem}");
        let kept = plane.get("/v1/runtime");
        assert_eq!(
            kept["values"].as_object().unwrap().len(),
            added,
            "what is served is what was acknowledged"
        );
        assert_eq!(plane.client.get("/readyz").unwrap().status, 200);

        let unlimited = Command::new("prlimit")
            .args(["--fsize=unlimited", "--pid", &plane.child.id().to_string()])
            .status();
        assert!(unlimited.unwrap().success());
        let response = add(added);
        assert_eq!(response.status, 200, "{}", response.text());
        let kept = plane.get("/v1/runtime");
        plane.signal("KILL");
        drop(plane);
        assert_eq!(ControlPlane::start(folder.path(), &[]).get("/v1/runtime"), kept);
    }
}
