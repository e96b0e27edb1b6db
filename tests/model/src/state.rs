//! The whole world at a moment.

use crate::Scenario;
use crate::db::{Batch, Cursor, Db, Events};
use crate::pruner::Pruner;
use crate::scenario::{RELAYS, ROUTES};
use crate::sink::Sink;
use crate::snapshot::Snapshot;

/// What went wrong. Once it has, it stays in the state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    Lost,
    PrunedEarly,
    TwoBatches,
    Doubled,
    TokenReused,
    Unreadable,
}

/// Where a planner stands, within its transaction.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Plan {
    /// Has looked, and now waits for the lock: the wrong way round.
    Early { cursor: Cursor, tick: Snapshot },
    /// Has the route's advisory lock.
    Locked,
    /// Has read the cursor and taken the tick.
    Looked { cursor: Cursor, tick: Snapshot },
    /// Has written batches and the cursor, which nobody sees before it commits.
    Cut { batches: Vec<Batch>, cursor: Cursor },
}

/// Where a relay stands with a batch that it has claimed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Stage {
    /// Reads next.
    Claimed,
    /// Freezes, sends the next part, or settles.
    Ready,
    /// The destination has the part, by this position.
    Sent(usize),
    /// The destination refused the part.
    Refused(usize),
    /// What became of the part is unknown, and it goes to a held batch.
    Unknown(usize),
}

/// What a relay knows.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Relay {
    Idle,
    Planning {
        route: u8,
        plan: Plan,
    },
    /// `batch` is its copy, `events` are the batch's in their order.
    Working {
        batch: Batch,
        events: Vec<u8>,
        stage: Stage,
        lapsed: bool,
    },
}

/// The whole world.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct State {
    pub(crate) db: Db,
    /// What the database comes back as when it crashes now; none: as it is.
    pub(crate) durable: Option<Box<Db>>,
    pub(crate) relays: [Relay; RELAYS],
    pub(crate) pruner: Pruner,
    pub(crate) sinks: [Sink; ROUTES],
    pub(crate) crashes: u8,
    pub(crate) replays: u8,
    /// Whether the bad event is accepted by now.
    pub(crate) mended: bool,
    faults: u8,
}

impl State {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let mut db = Db::new();
        let opened = scenario.routes - u8::from(scenario.late_route);
        db.cursors.iter_mut().take(opened.into()).for_each(|cursor| *cursor = Some(Cursor::NEW));
        Self {
            db,
            durable: None,
            relays: [Relay::Idle, Relay::Idle],
            pruner: Pruner::Idle,
            sinks: Default::default(),
            crashes: scenario.crashes,
            replays: scenario.replays,
            mended: false,
            faults: 0,
        }
    }

    pub(crate) fn fault(&mut self, fault: Fault) {
        self.faults |= 1 << fault as u8;
    }

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.faults & 1 << fault as u8 != 0
    }

    pub(crate) fn faults(&self) -> u8 {
        self.faults
    }

    /// What the destination of a route turns down now.
    pub(crate) fn refused(&self, scenario: &Scenario, route: u8) -> Events {
        match scenario.bad {
            Some(event) if route == 0 && !self.mended => 1 << event,
            _ => 0,
        }
    }

    /// Everything that stores batches: the database as it is, and as a crash would leave it.
    pub(crate) fn dbs(&self) -> impl Iterator<Item = &Db> {
        std::iter::once(&self.db).chain(self.durable.as_deref())
    }

    pub(crate) fn dbs_mut(&mut self) -> impl Iterator<Item = &mut Db> {
        std::iter::once(&mut self.db).chain(self.durable.as_deref_mut())
    }

    /// The batches that the relays remember.
    pub(crate) fn remembered(&self) -> impl Iterator<Item = &Batch> {
        self.relays.iter().filter_map(|relay| match relay {
            Relay::Working { batch, .. } => Some(batch),
            _ => None,
        })
    }

    pub(crate) fn remembered_mut(&mut self) -> impl Iterator<Item = &mut Batch> {
        self.relays.iter_mut().filter_map(|relay| match relay {
            Relay::Working { batch, .. } => Some(batch),
            _ => None,
        })
    }

    /// A batch number that nobody has seen.
    pub(crate) fn new_no(&self) -> u8 {
        let stored = self.dbs().flat_map(|db| &db.batches).chain(self.remembered());
        stored.map(|batch| batch.no).max().unwrap_or(0) + 1
    }

    /// A random token: one that nobody has seen.
    pub(crate) fn new_token(&self) -> u8 {
        let stored = self.dbs().flat_map(|db| &db.batches).chain(self.remembered());
        let stored = stored.flat_map(|batch| &batch.parts).map(|part| part.token);
        let sent = self.sinks.iter().flat_map(|sink| sink.log.iter().map(|&(token, _)| token));
        stored.chain(sent).max().unwrap_or(0) + 1
    }

    /// Whether no process is in the middle of something.
    pub(crate) fn quiet(&self) -> bool {
        self.relays.iter().all(|relay| *relay == Relay::Idle)
            && self.pruner == Pruner::Idle
            && !self.db.txs.iter().any(|tx| matches!(tx, crate::db::Tx::Open { .. }))
    }
}

impl Cursor {
    /// A new route's: it starts at the oldest event that is kept.
    pub(crate) const NEW: Self = Self { base: Snapshot::OLDEST, tick: None, pos: (0, 0) };
}
