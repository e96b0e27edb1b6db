//! Writing events: the query node, and the cut into statements.

use diesel::QueryResult;
use diesel::connection::TransactionManagerStatus;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::Error;
use outbox_core::{EncodeError, Event, EventLog, IntoEvents};
use uuid::Uuid;

use crate::environment::environment;
use crate::error::{encode_failed, outbox_full};
use crate::nesting::depth;
use crate::{OutboxBackend, headers};

/// An INSERT of events, in their order.
pub(crate) struct InsertEvents<DB: OutboxBackend>(DB::Rows);

impl<DB: OutboxBackend> QueryFragment<DB> for InsertEvents<DB> {
    fn walk_ast<'b>(&'b self, pass: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        DB::walk(&self.0, pass)
    }
}

impl<DB: OutboxBackend> QueryId for InsertEvents<DB> {
    type QueryId = ();
    // The text depends on the number of rows. Without a static id a prepared statement is cached by its text.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<DB: OutboxBackend, Conn> diesel::RunQueryDsl<Conn> for InsertEvents<DB> {}

/// Whether all rows of a statement were written: a full outbox takes none.
pub(crate) fn check_written(expected: usize, written: usize) -> QueryResult<()> {
    match written == expected {
        true => Ok(()),
        false => Err(outbox_full()),
    }
}

/// Events that are encoded and wait for their INSERT.
pub(crate) struct Encoded(Vec<Event>);

impl Encoded {
    /// Encodes `events` for a connection in that state.
    pub(crate) fn all<'e, E: EventLog + ?Sized + 'e>(
        status: &TransactionManagerStatus,
        events: impl IntoIterator<Item = &'e E>,
    ) -> QueryResult<Self> {
        Self::with(status, |environment| events.into_iter().map(|event| Event::from_log(event, environment)).collect())
    }

    /// Encodes what an `emit = ..` gave.
    pub(crate) fn made(status: &TransactionManagerStatus, events: impl IntoEvents) -> QueryResult<Self> {
        Self::with(status, |environment| events.into_events(environment))
    }

    fn with(
        status: &TransactionManagerStatus,
        encode: impl FnOnce(&str) -> Result<Vec<Event>, EncodeError>,
    ) -> QueryResult<Self> {
        if depth(status)? == 0 {
            return Err(Error::NotInTransaction);
        }
        let events = encode(environment()).map_err(encode_failed)?;
        if events.is_empty() {
            return Ok(Self(events));
        }
        let Some(headers) = headers::current() else { return Ok(Self(events)) };
        let with_headers = events.into_iter().map(|event| event.with_headers(&headers));
        with_headers.collect::<Result<_, _>>().map(Self).map_err(encode_failed)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The id of the first.
    pub(crate) fn id(&self) -> QueryResult<Uuid> {
        self.0.first().map(|event| event.id).ok_or(Error::NotFound)
    }

    /// As few statements as the database's limits allow, none for no event, each with the number of its rows.
    pub(crate) fn statements<DB: OutboxBackend>(self) -> Vec<(usize, InsertEvents<DB>)> {
        let chunks = chunks(self.0, DB::DIALECT.statement_rows_max, DB::DIALECT.statement_bytes_max);
        chunks.into_iter().map(|events| (events.len(), InsertEvents(DB::rows(events)))).collect()
    }
}

/// Cuts `events`, in their order, into pieces of at most `rows_max`, closing one when it reaches `bytes_max`.
fn chunks(events: Vec<Event>, rows_max: usize, bytes_max: usize) -> Vec<Vec<Event>> {
    let mut chunks = Vec::new();
    let (mut chunk, mut bytes) = (Vec::new(), 0);
    for event in events {
        bytes += event.bytes();
        chunk.push(event);
        if chunk.len() >= rows_max || bytes >= bytes_max {
            chunks.push(std::mem::take(&mut chunk));
            bytes = 0;
        }
    }
    if !chunk.is_empty() {
        chunks.push(chunk);
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Log;

    impl EventLog for Log {
        fn event_type(&self) -> &str {
            "log"
        }
        fn key(&self) -> Option<String> {
            Some("the key".to_owned())
        }
        fn payload(&self) -> Result<String, EncodeError> {
            Ok(r#"{"secret":"hunter2"}"#.to_owned())
        }
    }

    fn events(n: usize) -> Vec<Event> {
        (0..n).map(|_| Event::from_log(&Log, "test").expect("a small event fits")).collect()
    }

    #[test]
    fn chunks_keep_the_order_and_both_limits() {
        let all = events(7);
        let ids: Vec<Uuid> = all.iter().map(|event| event.id).collect();
        let one = all[0].bytes();
        let cut = |rows, bytes| chunks(all.clone(), rows, bytes);
        assert_eq!(cut(3, usize::MAX).iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 1]);
        assert_eq!(cut(usize::MAX, 2 * one).iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 2, 1]);
        assert_eq!(cut(3, 1).into_iter().flatten().map(|event| event.id).collect::<Vec<_>>(), ids);
        assert!(chunks(Vec::new(), 3, 1).is_empty());
    }

    #[cfg(feature = "sqlite")]
    #[test]
    fn the_text_of_the_query_shows_neither_payload_nor_key() {
        let mut statements = Encoded(events(2)).statements::<diesel::sqlite::Sqlite>();
        let text = diesel::debug_query(&statements.remove(0).1).to_string();
        assert!(text.contains("(VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?), (?"), "{text}");
        assert!(!text.contains("hunter2") && !text.contains("the key"), "{text}");
    }

    #[cfg(any(feature = "postgres", feature = "postgres-sync"))]
    #[test]
    fn postgres_takes_any_number_of_rows_in_one_statement_of_ten_binds() {
        let mut statements = Encoded(events(70_000)).statements::<diesel::pg::Pg>();
        assert_eq!(statements.len(), 1);
        let text = diesel::debug_query(&statements.remove(0).1).to_string();
        assert!(text.contains("unnest($1), unnest($2), ") && text.contains(", unnest($10) WHERE "), "{text}");
        assert!(!text.contains("hunter2") && !text.contains("the key"));
    }
}
