//! SQLite: multi-row VALUES, in statements that stay under its limit of binds.

use diesel::QueryResult;
use diesel::query_builder::AstPass;
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::{BigInt, Integer, Nullable, Text};
use diesel::sqlite::Sqlite;
use outbox_core::Event;

use super::{Dialect, Hidden, OutboxBackend, process_tables};

const INSERT: &str = "INSERT INTO outbox_event \
    (id, event_type, version, occurred_at, environment, destination, key, headers, payload, bytes) SELECT * FROM (VALUES ";

/// Writes nothing while the outbox is over its limits: the number of rows tells.
const UNLESS_FULL: &str = ")) WHERE NOT EXISTS (SELECT 1 FROM outbox_limit WHERE is_full)";

/// Ten binds each: far under SQLite's 32 766, and a statement's text stays under 50 kB.
const STATEMENT_ROWS_MAX: usize = 1000;
const COLUMNS: usize = 10;
const BINDS_MAX: usize = 32_766;
const _: () = assert!(STATEMENT_ROWS_MAX * COLUMNS <= BINDS_MAX);

#[doc(hidden)]
#[derive(Debug)]
pub struct Row {
    id: String,
    event_type: String,
    version: i32,
    occurred_at: i64,
    environment: String,
    destination: String,
    key: Option<Hidden>,
    headers: Option<Hidden>,
    payload: Hidden,
    bytes: i32,
}

impl OutboxBackend for Sqlite {
    type Rows = Vec<Row>;

    const DIALECT: Dialect = Dialect {
        // Takes the write lock at once, like BEGIN IMMEDIATE on any connection: a transaction that reads first and
        // writes later fails with "database is locked" whatever its busy_timeout.
        after_begin: Some("DELETE FROM outbox_event WHERE 0"),
        before_commit: None,
        full_check: None, // the INSERT looks
        full_error: "",
        statement_rows_max: STATEMENT_ROWS_MAX,
        statement_bytes_max: 256 << 20,
    };

    fn rows(events: Vec<Event>) -> Vec<Row> {
        events.into_iter().map(row).collect()
    }

    fn walk<'b>(rows: &'b Vec<Row>, mut pass: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        // One statement per number of rows would fill the connection's cache of prepared statements.
        if rows.len() != 1 && rows.len() != STATEMENT_ROWS_MAX {
            pass.unsafe_to_cache_prepared();
        }
        let tables = process_tables()?;
        pass.push_sql(&tables.sql(INSERT));
        for (index, row) in rows.iter().enumerate() {
            pass.push_sql(if index == 0 { "(" } else { "), (" });
            pass.push_bind_param::<Text, _>(&row.id)?;
            pass.push_sql(", ");
            pass.push_bind_param::<Text, _>(&row.event_type)?;
            pass.push_sql(", ");
            pass.push_bind_param::<Integer, _>(&row.version)?;
            pass.push_sql(", ");
            pass.push_bind_param::<BigInt, _>(&row.occurred_at)?;
            pass.push_sql(", ");
            pass.push_bind_param::<Text, _>(&row.environment)?;
            pass.push_sql(", ");
            pass.push_bind_param::<Text, _>(&row.destination)?;
            pass.push_sql(", ");
            pass.push_bind_param::<Nullable<Text>, _>(&row.key)?;
            pass.push_sql(", ");
            pass.push_bind_param::<Nullable<Text>, _>(&row.headers)?;
            pass.push_sql(", ");
            pass.push_bind_param::<Text, _>(&row.payload)?;
            pass.push_sql(", ");
            pass.push_bind_param::<Integer, _>(&row.bytes)?;
        }
        pass.push_sql(&tables.sql(UNLESS_FULL));
        Ok(())
    }
}

fn row(event: Event) -> Row {
    Row {
        bytes: i32::try_from(event.bytes()).unwrap_or(i32::MAX),
        id: event.id.to_string(),
        event_type: event.event_type,
        version: event.version,
        occurred_at: event.occurred_at.timestamp_micros(),
        environment: event.environment,
        destination: event.table,
        key: event.key.map(Hidden),
        headers: event.headers.map(Hidden),
        payload: Hidden(event.payload),
    }
}

impl ToSql<Text, Sqlite> for Hidden {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        <String as ToSql<Text, Sqlite>>::to_sql(&self.0, out)
    }
}
