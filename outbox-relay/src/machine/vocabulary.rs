//! What a machine is told, and what it answers.

use std::time::Duration;

use outbox_core::{
    Backoff, Claim, HoldReason, Moment, Part, PartRecord, Planned, Recovery, Release, SinkError, StoreError,
    StoredEvent,
};

/// The policy by which a machine decides.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    /// How long a claim holds a batch.
    pub lease: Duration,
    /// How much of a lease must be left when a part is sent.
    pub lease_margin: Duration,
    /// Waits after failures.
    pub backoff: Backoff,
    /// The longer waits when the destination asks for less.
    pub busy_backoff: Backoff,
    /// When a batch that waits for a person is tried again.
    pub parked_delay: Duration,
    /// How often a batch is claimed before what the sink does not foresee is parked.
    pub attempts_max: i32,
    /// How many bad rows of a batch are picked out before the rest of their table is parked.
    pub bad_rows_max: u32,
    /// How long to wait at most when there is nothing to do.
    pub poll_interval: Duration,
    /// Whether the route is delivered in order.
    pub ordered: bool,
    /// How often to prune; None: this worker does not, but at the end of a drain.
    pub prune_interval: Option<Duration>,
    /// Drain and exit.
    pub once: bool,
}

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Fact {
    Started,
    /// A claim was asked for at `asked`, and answered.
    Claimed {
        claim: Option<Claim>,
        asked: Moment,
    },
    Planned(Planned),
    Read(Vec<StoredEvent>),
    /// These parts are frozen; for these tables the sink could not say how to send.
    Frozen {
        records: Vec<PartRecord>,
        failed: Vec<(Group, SinkError)>,
    },
    Recovered(Recovery),
    Replaced(Vec<PartRecord>),
    Held,
    Delivered,
    PartSettled,
    Settled,
    /// The batch was settled, and the next one asked for at `asked`.
    SettledAndClaimed {
        claim: Option<Claim>,
        asked: Moment,
    },
    Released,
    Pruned,
    Waited,
    /// A sink's step failed.
    SinkFailed(SinkError),
    /// A store's step failed.
    StoreFailed(StoreError),
    /// The lease ran out, or may have, while a part was with the sink.
    LeaseExpired,
    /// A graceful stop ran out of time in the middle of a step.
    Aborted,
}

/// Something to do.
#[derive(Debug)]
pub(crate) enum Command {
    Claim,
    Plan,
    Read,
    /// Let the sink decide how to send these events of one table each, and store the parts.
    Freeze(Vec<Group>),
    Recover(Part),
    Deliver(Part),
    /// Freeze groups anew in the place of the part `no`.
    Replace {
        no: i32,
        groups: Vec<Group>,
    },
    /// Put events aside, so that the others can be settled.
    Hold(Aside),
    SettlePart(i32),
    Settle,
    /// Settle the batch and claim the next one, in one call.
    SettleAndClaim,
    Release(Release),
    Prune,
    /// Nothing to do: wait this long, or until somebody emits.
    Idle(Duration),
    /// Something failed: wait this long whatever is emitted.
    Wait(Duration),
    Exit(Exit),
}

/// Some events of a batch, for one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub table: String,
    pub ordinals: Vec<u32>,
}

/// Events that are to be put aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Aside {
    /// The frozen part that they are in.
    pub part: Option<i32>,
    pub group: Group,
    pub reason: HoldReason,
    pub delay: Duration,
}

/// Why a machine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It was asked to stop, or everything is drained.
    Done,
    /// `once`, and something could not be delivered.
    Failed(String),
}
