//! `pinroute client`, as the process that users start, against servers that behave as each case needs.

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::process::{Command, Output, Stdio};
    use std::time::Duration;

    use pinroute_testkit::eventually;
    use pinroute_testkit::fake_resolver::{FakeResolver, FakeResponse};
    use serde_json::{Value, json};

    /// `pinroute client` with nothing of the tests' own environment in it.
    fn client(arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pinroute"));
        command.arg("client").env_clear().args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn url(address: SocketAddr) -> String {
        format!("--url=http://{address}")
    }

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    fn report(output: &Output) -> Value {
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    /// Even clients belong to server-2 and odd ones to server-1; `join` may say otherwise.
    fn servers(join: impl Fn(&str, &str) -> FakeResponse + Send + Sync + 'static) -> FakeResolver {
        let respond = move |path: &str, _: &[u8]| {
            let (endpoint, id) = path.split_once("?client_id=").unwrap();
            let owner = if id.parse::<u32>().unwrap().is_multiple_of(2) { "server-2" } else { "server-1" };
            match endpoint {
                "/where" => {
                    FakeResponse::ok(json!({ "hostport": format!("{owner}.shop.svc:8081") }).to_string())
                }
                _ => join(id, owner),
            }
        };
        FakeResolver::start(respond).unwrap()
    }

    fn joined(host: &str) -> FakeResponse {
        FakeResponse::ok(json!({ "assigned": format!("{host}:8081"), "status": "ok" }).to_string())
    }

    #[test]
    fn an_honest_stack_passes() {
        let servers = servers(|_, owner| joined(&owner.to_uppercase()));
        let output = client(&[&url(servers.addr())]).output().unwrap();
        let table = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{table}");
        assert!(
            table.contains("\n  requests       1000  in ") && table.contains("\n  SERVER-2:8081 "),
            "{table}"
        );
        assert!(table.ends_with("\nPassed: every request reached its owner.\n"), "{table}");
        let json = client(&[&url(servers.addr()), "--clients=1", "--json"]).output().unwrap();
        assert_eq!(report(&json)["passed"], json!(true));
        assert_eq!(text(&output.stderr), "", "no progress bar without a terminal");
    }

    #[test]
    fn one_wrong_answer_of_a_thousand_is_found_and_named() {
        let servers = servers(|id, owner| joined(if id == "617" { "server-2" } else { owner }));
        let output = client(&[&url(servers.addr())]).output().unwrap();
        let table = text(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{table}");
        assert!(table.contains("\n  misrouted         1\n"), "{table}");
        let named = table.lines().find(|line| line.starts_with("  617 ")).unwrap();
        let words: Vec<&str> = named.split_whitespace().collect();
        assert_eq!(words, ["617", "server-1.shop.svc:8081", "server-2:8081"]);
        let asked =
            servers.requests().iter().filter(|request| request.path == "/where?client_id=617").count();
        assert_eq!(asked, 2, "before it calls a request misrouted, it asks again");
    }

    #[test]
    fn json_has_the_contracts_members() {
        let servers = servers(|id, owner| match id {
            "3" => FakeResponse::status(503, "pinroute disabled\nand more"),
            "4" => joined("server-9"),
            "5" => FakeResponse::ok("{}"),
            _ => joined(owner),
        });
        let output = client(&[&url(servers.addr()), "--clients=10", "--json"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let report = report(&output);
        assert_eq!(report["hosts"], json!({ "server-1:8081": 3, "server-2:8081": 4, "server-9:8081": 1 }));
        let counts = ["requests", "misrouted", "failed", "moved", "unsent"].map(|name| report[name].clone());
        assert_eq!(counts, [10, 1, 2, 0, 0]);
        assert_eq!(
            report["causes"],
            json!({ "/join 503 pinroute disabled": 1, "unusable response of /join": 1 })
        );
        let misroute =
            json!({ "client": "4", "expected": "server-2.shop.svc:8081", "actual": "server-9:8081" });
        assert_eq!(report["misroutes"], json!([misroute]));
        assert_eq!(report["failures"].as_array().unwrap().len(), 2);
        assert_eq!(report["failures"][0]["expected"], "server-1.shop.svc:8081");
        assert_eq!(report["outages"][0]["host"], "server-1.shop.svc:8081");
        assert_eq!(report["outages"][0]["failures"], 2);
        assert_eq!(
            (&report["interrupted"], &report["url"]),
            (&json!(false), &json!(format!("http://{}", servers.addr())))
        );
        for percentile in ["p50", "p90", "p99", "p99.9", "max"] {
            assert!(report["latency_ms"][percentile].as_f64().unwrap() > 0.0, "{report}");
        }
        assert!(report["seconds"].as_f64().unwrap() >= 0.0);
    }

    #[test]
    fn an_owner_that_changes_in_between_is_not_misrouted() {
        let asked = std::sync::Mutex::new(0);
        let servers = FakeResolver::start(move |path, _| {
            let mut asked = asked.lock().unwrap();
            *asked += 1;
            let owner = if *asked == 1 { "server-1:1" } else { "server-2:1" };
            let member = if path.starts_with("/where") { "hostport" } else { "assigned" };
            FakeResponse::ok(json!({ member: owner }).to_string())
        });
        let output = client(&[&url(servers.unwrap().addr()), "--clients=1", "--json"]).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!((&report(&output)["moved"], &report(&output)["misrouted"]), (&json!(1), &json!(0)));
    }

    #[test]
    fn a_server_that_is_away_or_silent_is_a_failure() {
        let silent = FakeResolver::start(|_, _| FakeResponse::nothing().hang()).unwrap();
        // A port that was free a moment ago, as no server keeps it.
        let away = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let refused = format!("connect to {away}: connection refused");
        for (address, cause) in [(silent.addr(), "timeout of /where after 200ms"), (away, refused.as_str())] {
            let output =
                client(&[&url(address), "--clients=3", "--timeout=200ms", "--json"]).output().unwrap();
            assert_eq!(output.status.code(), Some(1));
            let report = report(&output);
            assert_eq!((&report["causes"], &report["latency_ms"]), (&json!({ cause: 3 }), &Value::Null));
            assert_eq!(report["outages"][0]["host"], "/where");
            assert_eq!((&report["passed"], &report["planned"]), (&json!(false), &json!(3)));
            let output = client(&[&url(address), "--clients=3", "--timeout=200ms"]).output().unwrap();
            let last = format!("\nNo response at all: is Envoy listening at http://{address}?\n");
            assert!(text(&output.stdout).ends_with(&last), "{output:?}");
        }
    }

    #[test]
    fn a_name_that_is_not_resolved_is_a_cause() {
        let output = client(&["--url=http://nowhere.invalid:80", "--clients=1", "--json"]).output().unwrap();
        let cause = "connect to nowhere.invalid:80: name not resolved";
        assert_eq!(report(&output)["causes"], json!({ cause: 1 }));
    }

    #[test]
    fn a_timeout_among_successes_is_intermittent() {
        let servers = servers(|id, owner| match id {
            "5" => FakeResponse::nothing().hang(),
            _ => joined(owner),
        });
        let arguments = [&url(servers.addr()), "--clients=200", "--concurrency=2", "--timeout=2s", "--json"];
        let output = client(&arguments).output().unwrap();
        let report = report(&output);
        let outage = &report["outages"][0];
        assert_eq!((&outage["host"], &outage["failures"]), (&json!("server-1.shop.svc:8081"), &json!(1)));
        assert_eq!((&outage["intermittent"], &outage["recovered"]), (&json!(true), &json!(true)), "{report}");
        assert_eq!(report["causes"], json!({ "timeout of /join after 2s": 1 }));
    }

    #[test]
    fn with_a_rate_a_slow_server_cannot_hide() {
        // One connection and 50 ms for each request: of 100 due in a second, most start late or not at all.
        let servers = servers(|_, owner| joined(owner).delayed(Duration::from_millis(50)));
        let arguments = ["--rate=100", "--duration=1s", "--concurrency=1", "--json"];
        let output = client(&[&[url(servers.addr()).as_str()], &arguments[..]].concat()).output().unwrap();
        let report = report(&output);
        let millis = |name: &str| report[name]["p50"].as_f64().unwrap();
        assert!(millis("latency_ms") > 3.0 * millis("join_ms"), "{report}");
        assert_eq!(report["unsent"].as_u64().unwrap() + report["requests"].as_u64().unwrap(), 100);
        assert_eq!(output.status.code(), Some(0));
    }

    #[test]
    fn a_signal_prints_what_there_is() {
        for signal in ["INT", "TERM"] {
            let servers = servers(|id, owner| match id {
                "50" => FakeResponse::nothing().hang(),
                _ => joined(owner),
            });
            let arguments = [&url(servers.addr()), "--json", "--clients=50", "--timeout=1h"];
            let running = client(&arguments).spawn().unwrap();
            // The last client gets no answer, so the run does not end by itself.
            let last = eventually(Duration::from_secs(20), || match servers.requests() {
                requests if requests.len() >= 100 => Ok(()),
                requests => Err(format!("{} of 100 requests", requests.len())),
            });
            last.unwrap();
            let sent = Command::new("kill").args(["-s", signal, &running.id().to_string()]).status();
            assert!(sent.unwrap().success());
            let output = running.wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            let report = report(&output);
            assert_eq!((&report["interrupted"], &report["passed"]), (&json!(true), &json!(false)));
            assert_eq!(report["planned"], json!(50));
            let requests = report["requests"].as_u64().unwrap();
            assert!((1..50).contains(&requests), "{report}");
        }
    }

    #[test]
    fn a_signal_before_the_first_response_is_no_success() {
        let silent = FakeResolver::start(|_, _| FakeResponse::nothing().hang()).unwrap();
        let running = client(&[&url(silent.addr()), "--timeout=1h"]).spawn().unwrap();
        let asked = || if silent.requests().is_empty() { Err("no request".to_owned()) } else { Ok(()) };
        eventually(Duration::from_secs(20), asked).unwrap();
        Command::new("kill").args(["-s", "INT", &running.id().to_string()]).status().unwrap();
        let output = running.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stdout).ends_with("Not passed: no request has ended.\n"), "{output:?}");
    }

    #[test]
    fn options_come_from_the_environment_too() {
        let servers = servers(|_, owner| joined(owner));
        let mut command = client(&[]);
        let address = format!("http://{}", servers.addr());
        command.envs([
            ("PINROUTE_URL", address.as_str()),
            ("PINROUTE_CLIENTS", "7"),
            ("PINROUTE_CONCURRENCY", "2"),
            ("PINROUTE_RATE", "1000"),
            ("PINROUTE_DURATION", ""),
            ("PINROUTE_TIMEOUT", "9s"),
            ("PINROUTE_JSON", "1"),
        ]);
        let output = command.output().unwrap();
        assert_eq!(report(&output)["requests"], json!(7));
        assert_eq!(output.status.code(), Some(0));
    }

    #[test]
    fn a_wrong_command_line_exits_with_2() {
        for (arguments, message) in [
            (&["--url=https://demo.example"][..], "only http:// is supported"),
            (&["--url=http://demo.example/shop"], "a path, a query or user information is not supported"),
            (&["--url=http://a:1", "--rate=0"], "not a number of requests per second"),
            (&["--url=http://a:1", "--duration=60"], "not a duration such as 60s"),
            (&[], "--url <URL>"),
        ] {
            let output = client(arguments).output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{arguments:?}");
            assert!(text(&output.stderr).contains(message), "{}", text(&output.stderr));
        }
    }

    #[test]
    fn help_has_an_example_and_the_exit_codes() {
        let output = client(&["--help"]).output().unwrap();
        let help = text(&output.stdout);
        for part in [
            "Exit codes:\n  0 ",
            "Examples:\n  pinroute client ",
            "such as PINROUTE_URL",
            "\n  moved ",
            "\n  unsent ",
        ] {
            assert!(help.contains(part), "{help}");
        }
        assert!(!help.contains("[env:"), "{help}");
    }
}
