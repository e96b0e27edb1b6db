//! What a producer's next transaction is like: pure choices, from a seed.

use std::time::Duration;

use fastrand::Rng;

/// How long a transaction thinks before it ends, at most. Longer than a relay's lease.
const THINK_MAX: Duration = Duration::from_secs(4);
/// The large transaction: more rows than many batches.
const LARGE: usize = 3000;

/// One business transaction.
#[derive(Clone, Debug)]
pub(crate) struct Transaction {
    pub(crate) way: Way,
    /// Events of the outer level.
    pub(crate) events: usize,
    pub(crate) nested: Option<Nested>,
    /// How long it stays open after its last event.
    pub(crate) think: Duration,
    pub(crate) commits: bool,
    /// Its commit does not wait for the disk.
    pub(crate) asynchronous: bool,
    /// Until the next one.
    pub(crate) pause: Duration,
}

/// Through which door the events come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// `#[transactional_event]` and `emit`.
    Emit,
    /// Plain SQL: another language's service.
    Sql,
    /// Plain SQL and two-phase commit, decided this much later.
    Prepared(Duration),
}

/// A savepoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nested {
    pub(crate) events: usize,
    pub(crate) commits: bool,
}

impl Transaction {
    pub(crate) fn random(rng: &mut Rng) -> Self {
        let way = match rng.u8(..100) {
            0..60 => Way::Emit,
            60..90 => Way::Sql,
            _ => Way::Prepared(up_to(rng, THINK_MAX / 2)),
        };
        let large = rng.u8(..100) < 2;
        let events = match way {
            _ if large => LARGE,
            Way::Emit => rng.usize(1..=10),
            Way::Sql | Way::Prepared(_) => rng.usize(1..=80),
        };
        Self {
            way: if large { Way::Sql } else { way },
            events,
            nested: (rng.u8(..100) < 30).then(|| Nested { events: rng.usize(1..=10), commits: rng.bool() }),
            think: if rng.u8(..100) < 25 { up_to(rng, THINK_MAX) } else { Duration::ZERO },
            commits: rng.u8(..100) >= 15,
            asynchronous: rng.u8(..100) < 30,
            pause: up_to(rng, Duration::from_millis(150)),
        }
    }
}

/// At least three in a minute.
const CRASH_EVERY: Duration = Duration::from_secs(15);

/// When a database's server crashes, counted from the beginning: spread over the time, once at least.
pub(crate) fn crash_times(rng: &mut Rng, duration: Duration) -> Vec<Duration> {
    let crashes = (duration.as_secs() / CRASH_EVERY.as_secs()).max(1);
    let each = duration.div_f64(crashes as f64);
    (0..crashes).map(|crash| each.mul_f64(crash as f64 + 0.3 + 0.4 * rng.f64())).collect()
}

/// Evenly from nothing to `most`.
pub(crate) fn up_to(rng: &mut Rng, most: Duration) -> Duration {
    most.mul_f64(rng.f64())
}

/// Evenly from `least` to `most`, in milliseconds.
pub(crate) fn millis(rng: &mut Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.u64(range))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_transactions_of_every_kind() {
        let made = |seed| {
            let mut rng = Rng::with_seed(seed);
            (0..1000).map(|_| Transaction::random(&mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(format!("{:?}", made(7)), format!("{:?}", made(7)));
        let all = made(7);
        for kind in [
            |t: &Transaction| t.way == Way::Emit,
            |t: &Transaction| matches!(t.way, Way::Prepared(_)) && !t.commits,
            |t: &Transaction| t.events == LARGE,
            |t: &Transaction| t.nested.is_some_and(|nested| !nested.commits) && t.commits,
            |t: &Transaction| t.asynchronous && !t.commits,
            |t: &Transaction| t.think > Duration::from_secs(3),
        ] {
            assert!(all.iter().any(kind));
        }
    }
}
