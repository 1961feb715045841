//! Panels of lines and points over something that grows.

use anyhow::Result;
use plotters::element::PathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use crate::canvas::{Area, Colour, GRID, HEAD, INK, Mark, WIDTH, drawing, failed, label, mark, text};

/// The height of a line of a legend.
const LEGEND: i32 = 18;
/// The width of an entry of a legend beside the title.
const ENTRY: i32 = 110;

/// The space below a plot for its ticks and their meaning.
const FOOT: i32 = 52;

/// A plot with its axes. The y axis starts at 0.
#[derive(Debug)]
pub struct Panel {
    /// A heading; may be empty.
    pub title: String,
    /// Below the x axis.
    pub x_label: String,
    /// The ends of the x axis.
    pub x_range: (f64, f64),
    /// The ticks of the x axis, and their texts.
    pub ticks: Vec<(f64, String)>,
    /// The upper end of the y axis.
    pub y_end: f64,
    /// The number at a tick of the y axis.
    pub y_format: fn(f64) -> String,
    /// The lines.
    pub series: Vec<Series>,
}

/// Points of one kind.
#[derive(Debug)]
pub struct Series {
    /// For the legend.
    pub name: String,
    /// Its colour.
    pub colour: Colour,
    /// The shape of its points.
    pub mark: Mark,
    /// Whether a line connects the points.
    pub connected: bool,
    /// The points, in the order of x.
    pub points: Vec<Point>,
}

/// A measured value with a range around it.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// The place on the x axis.
    pub x: f64,
    /// The value.
    pub y: f64,
    /// The lower and the upper end of the range, if there is one.
    pub range: Option<(f64, f64)>,
}

/// Panels in `columns`, each `height` pixels high, below a common title. If all have the same series, one legend
/// beside the title serves all.
///
/// # Errors
/// If a text or a range cannot be drawn.
pub fn lines(title: &str, columns: usize, height: u32, panels: &[Panel]) -> Result<String> {
    let rows = panels.len().div_ceil(columns.max(1));
    let names = |panel: &Panel| panel.series.iter().map(|series| series.name.clone()).collect::<Vec<_>>();
    let common = panels.first().filter(|first| panels.iter().all(|panel| names(panel) == names(first)));
    drawing(title, HEAD + height * rows as u32, |root| {
        if let Some(panel) = common {
            let from = WIDTH as i32 - ENTRY * panel.series.len() as i32;
            for (place, series) in (0..).zip(&panel.series) {
                legend(root, series, (from + ENTRY * place, 20))?;
            }
        }
        let (_, below) = root.split_vertically(HEAD);
        let areas = below.split_evenly((rows.max(1), columns.max(1)));
        areas.iter().zip(panels).try_for_each(|(area, panel)| panel.draw(area, common.is_none()))
    })
}

fn legend(area: &Area<'_>, series: &Series, (x, y): (i32, i32)) -> Result<()> {
    mark(area, series.mark, series.colour, (x, y))?;
    text(area, &series.name, (x + 14, y), HPos::Left, 15)
}

impl Panel {
    fn draw(&self, area: &Area<'_>, with_legend: bool) -> Result<()> {
        text(area, &self.title, (62, 16), HPos::Left, 16)?;
        let mut top = 34;
        if with_legend {
            for series in &self.series {
                legend(area, series, (68, top))?;
                top += LEGEND;
            }
        }
        let (low, high) = self.x_range;
        let mut chart = ChartBuilder::on(area)
            .margin_top(top)
            .margin_right(22)
            .margin_bottom(FOOT)
            .y_label_area_size(62)
            .build_cartesian_2d(low..high, 0.0..self.y_end)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(INK)
            .label_style(label(15))
            .y_labels(6)
            .y_label_formatter(&|value| (self.y_format)(*value))
            .draw()
            .map_err(failed)?;
        // Pixels of the chart are counted in the whole picture, those of an area from its corner.
        let (left, above) = area.get_base_pixel();
        let pixel = |x: f64, y: f64| {
            let (x, y) = chart.backend_coord(&(x, y));
            (x - left, y - above)
        };
        // Plotters chooses the ticks of an axis by itself; these are at the places that were measured.
        for (at, number) in &self.ticks {
            let (x, y) = pixel(*at, 0.0);
            area.draw(&PathElement::new([(x, y), (x, y + 5)], INK)).map_err(failed)?;
            text(area, number, (x, y + 14), HPos::Center, 15)?;
        }
        let (x, y) = pixel((low + high) / 2.0, 0.0);
        text(area, &self.x_label, (x, y + 36), HPos::Center, 15)?;
        for series in &self.series {
            let colour = series.colour.rgb().stroke_width(2);
            let at = |point: &Point| pixel(point.x, point.y);
            if series.connected {
                let line: Vec<_> = series.points.iter().map(at).collect();
                area.draw(&PathElement::new(line, colour)).map_err(failed)?;
            }
            for point in &series.points {
                if let Some((low, high)) = point.range {
                    let range = [pixel(point.x, low), pixel(point.x, high)];
                    area.draw(&PathElement::new(range, colour)).map_err(failed)?;
                }
                if series.mark != Mark::Line {
                    mark(area, series.mark, series.colour, at(point))?;
                }
            }
        }
        Ok(())
    }
}
