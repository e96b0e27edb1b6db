//! The guard of a blocking transaction. `#[transactional_event]` expands to its calls.

use std::num::NonZeroU32;

use diesel::connection::InstrumentationEvent;
use diesel::result::Error;
use diesel::{Connection, QueryResult};
use outbox_core::IntoEvents;

use super::Emit;
use super::emit::{insert, status};
use crate::insert::Encoded;
use crate::nesting::{self, Level, check_innermost, closed, doom, opened};
use crate::options::TxOptions;
use crate::{OutboxBackend, wake};

/// An open transaction. Dropped without [`finish`](Tx::finish), by a panic say, it rolls back.
pub struct Tx<'c, C: Emit> {
    conn: &'c mut C,
    /// How many transactions were open before.
    start: u32,
    level: Level,
    options: TxOptions,
    open: bool,
}

impl<'c, C: Emit> Tx<'c, C> {
    /// Begins a transaction; where one is open, what [`TxOptions::nested`] says.
    ///
    /// # Errors
    /// What the database says, or that the options cannot be had here. Nothing is open then.
    pub fn begin(conn: &'c mut C, options: &TxOptions) -> QueryResult<Self> {
        let (start, level) = nesting::enter(status(conn), options)?;
        let mut tx = Self { conn, start, level, options: *options, open: false };
        let sql = match level {
            Level::Begin => (C::Backend::DIALECT.begin)(options)?,
            Level::Test | Level::Savepoint => nesting::savepoint(start).into(),
            Level::Join => {
                tx.open = true;
                return Ok(tx);
            }
        };
        tx.announce(InstrumentationEvent::begin_transaction);
        if let Err(error) = tx.conn.batch_execute(&sql) {
            if level == Level::Begin && C::Backend::DIALECT.begin_needs_undo {
                tx.roll_back();
            }
            return Err(error);
        }
        tx.open = true;
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
    pub fn emit_ok<'t, T, I: IntoEvents>(&mut self, ok: &'t T, events: impl FnOnce(&'t T) -> I) -> QueryResult<()> {
        let encoded = Encoded::made(status(self.conn), events(ok))?;
        insert(self.conn, encoded).map(drop)
    }

    /// Ends the transaction: COMMIT, or else ROLLBACK.
    ///
    /// # Errors
    /// It was not committed, though it should have been. A ROLLBACK that fails is no error: the body's own is the one to
    /// report, and the connection is marked so that nothing around it can commit.
    pub fn finish(mut self, commit: bool) -> QueryResult<()> {
        self.end(commit)
    }

    /// As [`finish`](Self::finish).
    pub(super) fn end(&mut self, commit: bool) -> QueryResult<()> {
        let ended = if commit { self.commit() } else { Ok(()) };
        if self.open {
            self.roll_back();
        }
        ended
    }

    /// Whether it is over, and could be begun again.
    pub(super) fn can_run_again(&mut self) -> bool {
        self.level.is_outermost() && nesting::depth(status(self.conn)) == Ok(self.start)
    }

    fn commit(&mut self) -> QueryResult<()> {
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
        self.conn.batch_execute(&sql)?;
        self.open = false;
        closed(status(self.conn), self.start);
        if self.level == Level::Begin {
            wake::committed();
        }
        Ok(())
    }

    /// Also closes what is still open inside: a panic, caught in the body, leaves a plain Diesel transaction behind.
    fn roll_back(&mut self) {
        self.open = false;
        let sql = match self.level {
            Level::Join => return doom(status(self.conn)),
            Level::Begin => (C::Backend::DIALECT.rollback)(&self.options).into(),
            // What is around this one will roll back, and until then there is nothing to go back to.
            Level::Savepoint if nesting::depth(status(self.conn)).is_err() => return,
            Level::Test | Level::Savepoint => nesting::roll_back_to(self.start),
        };
        self.announce(InstrumentationEvent::rollback_transaction);
        match self.conn.batch_execute(&sql) {
            Err(error) if !is_over::<C>(&error) => {
                tracing::warn!(%error, "rollback failed");
                // Whatever is open around this one must not commit rows that should be gone.
                match self.level {
                    Level::Begin => status(self.conn).set_in_error(),
                    _ => doom(status(self.conn)),
                }
            }
            _ => closed(status(self.conn), self.start),
        }
    }

    fn announce(&mut self, event: fn(NonZeroU32) -> InstrumentationEvent<'static>) {
        let depth = NonZeroU32::MIN.saturating_add(self.start);
        self.conn.instrumentation().on_connection_event(event(depth));
    }
}

/// Whether ROLLBACK failed because the database had rolled back by itself.
fn is_over<C: Connection<Backend: OutboxBackend>>(error: &Error) -> bool {
    C::Backend::DIALECT.nothing_open.is_some_and(|text| error.to_string().contains(text))
}

impl<C: Emit> Drop for Tx<'_, C> {
    fn drop(&mut self) {
        if self.open {
            self.roll_back();
        }
    }
}

impl<C: Emit> std::fmt::Debug for Tx<'_, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tx").field("start", &self.start).field("level", &self.level).finish_non_exhaustive()
    }
}
