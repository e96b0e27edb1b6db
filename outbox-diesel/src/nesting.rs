//! Where a connection stands: in how many transactions, whose the next one is, and whether what is open may still commit.
//!
//! Diesel keeps the depth on the connection; the guards change it themselves, because they send BEGIN and COMMIT
//! themselves, in one message with what goes before and after.

use std::num::NonZeroU32;

use diesel::QueryResult;
use diesel::connection::{TransactionDepthChange, TransactionManagerStatus};
use diesel::result::Error;

use crate::options::{Nested, TxOptions};

/// Added to the depth when what is open must not commit. The number is in the names of Diesel's savepoints, so a plain
/// Diesel transaction around it fails too: it would release a savepoint that does not exist.
const DOOMED: u32 = 1 << 30;

/// How a transaction is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// BEGIN.
    Begin,
    /// A savepoint in Diesel's test transaction: for whoever runs in it the outermost transaction.
    Test,
    /// A savepoint.
    Savepoint,
    /// Nothing of its own.
    Join,
}

impl Level {
    pub(crate) fn is_outermost(self) -> bool {
        matches!(self, Self::Begin | Self::Test)
    }
}

/// How many transactions are open, by what the connection knows itself: no round trip.
///
/// # Errors
/// They must not commit.
pub(crate) fn depth(status: &TransactionManagerStatus) -> QueryResult<u32> {
    match raw_depth(status)? {
        depth if depth < DOOMED => Ok(depth),
        _ => Err(Error::BrokenTransactionManager),
    }
}

fn raw_depth(status: &TransactionManagerStatus) -> QueryResult<u32> {
    Ok(status.transaction_depth()?.map_or(0, NonZeroU32::get))
}

/// How a transaction with these options is opened here, and how many are open already.
pub(crate) fn enter(status: &TransactionManagerStatus, options: &TxOptions) -> QueryResult<(u32, Level)> {
    let start = depth(status)?;
    let outermost = match start {
        0 => Some(Level::Begin),
        1 if is_test(status) => Some(Level::Test),
        _ => None,
    };
    let level = match (outermost, options.nested) {
        (Some(_), Nested::Require) => return Err(Error::NotInTransaction),
        (Some(level), _) => level,
        (None, Nested::Forbid) => return Err(Error::AlreadyInTransaction),
        (None, _) if options.needs_its_own() => return Err(Error::AlreadyInTransaction),
        (None, Nested::Join) => Level::Join,
        (None, Nested::Savepoint | Nested::Require) => Level::Savepoint,
    };
    Ok((start, level))
}

/// Whether Diesel's `begin_test_transaction` opened what is open.
fn is_test(status: &TransactionManagerStatus) -> bool {
    match status {
        TransactionManagerStatus::Valid(valid) => {
            valid.in_transaction.as_ref().is_some_and(|open| open.test_transaction)
        }
        TransactionManagerStatus::InError => false,
    }
}

/// One more is open.
pub(crate) fn opened(status: &mut TransactionManagerStatus) -> QueryResult<()> {
    match status {
        TransactionManagerStatus::Valid(valid) => valid.change_transaction_depth(TransactionDepthChange::IncreaseDepth),
        TransactionManagerStatus::InError => Err(Error::BrokenTransactionManager),
    }
}

/// Only `start` are open: the database has said so.
pub(crate) fn closed(status: &mut TransactionManagerStatus, start: u32) {
    match (NonZeroU32::new(start), &mut *status) {
        (Some(start), TransactionManagerStatus::Valid(valid)) => {
            if let Some(open) = &mut valid.in_transaction {
                open.transaction_depth = start;
            }
        }
        // What is around this one is broken, and stays so.
        (Some(_), TransactionManagerStatus::InError) => {}
        (None, _) => *status = TransactionManagerStatus::default(),
    }
}

/// What is open must not commit, and can still be rolled back.
pub(crate) fn doom(status: &mut TransactionManagerStatus) {
    if let TransactionManagerStatus::Valid(valid) = status
        && let Some(open) = &mut valid.in_transaction
        && open.transaction_depth.get() < DOOMED
    {
        open.transaction_depth = open.transaction_depth.saturating_add(DOOMED);
    }
}

