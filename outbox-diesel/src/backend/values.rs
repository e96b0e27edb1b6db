//! Rows as multi-row VALUES, for databases without arrays.

use diesel::QueryResult;
use diesel::backend::Backend;
use diesel::query_builder::AstPass;
use diesel::serialize::ToSql;
use diesel::sql_types::{BigInt, HasSqlType, Integer, Nullable, Text};
use outbox_core::Event;

use super::texts::{Hidden, Name};

/// Binds of a row, and of one that is held.
const COLUMNS: usize = 10;
pub(super) const HELD_COLUMNS: usize = 3 + COLUMNS;

/// An event as it is bound.
#[doc(hidden)]
#[derive(Debug)]
pub struct Row {
    id: String,
    event_type: Name,
    version: i32,
    occurred_at: i64,
    environment: Name,
    destination: Name,
    key: Option<Hidden>,
    headers: Option<Hidden>,
    payload: Hidden,
    bytes: i32,
}

impl From<Event> for Row {
    fn from(event: Event) -> Self {
        Self {
            bytes: i32::try_from(event.bytes()).unwrap_or(i32::MAX),
            id: event.id.to_string(),
            event_type: Name(event.event_type),
            version: event.version,
            occurred_at: event.occurred_at.timestamp_micros(),
            environment: Name(event.environment),
            destination: Name(event.table),
            key: event.key.map(Hidden),
            headers: event.headers.map(Hidden),
            payload: Hidden(event.payload),
        }
    }
}

/// Writes `(?, .., ?), (?, .., ?)`: id, event_type, version, occurred_at, environment, destination, key, headers, payload, bytes.
/// Only a statement of one row, or of `rows_max`, is kept prepared: one for each number of rows would fill the connection's cache.
pub(super) fn push<'b, DB>(rows: &'b [Row], rows_max: usize, pass: &mut AstPass<'_, 'b, DB>) -> QueryResult<()>
where
    DB: Backend + HasSqlType<Text> + HasSqlType<Integer> + HasSqlType<BigInt>,
    String: ToSql<Text, DB>,
    i32: ToSql<Integer, DB>,
    i64: ToSql<BigInt, DB>,
    Hidden: ToSql<Text, DB>,
    Name: ToSql<Text, DB>,
    Option<Hidden>: ToSql<Nullable<Text>, DB>,
{
    if rows.len() != 1 && rows.len() != rows_max {
        pass.unsafe_to_cache_prepared();
    }
    for (index, row) in rows.iter().enumerate() {
        pass.push_sql(if index == 0 { "(" } else { "), (" });
        push_columns(row, pass)?;
    }
    pass.push_sql(")");
    Ok(())
}

/// Writes `?, .., ?` of one row.
pub(super) fn push_columns<'b, DB>(row: &'b Row, pass: &mut AstPass<'_, 'b, DB>) -> QueryResult<()>
where
    DB: Backend + HasSqlType<Text> + HasSqlType<Integer> + HasSqlType<BigInt>,
    String: ToSql<Text, DB>,
    i32: ToSql<Integer, DB>,
    i64: ToSql<BigInt, DB>,
    Hidden: ToSql<Text, DB>,
    Name: ToSql<Text, DB>,
    Option<Hidden>: ToSql<Nullable<Text>, DB>,
{
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
    pass.push_bind_param::<Integer, _>(&row.bytes)
}
