//! The report as text, at most 80 columns wide.

use std::fmt::{self, Display, Formatter};

use crate::report::{Outage, Percentiles, Report};

/// Columns of the text.
const WIDTH: usize = 80;
/// Columns of the longest bar.
const BAR: usize = 30;
/// Columns of a host.
const HOST: usize = 28;
/// Columns of a client id.
const CLIENT: usize = 14;
/// Hosts and causes to show.
const SHOWN: usize = 20;

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.summary(f)?;
        self.spread(f)?;
        self.latency(f)?;
        self.causes(f)?;
        self.wrong(f)?;
        self.outages(f)?;
        for line in wrapped(&self.verdict(), WIDTH) {
            write!(f, "\n{line}")?;
        }
        if self.is_silent {
            for line in wrapped(&format!("No response at all: is Envoy listening at {}?", self.url), WIDTH) {
                write!(f, "\n{line}")?;
            }
        }
        Ok(())
    }
}

impl Report {
    fn summary(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let rate = if self.seconds > 0.0 { self.requests as f64 / self.seconds } else { 0.0 };
        let interrupted = if self.interrupted { ", interrupted" } else { "" };
        writeln!(f, "{}", cut(&self.url, WIDTH))?;
        writeln!(f, "  requests  {:>9}  in {:.1} s, {rate:.1}/s{interrupted}", self.requests, self.seconds)?;
        writeln!(f, "  misrouted {:>9}", self.misrouted)?;
        writeln!(f, "  failed    {:>9}", self.failed)?;
        if self.moved > 0 {
            writeln!(
                f,
                "  moved     {:>9}  the owner changed after /where, and /join was right",
                self.moved
            )?;
        }
        if self.unsent > 0 {
            writeln!(f, "  unsent    {:>9}  due, but all requests in flight were late", self.unsent)?;
        }
        Ok(())
    }

    fn spread(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let most = self.hosts.values().copied().max().unwrap_or_default();
        let all: u64 = self.hosts.values().sum();
        if most > 0 {
            writeln!(f, "\nHosts")?;
        }
        let (width, share) = (width(self.hosts.keys()), |count: u64| 100.0 * count as f64 / all as f64);
        for (host, count) in self.hosts.iter().take(SHOWN) {
            let bar = "█".repeat((*count as f64 / most as f64 * BAR as f64).round() as usize);
            writeln!(f, "  {:width$} {count:>9} {:>5.1} %  {bar}", cut(host, HOST), share(*count))?;
        }
        more(f, self.hosts.len())
    }

    fn latency(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let rows = [("/where", self.where_ms), ("/join", self.join_ms), ("both", self.latency_ms)];
        if self.latency_ms.is_some() {
            let [p50, p90, p99, p999, max] = ["p50", "p90", "p99", "p99.9", "max"];
            writeln!(f, "\n{:12} {p50:>9} {p90:>9} {p99:>9} {p999:>9} {max:>9}", "Latency, ms")?;
        }
        for (name, percentiles) in rows {
            let Some(Percentiles { p50, p90, p99, p999, max }) = percentiles else { continue };
            writeln!(f, "  {name:10} {p50:>9.2} {p90:>9.2} {p99:>9.2} {p999:>9.2} {max:>9.2}")?;
        }
        Ok(())
    }

    fn causes(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.causes.is_empty() {
            writeln!(f, "\nFailures by cause")?;
        }
        for (cause, count) in self.causes.iter().take(SHOWN) {
            let lines = wrapped(cause, WIDTH - 12);
            let counts = std::iter::once(count.to_string()).chain(std::iter::repeat(String::new()));
            for (line, count) in lines.iter().zip(counts) {
                writeln!(f, " {count:>9}  {line}")?;
            }
        }
        more(f, self.causes.len())
    }

    fn wrong(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let misroutes = self.misroutes.iter();
        let misroutes = misroutes.map(|one| (&one.client, one.expected.as_str(), one.actual.as_str()));
        table(f, "First misrouted", ["client", "expected", "actual"], misroutes)?;
        let failures = self.failures.iter();
        let failures = failures
            .map(|one| (&one.client, one.expected.as_deref().unwrap_or("unknown"), one.cause.as_str()));
        table(f, "First failed", ["client", "expected", "cause"], failures)
    }

