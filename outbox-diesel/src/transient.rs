//! Which errors go away by themselves when the transaction runs again: deadlocks and serialization conflicts.

use std::error::Error as StdError;

use diesel::result::{DatabaseErrorKind, Error};

/// What databases say when a transaction lost against another one. Diesel has no kind for most of it: it knows PostgreSQL's
/// 40001, and MySQL's 1213 on blocking connections only.
const MESSAGES: [&str; 7] = [
    // PostgreSQL, where `lc_messages` is English
    "deadlock detected",
    "could not serialize access",
    // MySQL and MariaDB
    "Deadlock found when trying to get lock",
    "Lock wait timeout exceeded",
    "Record has changed since last read",
    // SQLite
    "database is locked",
    "database table is locked",
];

/// An error type that knows whether the transaction may succeed when it is run again.
///
/// Needed for `retries` only where nothing else tells: an error that is a [`std::error::Error`], or an `anyhow::Error`
/// or a boxed error, is searched for Diesel's own, through its sources.
///
/// # Examples
/// ```
/// use outbox_diesel::TransientError;
///
/// #[derive(Debug)]
/// enum Refused { Conflict, Database(diesel::result::Error) }
///
/// impl TransientError for Refused {
///     fn is_transient(&self) -> bool {
///         match self {
///             Self::Conflict => true, // another writer was first: look again
///             Self::Database(error) => error.is_transient(),
///         }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`retries` cannot tell whether `{Self}` is a conflict that goes away when the transaction runs again",
    label = "not an error type that can be searched for Diesel's",
    note = "implement `std::error::Error` for it (`thiserror`, say), or `outbox::TransientError`"
)]
pub trait TransientError {
    /// Whether to run the transaction again. It was rolled back then; a COMMIT that failed is never asked about here.
    fn is_transient(&self) -> bool;
}

impl TransientError for Error {
    fn is_transient(&self) -> bool {
        is_transient(self)
    }
}

impl TransientError for Box<dyn StdError + Send + Sync> {
    fn is_transient(&self) -> bool {
        is_transient(&**self)
    }
}

impl TransientError for Box<dyn StdError> {
    fn is_transient(&self) -> bool {
        is_transient(&**self)
    }
}

