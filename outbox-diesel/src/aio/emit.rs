//! `conn.emit(..)` on every async connection.

use diesel::QueryResult;
use diesel::connection::TransactionManagerStatus;
use diesel_async::{AsyncConnection, RunQueryDsl, TransactionManager};
use outbox_core::{BoxFuture, EventLog};
use uuid::Uuid;

use crate::insert::{Encoded, check_written};
use crate::{OutboxBackend, full};

/// Writes events into the caller's transaction. Every async Diesel connection to a supported database has it: plain,
/// pooled, or generic (`C: AsyncConnection<Backend: OutboxBackend>`).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an async connection that can emit events",
    label = "expected an async Diesel connection to a database that outbox supports",
    note = "with a blocking connection write `fn` without `async`, and use `outbox::sync`",
    note = "a database is supported behind the feature of its name: `postgres`, `mysql`, `sqlite`"
)]
pub trait Emit: AsyncConnection<Backend: OutboxBackend> {
    /// Writes one event at once: its order among all statements of the transaction is the order of the calls, and a
    /// rolled back savepoint takes it along.
    ///
    /// The event is encoded before this returns its future, so the future does not borrow it and is `Send` whatever
    /// the event is.
    ///
    /// # Errors
    /// [`NotInTransaction`](diesel::result::Error::NotInTransaction) outside a transaction, without a round trip;
    /// [`BrokenTransactionManager`](diesel::result::Error::BrokenTransactionManager) after a transaction was abandoned
    /// halfway; [`SerializationError`](diesel::result::Error::SerializationError) with an
    /// [`EncodeError`](outbox_core::EncodeError) when the event cannot be encoded; otherwise what the database says.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, the event may be in the transaction or not. End the transaction with an error then.
    fn emit<'a, E: EventLog + ?Sized>(&'a mut self, event: &E) -> BoxFuture<'a, QueryResult<Uuid>> {
        let encoded = Encoded::all(status(self), [event]);
        Box::pin(async move {
            let encoded = encoded?;
            let id = encoded.id()?;
            insert(self, encoded).await?;
            Ok(id)
        })
    }

    /// Writes any number of events in their order, and returns how many. On PostgreSQL this is one statement up to
    /// 256 MiB of events; on SQLite one per 1000, on MySQL one per 1000 or 4 MiB. No events: no statement.
    ///
    /// Nothing is written when one of them cannot be encoded. When a later one of several statements fails, the
    /// earlier ones are still in the transaction: return the error, so that it rolls back.
    ///
    /// # Errors
    /// As [`emit`](Emit::emit).
    ///
    /// # Cancel safety
    /// As [`emit`](Emit::emit): each event may be in the transaction or not.
    fn emit_all<'a, 'e, E, I>(&'a mut self, events: I) -> BoxFuture<'a, QueryResult<usize>>
    where
        E: EventLog + ?Sized + 'e,
        I: IntoIterator<Item = &'e E>,
    {
        let encoded = Encoded::all(status(self), events);
        Box::pin(async move { insert(self, encoded?).await })
    }
}

#[diagnostic::do_not_recommend]
impl<C: AsyncConnection<Backend: OutboxBackend>> Emit for C {}

pub(super) type Manager<C> = <C as AsyncConnection>::TransactionManager;

pub(super) fn status<C: AsyncConnection>(conn: &mut C) -> &mut TransactionManagerStatus {
    Manager::<C>::transaction_manager_status_mut(conn)
}

pub(super) async fn insert<C: Emit>(conn: &mut C, encoded: Encoded) -> QueryResult<usize> {
    let rows = encoded.len();
    let dialect = &C::Backend::DIALECT;
    if rows > 0
        && let Some(sql) = full::question(dialect)?
    {
        full::answer(dialect, conn.batch_execute(&sql).await)?;
    }
    for (expected, statement) in encoded.statements::<C::Backend>() {
        let written = RunQueryDsl::execute(statement, conn).await?;
        check_written(expected, written)?;
    }
    Ok(rows)
}
