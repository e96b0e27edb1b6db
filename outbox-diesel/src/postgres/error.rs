//! What a PostgreSQL error means for the relay.

use diesel::result::Error;
use outbox_core::{StoreError, StoreErrorKind};

/// Texts of errors that do not go away by themselves, with what to do. Diesel hands no SQLSTATE over, so the texts of the
/// functions of our own and the names of our tables tell.
const SCHEMA: [(&str, &str); 5] = [
    (
        "restored",
        "stop the relays and run `outbox rebase` (after pg_upgrade: `outbox rebase --upgraded`), or call `PostgresStore::rebase`",
    ),
    (
        "the outbox has no route",
        "it was removed while a relay ran; a relay that is started makes it anew, and delivers every event that is kept once more",
    ),
    ("needs READ COMMITTED", "set default_transaction_isolation back to 'read committed' for the relay's user"),
    ("does not exist", "the outbox tables are missing or old: run `outbox migrate`, or call `PostgresStore::setup()`"),
    ("permission denied", "grant the relay's user the outbox tables, sequence and functions"),
];

pub(super) fn store_error(operation: &'static str, error: Error) -> StoreError {
    if let Error::DeserializationError(source) = error {
        let message = format!("a stored row cannot be read: {source}");
        return StoreError::new(StoreErrorKind::Mismatch, operation, message);
    }
    let text = error.to_string();
    let (kind, message) = match SCHEMA.iter().find(|(part, _)| text.contains(part)) {
        Some((_, hint)) => (StoreErrorKind::Schema, format!("{text}; {hint}")),
        None => (StoreErrorKind::Unavailable, format!("PostgreSQL: {text}")),
    };
    StoreError::new(kind, operation, message).with_source(error)
}
