//! A claimed batch in the machine's hands.

use std::collections::VecDeque;
use std::sync::Arc;

use outbox_core::{Claim, Moment, Part, PartId, PartRecord, Retry, StoredEvent};

/// What the machine holds of a claimed batch.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) claim: Claim,
    pub(super) deadline: Moment,
    pub(super) events: Arc<[StoredEvent]>,
    pub(super) todo: VecDeque<(PartRecord, bool)>,
    pub(super) current: Option<Part>,
    pub(super) failure: Option<Failure>,
}

/// The worst that happened to a batch's parts.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    pub(super) retry: Retry,
    pub(super) message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FailureKind {
    /// The batch waits for a person; other batches go on.
    Parked,
    /// The destination is unwell: every batch waits.
    Later,
    Busy,
}

/// A frozen part with its events.
pub(super) fn part(claim: &Claim, events: &Arc<[StoredEvent]>, record: PartRecord, resend: bool) -> Part {
    let whole = record.draft.ordinals.len() == events.len();
    let events = match whole {
        true => Arc::clone(events),
        false => record.draft.ordinals.iter().filter_map(|ordinal| events.get(*ordinal as usize).cloned()).collect(),
    };
    Part {
        id: PartId { batch: claim.batch, no: record.no },
        route: claim.route.clone(),
        table: record.draft.table,
        token: record.token,
        fence: claim.attempt,
        events,
        frozen: record.draft.frozen,
        resend,
        replay: claim.replay,
    }
}
