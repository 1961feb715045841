//! The plots, as SVG that follows the reader's light or dark mode.

use crate::figure::Figure;
use crate::growth::Plot;
use crate::peers::Measured;
use crate::variants::BARE;
use pinroute_testkit::svg::{add, grouped, text};

const WIDTH: f64 = 960.0;
/// The height of a bar with its distance to the next.
const BAR: f64 = 27.0;
/// The space for the bars' names and for their values.
const NAMES: f64 = 348.0;
const VALUES: f64 = 140.0;
/// The size of a panel, and what it keeps free for its labels.
const PANEL: f64 = 380.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 22.0;
const BOTTOM: f64 = 56.0;
/// The height of a line of a legend.
const LEGEND: f64 = 18.0;

const STYLE: &str = "\
text { font: 13px sans-serif; fill: #1f2328 } .small { font-size: 12px } .title { font-size: 15px; font-weight: bold }
.back { fill: #ffffff } .grid { stroke: #d1d9e0 } .axis { stroke: #59636e; fill: none } .range { stroke: #1f2328; fill: none }
.c0 { fill: #0969da; stroke: #0969da } .c1 { fill: #d1570a; stroke: #d1570a } .c2 { fill: #1a7f37; stroke: #1a7f37 }
.c3 { fill: #8250df; stroke: #8250df } .c4 { fill: #59636e; stroke: #59636e } .line { fill: none; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc } .back { fill: #0d1117 } .grid { stroke: #3d444d } .axis { stroke: #9198a1 } .range { stroke: #f0f6fc }
.c0 { fill: #4493f8; stroke: #4493f8 } .c1 { fill: #f0883e; stroke: #f0883e } .c2 { fill: #3fb950; stroke: #3fb950 }
.c3 { fill: #ab7df8; stroke: #ab7df8 } .c4 { fill: #9198a1; stroke: #9198a1 } .line { fill: none }
}";

/// What each filter costs: `benchmark-cpu.svg`.
pub fn bars(peers: &[Measured]) -> String {
    let shown: Vec<&Measured> = peers.iter().filter(|one| one.name != BARE).collect();
    let top = 58.0;
    let height = top + BAR * shown.len() as f64 + 44.0;
    let mut svg = open("CPU of Envoy's worker for a request, above the bare chain, in µs", height);
    let most = shown.iter().map(|one| one.above_us.high).fold(1.0, f64::max);
    let (step, end) = scale(most);
    let x = |value: f64| NAMES + value.max(0.0) / end * (WIDTH - NAMES - VALUES);
    let bottom = top + BAR * shown.len() as f64;
    grid(step, end, |value| {
        let class = if value == 0.0 { "axis" } else { "grid" };
        add(&mut svg, format_args!("<path class=\"{class}\" d=\"M{:.1} {top:.1}V{bottom:.1}\"/>", x(value)));
        text(&mut svg, "small", x(value), bottom + 18.0, "middle", &format!("{value}"));
    });
    for (place, one) in shown.iter().enumerate() {
        let y = top + BAR * place as f64;
        let middle = y + BAR / 2.0;
        let class = if one.name.starts_with("wasm") {
            "c4"
        } else if one.name.starts_with("lua") {
            "c1"
        } else {
            "c0"
        };
        let Figure { median, low, high } = one.above_us;
        text(&mut svg, "", NAMES - 8.0, middle + 4.0, "end", one.label);
        let (from, width) = (x(0.0), x(median) - x(0.0));
        add(
            &mut svg,
            format_args!(
                "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\"/>",
                y + 4.0,
                BAR - 8.0
            ),
        );
        range(&mut svg, x(low), x(high), middle);
        let value = format!("{median:.1} ({low:.1}–{high:.1})");
        text(&mut svg, "small", x(high.max(median)) + 8.0, middle + 4.0, "start", &value);
    }
    svg + "</svg>\n"
}

fn range(svg: &mut String, from: f64, to: f64, y: f64) {
    add(
        svg,
        format_args!(
            "<path class=\"range\" d=\"M{from:.1} {:.1}v8M{from:.1} {y:.1}H{to:.1}M{to:.1} {:.1}v8\"/>",
            y - 4.0,
            y - 4.0
        ),
    );
}

/// Costs over what grows, two panels in a row: `benchmark-growth.svg`.
pub fn growth(plots: &[Plot]) -> String {
    let rows = plots.len().div_ceil(2);
    let mut svg =
        open("CPU of Envoy's worker for a request, above the bare chain, in µs", 40.0 + PANEL * rows as f64);
    for (place, plot) in plots.iter().enumerate() {
        let (row, column) = (place / 2, place % 2);
        panel(&mut svg, plot, WIDTH / 2.0 * column as f64, 40.0 + PANEL * row as f64);
    }
    svg + "</svg>\n"
}

fn panel(svg: &mut String, plot: &Plot, at: f64, above: f64) {
    let left = at + LEFT;
    let width = WIDTH / 2.0 - LEFT - RIGHT;
    let top = above + 34.0 + LEGEND * plot.lines.len() as f64 + 10.0;
    let bottom = above + PANEL - BOTTOM;
    let figures = plot.points.iter().flat_map(|point| &point.above_us);
    let (step, end) = scale(figures.map(|figure| figure.high).fold(1.0, f64::max));
    let y = |value: f64| bottom - value.max(0.0) / end * (bottom - top);
    let places = plot.points.len().max(2) - 1;
    let x = |place: usize| left + 16.0 + (width - 32.0) * place as f64 / places as f64;

    text(svg, "title", left, above + 22.0, "start", plot.title);
    grid(step, end, |value| {
        let class = if value == 0.0 { "axis" } else { "grid" };
        add(svg, format_args!("<path class=\"{class}\" d=\"M{left:.1} {:.1}h{width:.1}\"/>", y(value)));
        text(svg, "small", left - 6.0, y(value) + 4.0, "end", &format!("{value}"));
    });
    for (place, point) in plot.points.iter().enumerate() {
        add(svg, format_args!("<path class=\"axis\" d=\"M{:.1} {bottom:.1}v5\"/>", x(place)));
        text(svg, "small", x(place), bottom + 19.0, "middle", &grouped(point.x));
    }
    text(svg, "small", left + width / 2.0, bottom + 40.0, "middle", plot.x_label);
    for (number, name) in plot.lines.iter().enumerate() {
        let legend = above + 40.0 + LEGEND * number as f64;
        mark(svg, number, left + 6.0, legend);
        text(svg, "small", left + 18.0, legend + 4.0, "start", name);
        let points: Vec<(f64, Figure)> = plot
            .points
            .iter()
            .enumerate()
            .filter_map(|(place, point)| Some((x(place), *point.above_us.get(number)?)))
            .collect();
        let line: Vec<String> =
            points.iter().map(|(x, figure)| format!("{x:.1},{:.1}", y(figure.median))).collect();
        add(svg, format_args!("<polyline class=\"c{number} line\" points=\"{}\"/>", line.join(" ")));
        for (x, figure) in points {
            add(
                svg,
                format_args!(
                    "<path class=\"c{number}\" d=\"M{x:.1} {:.1}V{:.1}\"/>",
                    y(figure.low),
                    y(figure.high)
                ),
            );
            mark(svg, number, x, y(figure.median));
        }
    }
}

/// A line's mark: not by its colour alone.
fn mark(svg: &mut String, number: usize, x: f64, y: f64) {
    let shape = match number % 4 {
        0 => format!("M{:.1} {y:.1}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z", x - 4.0),
        1 => format!("M{:.1} {:.1}h7v7h-7z", x - 3.5, y - 3.5),
        2 => format!("M{x:.1} {:.1}l5 8h-10z", y - 5.0),
        _ => format!("M{x:.1} {:.1}l5 5l-5 5l-5 -5z", y - 5.0),
    };
    add(svg, format_args!("<path class=\"c{number}\" d=\"{shape}\"/>"));
}

/// Steps of 1, 2 or 5 and their tenfolds, about five of them, and where they end.
fn scale(most: f64) -> (f64, f64) {
    let mut step = 1.0;
    for factor in [2.0, 2.5, 2.0].into_iter().cycle().take(30) {
        if most / step <= 6.0 {
            break;
        }
        step *= factor;
    }
    (step, (most / step).ceil().max(1.0) * step)
}

fn grid(step: f64, end: f64, mut each: impl FnMut(f64)) {
    let count = (end / step).round() as u32;
    (0..=count).for_each(|number| each(f64::from(number) * step));
}

fn open(title: &str, height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n\
         <title>{title}</title>\n<style>\n{STYLE}\n</style>\n\
         <rect class=\"back\" width=\"{WIDTH}\" height=\"{height}\"/>\n\
         <text class=\"title\" x=\"16\" y=\"26\">{title}</text>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_few_round_steps() {
        assert_eq!(scale(0.5), (1.0, 1.0));
        assert_eq!(scale(11.3), (2.0, 12.0));
        assert_eq!(scale(72.0), (20.0, 80.0));
        assert_eq!(scale(290.0), (50.0, 300.0));
    }
}
