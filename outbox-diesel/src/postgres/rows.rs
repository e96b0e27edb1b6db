//! Rows of the outbox tables and functions, and what they become.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::deserialize;
use diesel::pg::Pg;
use diesel::row::NamedRow;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use outbox_core::HeldBatch;
use uuid::Uuid;

#[derive(QueryableByName)]
pub(super) struct PlanRow {
    #[diesel(sql_type = Integer)]
    pub state: i32,
    #[diesel(sql_type = BigInt)]
    pub sealed_rows: i64,
    #[diesel(sql_type = Integer)]
    pub sealed_batches: i32,
}

#[derive(QueryableByName)]
pub(super) struct ClaimRow {
    #[diesel(sql_type = BigInt)]
    pub no: i64,
    #[diesel(sql_type = Integer)]
    pub attempt: i32,
    #[diesel(sql_type = Integer)]
    pub n: i32,
    #[diesel(sql_type = BigInt)]
    pub bytes: i64,
    #[diesel(sql_type = Bool)]
    pub held: bool,
    #[diesel(sql_type = Bool)]
    pub replay: bool,
    #[diesel(sql_type = Text)]
    pub bounds: String,
    #[diesel(sql_type = Bool)]
    pub has_parts: bool,
    #[diesel(sql_type = Array<Text>)]
    pub parked_tables: Vec<String>,
}

/// The answer of settling and claiming in one call.
pub(super) struct SettledRow {
    pub settled: bool,
    pub claimed: Option<ClaimRow>,
}

impl QueryableByName<Pg> for SettledRow {
    fn build<'a>(row: &impl NamedRow<'a, Pg>) -> deserialize::Result<Self> {
        let claimed: Option<i64> = NamedRow::get::<Nullable<BigInt>, _>(row, "no")?;
        Ok(Self {
            settled: NamedRow::get::<Bool, _>(row, "settled")?,
            claimed: claimed.map(|_| ClaimRow::build(row)).transpose()?,
        })
    }
}

#[derive(QueryableByName)]
pub(super) struct PartRow {
    #[diesel(sql_type = Integer)]
    pub no: i32,
    #[diesel(sql_type = SqlUuid)]
    pub token: Uuid,
    #[diesel(sql_type = Text)]
    pub destination: String,
    #[diesel(sql_type = Text)]
    pub ordinals: String,
    #[diesel(sql_type = Text)]
    pub statement: String,
    #[diesel(sql_type = Text)]
    pub mark: String,
    #[diesel(sql_type = Bool)]
    pub done: bool,
}

#[derive(QueryableByName)]
pub(super) struct FrozenRow {
    #[diesel(sql_type = Integer)]
    pub part_no: i32,
    #[diesel(sql_type = SqlUuid)]
    pub part_token: Uuid,
}

#[derive(QueryableByName)]
pub(super) struct Flag {
    #[diesel(sql_type = Bool)]
    pub flag: bool,
}

#[derive(QueryableByName)]
pub(super) struct Count {
    #[diesel(sql_type = BigInt)]
    pub count: i64,
}

#[derive(QueryableByName)]
pub(super) struct FloorRow {
    #[diesel(sql_type = Nullable<BigInt>)]
    pub floor: Option<i64>,
}

#[derive(QueryableByName)]
pub(super) struct MaybeNumber {
    #[diesel(sql_type = Nullable<BigInt>)]
    pub number: Option<i64>,
}

#[derive(QueryableByName)]
pub(super) struct ReplayRow {
    #[diesel(sql_type = BigInt)]
    pub sealed_rows: i64,
    #[diesel(sql_type = Integer)]
    pub sealed_batches: i32,
    #[diesel(sql_type = BigInt)]
    pub passed_rows: i64,
}

#[derive(QueryableByName)]
pub(super) struct LoadRow {
    #[diesel(sql_type = BigInt)]
    pub waiting: i64,
    #[diesel(sql_type = BigInt)]
    pub stored_bytes: i64,
    #[diesel(sql_type = BigInt)]
    pub oldest_ms: i64,
    #[diesel(sql_type = BigInt)]
    pub held_rows: i64,
}

/// What a route was opened with.
#[derive(QueryableByName)]
pub(super) struct RouteOptions {
    #[diesel(sql_type = Bool)]
    pub ordered: bool,
    #[diesel(sql_type = Nullable<Array<Text>>)]
    pub types: Option<Vec<String>>,
}

#[derive(QueryableByName)]
pub(super) struct SchemaRow {
    #[diesel(sql_type = Text)]
    pub schema: String,
}

#[derive(QueryableByName)]
pub(super) struct HeldRow {
    #[diesel(sql_type = BigInt)]
    no: i64,
    #[diesel(sql_type = Text)]
    route: String,
    #[diesel(sql_type = Text)]
    destination: String,
    #[diesel(sql_type = BigInt)]
    events: i64,
    #[diesel(sql_type = BigInt)]
    bytes: i64,
    #[diesel(sql_type = Bool)]
    dead: bool,
    #[diesel(sql_type = Nullable<Integer>)]
    code: Option<i32>,
    #[diesel(sql_type = Text)]
    error: String,
    #[diesel(sql_type = Integer)]
    attempt: i32,
    #[diesel(sql_type = Timestamptz)]
    held_at: DateTime<Utc>,
}

impl From<HeldRow> for HeldBatch {
    fn from(row: HeldRow) -> Self {
        Self {
            batch: row.no,
            route: row.route,
            table: row.destination,
            events: row.events.unsigned_abs(),
            bytes: row.bytes.unsigned_abs(),
            dead: row.dead,
            code: row.code,
            error: row.error,
            attempts: row.attempt,
            held_at: row.held_at,
        }
    }
}
