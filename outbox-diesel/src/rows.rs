//! Rows that MySQL's and SQLite's tables have in common, and what they become.

use chrono::DateTime;
use diesel::QueryableByName;
use diesel::result::Error;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};
use outbox_core::{Event, PartRecord, StoreError, StoreErrorKind, StoredEvent};
use uuid::Uuid;

use crate::names::Names;
use crate::parts;

#[derive(QueryableByName)]
pub(crate) struct Number {
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(crate) number: Option<i64>,
}

/// A route's filter.
pub(crate) fn types(text: Option<&str>) -> Result<Option<Vec<String>>, Error> {
    let unreadable = |_| Error::DeserializationError("a route's event types are unreadable".into());
    text.map(|text| serde_json::from_str(text).map_err(unreadable)).transpose()
}

#[derive(QueryableByName)]
pub(crate) struct TableRow {
    #[diesel(sql_type = Text)]
    pub(crate) destination: String,
}

#[derive(QueryableByName)]
pub(crate) struct PartRow {
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
    pub(crate) fn record(self, rows: u32) -> Result<PartRecord, StoreError> {
        let token = Uuid::parse_str(&self.token).map_err(|e| {
            StoreError::new(StoreErrorKind::Mismatch, "claim", "a part's token is unreadable").with_source(e)
        })?;
        let ordinals = parts::ordinals(&self.ordinals, rows)?;
        Ok(parts::record(self.no, token, self.done, self.destination, ordinals, self.statement, self.mark))
    }
}

#[derive(QueryableByName)]
pub(crate) struct EventRow {
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

impl EventRow {
    fn stored(self, names: &mut Names) -> Result<StoredEvent, Error> {
        let mut name = |text: &str| names.shared(text.as_bytes()).map_err(|e| Error::DeserializationError(e.into()));
        let id = Uuid::parse_str(&self.id).map_err(|e| Error::DeserializationError(e.into()))?;
        let occurred_at = DateTime::from_timestamp_micros(self.occurred_at)
            .ok_or_else(|| Error::DeserializationError("occurred_at is no time".into()))?;
        let mut event = Event::stored(id, name(&self.event_type)?, self.version, occurred_at);
        event.environment = name(&self.environment)?;
        event.table = name(&self.destination)?;
        event.key = self.key;
        event.headers = self.headers;
        event.payload = self.payload;
        Ok(StoredEvent { seq: self.seq, event })
    }
}

/// What the rows hold.
pub(crate) fn events(rows: Vec<EventRow>) -> Result<Vec<StoredEvent>, Error> {
    let mut names = Names::default();
    rows.into_iter().map(|row| row.stored(&mut names)).collect()
}
