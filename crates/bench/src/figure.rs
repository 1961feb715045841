//! Medians and spread.

use serde::Serialize;

/// A figure of several rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// The middle one; of an even number, between the two in the middle.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The greatest.
    pub most: f64,
}

impl Figure {
    /// Of some values; those that are not finite do not count.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
        let last = sorted.len().saturating_sub(1);
        Self { median: (at(last / 2) + at(last.div_ceil(2))) / 2.0, least: at(0), most: at(last) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let figure = |values: &[f64]| Figure::of(values.iter().copied());
        assert_eq!(figure(&[3.0, 1.0, 2.0]), Figure { median: 2.0, least: 1.0, most: 3.0 });
        assert_eq!(figure(&[4.0, f64::NAN, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(figure(&[7.0]), Figure { median: 7.0, least: 7.0, most: 7.0 });
        assert!(figure(&[]).median.is_nan());
    }
}
