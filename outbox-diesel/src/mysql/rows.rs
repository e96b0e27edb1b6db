//! Rows of the outbox tables, and what they become.

use chrono::DateTime;
use diesel::QueryableByName;
use diesel::result::Error;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};
use outbox_core::{BatchId, Claim, HeldBatch, Route, StoreError};
use uuid::Uuid;

use super::error::unreadable;
use super::ranges::Ranges;
use crate::rows::{PartRow, types};

/// Where a route stands.
#[derive(QueryableByName)]
pub(super) struct CursorRow {
    #[diesel(sql_type = BigInt)]
    pub pos: i64,
    #[diesel(sql_type = Text)]
    gaps: String,
    #[diesel(sql_type = Text)]
    old_gaps: String,
    #[diesel(sql_type = BigInt)]
    pub turned_at: i64,
    #[diesel(sql_type = Nullable<Text>)]
    types: Option<String>,
    /// The database's clock.
    #[diesel(sql_type = BigInt)]
    pub now: i64,
}

impl CursorRow {
    /// The columns, given the clock.
    pub(super) const COLUMNS: &'static str = "pos, gaps, old_gaps, turned_at, types";

    pub(super) fn gaps(&self) -> Result<(Ranges, Ranges), Error> {
        let decode = |text| Ranges::decode(text).ok_or_else(|| unreadable("a route's gaps are unreadable"));
        Ok((decode(&self.gaps)?, decode(&self.old_gaps)?))
    }

    pub(super) fn types(&self) -> Result<Option<Vec<String>>, Error> {
        types(self.types.as_deref())
    }
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
    #[diesel(sql_type = Text)]
    pub event_type: String,
}

/// The numbers of a batch.
#[derive(QueryableByName)]
pub(super) struct RangesRow {
    #[diesel(sql_type = BigInt)]
    pub no: i64,
    #[diesel(sql_type = Text)]
    ranges: String,
}

impl RangesRow {
    pub(super) fn ranges(&self) -> Result<Ranges, Error> {
        Ranges::decode(&self.ranges).ok_or_else(|| unreadable("a batch's ranges are unreadable"))
    }
}

#[derive(QueryableByName)]
pub(super) struct BatchRow {
    #[diesel(sql_type = BigInt)]
    pub no: i64,
    #[diesel(sql_type = Text)]
    ranges: String,
    #[diesel(sql_type = Integer)]
    n: i32,
    #[diesel(sql_type = BigInt)]
    bytes: i64,
    #[diesel(sql_type = Integer)]
    pub attempt: i32,
    #[diesel(sql_type = Bool)]
    pub held: bool,
    #[diesel(sql_type = Bool)]
    replay: bool,
}

impl BatchRow {
    /// What [`claim`](Self::claim) needs.
    pub(super) const COLUMNS: &'static str = "no, ranges, n, bytes, attempt, held, replay";

    /// As claimed by `owner`, once more than the row says.
    pub(super) fn claim(
        self,
        route: &Route,
        owner: Uuid,
        parts: Vec<PartRow>,
        parked_tables: Vec<String>,
    ) -> Result<Claim, StoreError> {
        let rows = self.n.unsigned_abs();
        Ok(Claim {
            batch: BatchId(self.no),
            route: route.clone(),
            owner,
            attempt: self.attempt.saturating_add(1),
            rows,
            bytes: self.bytes.unsigned_abs(),
            bounds: self.ranges,
            held: self.held,
            replay: self.replay,
            parked_tables,
            parts: parts.into_iter().map(|part| part.record(rows)).collect::<Result<_, _>>()?,
        })
    }
}

/// The columns of an [`EventRow`](crate::rows::EventRow).
pub(super) const EVENT_COLUMNS: &str =
    "seq, id, event_type, version, occurred_at, environment, destination, `key`, headers, payload";

#[derive(QueryableByName)]
pub(super) struct HeldRow {
    #[diesel(sql_type = BigInt)]
    no: i64,
    #[diesel(sql_type = Text)]
    route: String,
    #[diesel(sql_type = Nullable<Text>)]
    destination: Option<String>,
    #[diesel(sql_type = Integer)]
    n: i32,
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
            events: u64::from(row.n.unsigned_abs()),
            bytes: row.bytes.unsigned_abs(),
            dead: row.dead,
            code: row.code,
            error: row.error.unwrap_or_default(),
            attempts: row.attempt,
            held_at: row.held_at.and_then(DateTime::from_timestamp_micros).unwrap_or_default(),
        }
    }
}

#[derive(QueryableByName)]
pub(super) struct RouteName {
    #[diesel(sql_type = Text)]
    pub route: String,
}

/// Where a route stands, for its status.
#[derive(QueryableByName)]
pub(super) struct StateRow {
    #[diesel(sql_type = Text)]
    pub route: String,
    #[diesel(sql_type = BigInt)]
    pub ordered: i64,
    #[diesel(sql_type = BigInt)]
    pub pos: i64,
    #[diesel(sql_type = Text)]
    gaps: String,
    #[diesel(sql_type = Text)]
    old_gaps: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub types: Option<String>,
}

impl StateRow {
    pub(super) fn watched(&self) -> Result<Ranges, Error> {
        let decode = |text| Ranges::decode(text).ok_or_else(|| unreadable("a route's gaps are unreadable"));
        Ok(Ranges::union([decode(&self.gaps)?, decode(&self.old_gaps)?]))
    }
}
