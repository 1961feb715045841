//! The plots.

use anyhow::Result;
use pinroute_report::{Colour, Mark, Panel, Point, Series, lines};

use super::measure::{Compared, Fleet, GROWING_SIZE, MOST_BAD};
use super::theory;

/// The height of a panel, in pixels.
const HEIGHT: u32 = 320;

type Points = Vec<(f64, f64)>;

/// `docs/isolation-cover.svg`.
pub fn cover(fleets: &[Compared]) -> Result<String> {
    let panels = fleets.iter().map(|Compared { fleet: Fleet { hosts, size }, rendezvous, lua }| {
        let points =
            |measured: &[f64]| (1..).map(f64::from).zip(measured.iter().copied()).collect::<Points>();
        let theory = (1..=MOST_BAD as i32).map(|bad| (f64::from(bad), theory::cover(*hosts, *size, bad)));
        Panel {
            title: format!("{hosts} hosts, {size} per customer"),
            x_label: "bad customers".to_owned(),
            series: series(theory.collect(), points(&rendezvous.covered), points(&lua.covered)),
            ..axes(MOST_BAD as u32, &[1, 4, 8, 12, 16])
        }
    });
    let title = "The probability that bad customers cover all hosts of another";
    lines(title, fleets.len(), HEIGHT, &panels.collect::<Vec<_>>())
}

/// `docs/isolation-moved.svg`.
pub fn moved(rendezvous: Points, lua: Points) -> Result<String> {
    let theory = (GROWING_SIZE..=64).map(|hosts| (f64::from(hosts), theory::moved(hosts, GROWING_SIZE)));
    let panel = Panel {
        x_label: format!("hosts before one is added ({GROWING_SIZE} per customer)"),
        series: series(theory.collect(), rendezvous, lua),
        ..axes(64, &[4, 8, 16, 24, 32, 40, 48, 56, 64])
    };
    lines("The share of customers who move when one host is added", 1, HEIGHT, &[panel])
}

/// A panel without series: x from 0 to `end`, y from 0 % to 100 %.
fn axes(end: u32, ticks: &[u32]) -> Panel {
    Panel {
        title: String::new(),
        x_label: String::new(),
        x_range: (0.0, f64::from(end)),
        ticks: ticks.iter().map(|tick| (f64::from(*tick), tick.to_string())).collect(),
        y_end: 1.0,
        y_format: |share| format!("{:.0} %", share * 100.0),
        series: Vec::new(),
    }
}

fn series(theory: Points, rendezvous: Points, lua: Points) -> Vec<Series> {
    [
        ("theory", Colour::Grey, Mark::Line, theory),
        ("lua_djb2", Colour::Orange, Mark::Square, lua),
        ("rendezvous", Colour::Blue, Mark::Circle, rendezvous),
    ]
    .map(|(name, colour, mark, points)| Series {
        name: name.to_owned(),
        colour,
        mark,
        connected: mark == Mark::Line,
        points: points.into_iter().map(|(x, y)| Point { x, y, range: None }).collect(),
    })
    .into()
}
