//! Markdown tables and SVG plots for the generated pages of `docs/`.

mod bars;
mod canvas;
mod lines;
mod table;

pub use bars::{Bar, bars};
pub use canvas::{Colour, Mark};
pub use lines::{Panel, Point, Series, lines};
pub use table::{grouped, table};
