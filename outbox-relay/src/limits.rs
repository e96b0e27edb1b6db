//! Limits on what may wait: an alarm when one is passed, and, where that is asked for, `emit` refuses events meanwhile.

use std::fmt;
use std::time::Duration;

use outbox_core::{Load, VarError, Vars};

/// What was full is not full any more when it is down to this share of its limit, in percent: else it would be full and not
/// full in turn.
const CLEAR_PERCENT: u64 = 90;

/// What happens when a limit is passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFull {
    /// An alarm in the log. The outbox grows on: at worst until the database's disk is full, and then nothing works.
    #[default]
    Warn,
    /// The alarm, and `emit` answers an error (`outbox::OutboxFull`) until enough is delivered: the business transactions that
    /// emit fail, and the disk is safe. Needs a relay that runs, since it is the relay that looks.
    Refuse,
}

/// How much may wait. Default: no limits.
///
/// The relay looks every few seconds, so a limit is passed by what is written in that time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    rows: Option<u64>,
    bytes: Option<u64>,
    age: Option<Duration>,
    on_full: OnFull,
}

impl Limits {
    /// No limits.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The most events that wait for the slowest route. The count may be an estimate: gaps in `seq` count.
    #[must_use]
    pub fn rows(self, rows: u64) -> Self {
        Self { rows: Some(rows), ..self }
    }

    /// The most bytes that the outbox takes on the database's disk, delivered events that are kept included.
    #[must_use]
    pub fn bytes(self, bytes: u64) -> Self {
        Self { bytes: Some(bytes), ..self }
    }

    /// The longest that an event may wait. It tells of a route that lags, too.
    #[must_use]
    pub fn age(self, age: Duration) -> Self {
        Self { age: Some(age), ..self }
    }

    /// What happens then. Default: [`OnFull::Warn`].
    #[must_use]
    pub fn on_full(self, on_full: OnFull) -> Self {
        Self { on_full, ..self }
    }

    pub(crate) fn from_vars(vars: &Vars) -> Result<Self, VarError> {
        Ok(Self {
            rows: vars.parse("OUTBOX_LIMIT_ROWS")?,
            bytes: vars.parse("OUTBOX_LIMIT_BYTES")?,
            age: vars.parse::<humantime::Duration>("OUTBOX_LIMIT_AGE")?.map(Into::into),
            on_full: match vars.text("OUTBOX_ON_FULL") {
                None | Some("warn") => OnFull::Warn,
                Some("refuse") => OnFull::Refuse,
                Some(_) => return Err(VarError::new("OUTBOX_ON_FULL", "needs warn or refuse")),
            },
        })
    }

    pub(crate) fn check(&self) -> Result<(), VarError> {
        let zero = |name| Err(VarError::new(name, "needs at least 1, or to be unset for no limit"));
        match self {
            Self { rows: Some(0), .. } => zero("OUTBOX_LIMIT_ROWS"),
            Self { bytes: Some(0), .. } => zero("OUTBOX_LIMIT_BYTES"),
            Self { age: Some(Duration::ZERO), .. } => zero("OUTBOX_LIMIT_AGE"),
            Self { rows: None, bytes: None, age: None, on_full: OnFull::Refuse } => {
                let message = "refuse needs a limit: OUTBOX_LIMIT_ROWS, OUTBOX_LIMIT_BYTES or OUTBOX_LIMIT_AGE";
                Err(VarError::new("OUTBOX_ON_FULL", message))
            }
            _ => Ok(()),
        }
    }

    /// The limits that `load` passes, or, when the outbox `was_full`, is not far enough below.
    pub(crate) fn passed(&self, load: &Load, was_full: bool) -> Option<Passed> {
        let over = |value: u64, limit: Option<u64>| {
            limit.is_some_and(|limit| value > limit || (was_full && value > limit / 100 * CLEAR_PERCENT))
        };
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let passed = Passed {
            rows: over(load.rows, self.rows).then_some(load.rows),
            bytes: over(load.bytes, self.bytes).then_some(load.bytes),
            age: over(ms(load.oldest_age), self.age.map(ms)).then_some(load.oldest_age),
        };
        (passed != Passed::default()).then_some(passed)
    }

    pub(crate) fn refuses(&self) -> bool {
        self.on_full == OnFull::Refuse
    }
}

/// What is over its limit, and how much it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Passed {
    rows: Option<u64>,
    bytes: Option<u64>,
    age: Option<Duration>,
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = [
            self.rows.map(|rows| format!("{rows} events wait")),
            self.bytes.map(|bytes| format!("the outbox takes {bytes} bytes on the disk")),
            self.age.map(|age| format!("the oldest event has waited {} s", age.as_secs())),
        ];
        f.write_str(&texts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(rows: u64, bytes: u64, secs: u64) -> Load {
        Load { rows, bytes, oldest_age: Duration::from_secs(secs), held: 0 }
    }

    #[test]
    fn each_limit_counts_alone() {
        let limits = Limits::none().rows(100).bytes(1000).age(Duration::from_secs(60));
        assert_eq!(limits.passed(&load(100, 1000, 60), false), None);
        for (load, text) in [
            (load(101, 0, 0), "101 events wait"),
            (load(0, 1001, 0), "the outbox takes 1001 bytes on the disk"),
            (load(0, 0, 61), "the oldest event has waited 61 s"),
        ] {
            assert_eq!(limits.passed(&load, false).expect("over its limit").to_string(), text);
        }
        assert_eq!(Limits::none().passed(&load(u64::MAX, u64::MAX, 1 << 40), true), None);
    }

    #[test]
    fn what_was_full_is_so_until_it_is_well_below() {
        let limits = Limits::none().rows(1000);
        assert!(limits.passed(&load(950, 0, 0), true).is_some());
        assert_eq!(limits.passed(&load(950, 0, 0), false), None);
        assert_eq!(limits.passed(&load(900, 0, 0), true), None);
    }
}
