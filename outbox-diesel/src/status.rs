//! What both stores' status queries answer with, and what it becomes.

use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};
use outbox_core::{BatchStatus, RouteStatus};

#[derive(QueryableByName)]
pub(crate) struct RouteRow {
    #[diesel(sql_type = Text)]
    pub(crate) route: String,
    #[diesel(sql_type = BigInt)]
    unsealed: i64,
    #[diesel(sql_type = BigInt)]
    sealed: i64,
    #[diesel(sql_type = BigInt)]
    open_batches: i64,
    #[diesel(sql_type = BigInt)]
    parked: i64,
    #[diesel(sql_type = BigInt)]
    dead: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    oldest_ms: Option<i64>,
}

#[derive(QueryableByName)]
pub(crate) struct FailingRow {
    #[diesel(sql_type = BigInt)]
    no: i64,
    #[diesel(sql_type = Integer)]
    attempt: i32,
    #[diesel(sql_type = BigInt)]
    events: i64,
    #[diesel(sql_type = Bool)]
    parked: bool,
    #[diesel(sql_type = Text)]
    error: String,
}

impl RouteRow {
    /// With what is in no batch, where the query did not count it.
    #[cfg(feature = "mysql")]
    pub(crate) fn with_unsealed(self, unsealed: i64, oldest_ms: Option<i64>) -> Self {
        let oldest_ms = self.oldest_ms.max(oldest_ms);
        Self { unsealed, oldest_ms, ..self }
    }

    /// With the open batches that failed, and what the route was opened with.
    pub(crate) fn status(
        self,
        failing: Vec<FailingRow>,
        ordered: bool,
        event_types: Option<Vec<String>>,
    ) -> RouteStatus {
        RouteStatus {
            route: self.route,
            unsealed_events: self.unsealed.unsigned_abs(),
            sealed_events: self.sealed.unsigned_abs(),
            open_batches: self.open_batches.unsigned_abs(),
            parked_batches: self.parked.unsigned_abs(),
            dead_events: self.dead.unsigned_abs(),
            ordered,
            event_types,
            // Below zero after the database's clock was set back.
            oldest_age: self.oldest_ms.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0))),
            failing: failing.into_iter().map(FailingRow::status).collect(),
        }
    }
}

impl FailingRow {
    fn status(self) -> BatchStatus {
        BatchStatus {
            batch: self.no,
            attempts: self.attempt,
            events: self.events.unsigned_abs(),
            parked: self.parked,
            error: self.error,
        }
    }
}
