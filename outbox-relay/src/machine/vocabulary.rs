//! What a machine is told, and what it answers.

use std::time::Duration;

use outbox_core::{
    Backoff, Claim, Moment, Part, PartRecord, Planned, Recovery, Release, SinkError, StoreError, StoredEvent,
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
    /// How long to wait when there is nothing to do.
    pub poll_interval: Duration,
    /// How often to prune; None: this worker does not.
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
        failed: Vec<SinkError>,
    },
    Recovered(Recovery),
    Replaced(PartRecord),
    Delivered,
    PartSettled,
    Settled,
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
    /// Freeze a group anew in the place of the part `no`.
    Replace {
        no: i32,
        group: Group,
    },
    SettlePart(i32),
    Settle,
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

/// Why a machine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It was asked to stop, or everything is drained.
    Done,
    /// `once`, and something could not be delivered.
    Failed(String),
}
