//! MySQL and MariaDB: multi-row VALUES, in statements that stay under the server's limits of binds and of packets.

use diesel::QueryResult;
use diesel::mysql::Mysql;
use diesel::query_builder::AstPass;
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::{BigInt, Integer, Nullable, Text};
use outbox_core::{EVENT_BYTES_MAX, Event};

use super::{Dialect, Hidden, OutboxBackend, process_tables};

const INSERT: &str = "INSERT INTO outbox_event \
    (id, event_type, version, occurred_at, environment, destination, `key`, headers, payload, bytes) VALUES ";

/// Ten binds each: far under the protocol's 65 535.
const STATEMENT_ROWS_MAX: usize = 1000;
const COLUMNS: usize = 10;
const BINDS_MAX: usize = 65_535;
const _: () = assert!(STATEMENT_ROWS_MAX * COLUMNS <= BINDS_MAX);

/// With one event over it, it is far under MariaDB's max_allowed_packet of 16 MiB. A statement is one packet.
const STATEMENT_BYTES_MAX: usize = 4 << 20;
const PACKET_BYTES_MAX: usize = 16 << 20;
const _: () = assert!(2 * (STATEMENT_BYTES_MAX + EVENT_BYTES_MAX) <= PACKET_BYTES_MAX);

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
        events.into_iter().map(row).collect()
    }

    fn walk<'b>(rows: &'b Vec<Row>, mut pass: AstPass<'_, 'b, Mysql>) -> QueryResult<()> {
        // One statement per number of rows would fill the connection's cache of prepared statements.
        if rows.len() != 1 && rows.len() != STATEMENT_ROWS_MAX {
            pass.unsafe_to_cache_prepared();
        }
        pass.push_sql(&process_tables()?.sql(INSERT));
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
        pass.push_sql(")");
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

impl ToSql<Text, Mysql> for Hidden {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Mysql>) -> serialize::Result {
        <str as ToSql<Text, Mysql>>::to_sql(self.0.as_str(), out)
    }
}
