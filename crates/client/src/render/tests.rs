//! The text of reports.

use super::*;
use crate::report::{Failure, Misroute};

fn lines(report: &Report) -> Vec<String> {
    let lines: Vec<String> = report.to_string().lines().map(str::to_owned).collect();
    for line in &lines {
        assert!(line.chars().count() <= WIDTH, "{line:?}");
    }
    lines
}

#[test]
fn a_clean_report_is_short() {
    let percentiles = Percentiles { p50: 0.5, p90: 1.0, p99: 2.0, p999: 3.0, max: 4.0 };
    let report = Report {
        url: "http://127.0.0.1:10000".to_owned(),
        passed: true,
        planned: Some(1000),
        requests: 1000,
        seconds: 2.0,
        hosts: [("server-1:8081".to_owned(), 600), ("server-2:8081".to_owned(), 400)].into(),
        latency_ms: Some(percentiles),
        ..Report::default()
    };
    let expected = [
        "http://127.0.0.1:10000",
        "  requests       1000  in 2.0 s, 500.0/s",
        "  misrouted         0",
        "  failed            0",
        "",
        "Hosts",
        "  server-1:8081       600  60.0 %  ██████████████████████████████",
        "  server-2:8081       400  40.0 %  ████████████████████",
        "",
        "Latency, ms        p50       p90       p99     p99.9       max",
        "  both            0.50      1.00      2.00      3.00      4.00",
        "",
        "Passed: every request reached its owner.",
    ];
    assert_eq!(lines(&report), expected);
}

#[test]
fn whatever_servers_answer_the_text_has_80_columns() {
    let host = format!("{}:8081", "é".repeat(200));
    let cause = format!("/join 503 upstream connect error {} end", "x".repeat(100));
    let huge = Percentiles {
        p50: 3_600_000.0,
        p90: 3_600_000.0,
        p99: 3_600_000.0,
        p999: 3_600_000.0,
        max: 3_600_000.0,
    };
    let report = Report {
        url: format!("http://{}", "a".repeat(200)),
        passed: false,
        is_silent: true,
        planned: Some(10_000_000_000),
        requests: 100_000_000,
        misrouted: 99_999_999,
        failed: 99_999_999,
        moved: 99_999_999,
        unsent: 99_999_999,
        interrupted: true,
        seconds: 1e6,
        hosts: (0..50).map(|number| (format!("{number}{host}"), 99_999_999)).collect(),
        latency_ms: Some(huge),
        where_ms: Some(huge),
        join_ms: Some(huge),
        causes: [(cause.clone(), 99_999_999)].into(),
        misroutes: vec![Misroute { client: host.clone(), expected: host.clone(), actual: host.clone() }],
        failures: vec![Failure { client: host.clone(), expected: None, cause }],
        outages: vec![Outage {
            host,
            failures: 99_999_999,
            intermittent: true,
            recovered: false,
            first_failure_seconds: 99_999.0,
            last_failure_seconds: 99_999.0,
            time_to_recover_seconds: None,
            outage_seconds: None,
        }],
    };
    let lines = lines(&report);
    assert!(lines.iter().any(|line| line == "  and 30 more"), "{lines:#?}");
    assert!(lines.iter().any(|line| line.ends_with("not recovered")), "{lines:#?}");
}

#[test]
fn an_interrupted_run_has_not_passed() {
    let report = |planned, misrouted, failed| Report {
        interrupted: true,
        requests: 229,
        planned,
        misrouted,
        failed,
        ..Report::default()
    };
    for (report, verdict) in [
        (report(Some(100_000), 0, 0), "Interrupted after 229 of 100,000 requests: none misrouted or failed."),
        (report(None, 1, 1000), "Interrupted after 229 requests: 1 misrouted, 1,000 failed."),
    ] {
        assert_eq!(lines(&report).last().unwrap(), verdict);
        assert!(!report.to_string().contains("assed"), "{report}");
    }
}

#[test]
fn a_server_that_never_responds_is_the_last_line() {
    let url = "http://127.0.0.1:10000".to_owned();
    let report = Report { url, requests: 1, failed: 1, is_silent: true, ..Report::default() };
    let lines = lines(&report);
    assert_eq!(lines.last().unwrap(), "No response at all: is Envoy listening at http://127.0.0.1:10000?");
    assert_eq!(lines[lines.len() - 2], "Not passed: requests failed.");
}

#[test]
fn the_last_line_is_the_verdict() {
    let report = |requests, misrouted, failed| Report { requests, misrouted, failed, ..Report::default() };
    for (report, clean, verdict) in [
        (report(0, 0, 0), false, "no request"),
        (report(1, 0, 0), true, "every request"),
        (report(2, 0, 1), false, "requests failed"),
        (report(2, 1, 1), false, "a wrong host"),
    ] {
        assert_eq!(report.is_clean(), clean);
        assert!(lines(&report).last().unwrap().contains(verdict), "{report}");
    }
}
