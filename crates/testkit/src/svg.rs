//! What the plots of all reports are drawn and labelled with.

use std::fmt::Write;

/// Adds a line of SVG.
pub fn add(svg: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(svg, "{line}");
}

/// Adds a text of ours: it must hold nothing that XML would need escaped.
pub fn text(svg: &mut String, class: &str, x: f64, y: f64, anchor: &str, what: &str) {
    add(
        svg,
        format_args!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{what}</text>"
        ),
    );
}

/// A whole number with a comma before each three digits.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
