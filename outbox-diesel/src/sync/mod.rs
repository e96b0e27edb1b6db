//! Emitting on blocking connections.

mod acquire;
mod attempts;
mod emit;
#[cfg(feature = "r2d2")]
mod r2d2;
mod tx;

pub use acquire::Acquire;
#[doc(hidden)]
pub use attempts::Attempts;
pub use emit::Emit;
pub use tx::Tx;

use crate::options::TxOptions;
use crate::retry::Next;
use crate::transient::TransientError;

/// Runs `body` in a transaction: COMMIT when it returns `Ok`, ROLLBACK on `Err` and on a panic. Inside another
/// transaction it is a savepoint.
///
/// It differs from [`Connection::transaction`](diesel::Connection::transaction) where that one can lose rows and say
/// `Ok`, or leaves the transaction open: a statement error that `body` swallows is an error at the end (PostgreSQL, and
/// deadlocks on MySQL), a panic rolls back, and on SQLite the write lock is taken at once.
///
/// # Errors
/// What `body` returns, or Diesel's error when the transaction cannot begin or commit. Whenever this is `Err` because
/// the connection was lost during COMMIT, the outcome is unknown; in all other cases nothing was kept.
pub fn transaction<C, T, E, F>(conn: &mut C, body: F) -> Result<T, E>
where
    C: Emit,
    E: From<diesel::result::Error>,
    F: FnOnce(&mut C) -> Result<T, E>,
{
    let mut tx = Tx::begin(conn, &TxOptions::new())?;
    let out = body(tx.conn());
    tx.finish(out.is_ok())?;
    out
}

/// As [`transaction`], with options, on a connection or on one from a pool; for what needs no attribute.
///
/// The body is run once, and again for each of [`TxOptions::retries`] that a conflict takes.
///
/// # Errors
/// As [`transaction`]; [`NoConnection`](crate::NoConnection) when the pool has none; and, when the options cannot be had
/// inside another transaction, [`AlreadyInTransaction`](diesel::result::Error::AlreadyInTransaction).
///
/// # Examples
/// ```
/// # #[cfg(feature = "sqlite")] {
/// use diesel::prelude::*;
/// use outbox_diesel::TxOptions;
/// use outbox_diesel::sync::transaction_with;
///
/// let mut conn = SqliteConnection::establish(":memory:").unwrap();
/// let options = TxOptions::new().retries(3);
/// let one = transaction_with(options, &mut conn, |conn| diesel::select(1.into_sql::<diesel::sql_types::Integer>()).get_result(conn));
/// assert_eq!(one, Ok::<_, diesel::result::Error>(1));
/// # }
/// ```
pub fn transaction_with<A, T, E, F>(options: TxOptions, source: A, mut body: F) -> Result<T, E>
where
    A: Acquire,
    E: From<diesel::result::Error> + TransientError,
    F: FnMut(&mut A::Conn) -> Result<T, E>,
{
    let mut guard = source.acquire()?;
    let mut attempts = Attempts::new(&options);
    loop {
        let mut tx = match Tx::begin(&mut *guard, &options) {
            Ok(tx) => tx,
            Err(error) => {
                attempts.not_begun(error)?;
                continue;
            }
        };
        let out = body(tx.conn());
        let transient = out.as_ref().is_err_and(TransientError::is_transient);
        if attempts.finish(tx, out.is_ok(), transient)? == Next::Done {
            return out;
        }
    }
}
