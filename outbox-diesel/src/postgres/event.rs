//! Events out of rows: what a relay does a million times over, so by hand.

use chrono::{DateTime, Utc};
use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::{AsQuery, QueryFragment, QueryId};
use diesel::result::Error;
use diesel::row::{Field, Row};
use diesel_async::{AsyncConnectionCore, AsyncPgConnection};
use futures_util::TryStreamExt;
use outbox_core::{Event, StoredEvent};
use uuid::Uuid;

use crate::names::Names;

/// From 1970 to 2000, where PostgreSQL's time begins: microseconds.
const EPOCH: i64 = 946_684_800_000_000;

/// Room is made for no more than this beforehand, whatever a batch says of itself.
const EXPECTED_MAX: usize = 100_000;

/// The rows of a query for `seq, id, event_type, version, occurred_at, environment, destination, key, headers, payload`, which are read
/// by position. `expected`: how many, more or less.
pub(super) async fn events<Q>(conn: &mut AsyncPgConnection, query: Q, expected: usize) -> QueryResult<Vec<StoredEvent>>
where
    Q: AsQuery,
    Q::Query: QueryFragment<Pg> + QueryId,
{
    let rows = AsyncConnectionCore::load(conn, query).await?;
    let mut names = Names::default();
    let read = Vec::with_capacity(expected.min(EXPECTED_MAX));
    let all = rows.try_fold(read, |mut read, row| {
        let event = event(&row, &mut names);
        async {
            read.push(event?);
            Ok(read)
        }
    });
    all.await
}

fn event<'a>(row: &impl Row<'a, Pg>, names: &mut Names) -> QueryResult<StoredEvent> {
    let mut name = |at| with(row, at, |bytes| names.shared(bytes).map_err(bad));
    let (event_type, environment, table) = (name(2)?, name(5)?, name(6)?);
    let id = with(row, 1, |bytes| Uuid::from_slice(bytes).map_err(bad))?;
    let version = with(row, 3, |bytes| fixed(bytes).map(i32::from_be_bytes))?;
    let occurred_at = with(row, 4, |bytes| time(i64::from_be_bytes(fixed(bytes)?)))?;
    let mut event = Event::stored(id, event_type, version, occurred_at);
    event.environment = environment;
    event.table = table;
    event.key = with_any(row, 7, |bytes| bytes.map(text).transpose())?;
    event.headers = with_any(row, 8, |bytes| bytes.map(text).transpose())?;
    event.payload = with(row, 9, text)?;
    Ok(StoredEvent { seq: with(row, 0, |bytes| fixed(bytes).map(i64::from_be_bytes))?, event })
}

/// What a column's bytes are, in PostgreSQL's binary form. None: NULL.
fn with_any<'a, T>(
    row: &impl Row<'a, Pg>,
    at: usize,
    read: impl FnOnce(Option<&[u8]>) -> QueryResult<T>,
) -> QueryResult<T> {
    let field = row.get(at).ok_or_else(|| bad("a column is missing"))?;
    let value = field.value();
    read(value.as_ref().map(|value| value.as_bytes()))
}

fn with<'a, T>(row: &impl Row<'a, Pg>, at: usize, read: impl FnOnce(&[u8]) -> QueryResult<T>) -> QueryResult<T> {
    with_any(row, at, |bytes| read(bytes.ok_or_else(|| bad("a column is NULL"))?))
}

fn text(bytes: &[u8]) -> QueryResult<String> {
    str::from_utf8(bytes).map(str::to_owned).map_err(bad)
}

fn fixed<const N: usize>(bytes: &[u8]) -> QueryResult<[u8; N]> {
    bytes.try_into().map_err(bad)
}

fn time(micros: i64) -> QueryResult<DateTime<Utc>> {
    let time = micros.checked_add(EPOCH).and_then(DateTime::from_timestamp_micros);
    time.ok_or_else(|| bad("a time is out of range"))
}

fn bad(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::DeserializationError(error.into())
}
