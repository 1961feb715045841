//! Markdown tables and the numbers in them.

/// A Markdown table. The first column is aligned to the left, the others to the right.
#[must_use]
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let rule = "---:|".repeat(header.len().saturating_sub(1));
    let mut text = format!("| {} |\n|---|{rule}\n", header.join(" | "));
    for row in rows {
        text += &format!("| {} |\n", row.join(" | "));
    }
    text
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_header_and_rows() {
        let text = table(&["name", "count"], [vec!["a".to_owned(), grouped(1_000)]]);
        assert_eq!(text, "| name | count |\n|---|---:|\n| a | 1,000 |\n");
    }

    #[test]
    fn large_numbers_have_commas() {
        assert_eq!([7, 999, 20_000, 225_792_840].map(grouped), ["7", "999", "20,000", "225,792,840"]);
    }
}
