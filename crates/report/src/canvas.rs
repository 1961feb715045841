//! What all plots share: the drawing area, colours that follow the reader's light or dark mode, and marks.

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::element::PathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// The width of every plot, in pixels.
pub const WIDTH: u32 = 960;
/// The space above the plots for the title.
pub const HEAD: u32 = 40;

/// A part of the picture.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The colour of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// For pinroute.
    Blue,
    /// For Lua.
    Orange,
    /// A third series.
    Green,
    /// A fourth series.
    Purple,
    /// For what is compared with: theory, the empty filter.
    Grey,
}

/// The shape of a point. Series differ by shape too, so that colour is not needed to tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A dot.
    Circle,
    /// A square.
    Square,
    /// A triangle.
    Triangle,
    /// A square on its corner.
    Diamond,
    /// No points: a line alone.
    Line,
}

pub const INK: RGBColor = RGBColor(0x1f, 0x23, 0x28);
pub const BACK: RGBColor = RGBColor(0xff, 0xff, 0xff);
pub const GRID: RGBColor = RGBColor(0xd1, 0xd9, 0xe0);

/// Each colour as it is drawn, and as it is shown in dark mode.
const DARK: [(&str, &str); 8] = [
    ("#1F2328", "#f0f6fc"),
    ("#FFFFFF", "#0d1117"),
    ("#D1D9E0", "#3d444d"),
    ("#0969DA", "#4493f8"),
    ("#D1570A", "#f0883e"),
    ("#1A7F37", "#3fb950"),
    ("#8250DF", "#ab7df8"),
    ("#59636E", "#9198a1"),
];

impl Colour {
    pub(crate) fn rgb(self) -> RGBColor {
        match self {
            Self::Blue => RGBColor(0x09, 0x69, 0xda),
            Self::Orange => RGBColor(0xd1, 0x57, 0x0a),
            Self::Green => RGBColor(0x1a, 0x7f, 0x37),
            Self::Purple => RGBColor(0x82, 0x50, 0xdf),
            Self::Grey => RGBColor(0x59, 0x63, 0x6e),
        }
    }
}

impl Mark {
    /// The shape around (0, 0), in pixels; none for a line, and for a circle, which plotters draws itself.
    fn corners(self) -> &'static [(i32, i32)] {
        match self {
            Self::Circle | Self::Line => &[],
            Self::Square => &[(-4, -4), (4, -4), (4, 4), (-4, 4)],
            Self::Triangle => &[(0, -5), (5, 4), (-5, 4)],
            Self::Diamond => &[(0, -5), (5, 0), (0, 5), (-5, 0)],
        }
    }
}

/// A drawing of this height with a title.
pub fn drawing(title: &str, height: u32, draw: impl FnOnce(&Area<'_>) -> Result<()>) -> Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        root.fill(&BACK).map_err(failed)?;
        let style = ("sans-serif", 18, FontStyle::Bold).into_font().color(&INK);
        let style = style.pos(Pos::new(HPos::Left, VPos::Center));
        root.draw_text(title, &style, (16, 20)).map_err(failed)?;
        draw(&root)?;
        root.present().map_err(failed)?;
    }
    let dark: String = DARK
        .iter()
        .map(|(light, dark)| {
            format!("[fill=\"{light}\"]{{fill:{dark}}}[stroke=\"{light}\"]{{stroke:{dark}}}\n")
        })
        .collect();
    let head =
        format!("\n<title>{title}</title>\n<style>@media (prefers-color-scheme: dark) {{\n{dark}}}</style>");
    let (open, rest) = svg.split_once('>').ok_or_else(|| anyhow!("plotters drew no SVG"))?;
    Ok(format!("{open} role=\"img\">{head}{rest}"))
}

/// Writes a text, at its middle in height.
pub fn text(area: &Area<'_>, what: &str, at: (i32, i32), anchor: HPos, size: u32) -> Result<()> {
    let style = label(size).pos(Pos::new(anchor, VPos::Center));
    area.draw_text(what, &style, at).map_err(failed)
}

/// The style of a text. Plotters writes about four fifths of `size` into the SVG.
pub fn label(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK)
}

/// Draws a mark, at a pixel of this area.
pub fn mark(area: &Area<'_>, shape: Mark, colour: Colour, (x, y): (i32, i32)) -> Result<()> {
    let style = colour.rgb().filled();
    match shape {
        Mark::Circle => area.draw(&Circle::new((x, y), 4, style)),
        Mark::Line => area.draw(&PathElement::new([(x - 8, y), (x + 8, y)], colour.rgb().stroke_width(2))),
        _ => {
            let corners: Vec<(i32, i32)> = shape.corners().iter().map(|(dx, dy)| (x + dx, y + dy)).collect();
            area.draw(&Polygon::new(corners, style))
        }
    }
    .map_err(failed)
}

/// Plotters' error, whose type depends on the backend.
pub fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw: {error}")
}
