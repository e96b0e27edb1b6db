//! The real clock.

use std::time::Duration;

use outbox_core::{Clock, Moment};
use rustix::time::{ClockId, clock_gettime};

/// A monotonic clock that goes on while the machine is suspended: a relay must see that its lease ran out meanwhile.
#[derive(Clone, Copy, Debug, Default)]
pub struct BootClock;

#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOCK: ClockId = ClockId::Boottime;
// macOS counts suspended time in CLOCK_MONOTONIC; elsewhere there is nothing better.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOCK: ClockId = ClockId::Monotonic;

impl Clock for BootClock {
    fn now(&self) -> Moment {
        let time = clock_gettime(CLOCK);
        let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
        Moment::new(Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_goes_back() {
        let first = BootClock.now();
        assert!(BootClock.now() >= first);
    }
}
