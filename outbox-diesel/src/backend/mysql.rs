//! MySQL and MariaDB: multi-row VALUES, in statements that stay under the server's limits of binds and of packets.

use diesel::QueryResult;
use diesel::mysql::Mysql;
use diesel::query_builder::AstPass;
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::Text;
use outbox_core::{EVENT_BYTES_MAX, Event};

use super::values::{COLUMNS, Row, push};
use super::{Dialect, Hidden, OutboxBackend, process_tables};

const INSERT: &str = "INSERT INTO outbox_event \
    (id, event_type, version, occurred_at, environment, destination, `key`, headers, payload, bytes) VALUES ";

/// Ten binds each: far under the protocol's 65 535.
const STATEMENT_ROWS_MAX: usize = 1000;
const BINDS_MAX: usize = 65_535;
const _: () = assert!(STATEMENT_ROWS_MAX * COLUMNS <= BINDS_MAX);

/// With one event over it, it is far under MariaDB's max_allowed_packet of 16 MiB. A statement is one packet.
const STATEMENT_BYTES_MAX: usize = 4 << 20;
const PACKET_BYTES_MAX: usize = 16 << 20;
const _: () = assert!(2 * (STATEMENT_BYTES_MAX + EVENT_BYTES_MAX) <= PACKET_BYTES_MAX);

impl OutboxBackend for Mysql {
    type Rows = Vec<Row>;

    const DIALECT: Dialect = Dialect {
        after_begin: None,
        before_commit: None,
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

impl ToSql<Text, Mysql> for Hidden {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Mysql>) -> serialize::Result {
        <str as ToSql<Text, Mysql>>::to_sql(self.0.as_str(), out)
    }
}
