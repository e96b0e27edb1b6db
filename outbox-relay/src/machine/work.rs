//! A claimed batch in the machine's hands.

use std::collections::VecDeque;
use std::sync::Arc;

use outbox_core::{Claim, Moment, Part, PartId, PartRecord, Retry, SinkError, StoredEvent};

use super::vocabulary::Aside;

/// What the machine holds of a claimed batch.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) claim: Claim,
    pub(super) deadline: Moment,
    pub(super) events: Arc<[StoredEvent]>,
    pub(super) todo: VecDeque<(PartRecord, bool)>,
    pub(super) current: Option<Current>,
    /// What is to be put aside before anything else is done.
    pub(super) asides: VecDeque<Aside>,
    /// Tables of which something was put aside from this batch.
    pub(super) parked: Vec<String>,
    pub(super) failure: Option<Failure>,
    /// How many rows of this batch were found to be bad.
    pub(super) dead: u32,
}

/// The part that is with the sink.
#[derive(Clone, Debug)]
pub(super) struct Current {
    pub(super) part: Part,
    /// Its events, as positions in the batch.
    pub(super) ordinals: Vec<u32>,
    /// Some of its rows are refused, and the sink looks what has arrived of the others.
    pub(super) refused: Option<Arc<SinkError>>,
    /// Whether it is being sent, and not looked for or frozen anew.
    pub(super) sent: bool,
}

impl Work {
    pub(super) fn new(claim: Claim, deadline: Moment) -> Self {
        let mut todo: Vec<_> = claim.parts.iter().filter(|part| !part.done).map(|part| (part.clone(), true)).collect();
        // What took another's place has a later number, and is not later.
        todo.sort_by_key(|(part, _)| part.draft.ordinals.first().copied());
        Self {
            claim,
            deadline,
            events: Arc::from([]),
            todo: todo.into(),
            current: None,
            asides: VecDeque::new(),
            parked: Vec::new(),
            failure: None,
            dead: 0,
        }
    }
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
    /// The batch is tried again by itself, after longer and longer waits; other batches go on.
    Alone,
    /// The batch waits for a person; other batches go on.
    Parked,
    /// The destination is unwell: every batch waits.
    Later,
    Busy,
}

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Some of the rows.
    Rows,
    /// The table, or whatever else a person has to mend: the part is put aside.
    Table,
    /// This part's own circumstances: it is tried again, and the others go on.
    Part,
    /// The destination's as a whole: nothing else would go through.
    Destination(FailureKind),
}

impl Fault {
    /// What becomes of the batch, where nothing is put aside.
    pub(super) fn failure(self) -> FailureKind {
        match self {
            Self::Rows | Self::Table => FailureKind::Parked,
            Self::Part => FailureKind::Alone,
            Self::Destination(kind) => kind,
        }
    }
}

/// A frozen part with its events.
pub(super) fn part(claim: &Claim, events: &Arc<[StoredEvent]>, record: PartRecord, resend: bool) -> Current {
    let ordinals = record.draft.ordinals.clone();
    let whole = record.draft.ordinals.len() == events.len();
    let events = match whole {
        true => Arc::clone(events),
        false => record.draft.ordinals.iter().filter_map(|ordinal| events.get(*ordinal as usize).cloned()).collect(),
    };
    let part = Part {
        id: PartId { batch: claim.batch, no: record.no },
        route: claim.route.clone(),
        table: record.draft.table,
        token: record.token,
        fence: claim.attempt,
        events,
        frozen: record.draft.frozen,
        resend,
        replay: claim.replay,
    };
    Current { part, ordinals, refused: None, sent: !resend }
}
