//! What an error of MySQL or MariaDB means for the relay.

use diesel::result::Error;
use outbox_core::{StoreError, StoreErrorKind};

/// Texts of errors that do not go away by themselves, with what to do. Diesel hands no error number over, so the texts tell; the
/// session has asked for them in English.
const SCHEMA: [(&str, &str); 5] = [
    (
        "the outbox has no route",
        "it was removed while a relay ran; a relay that is started makes it anew, and delivers every event that is kept once more",
    ),
    ("doesn't exist", "the outbox tables are missing or old: run `outbox migrate`, or call `MySqlStore::setup()`"),
    ("Unknown column", "the outbox tables are old: run `outbox migrate`, or call `MySqlStore::setup()`"),
    ("command denied", "grant the relay's user SELECT, INSERT, UPDATE and DELETE on the outbox tables"),
    ("BINLOG_FORMAT = STATEMENT", "the store reads committed rows: set binlog_format to ROW or MIXED"),
];

/// Texts of the errors after which nothing of the statement is left: 1213 and 1205.
const ROLLED_BACK: [&str; 2] = ["Deadlock found when trying to get lock", "Lock wait timeout exceeded"];

/// A `Mismatch` of our own, on its way through Diesel's error.
pub(super) fn unreadable(what: &'static str) -> Error {
    Error::DeserializationError(what.into())
}

/// A `Schema` error of our own, on its way through Diesel's.
pub(super) fn no_route(route: &str) -> Error {
    Error::QueryBuilderError(format!("the outbox has no route '{route}'").into())
}

pub(super) fn is_rolled_back(error: &Error) -> bool {
    let text = error.to_string();
    ROLLED_BACK.iter().any(|part| text.contains(part))
}

pub(super) fn store_error(operation: &'static str, error: Error) -> StoreError {
    if let Error::DeserializationError(source) = error {
        let message = format!("a stored row cannot be read: {source}");
        return StoreError::new(StoreErrorKind::Mismatch, operation, message);
    }
    let text = error.to_string();
    let (kind, message) = match SCHEMA.iter().find(|(part, _)| text.contains(part)) {
        Some((_, hint)) => (StoreErrorKind::Schema, format!("{text}; {hint}")),
        None => (StoreErrorKind::Unavailable, format!("MySQL: {text}")),
    };
    StoreError::new(kind, operation, message).with_source(error)
}