pub(crate) fn is_doomed(status: &TransactionManagerStatus) -> bool {
    raw_depth(status).is_ok_and(|depth| depth >= DOOMED)
}

/// Whether of the transactions that are open the one opened as the `open`-th is the innermost one.
///
/// A future of a nested transaction that was dropped halfway leaves its own open. COMMIT would then only release that
/// one's savepoint, say `Ok`, and keep nothing.
pub(crate) fn check_innermost(status: &TransactionManagerStatus, open: u32) -> QueryResult<()> {
    match depth(status)? {
        depth if depth == open => Ok(()),
        depth if depth > open => Err(Error::BrokenTransactionManager),
        _ => Err(Error::NotInTransaction),
    }
}

/// Savepoints have Diesel's names, so that its transactions and these can contain each other.
pub(crate) fn savepoint(start: u32) -> String {
    format!("SAVEPOINT diesel_savepoint_{start}")
}

pub(crate) fn release(start: u32) -> String {
    format!("RELEASE SAVEPOINT diesel_savepoint_{start}")
}

/// Releases it as well: Diesel leaves it, and a loop of them piles up.
pub(crate) fn roll_back_to(start: u32) -> String {
    format!("ROLLBACK TO SAVEPOINT diesel_savepoint_{start}; RELEASE SAVEPOINT diesel_savepoint_{start}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Isolation;

    fn at(depth: u32) -> TransactionManagerStatus {
        let mut status = TransactionManagerStatus::default();
        for _ in 0..depth {
            opened(&mut status).expect("a valid status");
        }
        status
    }

    /// With errors that can be compared.
    fn entered(status: &TransactionManagerStatus, options: &TxOptions) -> Result<(u32, Level), String> {
        enter(status, options).map_err(|error| error.to_string())
    }

    fn refused(error: Error) -> Result<(u32, Level), String> {
        Err(error.to_string())
    }

    #[test]
    fn options_decide_what_happens_inside_another_transaction() {
        let with = TxOptions::new();
        let serializable = with.isolation(Isolation::Serializable);
        assert_eq!(entered(&at(0), &with), Ok((0, Level::Begin)));
        assert_eq!(entered(&at(0), &serializable), Ok((0, Level::Begin)));
        assert_eq!(entered(&at(2), &with), Ok((2, Level::Savepoint)));
        assert_eq!(entered(&at(2), &with.nested(Nested::Join)), Ok((2, Level::Join)));
        assert_eq!(entered(&at(2), &with.nested(Nested::Require)), Ok((2, Level::Savepoint)));
        assert_eq!(entered(&at(0), &with.nested(Nested::Require)), refused(Error::NotInTransaction));
        assert_eq!(entered(&at(1), &with.nested(Nested::Forbid)), refused(Error::AlreadyInTransaction));
        assert_eq!(entered(&at(1), &serializable), refused(Error::AlreadyInTransaction));
        assert_eq!(entered(&at(1), &serializable.nested(Nested::Join)), refused(Error::AlreadyInTransaction));
    }

    #[test]
    fn a_test_transaction_is_not_an_outer_one() {
        let mut status = at(1);
        status.set_test_transaction_flag();
        let with = TxOptions::new();
        assert_eq!(entered(&status, &with.isolation(Isolation::Serializable)), Ok((1, Level::Test)));
        assert_eq!(entered(&status, &with.nested(Nested::Forbid)), Ok((1, Level::Test)));
        assert_eq!(entered(&status, &with.nested(Nested::Require)), refused(Error::NotInTransaction));
        opened(&mut status).expect("a valid status");
        assert_eq!(entered(&status, &with), Ok((2, Level::Savepoint)));
        closed(&mut status, 1);
        assert_eq!(entered(&status, &with), Ok((1, Level::Test)), "it is still one");
    }

    #[test]
    fn a_doomed_transaction_takes_nothing_and_ends_with_the_outermost_rollback() {
        let mut status = at(2);
        doom(&mut status);
        doom(&mut status);
        assert!(is_doomed(&status));
        assert!(matches!(depth(&status), Err(Error::BrokenTransactionManager)));
        assert!(matches!(check_innermost(&status, 2), Err(Error::BrokenTransactionManager)));
        closed(&mut status, 0);
        assert_eq!(depth(&status), Ok(0));
    }
}