/// Whether an error, or one of its sources, is a deadlock or a serialization conflict: on PostgreSQL 40001 and 40P01, on
/// MySQL 1213, 1205 and MariaDB's 1020, on SQLite "database is locked".
///
/// Where Diesel gives no code (all but 40001 and, blocking, 1213), the message tells. PostgreSQL's messages are in the
/// language of `lc_messages`; a deadlock is recognised in English only.
#[must_use]
pub fn is_transient(error: &(dyn StdError + 'static)) -> bool {
    let mut link = Some(error);
    while let Some(error) = link {
        match error.downcast_ref::<Error>() {
            Some(error) => return database_says_so(error),
            // An error that passes another one's message and sources on (`#[error(transparent)]`) hides it.
            None if says_so(&error.to_string()) => return true,
            None => link = error.source(),
        }
    }
    false
}

/// The same for Diesel's own error.
pub(crate) fn database_says_so(error: &Error) -> bool {
    match error {
        Error::DatabaseError(DatabaseErrorKind::SerializationFailure, _) => true,
        Error::DatabaseError(DatabaseErrorKind::Unknown, information) => says_so(information.message()),
        _ => false,
    }
}

fn says_so(message: &str) -> bool {
    MESSAGES.iter().any(|known| message.contains(known))
}

/// How the attribute asks an error of any type: the first of the traits here that its type has answers.
///
/// The method is looked for on `&&&&Probe` first, then with one reference less each time.
#[doc(hidden)]
pub mod probe {
    use super::{StdError, TransientError, is_transient};

    /// An error to ask about.
    #[derive(Debug)]
    pub struct Probe<'e, E>(pub &'e E);

    /// Says it itself.
    pub trait ByTrait {
        /// Whether it is transient.
        fn verdict(&self) -> bool;
    }
    impl<E: TransientError> ByTrait for &&&&Probe<'_, E> {
        fn verdict(&self) -> bool {
            self.0.is_transient()
        }
    }

    /// Has sources.
    pub trait BySource {
        /// Whether one of them is transient.
        fn verdict(&self) -> bool;
    }
    impl<E: StdError + 'static> BySource for &&&Probe<'_, E> {
        fn verdict(&self) -> bool {
            is_transient(self.0)
        }
    }

    /// Holds an error: `anyhow::Error`.
    pub trait ByContent {
        /// Whether that is transient.
        fn verdict(&self) -> bool;
    }
    impl<E: AsRef<dyn StdError + Send + Sync>> ByContent for &&Probe<'_, E> {
        fn verdict(&self) -> bool {
            is_transient(self.0.as_ref())
        }
    }

    /// Nothing is known: this exists for the compiler's message.
    pub trait Unknown<E> {
        /// Never called.
        fn verdict(&self) -> bool
        where
            E: TransientError;
    }
    impl<E> Unknown<E> for Probe<'_, E> {
        fn verdict(&self) -> bool
        where
            E: TransientError,
        {
            self.0.is_transient()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::probe::*;
    use super::*;

    fn database(kind: DatabaseErrorKind, message: &str) -> Error {
        Error::DatabaseError(kind, Box::new(message.to_owned()))
    }

    #[derive(Debug, thiserror::Error)]
    enum Wrapped {
        #[error(transparent)]
        Transparent(#[from] Error),
        #[error("while saving")]
        Source(#[source] Error),
        #[error("no")]
        Refused,
    }

    struct Own(bool);
    impl TransientError for Own {
        fn is_transient(&self) -> bool {
            self.0
        }
    }

    /// As `anyhow::Error`, which is no `std::error::Error`.
    struct Holder(Box<dyn StdError + Send + Sync>);
    impl AsRef<dyn StdError + Send + Sync> for Holder {
        fn as_ref(&self) -> &(dyn StdError + Send + Sync + 'static) {
            &*self.0
        }
    }

    #[test]
    fn conflicts_are_known_by_kind_or_by_message() {
        let deadlock = database(DatabaseErrorKind::Unknown, "Deadlock found when trying to get lock; try restarting");
        for conflict in [
            database(DatabaseErrorKind::SerializationFailure, "nicht serialisierbar"),
            database(DatabaseErrorKind::Unknown, "deadlock detected"),
            database(DatabaseErrorKind::Unknown, "database is locked"),
            deadlock,
        ] {
            assert!(is_transient(&conflict), "{conflict}");
        }
        for other in [
            database(DatabaseErrorKind::UniqueViolation, "duplicate key \"deadlock detected\""),
            database(DatabaseErrorKind::Unknown, "connection closed"),
            Error::NotFound,
            Error::BrokenTransactionManager,
        ] {
            assert!(!is_transient(&other), "{other}");
        }
    }

    #[test]
    #[allow(clippy::needless_borrow, reason = "as the attribute writes it, for any type")]
    fn every_kind_of_error_type_is_asked_in_its_way() {
        let conflict = || database(DatabaseErrorKind::Unknown, "deadlock detected");
        assert!((&&&&&Probe(&Own(true))).verdict());
        assert!(!(&&&&&Probe(&Own(false))).verdict());
        assert!((&&&&&Probe(&conflict())).verdict());
        assert!((&&&&&Probe(&Wrapped::from(conflict()))).verdict());
        assert!((&&&&&Probe(&Wrapped::Source(conflict()))).verdict());
        assert!(!(&&&&&Probe(&Wrapped::Refused)).verdict());
        assert!((&&&&&Probe(&Holder(Box::new(Wrapped::Source(conflict()))))).verdict());
        let boxed: Box<dyn StdError> = Box::new(conflict());
        assert!((&&&&&Probe(&boxed)).verdict());
    }
}
