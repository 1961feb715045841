//! `pinroute check`, `explain`, `preview` and `schema` as users run them.

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Output, Stdio};

    use serde_json::Value;

    const NOW: &str = "key: { header: x-id }\nshuffle_shard: { total_hosts: 8, shard_size: 2 }\n";
    const NEXT: &str = "key: { header: x-id }\nshuffle_shard: { total_hosts: 9, shard_size: 2 }\n";

    /// Runs the command in a folder with the files `now.yaml`, `next.yaml` and `bad.yaml`, with this standard input.
    fn pinroute(arguments: &[&str], environment: &[(&str, &str)], input: &str) -> Output {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("now.yaml", NOW), ("next.yaml", NEXT), ("bad.yaml", "index:\n  replicas: 0\n")]
        {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let mut child = Command::new(env!("CARGO_BIN_EXE_pinroute"))
            .env_clear()
            .envs(environment.iter().copied())
            .current_dir(folder.path())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        // A command that refuses its options does not read its input.
        let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
        let output = child.wait_with_output().unwrap();
        let _ = writer.join().unwrap();
        output
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    fn json(output: &Output) -> Value {
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn keys(count: u32) -> String {
        (0..count).map(|number| format!("tenant-{number}\n")).collect()
    }

    #[test]
    fn check_exits_with_1_on_a_mistake_and_names_its_line() {
        let good = pinroute(&["check", "now.yaml"], &[], "");
        assert!(good.status.success());
        assert_eq!(
            text(&good.stdout),
            "now.yaml: ok: key x-id, shuffle shards of 2 out of 8 hosts numbered from 0\n"
        );
        let bad = pinroute(&["check", "bad.yaml"], &[], "");
        assert_eq!(bad.status.code(), Some(1));
        let expected = "bad.yaml:2: error: index.replicas: got 0; allowed: a whole number from 1 to 65536\n";
        assert_eq!(text(&bad.stdout), expected);
        let report = pinroute(&["check", "bad.yaml", "--json"], &[], "");
        let report: Value = serde_json::from_slice(&report.stdout).unwrap();
        assert_eq!(
            (&report["ok"], &report["configurations"][0]["error"]["line"]),
            (&false.into(), &2.into())
        );
        let both = pinroute(&["check", "now.yaml", "bad.yaml"], &[], "");
        assert_eq!(both.status.code(), Some(1));
        assert_eq!(text(&both.stdout), text(&good.stdout) + expected);
        let both = pinroute(&["check", "now.yaml", "bad.yaml", "--json"], &[], "");
        let both: Value = serde_json::from_slice(&both.stdout).unwrap();
        assert_eq!((&both[0]["file"], &both[1]), (&"now.yaml".into(), &report));
        let stdin = pinroute(&["check", "-"], &[], r#"{"keys":1}"#);
        assert_eq!(stdin.status.code(), Some(1));
        assert!(text(&stdin.stdout).starts_with("-:1: error: keys: unknown field"));
    }

    #[test]
    fn check_reports_what_it_cannot_read_like_a_mistake() {
        let broken = pinroute(&["check", "-"], &[], "key:\n  header: [\n");
        assert_eq!((broken.status.code(), text(&broken.stderr).as_str()), (Some(1), ""));
        assert!(text(&broken.stdout).starts_with("-:2: error: neither YAML nor JSON: "), "{broken:?}");
        let report = pinroute(&["check", "-", "--json"], &[], "key:\n  header: [\n");
        let report: Value = serde_json::from_slice(&report.stdout).unwrap();
        assert_eq!(
            (&report["ok"], &report["configurations"][0]["error"]["line"]),
            (&false.into(), &2.into())
        );
        let other = "static_resources: {}\n";
        assert_eq!(pinroute(&["check", "-"], &[], other).status.code(), Some(1));
        let several = pinroute(&["check", "now.yaml", "-"], &[], other);
        assert_eq!(several.status.code(), Some(0));
        assert!(text(&several.stdout).contains("\n-: warning: no pinroute filter found"), "{several:?}");
    }

    #[test]
    fn explain_answers_where_a_tenant_goes_and_who_shares_its_shard() {
        let arguments =
            ["explain", "--config", "now.yaml", "--key", "tenant-1", "--path", "/x", "--keys", "-", "--json"];
        let report = json(&pinroute(&arguments, &[], &keys(1000)));
        assert_eq!(report["total_hosts"], serde_json::json!({ "value": 8, "source": "plugin" }));
        let shard = report["shard"].as_array().unwrap();
        assert!(shard.len() == 2 && shard.contains(&report["host"]), "{report}");
        assert_eq!(report["sharing"]["keys"], 999);
        let text = text(&pinroute(&arguments[..9], &[], &keys(1000)).stdout);
        assert!(
            text.contains("Of 999 other keys") && text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
    }

    #[test]
    fn lists_have_one_key_on_each_line() {
        let explain = ["explain", "--config", "now.yaml", "--key", "tenant-1", "--keys", "-", "--list"];
        let output = pinroute(&explain, &[], &(keys(100) + "\u{1}\n"));
        let list = text(&output.stdout);
        assert_eq!(list.lines().count(), 99);
        let is_word = |line: &str| ["all", "some", "none"].contains(&line.split('\t').nth(1).unwrap());
        assert!(list.lines().all(is_word), "{list}");
        assert_eq!(text(&output.stderr), "pinroute: skipped 1 lines that are no key or not routed\n");
        let preview = ["preview", "--from", "now.yaml", "--to", "next.yaml", "--keys", "-"];
        let moved = json(&pinroute(&[&preview[..], &["--json"]].concat(), &[], &keys(100)))["moved"].clone();
        let output = pinroute(&[&preview[..], &["--list"]].concat(), &[], &keys(100));
        let list = text(&output.stdout);
        assert_eq!(moved, list.lines().count());
        assert!(list.lines().all(|line| line.split('\t').count() == 3), "{list}");
        assert_eq!(pinroute(&[&explain[..], &["--json"]].concat(), &[], "").status.code(), Some(2));
    }

    #[test]
    fn an_error_in_runtime_values_names_their_file() {
        let arguments = ["explain", "--config", "now.yaml", "--key", "a", "--runtime", "-"];
        let output = pinroute(&arguments, &[], "[]");
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).starts_with("pinroute: -: runtime values: not an object"), "{output:?}");
    }

    #[test]
    fn options_are_environment_variables_too() {
        let environment =
            [("PINROUTE_CONFIG", "now.yaml"), ("PINROUTE_KEY", "tenant-1"), ("PINROUTE_JSON", "1")];
        let report = json(&pinroute(&["explain"], &environment, ""));
        assert_eq!(report["key"], "tenant-1");
    }

    #[test]
    fn a_request_has_its_host_in_a_header() {
        let config = "key: { host: \"{key}.test\" }\nindex: { hosts: [\"a:1\", \"b:1\"] }\n";
        let arguments = ["explain", "--config", "-", "--header", "Host: Tenant.test:80", "--json"];
        assert_eq!(json(&pinroute(&arguments, &[], config))["key"], "tenant");
    }

    #[test]
    fn a_key_may_begin_with_a_hyphen() {
        let report = json(&pinroute(&["explain", "--config", "now.yaml", "--key", "-7", "--json"], &[], ""));
        assert_eq!(report["key"], "-7");
    }

    #[test]
    fn odd_keys_and_names_keep_the_width_and_the_terminal() {
        let odd = format!("{}\na\u{9b}31m\n\u{202e}b\n", "x".repeat(250));
        let input: String = (0..200).map(|number| odd.replace('\n', &format!("{number}\n"))).collect();
        let name = "static_resources: { x: { name: \"pinroute\\e[2J\", vm_config: {} } }";
        for (arguments, input) in [
            (&["preview", "--from", "now.yaml", "--to", "next.yaml", "--keys", "-"][..], input.as_str()),
            (&["explain", "--config", "now.yaml", "--key", "a", "--keys", "-"], &input),
            (&["check", "-"], name),
        ] {
            let text = text(&pinroute(arguments, &[], input).stdout);
            let is_fit = |line: &str| line.chars().count() <= 80 || arguments[0] == "check";
            assert!(!text.is_empty() && text.lines().all(is_fit), "{text}");
            assert!(!text.contains(['\u{9b}', '\u{202e}', '\u{1b}']), "{text:?}");
        }
    }

    #[test]
    fn preview_counts_who_moves_within_the_error_of_sampling() {
        let arguments = ["preview", "--from", "now.yaml", "--to", "next.yaml", "--keys", "-", "--json"];
        let report = json(&pinroute(&arguments, &[], &keys(100_000)));
        let [keys, moved, expected] =
            ["keys", "moved", "expected"].map(|name| report[name].as_f64().unwrap());
        assert!((expected - keys * 2.0 / 9.0).abs() < 1e-6, "{report}");
        assert!((moved - expected).abs() < 5.0 * (keys * 2.0 / 9.0 * 7.0 / 9.0).sqrt(), "{report}");
        let text = text(&pinroute(&arguments[..7], &[], "a\nb\n").stdout);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn what_cannot_be_answered_exits_with_1_and_says_why() {
        for (arguments, message) in [
            (&["check", "none.yaml"][..], "cannot read none.yaml"),
            (&["explain", "--config", "bad.yaml", "--key", "a"], "bad.yaml: index.replicas: got 0"),
            (
                &["explain", "--config", "now.yaml", "--part", "x=1"],
                "no part `x`; the parts of the key are: key",
            ),
            (
                &["explain", "--config", "now.yaml", "--key", "a", "--set", "membership.total_hosts=3"],
                "no `membership`",
            ),
            (&["explain", "--config", "now.yaml", "--key", "a", "--name", "x"], "no configuration `x`"),
            (&["preview", "--from", "now.yaml", "--to", "next.yaml", "--keys", "-"], "no key was read"),
        ] {
            let output = pinroute(arguments, &[], "");
            assert_eq!(output.status.code(), Some(1), "{arguments:?}");
            assert!(text(&output.stderr).contains(message), "{arguments:?}: {}", text(&output.stderr));
        }
    }

    #[test]
    fn wrong_options_exit_with_2() {
        for arguments in [
            &["check"][..],
            &["explain", "--key", "a"],
            &["explain", "--config", "now.yaml", "--set", "x"],
            &["explain", "--config", "now.yaml", "--part", "x"],
            &["explain", "--config", "now.yaml", "--key", "a", "--list"],
            &["explain", "--config", "now.yaml", "--header", ":authority"],
            &["preview", "--from", "now.yaml"],
            &["schema", "--yaml"],
            &["explain", "--config", "-", "--key", "a", "--keys", "-"],
            &["preview", "--from", "-", "--to", "-", "--keys", "now.yaml"],
        ] {
            assert_eq!(pinroute(arguments, &[], "").status.code(), Some(2), "{arguments:?}");
        }
    }

    #[test]
    fn the_schemas_are_those_of_the_documentation() {
        let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/");
        for (arguments, file) in
            [(&["schema"][..], "pinroute.schema.json"), (&["schema", "--envoy"], "envoy.schema.json")]
        {
            let written = std::fs::read_to_string(format!("{docs}{file}")).unwrap();
            assert_eq!(text(&pinroute(arguments, &[], "").stdout), written, "{file}");
        }
    }

    #[test]
    fn every_help_has_an_example() {
        for command in ["check", "explain", "preview", "schema"] {
            let output = pinroute(&[command, "--help"], &[], "");
            assert!(text(&output.stdout).contains(&format!("pinroute {command}")) && output.status.success());
            let help = text(&output.stdout);
            assert!(help.contains("Example") && !help.contains("[env:"), "{help}");
            if command != "schema" {
                assert!(help.contains("Each option is also an environment variable"), "{help}");
                assert!(help.lines().all(|line| line.chars().count() <= 90), "{help}");
            }
        }
    }
}
