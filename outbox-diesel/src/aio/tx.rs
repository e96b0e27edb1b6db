//! The guard of an async transaction. `#[transactional_event]` expands to its calls.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};

use diesel::QueryResult;
use diesel_async::TransactionManager;
use outbox_core::IntoEvents;

use super::Emit;
use super::emit::{Manager, insert, status};
use crate::insert::Encoded;
use crate::nesting::{check_innermost, depth};
use crate::{OutboxBackend, wake};

/// An open transaction.
///
/// Dropped without [`finish`](Tx::finish), by a panic or with a future that nobody waits for, it cannot roll back:
/// that needs an await. It marks the connection as broken instead, so that nothing around it can commit, nothing later
/// can take place in the transaction that is still open, and a pool closes the connection.
pub struct Tx<'c, C: Emit> {
    conn: &'c mut C,
    /// How many transactions were open before.
    start: u32,
    /// Whether the transaction may be open on the server.
    open: bool,
}

impl<'c, C: Emit> Tx<'c, C> {
    /// Begins a transaction, or a savepoint where one is open.
    ///
    /// # Errors
    /// What the database says. Nothing is open then.
    pub async fn begin(conn: &'c mut C) -> QueryResult<Self> {
        let start = depth(status(conn))?;
        let after_begin = C::Backend::DIALECT.after_begin_sql()?;
        // Before BEGIN is sent: a future that is dropped in between may have sent it.
        let mut tx = Self { conn, start, open: true };
        if let Err(error) = Manager::<C>::begin_transaction(tx.conn).await {
            tx.open = false;
            return Err(error);
        }
        if start == 0
            && let Some(sql) = after_begin
            && let Err(error) = tx.conn.batch_execute(&sql).await
        {
            tx.roll_back().await;
            return Err(error);
        }
        Ok(tx)
    }

    /// The connection, for the body.
    pub fn conn(&mut self) -> &mut C {
        self.conn
    }

    /// Emits what `events` makes of the body's value.
    ///
    /// # Errors
    /// As [`Emit::emit`].
    pub fn emit_ok<'a, 't, T, I: IntoEvents, F: FnOnce(&'t T) -> I>(
        &'a mut self,
        ok: &'t T,
        events: F,
    ) -> impl Future<Output = QueryResult<()>> + Send + use<'a, 'c, 't, C, T, I, F> {
        let encoded = Encoded::made(status(self.conn), events(ok));
        let conn = &mut *self.conn;
        async move { insert(conn, encoded?).await.map(drop) }
    }

    /// Ends the transaction: COMMIT, or else ROLLBACK.
    ///
    /// # Errors
    /// It was not committed, though it should have been. A ROLLBACK that fails is no error: the body's own is the one to
    /// report, and the connection is marked so that nothing around it can commit.
    ///
    /// # Cancel safety
    /// As dropping the guard: the connection is marked. Dropped during COMMIT the outcome is unknown.
    pub async fn finish(mut self, commit: bool) -> QueryResult<()> {
        let ended = if commit { self.commit().await } else { Ok(()) };
        if self.open {
            self.roll_back().await;
        }
        ended
    }

    async fn commit(&mut self) -> QueryResult<()> {
        check_innermost(status(self.conn), self.start)?;
        if self.start == 0
            && let Some(sql) = C::Backend::DIALECT.before_commit
        {
            self.conn.batch_execute(sql).await?;
        }
        Manager::<C>::commit_transaction(self.conn).await?;
        self.open = false;
        if self.start == 0 {
            wake::committed();
        }
        Ok(())
    }

    /// Rolls back what is still open, or else leaves that to the drop.
    async fn roll_back(&mut self) {
        if depth(status(self.conn)).is_ok_and(|depth| depth <= self.start) {
            self.open = false; // COMMIT failed and took the transaction along.
            return;
        }
        // More than one level is open when a nested future was dropped: what it had sent is not known.
        if check_innermost(status(self.conn), self.start).is_err() {
            return;
        }
        match Manager::<C>::rollback_transaction(self.conn).await {
            Ok(()) => self.open = false,
            Err(error) => {
                tracing::warn!(%error, "rollback failed: the connection cannot be used for transactions any more");
            }
        }
    }
}

impl<C: Emit> Drop for Tx<'_, C> {
    fn drop(&mut self) {
        if self.open {
            // An async SQLite connection panics here while its statement still runs, which happens only on a
            // current_thread runtime, where dropping that statement has panicked already. Two panics would abort.
            let poisoned = catch_unwind(AssertUnwindSafe(|| status(self.conn).set_in_error()));
            if poisoned.is_err() {
                tracing::error!(
                    "an abandoned transaction could not be marked: use a multi-threaded runtime with SQLite"
                );
            }
        }
    }
}

impl<C: Emit> std::fmt::Debug for Tx<'_, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tx").field("start", &self.start).field("open", &self.open).finish_non_exhaustive()
    }
}
