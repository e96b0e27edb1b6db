//! What the tables hold, and what the checker remembers about them.

use crate::Scenario;
use crate::guard::Guard;
use crate::scenario::{ROUTES, TRANSACTIONS};
use crate::snapshot::{Snapshot, Xid};

/// A set of events, one bit each.
pub(crate) type Events = u16;

/// A place in the order of a window: `(xid, seq)`.
pub(crate) type Place = (Xid, u8);

/// A transaction of the service.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Tx {
    /// Has no id yet.
    Idle,
    /// Has written something, and emitted so many events.
    Open { xid: Xid, emitted: u8 },
    /// Its events are owed.
    Committed,
    /// Its events are gone.
    Aborted,
}

/// A row of `outbox_event`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Row {
    pub(crate) event: u8,
    pub(crate) tx: u8,
    pub(crate) xid: Xid,
    pub(crate) seq: u8,
}

impl Row {
    pub(crate) fn place(self) -> Place {
        (self.xid, self.seq)
    }
}

/// A row of `outbox_cursor`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Cursor {
    pub(crate) base: Snapshot,
    pub(crate) tick: Option<Snapshot>,
    pub(crate) pos: Place,
}

/// How a batch came to be.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Kind {
    /// By the planner.
    Sealed,
    /// By an operator, from an old window.
    Replay,
    /// Its events were moved out of another batch and are kept apart, so that nothing holds up pruning.
    Held { replay: bool },
}

/// A row of `outbox_part`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Part {
    pub(crate) token: u8,
    /// Positions in the batch, one bit each.
    pub(crate) ordinals: u8,
    pub(crate) done: bool,
}

/// The events of a batch as its bounds say them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Window {
    pub(crate) base: Snapshot,
    pub(crate) tick: Snapshot,
    pub(crate) lo: Place,
    pub(crate) hi: Place,
}

impl Window {
    /// Of a batch that is not in the ring.
    pub(crate) const NONE: Self = Self { base: Snapshot::OLDEST, tick: Snapshot::OLDEST, lo: (0, 0), hi: (0, 0) };
}

/// A row of `outbox_batch`, with its parts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Batch {
    pub(crate) no: u8,
    pub(crate) route: u8,
    pub(crate) kind: Kind,
    pub(crate) window: Window,
    pub(crate) n: u8,
    /// The relay whose claim is the last one, while it knows about it: what (owner, attempt) says. That a lease runs out is
    /// not kept, because it may at any time.
    pub(crate) holder: Option<u8>,
    pub(crate) parts: Vec<Part>,
    /// What a held batch holds. Of the others, what was sealed: the checker's knowledge, used in no step.
    pub(crate) events: Events,
}

impl Batch {
    pub(crate) fn held(&self) -> bool {
        matches!(self.kind, Kind::Held { .. })
    }

    /// Whether it is held, and all that is left of it is refused, event by event.
    pub(crate) fn waits(&self, refused: Events) -> bool {
        let mut left = self.parts.iter().filter(|part| !part.done);
        self.held() && left.all(|part| part.ordinals.count_ones() == 1 && self.held_of(*part) & refused != 0)
    }

    /// The events that a held batch holds, in their order.
    pub(crate) fn held_events(&self) -> Vec<u8> {
        (0..16).filter(|event| self.events & 1 << event != 0).collect()
    }

    fn held_of(&self, part: Part) -> Events {
        let events = self.held_events().into_iter().enumerate();
        events.filter(|(at, _)| part.ordinals & 1 << at != 0).fold(0, |all, (_, event)| all | 1 << event)
    }

    pub(crate) fn replay(&self) -> bool {
        matches!(self.kind, Kind::Replay | Kind::Held { replay: true })
    }
}

/// The database.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Db {
    pub(crate) txs: [Tx; TRANSACTIONS],
    pub(crate) next_xid: Xid,
    /// The highest id that has ended, and one.
    pub(crate) xmax: Xid,
    pub(crate) next_seq: u8,
    pub(crate) rows: Vec<Row>,
    pub(crate) cursors: [Option<Cursor>; ROUTES],
    pub(crate) batches: Vec<Batch>,
    /// The checker's: what is in a batch of the route, or was.
    pub(crate) sealed: [Events; ROUTES],
    /// The checker's: what was pruned.
    pub(crate) pruned: Events,
    /// The checker's: what was pruned before the route was opened.
    pub(crate) before: [Events; ROUTES],
}

impl Db {
    pub(crate) fn new() -> Self {
        Self {
            txs: [Tx::Idle; TRANSACTIONS],
            next_xid: 1,
            xmax: 1,
            next_seq: 0,
            rows: Vec::new(),
            cursors: [None; ROUTES],
            batches: Vec::new(),
            sealed: [0; ROUTES],
            pruned: 0,
            before: [0; ROUTES],
        }
    }

    /// `pg_current_snapshot()`.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let open = self.txs.iter().filter_map(|tx| match tx {
            Tx::Open { xid, .. } => Some(*xid),
            _ => None,
        });
        Snapshot::new(self.xmax, open)
    }

    pub(crate) fn committed(&self, tx: u8) -> bool {
        self.txs.get(usize::from(tx)) == Some(&Tx::Committed)
    }

    /// The rows that a new statement sees.
    pub(crate) fn visible(&self) -> impl Iterator<Item = Row> + '_ {
        self.rows.iter().copied().filter(|row| self.committed(row.tx))
    }

    /// The rows between a batch's bounds, in their order: the SQL of reading.
    pub(crate) fn read(&self, scenario: &Scenario, window: Window) -> Vec<Row> {
        let Window { base, tick, lo, hi } = window;
        let first = if lo.0 < base.xmax { (base.xmax, None) } else { (lo.0, Some(lo.1)) };
        let mut rows: Vec<Row> = self
            .visible()
            .filter(|row| {
                let in_flight = base.in_flight(row.xid)
                    && tick.sees(row.xid)
                    && row.xid >= lo.0
                    && row.xid <= hi.0
                    && (row.xid != lo.0 || row.seq > lo.1)
                    && (row.xid != hi.0 || row.seq <= hi.1);
                let later = (row.xid, Some(row.seq)) > first && row.place() <= hi && tick.sees(row.xid);
                in_flight && scenario.has(Guard::InFlightArm) || later
            })
            .collect();
        rows.sort_by_key(|row| row.place());
        rows
    }

    pub(crate) fn batch(&mut self, no: u8) -> Option<&mut Batch> {
        self.batches.iter_mut().find(|batch| batch.no == no)
    }

    /// What committed transactions have emitted.
    pub(crate) fn owed(&self, scenario: &Scenario) -> Events {
        (0..TRANSACTIONS)
            .filter(|&tx| self.txs.get(tx) == Some(&Tx::Committed))
            .fold(0, |all, tx| all | scenario.events(tx))
    }
}