    fn outages(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.outages.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nOutages, seconds since the start")?;
        let width = width(self.outages.iter().map(|one| &one.host)).max("host".len());
        let row = |f: &mut Formatter<'_>, [host, failed, first, last, recover]: [&str; 5]| {
            writeln!(f, "  {:width$} {failed:>8} {first:>9} {last:>9}  {recover}", cut(host, HOST))
        };
        row(f, ["host", "failed", "first", "last", "time to recover"])?;
        for one in self.outages.iter().take(SHOWN) {
            let [first, last] = [one.first_failure_seconds, one.last_failure_seconds];
            let recover = match one {
                Outage { recovered: true, intermittent: true, .. } => "intermittent".to_owned(),
                Outage { time_to_recover_seconds: Some(recover), .. } => format!("{recover:.3}"),
                _ => "not recovered".to_owned(),
            };
            let [first, last] = [first, last].map(|time| format!("{time:.3}"));
            row(f, [&one.host, &one.failures.to_string(), &first, &last, &recover])?;
        }
        more(f, self.outages.len())
    }

    fn verdict(&self) -> String {
        let Self { requests, misrouted, failed, .. } = *self;
        if self.interrupted && requests > 0 {
            let of = self.planned.map(|planned| format!(" of {}", grouped(planned))).unwrap_or_default();
            let found = match (misrouted, failed) {
                (0, 0) => "none misrouted or failed".to_owned(),
                _ => format!("{} misrouted, {} failed", grouped(misrouted), grouped(failed)),
            };
            return format!("Interrupted after {}{of} requests: {found}.", grouped(requests));
        }
        let verdict = match (requests, misrouted, failed) {
            (0, ..) => "Not passed: no request has ended.",
            (_, 0, 0) => "Passed: every request reached its owner.",
            (_, 0, _) => "Not passed: requests failed.",
            _ => "Not passed: requests reached a wrong host.",
        };
        verdict.to_owned()
    }
}

/// Rows of a client id, a host and one more text; nothing if there are none.
fn table<'r>(
    f: &mut Formatter<'_>,
    title: &str,
    head: [&str; 3],
    rows: impl Iterator<Item = (&'r String, &'r str, &'r str)>,
) -> fmt::Result {
    let row = |f: &mut Formatter<'_>, [client, expected, last]: [&str; 3]| {
        let last = cut(last, WIDTH - CLIENT - HOST - 6);
        writeln!(f, "  {:CLIENT$}  {:HOST$}  {last}", cut(client, CLIENT), cut(expected, HOST))
    };
    for (number, (client, expected, last)) in rows.enumerate() {
        if number == 0 {
            writeln!(f, "\n{title}")?;
            row(f, head)?;
        }
        row(f, [client, expected, last])?;
    }
    Ok(())
}

/// Says how many of a list are not shown.
fn more(f: &mut Formatter<'_>, count: usize) -> fmt::Result {
    match count.checked_sub(SHOWN) {
        None | Some(0) => Ok(()),
        Some(more) => writeln!(f, "  and {more} more"),
    }
}

/// A whole number with a comma before each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let comma = |place: usize| if place > 0 && (digits.len() - place).is_multiple_of(3) { "," } else { "" };
    digits.chars().enumerate().map(|(place, digit)| format!("{}{digit}", comma(place))).collect()
}

/// The columns that these hosts take.
fn width<'h>(hosts: impl Iterator<Item = &'h String>) -> usize {
    hosts.map(|host| host.chars().count()).max().unwrap_or_default().min(HOST)
}

/// At most so many columns, with … in place of the rest.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// Lines of at most so many columns.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ').map(|word| cut(word, width)) {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
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
            (
                report(Some(100_000), 0, 0),
                "Interrupted after 229 of 100,000 requests: none misrouted or failed.",
            ),
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
        assert_eq!(
            lines.last().unwrap(),
            "No response at all: is Envoy listening at http://127.0.0.1:10000?"
        );
        assert_eq!(lines[lines.len() - 2], "Not passed: requests failed.");
    }

    #[test]
    fn the_last_line_is_the_verdict() {
        let report =
            |requests, misrouted, failed| Report { requests, misrouted, failed, ..Report::default() };
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
}
