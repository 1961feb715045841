//! That the benchmark runs and writes down what it measured.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::Value;
use std::fs;
use std::process::Command;
use tempfile::TempDir;

#[test]
fn everything_is_measured_and_written() {
    let dir = TempDir::new().unwrap();
    let bench = env!("CARGO_BIN_EXE_pinroute-bench");
    let output = Command::new(bench).arg("--smoke").arg("--out").arg(dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("| pinroute, resolve, cached |") && said.contains("≤ 0.17"), "{said}");

    let read = |name: &str| fs::read_to_string(dir.path().join(name)).expect(name);
    let figures: Value = serde_json::from_str(&read("benchmark.json")).unwrap();
    assert_eq!(figures["peers"][0]["name"], "bare");
    assert!(figures["peers"][0]["cpu_us"]["median"].as_f64().unwrap() > 1.0);
    let plots: Vec<_> = figures["growth"].as_array().unwrap().iter().map(|plot| &plot["name"]).collect();
    assert_eq!(plots, ["keys", "hosts", "endpoints", "overrides", "connections"]);
    assert_eq!(figures["pushes"][1]["endpoints"], 1000);
    assert!(figures["pushes"][1]["receiver_us"]["median"].as_f64().unwrap() > 0.0);
    assert!(figures["resources"][2]["module_bytes"].as_u64().unwrap() > 0);
    assert!(read("benchmark.md").contains(&read("table.md")));
    for plot in ["benchmark-cpu.svg", "benchmark-growth.svg"] {
        assert!(read(plot).ends_with("</svg>\n") && !read(plot).contains("NaN"), "{plot}");
    }
}

#[test]
fn the_control_plane_is_measured() {
    assert_measured("--control-plane", "one update to 10 Envoys");
}

#[test]
fn the_approaches_are_measured() {
    assert_measured("--approaches", "| [ext_proc, TCP]");
}

/// One of the other measurements works, and prints a table with such a row.
#[track_caller]
fn assert_measured(option: &str, row: &str) {
    let bench = env!("CARGO_BIN_EXE_pinroute-bench");
    let output = Command::new(bench).args([option, "--smoke"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains(row) && !said.contains("NaN"), "{said}");
}
