//! Time as the relay sees it: a monotonic clock that counts suspended time, injected so that decisions stay pure.

use std::time::Duration;

/// An instant on a [`Clock`]: the time since that clock's own origin. Only moments of the same clock can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(Duration);

impl Moment {
    /// The moment `since_origin` after the clock's origin.
    #[must_use]
    pub const fn new(since_origin: Duration) -> Self {
        Self(since_origin)
    }

    /// The time from `earlier` to this moment, zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment `by` later.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }
}

/// Where moments come from.
///
/// A clock never goes back and goes on while the machine is suspended (on Linux `CLOCK_BOOTTIME`): a relay that slept
/// through its lease must notice it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a clock that leases can go by",
    note = "implement `outbox::Clock` for it, over a clock that never goes back and counts suspended time"
)]
pub trait Clock: Send + Sync + 'static {
    /// The current moment.
    fn now(&self) -> Moment;
}
