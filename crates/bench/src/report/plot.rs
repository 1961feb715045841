//! The plots.

use crate::growth::Plot;
use crate::peers::Measured;
use crate::variants::BARE;
use anyhow::Result;
use pinroute_report::{Bar, Colour, Mark, Panel, Point, Series, grouped, lines};

const TITLE: &str = "CPU of Envoy's worker for a request, above the bare chain, in µs";
/// The height of a panel, in pixels.
const HEIGHT: u32 = 380;

/// The colours and marks of the lines of a panel.
const STYLES: [(Colour, Mark); 4] = [
    (Colour::Blue, Mark::Circle),
    (Colour::Orange, Mark::Square),
    (Colour::Green, Mark::Triangle),
    (Colour::Purple, Mark::Diamond),
];

/// What each filter costs: `benchmark-cpu.svg`.
pub fn bars(peers: &[Measured]) -> Result<String> {
    let bars: Vec<Bar<'_>> = peers
        .iter()
        .filter(|one| one.name != BARE)
        .map(|one| Bar {
            name: one.label,
            colour: match &one.name {
                name if name.starts_with("wasm") => Colour::Grey,
                name if name.starts_with("lua") => Colour::Orange,
                name if name.starts_with("native") => Colour::Green,
                _ => Colour::Blue,
            },
            value: one.above_us.median,
            range: (one.above_us.low, one.above_us.high),
        })
        .collect();
    pinroute_report::bars(TITLE, &bars)
}

/// Costs over what grows, two panels in a row: `benchmark-growth.svg`.
pub fn growth(plots: &[Plot]) -> Result<String> {
    lines(TITLE, 2, HEIGHT, &plots.iter().map(panel).collect::<Vec<_>>())
}

/// The x axis has the measured places at equal distances, because they grow by factors.
fn panel(plot: &Plot) -> Panel {
    let places = || (0..plot.points.len()).map(|place| place as f64);
    let figures = plot.points.iter().flat_map(|point| &point.above_us);
    let series = plot.lines.iter().zip(STYLES).enumerate().map(|(number, (name, (colour, mark)))| {
        let points = places().zip(&plot.points).filter_map(|(x, point)| {
            let figure = point.above_us.get(number)?;
            Some(Point { x, y: figure.median, range: Some((figure.low, figure.high)) })
        });
        Series { name: (*name).to_owned(), colour, mark, connected: true, points: points.collect() }
    });
    Panel {
        title: plot.title.to_owned(),
        x_label: plot.x_label.to_owned(),
        x_range: (-0.3, plot.points.len().max(2) as f64 - 0.7),
        ticks: places().zip(plot.points.iter().map(|point| grouped(point.x))).collect(),
        y_end: 1.05 * figures.map(|figure| figure.high).fold(1.0, f64::max),
        y_format: |value| format!("{value}"),
        series: series.collect(),
    }
}
