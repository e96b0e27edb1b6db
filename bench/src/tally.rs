//! Several measurements of one thing.

/// What was measured, round by round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(Vec<f64>);

impl Tally {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The middle one, or the mean of the two in the middle.
    pub(crate) fn median(&self) -> f64 {
        let sorted = self.sorted();
        let len = sorted.len();
        match len {
            0 => f64::NAN,
            len if len % 2 == 1 => sorted[len / 2],
            len => (sorted[len / 2 - 1] + sorted[len / 2]) / 2.0,
        }
    }

    pub(crate) fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::min)
    }

    pub(crate) fn max(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::max)
    }

    /// The value that this share of all is not above.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let sorted = self.sorted();
        let at = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(at.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    }

    /// Round by round: this over that. What troubled one round has troubled both.
    pub(crate) fn over(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(this, that)| this / that).collect())
    }

    /// Each value less this one.
    pub(crate) fn minus(&self, less: f64) -> Self {
        self.map(|value| value - less)
    }

    /// Each value through `f`.
    pub(crate) fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        Self(self.0.iter().copied().map(f).collect())
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

impl FromIterator<f64> for Tally {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_what_was_measured() {
        let tally: Tally = [3.0, 1.0, 2.0].into_iter().collect();
        assert_eq!((tally.min(), tally.median(), tally.max()), (1.0, 2.0, 3.0));
        let tally: Tally = (1..=100).map(f64::from).collect();
        assert_eq!((tally.median(), tally.quantile(0.99), tally.quantile(0.5)), (50.5, 99.0, 50.0));
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let (this, that): (Tally, Tally) = ([10.0, 30.0].into_iter().collect(), [5.0, 10.0].into_iter().collect());
        let ratio = this.over(&that);
        assert_eq!((ratio.min(), ratio.max()), (2.0, 3.0));
    }
}
