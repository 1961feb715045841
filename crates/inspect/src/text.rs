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
        let word: Vec<char> = printable(word).chars().collect();
        if place > 0 && used + 1 + word.len() > WIDTH {
            write!(f, "\n{:NAMES$}", "")?;
            used = NAMES;
        } else if place > 0 {
            f.write_str(" ")?;
            used += 1;
        }
        // A word that no line has room for goes on below itself.
        for (place, piece) in word.chunks(WIDTH - NAMES).enumerate() {
            if place > 0 {
                write!(f, "\n{:NAMES$}", "")?;
                used = NAMES;
            }
            f.write_str(&String::from_iter(piece))?;
            used += piece.len();
        }
    }
    writeln!(f)
}

/// A text without characters that would change a terminal, or the order of its line.
pub fn printable(text: &str) -> String {
    let is_shown = |c: char| {
        let is_direction =
            matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        !c.is_control() && !is_direction
    };
    let shown = |c: char| if is_shown(c) { c.to_string() } else { c.escape_unicode().to_string() };
    text.chars().map(shown).collect()
}

/// At most so many columns, with … in place of the rest.
pub fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Entry(String);

    impl fmt::Display for Entry {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            entry(f, "key", &self.0)
        }
    }

    #[test]
    fn an_entry_has_80_columns_and_changes_no_terminal() {
        for text in ["x".repeat(300), format!("a {} b", "z".repeat(66)), "\u{9b}31m\u{202e}".repeat(30)] {
            let shown = Entry(text.clone()).to_string();
            let is_fit = |line: &str| line.chars().count() <= WIDTH && printable(line) == line;
            assert!(shown.lines().all(is_fit), "{shown}");
            let letters = shown.chars().filter(|c| matches!(c, 'x' | 'z')).count();
            assert_eq!(letters, text.chars().filter(|c| matches!(c, 'x' | 'z')).count(), "{shown}");
        }
    }

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        assert_eq!((bar(0.0), bar(1.0)), (String::new(), "█".repeat(BAR)));
        assert_eq!((bar(1e-9), bar(0.5)), ("▏".to_owned(), "█".repeat(BAR / 2)));
    }
}
