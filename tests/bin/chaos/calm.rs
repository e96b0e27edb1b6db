//! Quiet spells: a few seconds without faults, in which the outbox drains while producers go on.
//!
//! Pruning does little as long as some batch is always open, so without them rotation would hardly be tried.

use std::time::Duration;

use tokio::time::Instant;

const PERIOD: Duration = Duration::from_secs(12);
/// At the end of each period.
const QUIET: Duration = Duration::from_secs(4);

/// When a fault that was meant for `at` may happen, for faults that go on until `until`.
pub(crate) fn after_calm(at: Instant, until: Instant) -> Instant {
    if at >= until {
        return until;
    }
    // Counted from the end, which all actors know.
    let left = (until - at).as_nanos() % PERIOD.as_nanos();
    match left < QUIET.as_nanos() {
        true => at + Duration::from_nanos(u64::try_from(left).unwrap_or(0)),
        false => at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_put_off_to_the_end_of_the_spell() {
        let until = Instant::now() + Duration::from_secs(60);
        let before = |seconds| until - Duration::from_secs(seconds);
        assert_eq!(after_calm(before(60), until), before(60));
        assert_eq!(after_calm(before(20), until), before(20));
        assert_eq!(after_calm(before(14), until), before(12));
        assert_eq!(after_calm(before(3), until), until);
        assert_eq!(after_calm(until + Duration::from_secs(1), until), until);
    }
}
