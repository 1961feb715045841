//! The plots, as SVG that follows the reader's light or dark mode.

use super::measure::MOST_BAD;
use super::{theory, Compared, Fleet, GROWING_SIZE};
use crate::svg::{add, text};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 360.0;
/// What a panel keeps free for its labels.
const LEFT: f64 = 62.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 74.0;
const BOTTOM: f64 = 52.0;

const STYLE: &str = "\
text { font: 13px sans-serif; fill: #1f2328 } .small { font-size: 12px } .title { font-size: 15px; font-weight: bold }
.back { fill: #ffffff } .grid { stroke: #d1d9e0 } .axis { stroke: #59636e }
.theory { stroke: #59636e; stroke-width: 1.5; fill: none } .rendezvous { fill: #0969da } .lua { fill: #d1570a }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc } .back { fill: #0d1117 } .grid { stroke: #3d444d } .axis { stroke: #9198a1 }
.theory { stroke: #9198a1 } .rendezvous { fill: #4493f8 } .lua { fill: #f0883e }
}";

type Points = Vec<(f64, f64)>;

/// Three series over the same axes; y goes from 0 to 1.
struct Panel {
    title: String,
    x_label: String,
    y_label: &'static str,
    x_range: (f64, f64),
    ticks: Vec<u32>,
    theory: Points,
    rendezvous: Points,
    lua: Points,
}

/// `docs/isolation-cover.svg`.
pub fn cover(fleets: &[Compared]) -> String {
    let panels = fleets.iter().map(|Compared { fleet: Fleet { hosts, size }, rendezvous, lua }| {
        let points =
            |measured: &[f64]| (1..).zip(measured).map(|(bad, p)| (f64::from(bad), *p)).collect::<Points>();
        let bad = 1..=MOST_BAD as i32;
        Panel {
            title: format!("{hosts} hosts, {size} per customer"),
            x_label: "bad customers".to_owned(),
            y_label: "covered",
            x_range: (0.0, MOST_BAD as f64),
            ticks: vec![1, 4, 8, 12, 16],
            theory: bad.map(|bad| (f64::from(bad), theory::cover(*hosts, *size, bad))).collect(),
            rendezvous: points(&rendezvous.covered),
            lua: points(&lua.covered),
        }
    });
    drawing("The probability that bad customers cover all hosts of another", &panels.collect::<Vec<_>>())
}

/// `docs/isolation-moved.svg`.
pub fn moved(rendezvous: Points, lua: Points) -> String {
    let panel = Panel {
        title: String::new(),
        x_label: format!("hosts before one is added ({GROWING_SIZE} per customer)"),
        y_label: "moved",
        x_range: (0.0, 64.0),
        ticks: vec![4, 8, 16, 24, 32, 40, 48, 56, 64],
        theory: (GROWING_SIZE..=64)
            .map(|hosts| (f64::from(hosts), theory::moved(hosts, GROWING_SIZE)))
            .collect(),
        rendezvous,
        lua,
    };
    drawing("The share of customers who move when one host is added", &[panel])
}

fn drawing(title: &str, panels: &[Panel]) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n\
         <title>{title}</title>\n<style>\n{STYLE}\n</style>\n\
         <rect class=\"back\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n\
         <text class=\"title\" x=\"16\" y=\"26\">{title}</text>\n"
    );
    legend(&mut svg);
    let width = WIDTH / panels.len() as f64;
    for (place, panel) in panels.iter().enumerate() {
        panel.draw(&mut svg, width * place as f64 + LEFT, width - LEFT - RIGHT);
    }
    svg + "</svg>\n"
}

fn legend(svg: &mut String) {
    let y = 22.0;
    let x = WIDTH - 300.0;
    add(svg, format_args!("<path class=\"theory\" d=\"M{x} {y}h24\"/>"));
    text(svg, "", x + 30.0, y + 4.0, "start", "theory");
    dot(svg, x + 94.0, y);
    text(svg, "", x + 104.0, y + 4.0, "start", "rendezvous");
    square(svg, x + 200.0, y);
    text(svg, "", x + 210.0, y + 4.0, "start", "lua_djb2");
}

impl Panel {
    fn draw(&self, svg: &mut String, left: f64, width: f64) {
        let (low, high) = self.x_range;
        let bottom = HEIGHT - BOTTOM;
        let x = |value: f64| left + (value - low) / (high - low) * width;
        let y = |share: f64| bottom - share * (bottom - TOP);
        for tenths in (0..=10).step_by(2) {
            let share = f64::from(tenths) / 10.0;
            let class = if tenths == 0 { "axis" } else { "grid" };
            add(svg, format_args!("<path class=\"{class}\" d=\"M{left:.1} {:.1}h{width:.1}\"/>", y(share)));
            text(svg, "small", left - 6.0, y(share) + 4.0, "end", &format!("{} %", tenths * 10));
        }
        for tick in &self.ticks {
            let at = x(f64::from(*tick));
            add(svg, format_args!("<path class=\"axis\" d=\"M{at:.1} {bottom:.1}v5\"/>"));
            text(svg, "small", at, bottom + 19.0, "middle", &tick.to_string());
        }
        text(svg, "", left + width / 2.0, TOP - 14.0, "middle", &self.title);
        text(svg, "small", left + width / 2.0, bottom + 40.0, "middle", &self.x_label);
        text(svg, "small", left - 6.0, TOP - 14.0, "end", self.y_label);
        let line: Vec<String> =
            self.theory.iter().map(|(at, share)| format!("{:.1},{:.1}", x(*at), y(*share))).collect();
        add(svg, format_args!("<polyline class=\"theory\" points=\"{}\"/>", line.join(" ")));
        self.lua.iter().for_each(|(at, share)| square(svg, x(*at), y(*share)));
        self.rendezvous.iter().for_each(|(at, share)| dot(svg, x(*at), y(*share)));
    }
}

fn dot(svg: &mut String, x: f64, y: f64) {
    add(svg, format_args!("<circle class=\"rendezvous\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>"));
}

fn square(svg: &mut String, x: f64, y: f64) {
    let (x, y) = (x - 3.5, y - 3.5);
    add(svg, format_args!("<rect class=\"lua\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"7\" height=\"7\"/>"));
}
