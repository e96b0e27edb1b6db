//! `conn.emit(..)` on every blocking connection.

use diesel::connection::{TransactionManager, TransactionManagerStatus};
use diesel::{Connection, QueryResult, RunQueryDsl};
use outbox_core::EventLog;
use uuid::Uuid;

use crate::insert::{Encoded, check_written};
use crate::{OutboxBackend, full};

/// Writes events into the caller's transaction. Every blocking Diesel connection to a supported database has it: plain,
/// pooled, or generic (`C: Connection<Backend: OutboxBackend>`).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a blocking connection that can emit events",
    label = "expected a blocking Diesel connection to a database that outbox supports",
    note = "with an async connection write `async fn`, and use `outbox::aio`",
    note = "a database is supported behind the feature of its name: `postgres`, `mysql`, `sqlite`"
)]
pub trait Emit: Connection<Backend: OutboxBackend> {
    /// Writes one event at once: its order among all statements of the transaction is the order of the calls, and a
    /// rolled back savepoint takes it along.
    ///
    /// # Errors
    /// [`NotInTransaction`](diesel::result::Error::NotInTransaction) outside a transaction, without a round trip;
    /// [`BrokenTransactionManager`](diesel::result::Error::BrokenTransactionManager) after a transaction was abandoned
    /// halfway; [`SerializationError`](diesel::result::Error::SerializationError) with an
    /// [`EncodeError`](outbox_core::EncodeError) when the event cannot be encoded; otherwise what the database says.
    fn emit<E: EventLog + ?Sized>(&mut self, event: &E) -> QueryResult<Uuid> {
        let encoded = Encoded::all(status(self), [event])?;
        let id = encoded.id()?;
        insert(self, encoded)?;
        Ok(id)
    }

    /// Writes any number of events in their order, and returns how many. On PostgreSQL this is one statement up to
    /// 256 MiB of events; on SQLite one per 1000, on MySQL one per 1000 or 4 MiB. No events: no statement.
    ///
    /// Nothing is written when one of them cannot be encoded. When a later one of several statements fails, the
    /// earlier ones are still in the transaction: return the error, so that it rolls back.
    ///
    /// # Errors
    /// As [`emit`](Emit::emit).
    fn emit_all<'e, E, I>(&mut self, events: I) -> QueryResult<usize>
    where
        E: EventLog + ?Sized + 'e,
        I: IntoIterator<Item = &'e E>,
    {
        let encoded = Encoded::all(status(self), events)?;
        insert(self, encoded)
    }
}

#[diagnostic::do_not_recommend]
impl<C: Connection<Backend: OutboxBackend>> Emit for C {}

pub(super) type Manager<C> = <C as Connection>::TransactionManager;

pub(super) fn status<C: Connection>(conn: &mut C) -> &mut TransactionManagerStatus {
    Manager::<C>::transaction_manager_status_mut(conn)
}

pub(super) fn insert<C: Emit>(conn: &mut C, encoded: Encoded) -> QueryResult<usize> {
    let rows = encoded.len();
    let dialect = &C::Backend::DIALECT;
    if rows > 0
        && let Some(sql) = full::question(dialect)?
    {
        full::answer(dialect, conn.batch_execute(&sql))?;
    }
    for (expected, statement) in encoded.statements::<C::Backend>() {
        let written = statement.execute(conn)?;
        check_written(expected, written)?;
    }
    Ok(rows)
}
