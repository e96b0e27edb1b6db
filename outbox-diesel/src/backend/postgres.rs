//! PostgreSQL: one INSERT from ten arrays, whatever the number of rows.
//!
//! Each array is unnested in the select list, where all of them advance together, row by row. `FROM unnest(..)` would write each into
//! a temporary store first: for one event that doubles what the INSERT costs the server (58 us instead of 26).

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::AstPass;
use diesel::sql_types::{Array, Integer, Nullable, Text, Timestamptz};
use outbox_core::Event;
use uuid::Uuid;

use super::texts::{Hidden, Name};
use super::{Dialect, OutboxBackend, process_tables};
use crate::options::{Isolation, TxOptions};

const INSERT: &str = "INSERT INTO outbox_event \
    (id, event_type, version, occurred_at, environment, destination, key, headers, payload, bytes) SELECT unnest(";

/// Writes nothing while the outbox is over its limits: the number of rows tells.
const UNLESS_FULL: &str = ") WHERE NOT EXISTS (SELECT FROM outbox_limit WHERE is_full)";

#[doc(hidden)]
#[derive(Debug, Default)]
pub struct Columns {
    id: Vec<Uuid>,
    event_type: Vec<Name>,
    version: Vec<i32>,
    occurred_at: Vec<DateTime<Utc>>,
    environment: Vec<Name>,
    destination: Vec<Name>,
    key: Vec<Option<Hidden>>,
    headers: Vec<Option<Hidden>>,
    payload: Vec<Hidden>,
    bytes: Vec<i32>,
}

impl OutboxBackend for Pg {
    type Rows = Columns;

    const DIALECT: Dialect = Dialect {
        begin,
        commit,
        rollback: |_| "ROLLBACK",
        begin_needs_undo: false,
        nothing_open: None,
        full_check: None, // the INSERT looks
        full_error: "",
        statement_rows_max: usize::MAX,
        // An array is one value, and a value ends at 1 GiB.
        statement_bytes_max: 256 << 20,
    };

    fn rows(events: Vec<Event>) -> Columns {
        let mut columns = Columns::default();
        for event in events {
            columns.bytes.push(i32::try_from(event.bytes()).unwrap_or(i32::MAX));
            columns.id.push(event.id);
            columns.event_type.push(Name(event.event_type));
            columns.version.push(event.version);
            columns.occurred_at.push(event.occurred_at);
            columns.environment.push(Name(event.environment));
            columns.destination.push(Name(event.table));
            columns.key.push(event.key.map(Hidden));
            columns.headers.push(event.headers.map(Hidden));
            columns.payload.push(Hidden(event.payload));
        }
        columns
    }

    fn walk<'b>(rows: &'b Columns, mut pass: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let tables = process_tables()?;
        pass.push_sql(&tables.sql(INSERT));
        pass.push_bind_param::<Array<diesel::sql_types::Uuid>, _>(&rows.id)?;
        pass.push_sql("), unnest(");
        pass.push_bind_param::<Array<Text>, _>(&rows.event_type)?;
        pass.push_sql("), unnest(");
        pass.push_bind_param::<Array<Integer>, _>(&rows.version)?;
        pass.push_sql("), unnest(");
        pass.push_bind_param::<Array<Timestamptz>, _>(&rows.occurred_at)?;
        pass.push_sql("), unnest(");
        pass.push_bind_param::<Array<Text>, _>(&rows.environment)?;
        pass.push_sql("), unnest(");
        pass.push_bind_param::<Array<Text>, _>(&rows.destination)?;
        pass.push_sql("), unnest(");
        pass.push_bind_param::<Array<Nullable<Text>>, _>(&rows.key)?;
        pass.push_sql("), unnest(");
        pass.push_bind_param::<Array<Nullable<Text>>, _>(&rows.headers)?;
        pass.push_sql("), unnest(");
        pass.push_bind_param::<Array<Text>, _>(&rows.payload)?;
        pass.push_sql("), unnest(");
        pass.push_bind_param::<Array<Integer>, _>(&rows.bytes)?;
        pass.push_sql(&tables.sql(UNLESS_FULL));
        Ok(())
    }
}

fn begin(options: &TxOptions) -> QueryResult<Cow<'static, str>> {
    if !options.needs_its_own() {
        return Ok(Cow::Borrowed("BEGIN"));
    }
    let isolation = match options.isolation {
        Some(Isolation::ReadCommitted) => " ISOLATION LEVEL READ COMMITTED",
        Some(Isolation::RepeatableRead) => " ISOLATION LEVEL REPEATABLE READ",
        Some(Isolation::Serializable) => " ISOLATION LEVEL SERIALIZABLE",
        None => "",
    };
    let read_only = if options.read_only { " READ ONLY" } else { "" };
    let deferrable = if options.deferrable { " DEFERRABLE" } else { "" };
    Ok(Cow::Owned(format!("BEGIN{isolation}{read_only}{deferrable}")))
}

/// COMMIT of a transaction in which a statement failed answers ROLLBACK, and Diesel takes that for success. Any statement
/// before it is refused there, and takes COMMIT, which is in the same message, along. This one does what COMMIT begins with anyway,
/// and is cheap: 4 us, where `SELECT 1` takes 15.
fn commit(options: &TxOptions) -> &'static str {
    if options.commit_check { "SET CONSTRAINTS ALL IMMEDIATE; COMMIT" } else { "COMMIT" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begin_carries_the_options() {
        let sql = |options: TxOptions| begin(&options).expect("PostgreSQL has all of them");
        assert_eq!(sql(TxOptions::new().retries(2)), "BEGIN");
        assert_eq!(sql(TxOptions::new().isolation(Isolation::RepeatableRead)), "BEGIN ISOLATION LEVEL REPEATABLE READ");
        assert_eq!(sql(TxOptions::new().read_only()), "BEGIN READ ONLY");
        assert_eq!(sql(TxOptions::new().deferrable()), "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE");
    }
}
