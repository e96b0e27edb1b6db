//! The guard of a blocking transaction. `#[transactional_event]` expands to its calls.

use diesel::QueryResult;
use diesel::connection::TransactionManager;
use outbox_core::IntoEvents;

use super::Emit;
use super::emit::{Manager, insert, status};
use crate::insert::Encoded;
use crate::nesting::{check_innermost, depth};
use crate::{OutboxBackend, wake};

/// An open transaction. Dropped without [`finish`](Tx::finish), by a panic say, it rolls back.
pub struct Tx<'c, C: Emit> {
    conn: &'c mut C,
    /// How many transactions were open before.
    start: u32,
}

impl<'c, C: Emit> Tx<'c, C> {
    /// Begins a transaction, or a savepoint where one is open.
    ///
    /// # Errors
    /// What the database says. Nothing is open then.
    pub fn begin(conn: &'c mut C) -> QueryResult<Self> {
        let start = depth(status(conn))?;
        let after_begin = C::Backend::DIALECT.after_begin_sql()?;
        let tx = Self { conn, start };
        Manager::<C>::begin_transaction(tx.conn)?;
        match after_begin {
            Some(sql) if start == 0 => tx.conn.batch_execute(&sql)?,
            _ => {}
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
    pub fn emit_ok<'t, T, I: IntoEvents>(&mut self, ok: &'t T, events: impl FnOnce(&'t T) -> I) -> QueryResult<()> {
        let encoded = Encoded::made(status(self.conn), events(ok))?;
        insert(self.conn, encoded).map(drop)
    }

    /// Ends the transaction: COMMIT, or else ROLLBACK.
    ///
    /// # Errors
    /// It was not committed, though it should have been. A ROLLBACK that fails is no error: the body's own is the one to
    /// report, and the connection is marked so that nothing around it can commit.
    pub fn finish(self, commit: bool) -> QueryResult<()> {
        if !commit {
            return Ok(()); // Dropping the guard rolls back.
        }
        check_innermost(status(self.conn), self.start)?;
        match C::Backend::DIALECT.before_commit {
            Some(sql) if self.start == 0 => self.conn.batch_execute(sql)?,
            _ => {}
        }
        Manager::<C>::commit_transaction(self.conn)?;
        if self.start == 0 {
            wake::committed();
        }
        Ok(())
    }
}

impl<C: Emit> Drop for Tx<'_, C> {
    fn drop(&mut self) {
        // Several levels are open when a panic, caught inside the body, left a plain Diesel transaction behind.
        let open = depth(status(self.conn)).unwrap_or(self.start);
        for _ in self.start..open {
            if let Err(error) = Manager::<C>::rollback_transaction(self.conn) {
                // Whatever is open around this one must not commit rows that should be gone.
                status(self.conn).set_in_error();
                tracing::warn!(%error, "rollback failed: the connection cannot be used for transactions any more");
                return;
            }
        }
    }
}

impl<C: Emit> std::fmt::Debug for Tx<'_, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tx").field("start", &self.start).finish_non_exhaustive()
    }
}
