//! SQLite: multi-row VALUES, in statements that stay under its limit of binds.

use std::borrow::Cow;

use diesel::QueryResult;
use diesel::query_builder::AstPass;
use diesel::sqlite::Sqlite;
use outbox_core::Event;

use super::values::{HELD_COLUMNS, Row, push};
use super::{Dialect, OutboxBackend, process_tables};
use crate::error::unsupported;
use crate::options::TxOptions;

const INSERT: &str = "INSERT INTO outbox_event \
    (id, event_type, version, occurred_at, environment, destination, key, headers, payload, bytes) SELECT * FROM (VALUES ";

/// Writes nothing while the outbox is over its limits: the number of rows tells.
const UNLESS_FULL: &str = ") WHERE NOT EXISTS (SELECT 1 FROM outbox_limit WHERE is_full)";

/// Ten binds each, thirteen of held ones: far under SQLite's 32 766, and a statement's text stays under 50 kB.
const STATEMENT_ROWS_MAX: usize = 1000;
const BINDS_MAX: usize = 32_766;
const _: () = assert!(STATEMENT_ROWS_MAX * HELD_COLUMNS <= BINDS_MAX);

impl OutboxBackend for Sqlite {
    type Rows = Vec<Row>;

    const DIALECT: Dialect = Dialect {
        begin,
        commit: |options| if options.read_only { "COMMIT; PRAGMA query_only = OFF" } else { "COMMIT" },
        rollback: |options| if options.read_only { "PRAGMA query_only = OFF; ROLLBACK" } else { "ROLLBACK" },
        begin_needs_undo: false,
        // Some failures, a full disk say, end the transaction by themselves.
        nothing_open: Some("no transaction is active"),
        full_check: None, // the INSERT looks
        full_error: "",
        statement_rows_max: STATEMENT_ROWS_MAX,
        statement_bytes_max: 256 << 20,
    };

    fn rows(events: Vec<Event>) -> Vec<Row> {
        events.into_iter().map(Row::from).collect()
    }

    fn walk<'b>(rows: &'b Vec<Row>, mut pass: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        let tables = process_tables()?;
        pass.push_sql(&tables.sql(INSERT));
        push(rows, STATEMENT_ROWS_MAX, &mut pass)?;
        pass.push_sql(&tables.sql(UNLESS_FULL));
        Ok(())
    }
}

/// Takes the write lock at once: a transaction that reads first and writes later fails with "database is locked" whatever its
/// busy_timeout. It is serializable in any case.
fn begin(options: &TxOptions) -> QueryResult<Cow<'static, str>> {
    if options.deferrable {
        return Err(unsupported("SQLite", "deferrable"));
    }
    Ok(Cow::Borrowed(if options.read_only { "BEGIN; PRAGMA query_only = ON" } else { "BEGIN IMMEDIATE" }))
}
