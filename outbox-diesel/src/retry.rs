//! Running a transaction again: how often, and after which wait.

use std::time::Duration;

use outbox_core::Backoff;

use crate::options::TxOptions;

/// Where the waits stop growing.
const DELAY_MAX: Duration = Duration::from_secs(1);

/// What is left of a transaction's retries.
#[derive(Debug)]
pub(crate) struct Retries {
    made: u32,
    max: u32,
    backoff: Backoff,
}

/// What comes after the end of a run.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It was the last one.
    Done,
    /// It was rolled back, and the wait before the next is over.
    Again,
}

impl Retries {
    pub(crate) fn new(options: &TxOptions) -> Self {
        let backoff = Backoff::new(options.retry_delay, DELAY_MAX);
        Self { made: 0, max: options.retries, backoff }
    }

    /// How long to wait before the next run, if there is one.
    pub(crate) fn wait(&mut self) -> Option<Duration> {
        if self.made >= self.max {
            return None;
        }
        self.made += 1;
        Some(self.backoff.wait(self.made, fastrand::f64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_end() {
        let options = TxOptions::new().retries(3).retry_delay(Duration::from_millis(100));
        let mut retries = Retries::new(&options);
        for full in [100, 200, 400] {
            let wait = retries.wait().expect("one is left");
            assert!((Duration::from_millis(full / 2)..=Duration::from_millis(full)).contains(&wait), "{wait:?}");
        }
        assert_eq!(retries.wait(), None);
        assert_eq!(Retries::new(&TxOptions::new()).wait(), None);
    }
}
