//! Rows of the outbox tables, and what they become.

use chrono::DateTime;
use diesel::QueryableByName;
use diesel::result::Error;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};
use outbox_core::{BatchId, Claim, Event, HeldBatch, PartRecord, Route, StoreError, StoredEvent};
use uuid::Uuid;

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
pub(super) struct Number {
    #[diesel(sql_type = Nullable<BigInt>)]
    pub number: Option<i64>,
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

#[derive(QueryableByName)]
pub(super) struct TableRow {
    #[diesel(sql_type = Text)]
    pub destination: String,
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

impl EventRow {
    pub(super) const COLUMNS: &'static str = "e.seq, e.id, e.event_type, e.version, e.occurred_at, e.environment, e.destination, e.key, e.headers, e.payload";
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

/// A route's filter.
pub(super) fn types(text: Option<&str>) -> Result<Option<Vec<String>>, Error> {
    let unreadable = |_| Error::DeserializationError("a route's event types are unreadable".into());
    text.map(|text| serde_json::from_str(text).map_err(unreadable)).transpose()
}
