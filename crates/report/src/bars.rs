//! Horizontal bars, each with the range of its value.

use anyhow::Result;
use plotters::element::PathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use crate::canvas::{Colour, GRID, HEAD, INK, drawing, failed, label, text};

/// The height of a bar with its distance to the next.
const BAR: u32 = 27;
/// The space below the bars for the axis.
const AXIS: u32 = 40;
/// The space to the left of the bars for their names.
const NAMES: u32 = 348;
/// The space to the right of the longest bar for its value, as a share of the axis.
const VALUES: f64 = 1.3;

/// One bar.
#[derive(Clone, Copy, Debug)]
pub struct Bar<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its colour.
    pub colour: Colour,
    /// Its length.
    pub value: f64,
    /// The lower and the upper end of the range; the same for a single value.
    pub range: (f64, f64),
}

/// Bars below each other, with their values.
///
/// # Errors
/// If a text or a range cannot be drawn.
pub fn bars(title: &str, bars: &[Bar<'_>]) -> Result<String> {
    let most = bars.iter().map(|bar| bar.range.1.max(bar.value)).fold(1.0, f64::max);
    let rows = bars.len() as f64;
    drawing(title, HEAD + BAR * bars.len() as u32 + AXIS, |root| {
        let (_, area) = root.split_vertically(HEAD);
        let mut chart = ChartBuilder::on(&area)
            .margin_right(16)
            .x_label_area_size(AXIS)
            .margin_left(NAMES)
            .build_cartesian_2d(0.0..most * VALUES, rows..0.0)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(INK)
            .label_style(label(16))
            .x_label_formatter(&|value| format!("{value}"))
            .draw()
            .map_err(failed)?;
        let (left, above) = area.get_base_pixel();
        let pixel = |x: f64, y: f64| {
            let (x, y) = chart.backend_coord(&(x, y));
            (x - left, y - above)
        };
        for (row, bar) in bars.iter().enumerate() {
            let (low, high) = bar.range;
            let middle = row as f64 + 0.5;
            let body = [pixel(0.0, middle - 0.35), pixel(bar.value.max(0.0), middle + 0.35)];
            area.draw(&Rectangle::new(body, bar.colour.rgb().filled())).map_err(failed)?;
            let ((from, y), (to, _)) = (pixel(low, middle), pixel(high, middle));
            let ends = [[(from, y), (to, y)], [(from, y - 4), (from, y + 4)], [(to, y - 4), (to, y + 4)]];
            for line in ends.into_iter().filter(|_| low < high) {
                area.draw(&PathElement::new(line, INK)).map_err(failed)?;
            }
            let (end, _) = pixel(high.max(bar.value), middle);
            text(&area, bar.name, (NAMES as i32 - 8, y), HPos::Right, 16)?;
            let range = if low < high { format!(" ({low:.1}–{high:.1})") } else { String::new() };
            text(&area, &format!("{:.1}{range}", bar.value), (end + 8, y), HPos::Left, 15)?;
        }
        Ok(())
    })
}
