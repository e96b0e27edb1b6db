//! Emitting on blocking connections.

mod emit;
mod tx;

pub use emit::Emit;
pub use tx::Tx;

/// Runs `body` in a transaction: COMMIT when it returns `Ok`, ROLLBACK on `Err` and on a panic. Inside another
/// transaction it is a savepoint.
///
/// It differs from [`Connection::transaction`](diesel::Connection::transaction) where that one can lose rows and say
/// `Ok`, or leaves the transaction open: a statement error that `body` swallows is an error at the end (PostgreSQL),
/// a panic rolls back, and on SQLite the write lock is taken at once.
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
    let mut tx = Tx::begin(conn)?;
    let out = body(tx.conn());
    tx.finish(out.is_ok())?;
    out
}
