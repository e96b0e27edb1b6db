//! How long to wait before the next try.

use std::time::Duration;

/// Whether an operation that failed may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Not before somebody changed something.
    Never,
    /// After the usual back-off.
    Later,
    /// Not before this time has passed (back-pressure), and then after the usual back-off if that is longer.
    After(Duration),
}

/// Exponential back-off with jitter.
///
/// The n-th wait is drawn evenly from the upper half of `min * 2^(n-1)`, capped at `max`: half of it is certain, so that
/// a sink that is down is left alone, and half is random, so that many relays do not come back at once ("equal jitter",
/// Marc Brooker, "Exponential Backoff And Jitter", 2015).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    min: Duration,
    max: Duration,
}

impl Backoff {
    /// Waits of about `min` at first and `max` in the end. A `max` below `min` counts as `min`.
    #[must_use]
    pub fn new(min: Duration, max: Duration) -> Self {
        Self { min, max: max.max(min) }
    }

    /// The wait after the `failures`-th failure in a row (from 1), with `jitter` drawn from `0.0..1.0`.
    #[must_use]
    pub fn wait(&self, failures: u32, jitter: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let full = self.min.saturating_mul(1 << doublings).min(self.max);
        full.div_f64(2.0) + full.div_f64(2.0).mul_f64(jitter.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_stay_in_their_half() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for (failures, full) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1000), (4_000_000_000, 1000)] {
            let full = Duration::from_millis(full);
            assert_eq!(backoff.wait(failures, 0.0), full / 2);
            assert_eq!(backoff.wait(failures, 1.0), full);
        }
    }
}
