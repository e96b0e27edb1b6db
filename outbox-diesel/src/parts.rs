//! What both stores do with a batch's rows once they are read.

use outbox_core::{Claim, Frozen, PartDraft, PartRecord, StoreError, StoreErrorKind, StoredEvent};
use uuid::Uuid;

/// A stored part in the contract's words.
pub(crate) fn record(
    no: i32,
    token: Uuid,
    done: bool,
    table: String,
    ordinals: Vec<u32>,
    statement: String,
    mark: String,
) -> PartRecord {
    PartRecord { no, token, done, draft: PartDraft { table, ordinals, frozen: Frozen { statement, mark } } }
}

/// A part's list of events, of a batch of `rows`.
pub(crate) fn ordinals(text: &str, rows: u32) -> Result<Vec<u32>, StoreError> {
    crate::ordinals::decode(text, rows)
        .ok_or_else(|| StoreError::new(StoreErrorKind::Mismatch, "claim", "a part's list of events is unreadable"))
}

/// Refuses a batch that does not read back as it was sealed: sending it would lose or repeat events under its token.
pub(crate) fn complete(claim: &Claim, events: Vec<StoredEvent>) -> Result<Vec<StoredEvent>, StoreError> {
    if u32::try_from(events.len()) == Ok(claim.rows) {
        return Ok(events);
    }
    let message = format!(
        "batch {} was sealed with {} events and reads back {}: it is parked, look at the event table before anything is changed",
        claim.batch,
        claim.rows,
        events.len()
    );
    Err(StoreError::new(StoreErrorKind::Mismatch, "read", message))
}
