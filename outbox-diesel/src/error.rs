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
