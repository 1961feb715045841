//! Medians and spread.

use serde::Serialize;

/// A figure of several rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// Half of the rounds had less.
    pub median: f64,
    /// A quarter of the rounds had less.
    pub low: f64,
    /// A quarter of the rounds had more.
    pub high: f64,
}

impl Figure {
    /// Of some values; those that are not finite do not count.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
        // Between two of the values where the place is between them.
        let quantile = |share: f64| {
            let place = share * sorted.len().saturating_sub(1) as f64;
            let (below, above) = (at(place.floor() as usize), at(place.ceil() as usize));
            below + (above - below) * place.fract()
        };
        Self { median: quantile(0.5), low: quantile(0.25), high: quantile(0.75) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_and_half_of_all_around_it() {
        let figure = |values: &[f64]| Figure::of(values.iter().copied());
        assert_eq!(figure(&[5.0, 3.0, 1.0, 2.0, 4.0]), Figure { median: 3.0, low: 2.0, high: 4.0 });
        assert_eq!(figure(&[4.0, f64::NAN, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(figure(&[7.0]), Figure { median: 7.0, low: 7.0, high: 7.0 });
        assert!(figure(&[]).median.is_nan());
    }
}
