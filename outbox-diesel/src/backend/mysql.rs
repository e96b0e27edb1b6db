//! MySQL and MariaDB: multi-row VALUES, in statements that stay under the server's limits of binds and of packets.

use std::borrow::Cow;

use diesel::QueryResult;
use diesel::mysql::Mysql;
use diesel::query_builder::AstPass;
use outbox_core::{EVENT_BYTES_MAX, Event};

use super::values::{HELD_COLUMNS, Row, push};
use super::{Dialect, OutboxBackend, process_tables};
use crate::error::unsupported;
use crate::options::{Isolation, TxOptions};

const INSERT: &str = "INSERT INTO outbox_event \
    (id, event_type, version, occurred_at, environment, destination, `key`, headers, payload, bytes) VALUES ";

/// Ten binds each, thirteen of held ones: far under the protocol's 65 535.
const STATEMENT_ROWS_MAX: usize = 1000;
const BINDS_MAX: usize = 65_535;
const _: () = assert!(STATEMENT_ROWS_MAX * HELD_COLUMNS <= BINDS_MAX);

/// With one event over it, it is far under MariaDB's max_allowed_packet of 16 MiB. A statement is one packet.
const STATEMENT_BYTES_MAX: usize = 4 << 20;
const PACKET_BYTES_MAX: usize = 16 << 20;
const _: () = assert!(2 * (STATEMENT_BYTES_MAX + EVENT_BYTES_MAX) <= PACKET_BYTES_MAX);

impl OutboxBackend for Mysql {
    type Rows = Vec<Row>;

    const DIALECT: Dialect = Dialect {
        begin,
        commit,
        rollback,
        begin_needs_undo: true,
        nothing_open: None,
        // EXP of a thousand is out of range: an error that a plain SELECT can raise.
        full_check: Some("SELECT EXP(1000 * is_full) FROM outbox_limit"),
        full_error: "out of range in 'exp(",
        statement_rows_max: STATEMENT_ROWS_MAX,
        statement_bytes_max: STATEMENT_BYTES_MAX,
    };

    fn rows(events: Vec<Event>) -> Vec<Row> {
        events.into_iter().map(Row::from).collect()
    }

    fn walk<'b>(rows: &'b Vec<Row>, mut pass: AstPass<'_, 'b, Mysql>) -> QueryResult<()> {
        pass.push_sql(&process_tables()?.sql(INSERT));
        push(rows, STATEMENT_ROWS_MAX, &mut pass)
    }
}

/// A deadlock rolls back the whole transaction. A body that swallows that error goes on outside of it, and every later
/// statement would commit by itself: with autocommit off they are in a transaction again, and the guard, a savepoint that
/// went with the first one, tells at COMMIT that they are in another. DDL, which commits, is noticed in the same way.
const GUARD: &str = "SET @outbox_autocommit = @@SESSION.autocommit, SESSION autocommit = 0";

fn begin(options: &TxOptions) -> QueryResult<Cow<'static, str>> {
    if options.deferrable {
        return Err(unsupported("MySQL", "deferrable"));
    }
    let isolation = match options.isolation {
        Some(Isolation::ReadCommitted) => "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; ",
        Some(Isolation::RepeatableRead) => "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; ",
        Some(Isolation::Serializable) => "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; ",
        None => "",
    };
    let start = if options.read_only { "START TRANSACTION READ ONLY" } else { "START TRANSACTION" };
    Ok(Cow::Owned(match options.commit_check {
        true => format!("{GUARD}; {isolation}{start}; SAVEPOINT outbox_guard"),
        false => format!("{isolation}{start}"),
    }))
}

/// What a failing statement takes along is everything behind it. So COMMIT needs the guard, and autocommit is back only
/// when the transaction is over: to switch it on inside one would commit.
fn commit(options: &TxOptions) -> &'static str {
    match options.commit_check {
        true => "RELEASE SAVEPOINT outbox_guard; COMMIT; SET SESSION autocommit = IFNULL(@outbox_autocommit, 1)",
        false => "COMMIT",
    }
}

fn rollback(options: &TxOptions) -> &'static str {
    match options.commit_check {
        true => "ROLLBACK; SET SESSION autocommit = IFNULL(@outbox_autocommit, 1)",
        false => "ROLLBACK",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begin_carries_the_options_and_the_guard() {
        let careful = TxOptions::new().isolation(Isolation::Serializable).read_only();
        assert_eq!(
            begin(&careful).expect("MySQL has both"),
            "SET @outbox_autocommit = @@SESSION.autocommit, SESSION autocommit = 0; \
             SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; START TRANSACTION READ ONLY; SAVEPOINT outbox_guard"
        );
        assert_eq!(begin(&TxOptions::new().commit_check(false)).expect("nothing special"), "START TRANSACTION");
        let refused = begin(&TxOptions::new().deferrable()).expect_err("MySQL has no such thing");
        assert_eq!(refused.to_string(), "MySQL has no `deferrable` transactions: leave the option out");
    }
}
