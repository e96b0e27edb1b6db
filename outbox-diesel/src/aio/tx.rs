//! The guard of an async transaction. `#[transactional_event]` expands to its calls.

use std::future::Future;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};

use diesel::QueryResult;
use diesel::connection::InstrumentationEvent;
use diesel::result::Error;
use diesel_async::TransactionManager;
use outbox_core::IntoEvents;

use super::Emit;
use super::emit::{Manager, insert, status};
use crate::insert::Encoded;
use crate::nesting::{self, Level, check_innermost, closed, doom, is_doomed, opened};
use crate::options::TxOptions;
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
    level: Level,
    options: TxOptions,
    /// Whether the transaction may be open on the server.
    open: bool,
}

impl<'c, C: Emit> Tx<'c, C> {
    /// Begins a transaction; where one is open, what [`TxOptions::nested`] says.
    ///
    /// # Errors
    /// What the database says, or that the options cannot be had here. Nothing is open then.
    ///
    /// # Cancel safety
    /// As dropping the guard: the connection is marked.
    pub async fn begin(conn: &'c mut C, options: &TxOptions) -> QueryResult<Self> {
        let (start, level) = nesting::enter(status(conn), options)?;
        if is_cut_off(conn) {
            return Err(Error::BrokenTransactionManager);
        }
        let sql = match level {
            Level::Begin => (C::Backend::DIALECT.begin)(options)?,
            Level::Test | Level::Savepoint => nesting::savepoint(start).into(),
            Level::Join => return Ok(Self { conn, start, level, options: *options, open: true }),
        };
        // Before BEGIN is sent: a future that is dropped in between may have sent it.
        let mut tx = Self { conn, start, level, options: *options, open: true };
        tx.announce(InstrumentationEvent::begin_transaction);
        if let Err(error) = tx.conn.batch_execute(&sql).await {
            if level == Level::Begin && C::Backend::DIALECT.begin_needs_undo {
                tx.roll_back().await;
            } else {
                tx.open = false;
            }
            return Err(error);
        }
        opened(status(tx.conn))?;
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
        self.end(commit).await
    }

    /// As [`finish`](Self::finish).
    pub(super) async fn end(&mut self, commit: bool) -> QueryResult<()> {
        let ended = if commit { self.commit().await } else { Ok(()) };
        if self.open {
            self.roll_back().await;
        }
        ended
    }

    /// Whether it is over, and could be begun again.
    pub(super) fn can_run_again(&mut self) -> bool {
        !self.open && self.level.is_outermost() && nesting::depth(status(self.conn)) == Ok(self.start)
    }

    async fn commit(&mut self) -> QueryResult<()> {
        let sql = match self.level {
            Level::Join => {
                check_innermost(status(self.conn), self.start)?;
                self.open = false;
                return Ok(());
            }
            Level::Begin => (C::Backend::DIALECT.commit)(&self.options).into(),
            Level::Test | Level::Savepoint => nesting::release(self.start),
        };
        check_innermost(status(self.conn), self.start + 1)?;
        self.announce(InstrumentationEvent::commit_transaction);
        self.conn.batch_execute(&sql).await?;
        self.open = false;
        closed(status(self.conn), self.start);
        if self.level == Level::Begin {
            wake::committed();
        }
        Ok(())
    }

    /// Rolls back what is still open, or else leaves that to the drop.
    async fn roll_back(&mut self) {
        // What a future had sent that was dropped halfway is not known. It marked the connection, or (a plain Diesel
        // transaction) left one too many open.
        let doomed = is_doomed(status(self.conn));
        let innermost = self.start + u32::from(self.level != Level::Join);
        if is_cut_off(self.conn) || (!doomed && !self.is_at_most(innermost)) {
            return;
        }
        let sql = match self.level {
            Level::Join => {
                self.open = false;
                return doom(status(self.conn));
            }
            Level::Begin => (C::Backend::DIALECT.rollback)(&self.options).into(),
            // What is around this one will roll back, and until then there is nothing to go back to.
            Level::Savepoint if doomed => {
                self.open = false;
                return;
            }
            Level::Test | Level::Savepoint => nesting::roll_back_to(self.start),
        };
        self.announce(InstrumentationEvent::rollback_transaction);
        match self.conn.batch_execute(&sql).await {
            Err(error) if !is_over::<C>(&error) => {
                tracing::warn!(%error, "rollback failed");
                if self.level != Level::Begin {
                    // Whatever is open around this one must not commit rows that should be gone.
                    doom(status(self.conn));
                    self.open = false;
                }
            }
            _ => {
                self.open = false;
                closed(status(self.conn), self.start);
            }
        }
    }

    /// Whether no more than `open` transactions are open.
    fn is_at_most(&mut self, open: u32) -> bool {
        nesting::depth(status(self.conn)).is_ok_and(|depth| depth <= open)
    }

    fn announce(&mut self, event: fn(NonZeroU32) -> InstrumentationEvent<'static>) {
        let depth = NonZeroU32::MIN.saturating_add(self.start);
        self.conn.instrumentation().on_connection_event(event(depth));
    }
}

/// Whether a future of Diesel's was dropped between sending BEGIN, COMMIT or ROLLBACK and its answer. Diesel keeps that
/// beside the status, and tells it only together with it.
fn is_cut_off<C: Emit>(conn: &mut C) -> bool {
    let held = std::mem::take(status(conn));
    let cut_off = Manager::<C>::is_broken_transaction_manager(conn);
    *status(conn) = held;
    cut_off
}

/// Whether ROLLBACK failed because the database had rolled back by itself.
fn is_over<C: Emit>(error: &Error) -> bool {
    C::Backend::DIALECT.nothing_open.is_some_and(|text| error.to_string().contains(text))
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
        let Self { start, level, open, .. } = self;
        f.debug_struct("Tx").field("start", start).field("level", level).field("open", open).finish_non_exhaustive()
    }
}
