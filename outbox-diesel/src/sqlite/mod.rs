//! The outbox in a SQLite file: one writer at a time, so the order of the rows is the order of the commits, and a batch
//! is a range of row numbers.

mod batches;
mod connection;
mod held;
mod operate;
mod plan;
mod prune;
mod routes;
mod rows;
mod setup;
mod store;

pub use setup::{MIGRATIONS, migrations};
pub use store::SqliteStore;

/// The database's clock in milliseconds, as the columns have it.
const NOW_MS: &str = "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)";

/// A duration in milliseconds.
fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 2)
}
