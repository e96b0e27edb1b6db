//! Rows of the outbox tables, and what they become.

use chrono::DateTime;
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};
use outbox_core::{BatchId, Claim, HeldBatch, Route, StoreError};
use uuid::Uuid;

use crate::rows::PartRow;

/// Where a route stands.
#[derive(QueryableByName)]
pub(super) struct CursorRow {
    #[diesel(sql_type = BigInt)]
    pub pos: i64,
    #[diesel(sql_type = Bool)]
    pub ordered: bool,
    #[diesel(sql_type = Nullable<Text>)]
    pub types: Option<String>,
}

/// What waits for a route.
#[derive(QueryableByName)]
pub(super) struct Waiting {
    #[diesel(sql_type = BigInt)]
    pub wanted: i64,
    /// Of the oldest waiting event, by the database's clock.
    #[diesel(sql_type = BigInt)]
    pub age_ms: i64,
    /// The last number that there is.
    #[diesel(sql_type = BigInt)]
    pub last: i64,
}

/// What a plan looks at of an event.
#[derive(QueryableByName)]
pub(super) struct SeqRow {
    #[diesel(sql_type = BigInt)]
    pub seq: i64,
    #[diesel(sql_type = BigInt)]
    pub bytes: i64,
    #[diesel(sql_type = BigInt)]
    pub created_at: i64,
}

#[derive(QueryableByName)]
pub(super) struct BatchRow {
    #[diesel(sql_type = BigInt)]
    pub no: i64,
    #[diesel(sql_type = BigInt)]
    lo: i64,
    #[diesel(sql_type = BigInt)]
    hi: i64,
    #[diesel(sql_type = BigInt)]
    n: i64,
    #[diesel(sql_type = BigInt)]
    bytes: i64,
    #[diesel(sql_type = Integer)]
    attempt: i32,
    #[diesel(sql_type = Bool)]
    pub held: bool,
    #[diesel(sql_type = Bool)]
    replay: bool,
}

impl BatchRow {
    /// What [`claim`](Self::claim) needs.
    pub(super) const COLUMNS: &'static str = "no, lo, hi, n, bytes, attempt, held, replay";

    pub(super) fn claim(
        self,
        route: &Route,
        owner: Uuid,
        parts: Vec<PartRow>,
        parked_tables: Vec<String>,
    ) -> Result<Claim, StoreError> {
        let rows = u32::try_from(self.n).unwrap_or(u32::MAX);
        Ok(Claim {
            batch: BatchId(self.no),
            route: route.clone(),
            owner,
            attempt: self.attempt,
            rows,
            bytes: self.bytes.unsigned_abs(),
            bounds: format!("{} {}", self.lo, self.hi),
            held: self.held,
            replay: self.replay,
            parked_tables,
            parts: parts.into_iter().map(|part| part.record(rows)).collect::<Result<_, _>>()?,
        })
    }
}

/// The columns of an [`EventRow`](crate::rows::EventRow).
pub(super) const EVENT_COLUMNS: &str =
    "e.seq, e.id, e.event_type, e.version, e.occurred_at, e.environment, e.destination, e.key, e.headers, e.payload";

#[derive(QueryableByName)]
pub(super) struct HeldRow {
    #[diesel(sql_type = BigInt)]
    no: i64,
    #[diesel(sql_type = Text)]
    route: String,
    #[diesel(sql_type = Nullable<Text>)]
    destination: Option<String>,
    #[diesel(sql_type = BigInt)]
    n: i64,
    #[diesel(sql_type = BigInt)]
    bytes: i64,
    #[diesel(sql_type = Bool)]
    dead: bool,
    #[diesel(sql_type = Nullable<Integer>)]
    code: Option<i32>,
    #[diesel(sql_type = Nullable<Text>)]
    error: Option<String>,
    #[diesel(sql_type = Integer)]
    attempt: i32,
    #[diesel(sql_type = Nullable<BigInt>)]
    held_at: Option<i64>,
}

impl From<HeldRow> for HeldBatch {
    fn from(row: HeldRow) -> Self {
        Self {
            batch: row.no,
            route: row.route,
            table: row.destination.unwrap_or_default(),
            events: row.n.unsigned_abs(),
            bytes: row.bytes.unsigned_abs(),
            dead: row.dead,
            code: row.code,
            error: row.error.unwrap_or_default(),
            attempts: row.attempt,
            held_at: row.held_at.and_then(DateTime::from_timestamp_millis).unwrap_or_default(),
        }
    }
}
