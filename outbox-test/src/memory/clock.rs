//! Clocks for tests.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use outbox_core::{Clock, Moment};
use tokio::time::Instant;

/// A clock that stands still until it is told to go on. Clones show the same time.
#[derive(Clone, Debug, Default)]
pub struct ManualClock(Arc<Mutex<Duration>>);

impl ManualClock {
    /// A clock at its origin.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the time forward.
    pub fn advance(&self, by: Duration) {
        let mut time = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *time = time.saturating_add(by);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        Moment::new(*self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Tokio's clock, from the moment when this one was made: stands still while tokio's is paused, and then jumps to the
/// next timer when every task waits.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock(Instant);

impl TokioClock {
    /// A clock whose origin is now.
    #[must_use]
    pub fn new() -> Self {
        Self(Instant::now())
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Moment {
        Moment::new(self.0.elapsed())
    }
}
