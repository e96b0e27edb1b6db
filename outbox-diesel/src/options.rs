//! How a transaction is to run: what the options of `#[transactional_event]` say, and `transaction_with` takes.

use std::time::Duration;

/// The most times that a transaction is run again. A transaction that conflicts a hundred times will not get through by
/// more of the same.
pub const RETRIES_MAX: u32 = 100;

/// The first wait before a retry, unless said: about as long as the transaction that it lost against.
const RETRY_DELAY: Duration = Duration::from_millis(10);

/// What a transaction sees of others.
///
/// SQLite is always serializable. Where nothing is asked for it is what the database or the session has as its default:
/// read committed on PostgreSQL, repeatable read on MySQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Each statement sees what is committed before it.
    ReadCommitted,
    /// Everything sees what was committed before the first statement.
    RepeatableRead,
    /// As if transactions ran one after the other. Conflicts end one of them with an error: ask for
    /// [`retries`](TxOptions::retries) too.
    Serializable,
}

/// What to do inside another transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nested {
    /// Be a savepoint: `Err` takes back what was written here, and the outer transaction may go on.
    #[default]
    Savepoint,
    /// Be a part of the outer transaction, without a savepoint. After `Err` the outer one cannot commit: it fails with
    /// [`BrokenTransactionManager`](diesel::result::Error::BrokenTransactionManager), even if its body returns `Ok`.
    Join,
    /// Refuse, with [`AlreadyInTransaction`](diesel::result::Error::AlreadyInTransaction).
    Forbid,
    /// Run only there, as a savepoint; refuse elsewhere, with [`NotInTransaction`](diesel::result::Error::NotInTransaction).
    Require,
}

/// How a transaction is to run.
///
/// What only a transaction of its own can have (isolation, read only, deferrable) is refused in a nested one, with
/// [`AlreadyInTransaction`](diesel::result::Error::AlreadyInTransaction). Inside Diesel's `begin_test_transaction` it is
/// skipped: a function under test counts as the outermost one there, and is repeated as usual.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use outbox_diesel::{Isolation, TxOptions};
///
/// const CAREFUL: TxOptions =
///     TxOptions::new().isolation(Isolation::Serializable).retries(5).retry_delay(Duration::from_millis(20));
/// # let _ = CAREFUL;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxOptions {
    pub(crate) isolation: Option<Isolation>,
    pub(crate) read_only: bool,
    pub(crate) deferrable: bool,
    pub(crate) retries: u32,
    pub(crate) retry_delay: Duration,
    pub(crate) nested: Nested,
    pub(crate) commit_check: bool,
}

impl Default for TxOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl TxOptions {
    /// The database's isolation, reading and writing, no retries, a savepoint where it is nested, and a check at COMMIT.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            isolation: None,
            read_only: false,
            deferrable: false,
            retries: 0,
            retry_delay: RETRY_DELAY,
            nested: Nested::Savepoint,
            commit_check: true,
        }
    }

    /// What it sees of other transactions. Default: what the session has.
    #[must_use]
    pub const fn isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = Some(isolation);
        self
    }

    /// The database refuses every write, events too. On SQLite it then takes no write lock.
    #[must_use]
    pub const fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// PostgreSQL: waits at the start until it can run serializable and read only without ever conflicting; it is both
    /// then. Other databases refuse it, with an error that says so.
    #[must_use]
    pub const fn deferrable(mut self) -> Self {
        self.deferrable = true;
        self.read_only = true;
        self.isolation = Some(Isolation::Serializable);
        self
    }

    /// How often it is run again after a deadlock or a serialization conflict, 100 at most. Default: 0. Only the outermost
    /// transaction is repeated, with all that its body does; and never after a COMMIT whose answer was lost.
    #[must_use]
    pub const fn retries(mut self, retries: u32) -> Self {
        self.retries = if retries < RETRIES_MAX { retries } else { RETRIES_MAX };
        self
    }

    /// How long to wait before the first retry, half of it at random; it doubles each time, up to a second (or this delay,
    /// if it is longer). Default: 10 ms. The connection is held meanwhile. Short delays meet the same conflict again,
    /// long ones hold up the caller.
    #[must_use]
    pub const fn retry_delay(mut self, delay: Duration) -> Self {
        self.retry_delay = delay;
        self
    }

    /// What to do inside another transaction. Default: [`Nested::Savepoint`].
    #[must_use]
    pub const fn nested(mut self, nested: Nested) -> Self {
        self.nested = nested;
        self
    }

    /// Whether COMMIT makes sure that there still is something to commit. Default: yes. It costs no round trip on
    /// PostgreSQL and MySQL; without it a swallowed error there loses rows and says `Ok`.
    #[must_use]
    pub const fn commit_check(mut self, check: bool) -> Self {
        self.commit_check = check;
        self
    }

    /// Whether only a transaction of its own can give what is asked for.
    pub(crate) const fn needs_its_own(&self) -> bool {
        self.isolation.is_some() || self.read_only || self.deferrable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_have_a_cap() {
        assert_eq!(TxOptions::new().retries(3).retries, 3);
        assert_eq!(TxOptions::new().retries(u32::MAX).retries, RETRIES_MAX);
    }

    #[test]
    fn deferrable_is_serializable_and_read_only() {
        let options = TxOptions::new().deferrable();
        assert!(options.read_only && options.isolation == Some(Isolation::Serializable));
        assert!(!TxOptions::new().retries(2).nested(Nested::Join).commit_check(false).needs_its_own());
    }
}
