//! The outbox on MySQL and MariaDB: batches are sealed as ranges of event numbers.
//!
//! AUTO_INCREMENT gives numbers out before their transactions commit, so there is no last number up to which all is known. A
//! route keeps its position and the numbers below it that were not there yet (`gaps`). Every plan looks for the young ones,
//! and a sweep, now and then, for every number in no batch at all: an event that commits a day late is found a little later, not
//! lost. Nothing is written per event, neither to seal nor to settle; a pruned event is one deleted row.

mod batches;
mod connections;
mod error;
mod held;
mod operate;
mod plan;
mod prune;
mod ranges;
mod replay;
mod routes;
mod rows;
mod setup;
mod store;

pub use setup::{MIGRATIONS, migrations};
pub use store::MySqlStore;

/// How long a process may go on taking events after [`set_full`](outbox_core::Store::set_full): it looks once in this time.
pub const FULL_IS_SEEN_WITHIN: std::time::Duration = crate::full::ANSWER_AGE_MAX;

/// The database's clock in microseconds, as the columns have it. Of the statement's begin: waiting for a lock counts.
const NOW: &str = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(6))";

/// A duration in microseconds.
fn micros(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4)
}
