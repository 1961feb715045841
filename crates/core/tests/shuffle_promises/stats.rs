//! Statistics with two sides: worse than chance fails, and so does better than chance.

/// A check that fails by chance does so once in a million, on either side.
const TAIL: f64 = 4.753_424;

/// What was measured, or what is wrong with it.
pub type Verdict = Result<String, String>;

/// The quantiles 1e-6 and 1 − 1e-6 of χ² with `df` degrees of freedom (Wilson and Hilferty, 1931).
pub fn chi_square_bounds(df: f64) -> (f64, f64) {
    let variance = 2.0 / (9.0 * df);
    let quantile = |z: f64| df * (1.0 - variance + z * variance.sqrt()).max(0.0).powi(3);
    (quantile(-TAIL), quantile(TAIL))
}

/// Whether `hits` of `trials` independent trials can be had from the probability `p`.
pub fn binomial(hits: u64, trials: u64, p: f64) -> Verdict {
    let n = trials as f64;
    let deviation = (hits as f64 - n * p) / (n * p * (1.0 - p)).sqrt();
    let said =
        format!("{:.5} of {trials}, expected {p:.5} ({deviation:+.2} standard deviations)", hits as f64 / n);
    if deviation.abs() <= TAIL { Ok(said) } else { Err(said) }
}

/// Whether the mean of `n` independent values is what it should be.
pub fn mean(sum: f64, n: u64, expected: f64, variance: f64) -> Verdict {
    let measured = sum / n as f64;
    let deviation = (measured - expected) / (variance / n as f64).sqrt();
    let said = format!("mean {measured:.5}, expected {expected:.5} ({deviation:+.2} standard deviations)");
    if deviation.abs() <= TAIL { Ok(said) } else { Err(said) }
}

/// Counts per cell, in batches of as many observations each.
///
/// The sum of the batches' χ² shows what the whole cannot: counts that few degrees of freedom let come out
/// too even, or that are uneven here and make up for it there.
pub struct Counts {
    /// The expected share of observations in each cell.
    shares: Vec<f64>,
    /// What to multiply χ² by where an observation falls into several cells.
    scale: f64,
    per_batch: u64,
    batches: Vec<Vec<u64>>,
    seen: u64,
}

impl Counts {
    pub fn new(shares: Vec<f64>, scale: f64, per_batch: u64) -> Self {
        Self { shares, scale, per_batch, batches: Vec::new(), seen: 0 }
    }

    /// One observation, in all the cells that it falls into.
    pub fn add(&mut self, cells: impl IntoIterator<Item = usize>) {
        if self.seen.is_multiple_of(self.per_batch) {
            self.batches.push(vec![0; self.shares.len()]);
        }
        self.seen += 1;
        let batch = self.batches.last_mut().unwrap();
        cells.into_iter().for_each(|cell| batch[cell] += 1);
    }

    fn totals(&self) -> Vec<u64> {
        let mut totals = vec![0; self.shares.len()];
        for batch in &self.batches {
            totals.iter_mut().zip(batch).for_each(|(total, count)| *total += count);
        }
        totals
    }

    /// How many cells have anything in them.
    pub fn occupied(&self) -> usize {
        self.totals().iter().filter(|count| **count > 0).count()
    }

    fn statistic(&self, counts: &[u64], observations: u64) -> f64 {
        let term = |(count, share): (&u64, &f64)| {
            let expected = observations as f64 * share;
            (*count as f64 - expected).powi(2) / expected
        };
        counts.iter().zip(&self.shares).map(term).sum::<f64>() * self.scale
    }

    /// χ² of the whole against its degrees of freedom.
    pub fn whole(&self) -> (f64, f64) {
        (self.statistic(&self.totals(), self.seen), self.shares.len() as f64 - 1.0)
    }

    /// Whether the whole, and the sum over the batches, are within both bounds.
    pub fn verdict(&self) -> Verdict {
        assert_eq!(self.seen % self.per_batch, 0, "the last batch is not full");
        let least = self.shares.iter().copied().fold(f64::MAX, f64::min) * self.per_batch as f64;
        assert!(least >= 5.0, "only {least} observations are expected in a cell");
        let (whole, df) = self.whole();
        let summed = self.batches.iter().map(|batch| self.statistic(batch, self.per_batch)).sum();
        let mut said = Vec::new();
        let mut good = true;
        for (what, statistic, df) in
            [("whole", whole, df), ("batches", summed, df * self.batches.len() as f64)]
        {
            let (low, high) = chi_square_bounds(df);
            good &= (low..=high).contains(&statistic);
            said.push(format!("{what}: χ²/df {:.3} in {:.3}…{:.3}", statistic / df, low / df, high / df));
        }
        let said = said.join(", ");
        if good { Ok(said) } else { Err(said) }
    }
}

/// For an even number of degrees of freedom the tails of χ² are sums of Poisson probabilities.
#[test]
fn the_bounds_cut_off_a_millionth() {
    for df in [28_u32, 100, 400, 4844] {
        let (low, high) = chi_square_bounds(f64::from(df));
        let poisson = |mean: f64, count: u32| {
            let log_factorial: f64 = (1..=count).map(|i| f64::from(i).ln()).sum();
            (f64::from(count) * mean.ln() - mean - log_factorial).exp()
        };
        let below: f64 = (df / 2..df).map(|count| poisson(low / 2.0, count)).sum();
        let above: f64 = (0..df / 2).map(|count| poisson(high / 2.0, count)).sum();
        println!("{df}: {below:e} below {low:.3}, {above:e} above {high:.3}");
        assert!((5e-7..2e-6).contains(&below) && (5e-7..2e-6).contains(&above));
    }
}
