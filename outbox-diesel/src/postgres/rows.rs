//! Rows of the outbox tables and functions, and what they become.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use outbox_core::{Event, StoredEvent};
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
    /// base, tick, lo_xid, lo_seq, hi_xid, hi_seq, joined by spaces: Diesel has no types for them.
    #[diesel(sql_type = Text)]
    pub bounds: String,
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
pub(super) struct EventRow {
    #[diesel(sql_type = BigInt)]
    seq: i64,
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    event_type: String,
    #[diesel(sql_type = Integer)]
    version: i32,
    #[diesel(sql_type = Timestamptz)]
    occurred_at: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    environment: String,
    #[diesel(sql_type = Text)]
    destination: String,
    #[diesel(sql_type = Nullable<Text>)]
    key: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    headers: Option<String>,
    #[diesel(sql_type = Text)]
    payload: String,
}

impl From<EventRow> for StoredEvent {
    fn from(row: EventRow) -> Self {
        let mut event = Event::stored(row.id, row.event_type, row.version, row.occurred_at);
        event.environment = row.environment;
        event.table = row.destination;
        event.key = row.key;
        event.headers = row.headers;
        event.payload = row.payload;
        Self { seq: row.seq, event }
    }
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
