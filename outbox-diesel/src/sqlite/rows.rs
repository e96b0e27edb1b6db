//! Rows of the outbox tables, and what they become.

use chrono::DateTime;
use diesel::QueryableByName;
use diesel::result::Error;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};
use outbox_core::{Event, PartRecord, StoreError, StoredEvent};
use uuid::Uuid;

#[derive(QueryableByName)]
pub(super) struct Waiting {
    #[diesel(sql_type = BigInt)]
    pub pos: i64,
    #[diesel(sql_type = BigInt)]
    pub waiting: i64,
    /// Of the oldest waiting event, by the database's clock.
    #[diesel(sql_type = BigInt)]
    pub age_ms: i64,
}

#[derive(QueryableByName)]
pub(super) struct Seq {
    #[diesel(sql_type = BigInt)]
    pub seq: i64,
    #[diesel(sql_type = BigInt)]
    pub bytes: i64,
}

#[derive(QueryableByName)]
pub(super) struct Number {
    #[diesel(sql_type = Nullable<BigInt>)]
    pub number: Option<i64>,
}

#[derive(QueryableByName)]
pub(super) struct BatchRow {
    #[diesel(sql_type = BigInt)]
    pub no: i64,
    #[diesel(sql_type = BigInt)]
    pub lo: i64,
    #[diesel(sql_type = BigInt)]
    pub hi: i64,
    #[diesel(sql_type = BigInt)]
    pub n: i64,
    #[diesel(sql_type = BigInt)]
    pub bytes: i64,
    #[diesel(sql_type = Integer)]
    pub attempt: i32,
}

#[derive(QueryableByName)]
pub(super) struct PartRow {
    #[diesel(sql_type = Integer)]
    no: i32,
    #[diesel(sql_type = Text)]
    token: String,
    #[diesel(sql_type = Text)]
    destination: String,
    #[diesel(sql_type = Text)]
    ordinals: String,
    #[diesel(sql_type = Text)]
    statement: String,
    #[diesel(sql_type = Text)]
    mark: String,
    #[diesel(sql_type = Bool)]
    done: bool,
}

impl PartRow {
    pub(super) fn record(self, rows: u32) -> Result<PartRecord, StoreError> {
        let token = Uuid::parse_str(&self.token).map_err(|e| {
            StoreError::new(outbox_core::StoreErrorKind::Mismatch, "claim", "a part's token is unreadable")
                .with_source(e)
        })?;
        let ordinals = crate::parts::ordinals(&self.ordinals, rows)?;
        Ok(crate::parts::record(self.no, token, self.done, self.destination, ordinals, self.statement, self.mark))
    }
}

#[derive(QueryableByName)]
pub(super) struct EventRow {
    #[diesel(sql_type = BigInt)]
    seq: i64,
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Text)]
    event_type: String,
    #[diesel(sql_type = Integer)]
    version: i32,
    #[diesel(sql_type = BigInt)]
    occurred_at: i64,
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

impl TryFrom<EventRow> for StoredEvent {
    type Error = Error;

    fn try_from(row: EventRow) -> Result<Self, Error> {
        let id = Uuid::parse_str(&row.id).map_err(|e| Error::DeserializationError(e.into()))?;
        let occurred_at = DateTime::from_timestamp_micros(row.occurred_at)
            .ok_or_else(|| Error::DeserializationError("occurred_at is no time".into()))?;
        let mut event = Event::stored(id, row.event_type, row.version, occurred_at);
        event.environment = row.environment;
        event.table = row.destination;
        event.key = row.key;
        event.headers = row.headers;
        event.payload = row.payload;
        Ok(Self { seq: row.seq, event })
    }
}
