//! Errors. Emitting and transactions use Diesel's own, so that a caller needs no new `From`.

use diesel::result::Error;
use outbox_core::EncodeError;

/// The environment's name cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct EnvironmentError(#[from] Kind);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Kind {
    #[error("the environment's name is empty, longer than {max} bytes, or holds the character U+0000")]
    BadName { max: usize },
    #[error("the environment is `{used}` already: set it once, before the first event")]
    InUse { used: String },
}

impl EnvironmentError {
    pub(crate) fn bad_name(max: usize) -> Self {
        Kind::BadName { max }.into()
    }

    pub(crate) fn in_use(used: &str) -> Self {
        Kind::InUse { used: used.to_owned() }.into()
    }
}

/// An event that cannot be encoded, as Diesel says it. The message names the field or the limit, never a value.
pub(crate) fn encode_failed(error: EncodeError) -> Error {
    Error::SerializationError(Box::new(error))
}

/// The outbox is over its limits and was told to refuse events then: nothing was written. It takes events again when enough
/// is delivered; what to do is to look why nothing is (`outbox status`).
///
/// Diesel carries it in [`Error::QueryBuilderError`]; [`is_outbox_full`] finds it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the outbox is full: too much waits for delivery, and OUTBOX_ON_FULL is `refuse`; `outbox status` says what stands in the way"
)]
pub struct OutboxFull;

pub(crate) fn outbox_full() -> Error {
    Error::QueryBuilderError(Box::new(OutboxFull))
}

/// Whether an event was refused because the [outbox is full](OutboxFull).
#[must_use]
pub fn is_outbox_full(error: &Error) -> bool {
    matches!(error, Error::QueryBuilderError(source) if source.is::<OutboxFull>())
}

/// The database has no such thing as an option of the transaction asks for: nothing was begun.
///
/// Diesel carries it in [`Error::QueryBuilderError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{database} has no `{option}` transactions: leave the option out")]
pub struct UnsupportedOption {
    database: &'static str,
    option: &'static str,
}

#[cfg(any(feature = "mysql", feature = "mysql-sync", feature = "sqlite"))]
pub(crate) fn unsupported(database: &'static str, option: &'static str) -> Error {
    Error::QueryBuilderError(Box::new(UnsupportedOption { database, option }))
}

/// The pool gave no connection: nothing was begun.
///
/// Diesel carries it in [`Error::QueryBuilderError`]; its source is the pool's own error.
#[derive(Debug, thiserror::Error)]
#[error("the pool gave no connection: {0}")]
pub struct NoConnection(#[source] Box<dyn std::error::Error + Send + Sync>);

#[cfg(any(feature = "r2d2", feature = "bb8", feature = "deadpool"))]
pub(crate) fn no_connection(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::QueryBuilderError(Box::new(NoConnection(source.into())))
}
