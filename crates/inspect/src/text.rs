//! Text for people, within 80 columns.

use std::fmt;

/// The widest line.
pub const WIDTH: usize = 80;

/// The longest bar.
const BAR: usize = 30;

/// A bar for a share from 0 to 1. A share above 0 has at least a thin one.
pub fn bar(share: f64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share.clamp(0.0, 1.0) * (BAR * 8) as f64).round() as usize;
    let eighths = if share > 0.0 { eighths.max(1) } else { 0 };
    "█".repeat(eighths / 8) + EIGHTHS.get(eighths % 8).copied().unwrap_or_default()
}

/// A share in percent.
pub fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

/// A whole number with a comma before each three digits.
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

/// The first of many, and how many more there are.
pub fn more(first: &[String], all: u64) -> String {
    let text = first.join(", ");
    match all.saturating_sub(first.len() as u64) {
        0 => text,
        more => format!("{text}, … and {} more", grouped(more)),
    }
}

/// A name, and words after it that are continued below themselves where a line is full.
pub fn entry(f: &mut fmt::Formatter<'_>, name: &str, text: &str) -> fmt::Result {
    /// The columns of names.
    const NAMES: usize = 15;
    let mut used = NAMES;
    write!(f, "{name:NAMES$}")?;
    for (place, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        if place > 0 && used + 1 + length > WIDTH {
            write!(f, "\n{:NAMES$}", "")?;
            used = NAMES;
        } else if place > 0 {
            f.write_str(" ")?;
            used += 1;
        }
        f.write_str(&printable(word))?;
        used += length;
    }
    writeln!(f)
}

/// A text without characters that would change a terminal.
pub fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        assert_eq!((bar(0.0), bar(1.0)), (String::new(), "█".repeat(BAR)));
        assert_eq!((bar(1e-9), bar(0.5)), ("▏".to_owned(), "█".repeat(BAR / 2)));
    }
}
