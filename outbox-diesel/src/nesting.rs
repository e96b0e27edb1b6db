//! Where a connection stands: in how many transactions, and whether a guard may still close its own.

use diesel::QueryResult;
use diesel::connection::TransactionManagerStatus;
use diesel::result::Error;

/// How many transactions are open, by what the connection knows itself: no round trip.
pub(crate) fn depth(status: &TransactionManagerStatus) -> QueryResult<u32> {
    Ok(status.transaction_depth()?.map_or(0, std::num::NonZeroU32::get))
}

/// Whether the transaction that was opened at depth `start` is the innermost one.
///
/// A future of a nested transaction that was dropped halfway leaves its own open. COMMIT would then only release that
/// one's savepoint, say `Ok`, and keep nothing.
pub(crate) fn check_innermost(status: &TransactionManagerStatus, start: u32) -> QueryResult<()> {
    match depth(status)? {
        depth if depth == start + 1 => Ok(()),
        depth if depth > start => Err(Error::BrokenTransactionManager),
        _ => Err(Error::NotInTransaction),
    }
}
