//! Medians and spread.

use pinroute_core::hash::mix;
use serde::Serialize;

/// The number of samples of the bootstrap.
const DRAWS: u64 = 1_000;

/// A figure of several rounds, and a range around it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// Half of the rounds had less.
    pub median: f64,
    /// The lower end of the range; the lower quartile, unless a function documents another one.
    pub low: f64,
    /// The upper end of the range; the upper quartile, unless a function documents another one.
    pub high: f64,
}

impl Figure {
    /// The median and the quartiles of some values, without those that are not finite.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let sorted = sorted(values);
        let [low, median, high] = [0.25, 0.5, 0.75].map(|share| quantile(&sorted, share));
        Self { median, low, high }
    }

    /// The ratio of two medians over rounds, with its 95 % interval from a bootstrap over the rounds (B. Efron, The
    /// Annals of Statistics 7, 1979).
    pub fn ratio(of: &[f64], to: &[f64]) -> Self {
        let median = |values: Vec<f64>| quantile(&sorted(values), 0.5);
        let rounds = of.len().min(to.len()).max(1) as u64;
        let drawn = |values: &[f64], draw: u64| {
            let place = |turn: u64| (mix(draw * rounds + turn) % rounds) as usize;
            median((0..rounds).filter_map(|turn| values.get(place(turn)).copied()).collect())
        };
        // Both from the same rounds, because a disturbance of a round affects both.
        let ratios = sorted((0..DRAWS).map(|draw| drawn(of, draw) / drawn(to, draw)));
        let [low, high] = [0.025, 0.975].map(|share| quantile(&ratios, share));
        Self { median: median(of.to_vec()) / median(to.to_vec()), low, high }
    }
}

/// The value below which this share of some values lies.
pub fn quantile_of(values: &[f64], share: f64) -> f64 {
    quantile(&sorted(values.iter().copied()), share)
}

/// In order, without those that are not finite.
fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// Between two of the values where the place is between them.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
    let place = share * sorted.len().saturating_sub(1) as f64;
    let (below, above) = (at(place.floor() as usize), at(place.ceil() as usize));
    below + (above - below) * place.fract()
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

    #[test]
    fn more_rounds_give_a_narrower_interval() {
        let noisy = |rounds: u64, middle: f64, seed: u64| -> Vec<f64> {
            (0..rounds).map(|round| middle + (mix(seed + round) % 1_000) as f64 / 1_000.0 - 0.5).collect()
        };
        let width = |rounds| {
            let ratio = Figure::ratio(&noisy(rounds, 4.0, 0), &noisy(rounds, 2.0, 1_000_000));
            assert!(ratio.low < ratio.median && ratio.median < ratio.high, "{ratio:?}");
            assert!((ratio.median - 2.0).abs() < 0.3, "{ratio:?}");
            ratio.high - ratio.low
        };
        assert!(width(400) < width(25) / 2.0);
    }
}
