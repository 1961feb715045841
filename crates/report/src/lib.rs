//! Markdown tables and SVG plots for the generated pages of `docs/`.

mod bars;
mod canvas;
mod lines;
mod table;

pub use bars::{bars, Bar};
pub use canvas::{Colour, Mark};
pub use lines::{lines, Panel, Point, Series};
pub use table::{grouped, table};
