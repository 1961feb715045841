//! The report as text, at most 80 columns wide.

#[cfg(test)]
mod tests;

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
