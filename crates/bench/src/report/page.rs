//! The page.

use super::results::Report;
use crate::figure::Figure;
use crate::growth::Plot;
use crate::peers::Measured;
use crate::pushes::Push;
use crate::resources::Resources;
use crate::variants::BARE;
use pinroute_report::{grouped, table};

/// `docs/benchmark.md`.
pub fn page(report: &Report) -> String {
    let Report { machine, scale, .. } = report;
    format!(
        "\
# Benchmark

*This page and its plots are generated. Do not edit them.* This makes them anew, in `bench/results/`:

```sh
make bench
```

Measured with Envoy {envoy} and one worker on {processor} ({processors} processors, Linux {kernel}): {rounds} rounds, each of
which sends {requests} requests through every chain in turn, over {connections} connections that stay open. Envoy has one processor
for itself; the load generator and the resolver share the others. All chains are listeners of one Envoy and alike
but for one filter. The route answers by itself (`direct_response`), so no backend takes part; the resolver is
`pinroute server`.

**CPU** is the processor time, user and system, of Envoy's worker thread, divided by the number of requests, *above*
what the bare chain takes just before and after: that is measured again after every second chain. Given are the median
of the rounds and, in parentheses, the quartiles: half of the rounds lie between them. Latency and requests per second
are those of a closed loop: each connection sends its next request when it has the answer. With {connections} connections
Envoy's worker is busy all the time, so latency there is mostly waiting in line; *alone* is the latency over a single
connection.

## The chains

{peers}
![What filters cost, in microseconds of Envoy's processor time for a request](benchmark-cpu.svg)

Chains with the same keys have the same 100 keys in turn. Where every key is new, no request before had it. *Live
runtime* takes its numbers from Envoy's runtime. *native* is pinroute as a dynamic module, with the same configuration as
under Wasm. *Text answer*: the response is the name of the target, and nothing
else. *Host key, pointer*: the key is a label of the host, and the target stands at a JSON pointer in the response. The
empty filter and the other bare ones are built as the SDK leaves them, with all its exports.

## With a host behind Envoy

The same, but the route leads to a server, which answers at once. Envoy then has more code and data in its caches to give
way to, as it has at work.

{upstream}
## Goals

{goals}
A ratio is that of the medians. In parentheses is how far it may be off by chance: 95 of 100 ratios lie there when rounds
are drawn anew from those measured (bootstrap).

## Growth

CPU in microseconds for a request above the bare chain, over what grows. Each point has {growth_rounds} rounds with {growth_requests}
requests.

![CPU for a request over the number of keys, hosts, overrides and connections](benchmark-growth.svg)

{growth}
## Pushes of endpoints

What a push by EDS costs the threads of an Envoy with four workers, in µs of processor time. In each push one endpoint has
another address than before. One thread receives it for all; the others take the endpoints over.

{pushes}
## Start-up, memory, size

Start-up is the time from the start of Envoy's process until it is ready. Memory per worker is how much more resident
memory each of four further workers takes, after some requests.

{resources}",
        envoy = report.envoy,
        processor = machine.processor,
        processors = machine.processors,
        kernel = machine.kernel,
        rounds = scale.rounds,
        requests = grouped(scale.requests),
        connections = scale.connections,
        peers = peers(&report.peers),
        upstream = peers(&report.upstream),
        goals = goals(report),
        growth_rounds = scale.growth.rounds,
        growth_requests = grouped(scale.growth.requests),
        growth = report.growth.iter().map(growth).collect::<Vec<_>>().join("\n"),
        pushes = pushes(&report.pushes),
        resources = resources(&report.resources),
    )
}

/// The table of the chains.
pub fn peers(measured: &[Measured]) -> String {
    let header = ["chain", "CPU, µs", "requests/s", "p50, µs", "p99, µs", "alone: p50, µs", "alone: p99, µs"];
    let rows = measured.iter().map(|one| {
        let cpu = if one.name == BARE {
            format!("{:.1} in all", one.cpu_us.median)
        } else {
            spread(&one.above_us, 1)
        };
        let latencies = [&one.p50_us, &one.p99_us, &one.alone_p50_us, &one.alone_p99_us];
        let mut cells = vec![one.label.to_owned(), cpu, grouped(one.per_second.median as u64)];
        cells.extend(latencies.map(|figure| format!("{:.0}", figure.median)));
        cells
    });
    table(&header, rows)
}

/// The table of the goals.
pub fn goals(report: &Report) -> String {
    let rows = report.goals.iter().map(|goal| {
        let met = if goal.met { "met" } else { "**missed**" };
        vec![goal.what.to_owned(), spread(&goal.ratio, 2), format!("≤ {:.2}", goal.most), met.to_owned()]
    });
    table(&["ratio of CPU", "measured", "goal", ""], rows)
}

/// The table of start-up and memory.
pub fn resources(used: &[Resources]) -> String {
    let header =
        ["filter", "start-up, ms", "memory per worker, MiB", "Envoy with one worker, MiB", "module, KiB"];
    let rows = used.iter().map(|one| {
        let module = one.module_bytes.map(|bytes| format!("{:.0}", bytes as f64 / 1024.0));
        vec![
            one.label.clone(),
            spread(&one.start_ms, 0),
            spread(&one.worker_mib, 1),
            spread(&one.resident_mib, 0),
            module.unwrap_or_else(|| "-".to_owned()),
        ]
    });
    table(&header, rows)
}

fn pushes(pushes: &[Push]) -> String {
    let rows = pushes.iter().map(|push| {
        let endpoints = grouped(push.endpoints.into());
        vec![push.label.to_owned(), endpoints, spread(&push.receiver_us, 0), spread(&push.other_us, 0)]
    });
    table(&["filter", "endpoints", "the thread that receives it", "each other worker"], rows)
}

fn growth(plot: &Plot) -> String {
    let mut header = vec![plot.x_label];
    header.extend(&plot.lines);
    header.push("Envoy's memory then, MiB");
    let rows = plot.points.iter().map(|point| {
        let mut cells = vec![grouped(point.x)];
        cells.extend(point.above_us.iter().map(|figure| spread(figure, 1)));
        cells.push(format!("{:.0}", point.memory_mib));
        cells
    });
    format!("### {}\n\n{}", plot.title, table(&header, rows))
}

/// The median, and the range in parentheses.
pub fn spread(figure: &Figure, digits: usize) -> String {
    let Figure { median, low, high } = figure;
    format!("{median:.digits$} ({low:.digits$}–{high:.digits$})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_shows_its_median_and_its_range() {
        assert_eq!(spread(&Figure { median: 4.25, low: 4.0, high: 5.0 }, 1), "4.2 (4.0–5.0)");
    }
}
