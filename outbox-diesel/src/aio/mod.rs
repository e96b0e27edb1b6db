//! Emitting on async connections.

mod acquire;
mod attempts;
#[cfg(feature = "bb8")]
mod bb8;
#[cfg(feature = "deadpool")]
mod deadpool;
mod emit;
mod tx;

pub use acquire::Acquire;
#[doc(hidden)]
pub use attempts::Attempts;
pub use emit::Emit;
pub use tx::Tx;

use crate::options::TxOptions;
use crate::retry::Next;
use crate::transient::TransientError;

/// Runs `body` in a transaction: COMMIT when it returns `Ok`, ROLLBACK on `Err`. Inside another transaction it is a
/// savepoint.
///
/// It differs from [`AsyncConnection::transaction`](diesel_async::AsyncConnection::transaction) where that one can lose
/// rows and say `Ok`: a statement error that `body` swallows is an error at the end (PostgreSQL, and deadlocks on MySQL), and
/// so is a nested transaction whose future was dropped. On SQLite the write lock is taken at once.
///
/// # Errors
/// What `body` returns, or Diesel's error when the transaction cannot begin or commit. When the connection was lost
/// during COMMIT the outcome is unknown; in all other cases of `Err` nothing was kept.
///
/// # Cancel safety
/// Dropped before it is ready, or left by a panic, it keeps nothing, unless it was dropped during COMMIT: then the
/// outcome is unknown. The connection answers every later `emit` and transaction with
/// [`BrokenTransactionManager`](diesel::result::Error::BrokenTransactionManager), and pools close it; the server rolls
/// back when it is closed. An async SQLite connection needs a multi-threaded runtime: dropping its future while a
/// statement runs waits for the statement, and panics on a `current_thread` runtime.
pub async fn transaction<C, T, E, F>(conn: &mut C, body: F) -> Result<T, E>
where
    C: Emit,
    E: From<diesel::result::Error>,
    F: AsyncFnOnce(&mut C) -> Result<T, E>,
{
    let mut tx = Tx::begin(conn, &TxOptions::new()).await?;
    let out = body(tx.conn()).await;
    tx.finish(out.is_ok()).await?;
    out
}

/// As [`transaction`], with options, on a connection or on one from a pool; for what needs no attribute.
///
/// The body is run once, and again for each of [`TxOptions::retries`] that a conflict takes. Retries wait on tokio's clock.
///
/// # Errors
/// As [`transaction`]; [`NoConnection`](crate::NoConnection) when the pool has none; and, when the options cannot be had
/// inside another transaction, [`AlreadyInTransaction`](diesel::result::Error::AlreadyInTransaction).
///
/// # Cancel safety
/// As [`transaction`].
///
/// # Examples
/// ```
/// # #[cfg(feature = "postgres")]
/// # mod example {
/// use diesel::QueryResult;
/// use diesel_async::AsyncPgConnection;
/// use outbox_core::EventLog;
/// use outbox_diesel::aio::{Emit, transaction_with};
/// use outbox_diesel::{Isolation, TxOptions};
///
/// async fn tell(conn: &mut AsyncPgConnection, event: &impl EventLog) -> QueryResult<()> {
///     let options = TxOptions::new().isolation(Isolation::Serializable).retries(3);
///     transaction_with(options, conn, async |conn| conn.emit(event).await.map(drop)).await
/// }
/// # }
/// ```
pub async fn transaction_with<A, T, E, F>(options: TxOptions, source: A, mut body: F) -> Result<T, E>
where
    A: Acquire,
    E: From<diesel::result::Error> + TransientError,
    F: AsyncFnMut(&mut A::Conn) -> Result<T, E>,
{
    let mut guard = source.acquire().await?;
    let mut attempts = Attempts::new(&options);
    loop {
        let mut tx = match Tx::begin(&mut *guard, &options).await {
            Ok(tx) => tx,
            Err(error) => {
                attempts.not_begun(error).await?;
                continue;
            }
        };
        let out = body(tx.conn()).await;
        let transient = out.as_ref().is_err_and(TransientError::is_transient);
        if attempts.finish(tx, out.is_ok(), transient).await? == Next::Done {
            return out;
        }
    }
}
