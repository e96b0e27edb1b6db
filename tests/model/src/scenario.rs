//! What is in play: a small world whose every order of steps is walked through.

use crate::guard::{Guard, Guards};

/// The most transactions of a scenario.
pub(crate) const TRANSACTIONS: usize = 3;
/// The most routes of a scenario.
pub(crate) const ROUTES: usize = 2;
/// The relays of every scenario.
pub(crate) const RELAYS: usize = 2;

/// A small world. Start from [`Scenario::new`].
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// For the report.
    pub name: &'static str,
    /// How many events each transaction emits, one statement each; 0: there is no such transaction.
    pub emits: [u8; TRANSACTIONS],
    /// Whether a transaction may roll back.
    pub rollbacks: bool,
    /// How many routes there are.
    pub routes: u8,
    /// Whether the last route is opened at some time, instead of at the beginning.
    pub late_route: bool,
    /// The most events in a batch.
    pub rows_max: usize,
    /// The most batches in a plan.
    pub batches_max: usize,
    /// How many events go to a partition before the next one is used.
    pub slot: u8,
    /// How many partitions the ring has.
    pub partitions: u8,
    /// How often the database may crash.
    pub crashes: u8,
    /// Whether the service's commits are asynchronous.
    pub async_commits: bool,
    /// Whether a transaction begins and emits in one step.
    pub whole_emits: bool,
    /// Whether a plan is one step: where its own races are another scenario's.
    pub whole_plans: bool,
    /// Whether a delivery is one step, from claim to settle.
    pub whole_deliveries: bool,
    /// Whether a plan writes the parts, so that nothing is frozen later.
    pub parts_planned: bool,
    /// An event that route 0's destination refuses, with everything that is sent together with it.
    pub bad: Option<u8>,
    /// Whether the destination may change its mind about it.
    pub mending: bool,
    /// Whether a reply may be lost and the relay moves the part to a held batch.
    pub replies_lost: bool,
    /// How often an operator may replay.
    pub replays: u8,
    /// The guards in place.
    pub guards: Guards,
}

impl Scenario {
    /// Three transactions, of which the first emits twice, one route, and nothing that goes wrong but the relays.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            emits: [2, 1, 1],
            rollbacks: false,
            routes: 1,
            late_route: false,
            rows_max: 2,
            batches_max: 2,
            slot: 1,
            partitions: 2,
            crashes: 0,
            async_commits: false,
            whole_emits: false,
            whole_plans: false,
            whole_deliveries: false,
            parts_planned: false,
            bad: None,
            mending: false,
            replies_lost: false,
            replays: 0,
            guards: Guards::ALL,
        }
    }

    /// The same with a guard taken out.
    #[must_use]
    pub const fn without(mut self, guard: Guard) -> Self {
        self.guards = self.guards.without(guard);
        self
    }

    pub(crate) fn has(&self, guard: Guard) -> bool {
        self.guards.has(guard)
    }

    /// The number of a transaction's event.
    pub(crate) fn event(&self, tx: usize, emitted: u8) -> u8 {
        self.emits.iter().take(tx).sum::<u8>() + emitted
    }

    /// The events of a transaction.
    pub(crate) fn events(&self, tx: usize) -> u16 {
        let first = self.event(tx, 0);
        let count = self.emits.get(tx).copied().unwrap_or_default();
        ((1 << count) - 1) << first
    }

    pub(crate) fn partition(&self, seq: u8) -> u8 {
        seq / self.slot % self.partitions
    }
}
