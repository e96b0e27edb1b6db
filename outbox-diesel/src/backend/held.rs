//! Events that are put aside, as multi-row VALUES, for databases without arrays.

use diesel::QueryResult;
use diesel::backend::Backend;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{BigInt, HasSqlType, Integer, Nullable, Text};
use outbox_core::StoredEvent;

use super::OutboxBackend;
use super::texts::{Hidden, Name};
use super::values::{Row, push_columns};

/// An INSERT of events of a held batch.
pub(crate) struct InsertHeld {
    text: String,
    batch: i64,
    rows: Vec<HeldRow>,
}

struct HeldRow {
    ordinal: i32,
    seq: i64,
    event: Row,
}

impl InsertHeld {
    /// All of `events`, in as few statements as an `emit` of them would take. `text` is how each begins, up to VALUES; the
    /// columns are batch, ordinal, seq, and an event's own.
    pub(crate) fn statements<DB: OutboxBackend>(
        text: &str,
        batch: i64,
        events: &[StoredEvent],
    ) -> impl Iterator<Item = Self> {
        let rows_max = u32::try_from(DB::DIALECT.statement_rows_max).unwrap_or(u32::MAX);
        let bytes_max = DB::DIALECT.statement_bytes_max as u64;
        let mut rest = (0..).zip(events).peekable();
        std::iter::from_fn(move || {
            rest.peek()?;
            let sizes = rest.clone().map(|(_, stored)| i64::try_from(stored.event.bytes()).unwrap_or(i64::MAX));
            let count = crate::cut::first(sizes, rows_max, bytes_max);
            let row = |(ordinal, stored): (i32, &StoredEvent)| HeldRow {
                ordinal,
                seq: stored.seq,
                event: Row::from(stored.event.clone()),
            };
            let rows = rest.by_ref().take(count).map(row).collect();
            Some(Self { text: text.to_owned(), batch, rows })
        })
    }
}

impl<DB> QueryFragment<DB> for InsertHeld
where
    DB: Backend + HasSqlType<Text> + HasSqlType<Integer> + HasSqlType<BigInt>,
    String: ToSql<Text, DB>,
    i32: ToSql<Integer, DB>,
    i64: ToSql<BigInt, DB>,
    Hidden: ToSql<Text, DB>,
    Name: ToSql<Text, DB>,
    Option<Hidden>: ToSql<Nullable<Text>, DB>,
{
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        pass.unsafe_to_cache_prepared(); // it is rare, and long
        pass.push_sql(&self.text);
        for (index, row) in self.rows.iter().enumerate() {
            pass.push_sql(if index == 0 { "(" } else { "), (" });
            pass.push_bind_param::<BigInt, _>(&self.batch)?;
            pass.push_sql(", ");
            pass.push_bind_param::<Integer, _>(&row.ordinal)?;
            pass.push_sql(", ");
            pass.push_bind_param::<BigInt, _>(&row.seq)?;
            pass.push_sql(", ");
            push_columns(&row.event, &mut pass)?;
        }
        pass.push_sql(")");
        Ok(())
    }
}

impl QueryId for InsertHeld {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Conn> diesel::RunQueryDsl<Conn> for InsertHeld {}
