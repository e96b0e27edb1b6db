//! Emitting on async connections.

mod emit;
mod tx;

pub use emit::Emit;
pub use tx::Tx;

/// Runs `body` in a transaction: COMMIT when it returns `Ok`, ROLLBACK on `Err`. Inside another transaction it is a
/// savepoint.
///
/// It differs from [`AsyncConnection::transaction`](diesel_async::AsyncConnection::transaction) where that one can lose
/// rows and say `Ok`: a statement error that `body` swallows is an error at the end (PostgreSQL), and so is a nested
/// transaction whose future was dropped. On SQLite the write lock is taken at once.
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
    let mut tx = Tx::begin(conn).await?;
    let out = body(tx.conn()).await;
    tx.finish(out.is_ok()).await?;
    out
}
