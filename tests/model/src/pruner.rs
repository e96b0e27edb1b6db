//! Pruning: `outbox_prune`, statement by statement.

use crate::Scenario;
use crate::db::{Batch, Db, Events};
use crate::durability::Commit;
use crate::guard::Guard;
use crate::snapshot::{Snapshot, Xid};
use crate::state::{Fault, State};

/// Where pruning of a partition stands. Who prunes does not matter, and one at a time is enough: two exclude each other by
/// the lock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Pruner {
    Idle,
    /// The batches have been read, in a statement of their own: the wrong way.
    HalfBound {
        partition: u8,
        batches: Bound,
    },
    /// The bound is known, and a look without a lock found nothing that is above it.
    Bounded {
        partition: u8,
        bound: Bound,
    },
}

/// Events of ids below it, and not in flight in it, are settled.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Bound {
    done: Option<Xid>,
    pending: u16,
}

impl Bound {
    fn of(bases: impl Iterator<Item = Snapshot>) -> Self {
        let none = Self { done: None, pending: 0 };
        bases.fold(none, |bound, base| Self {
            done: Some(bound.done.map_or(base.xmax, |done| done.min(base.xmax))),
            pending: bound.pending | base.xip(),
        })
    }

    fn and(self, other: Self) -> Self {
        let done = match (self.done, other.done) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        Self { done, pending: self.pending | other.pending }
    }
}

fn batches(scenario: &Scenario, db: &Db) -> Bound {
    let every = |batch: &&Batch| scenario.has(Guard::EveryRoute) || batch.route == 0;
    let mut open: Vec<&Batch> = db.batches.iter().filter(|batch| !batch.held()).filter(every).collect();
    if !scenario.has(Guard::OpenBatches) {
        open.truncate(1);
    }
    Bound::of(open.into_iter().map(|batch| batch.window.base))
}

fn cursors(scenario: &Scenario, db: &Db) -> Bound {
    let routes = if scenario.has(Guard::EveryRoute) { db.cursors.len() } else { 1 };
    Bound::of(db.cursors.iter().take(routes).flatten().map(|cursor| cursor.base))
}

fn bound(scenario: &Scenario, db: &Db) -> Bound {
    batches(scenario, db).and(cursors(scenario, db))
}

impl State {
    fn rows_of(&self, scenario: &Scenario, partition: u8) -> impl Iterator<Item = crate::db::Row> {
        let scenario = *scenario;
        self.db.rows.iter().copied().filter(move |row| scenario.partition(row.seq) == partition)
    }

    /// Whether a look at the partition finds nothing above the bound. `careful`: also what was in flight.
    fn clear(&self, scenario: &Scenario, partition: u8, bound: Bound, careful: bool) -> bool {
        let Some(done) = bound.done else { return false };
        !self
            .rows_of(scenario, partition)
            .any(|row| self.db.committed(row.tx) && (row.xid >= done || careful && bound.pending & 1 << row.xid != 0))
    }

    /// The first statements: the bound, and a cheap look, which only ever stops.
    pub(crate) fn prune_begins(&self, scenario: &Scenario, partition: u8) -> Option<Pruner> {
        self.rows_of(scenario, partition).next()?;
        if !scenario.has(Guard::SingleStatement) {
            return Some(Pruner::HalfBound { partition, batches: batches(scenario, &self.db) });
        }
        let bound = bound(scenario, &self.db);
        self.clear(scenario, partition, bound, false).then_some(Pruner::Bounded { partition, bound })
    }

    pub(crate) fn prune_goes_on(&mut self, scenario: &Scenario) {
        self.pruner = match self.pruner {
            Pruner::Idle => Pruner::Idle,
            Pruner::HalfBound { partition, batches } => {
                let bound = batches.and(cursors(scenario, &self.db));
                match self.clear(scenario, partition, bound, false) {
                    true => Pruner::Bounded { partition, bound },
                    false => Pruner::Idle,
                }
            }
            Pruner::Bounded { partition, bound } => {
                self.lock_and_truncate(scenario, partition, bound);
                Pruner::Idle
            }
        };
    }

    /// One step, because under ACCESS EXCLUSIVE nobody reads or writes the partition.
    fn lock_and_truncate(&mut self, scenario: &Scenario, partition: u8, known: Bound) {
        let open = self.rows_of(scenario, partition).any(|row| !self.db.committed(row.tx));
        if open {
            return; // NOWAIT: a transaction that wrote into it holds a lock on it
        }
        let fresh = scenario.has(Guard::BoundUnderLock) && scenario.has(Guard::SingleStatement);
        let bound = if fresh { bound(scenario, &self.db) } else { known };
        let careful = scenario.has(Guard::InFlightBound);
        if scenario.has(Guard::SecondLook) && !self.clear(scenario, partition, bound, careful) {
            return;
        }
        let gone = self.rows_of(scenario, partition).fold(0, |gone, row| gone | 1 << row.event);
        self.check_pruned(gone);
        let remove = |db: &mut Db| {
            db.rows.retain(|row| scenario.partition(row.seq) != partition);
            db.pruned |= gone;
        };
        remove(&mut self.db);
        if scenario.has(Guard::TruncateFlushes) {
            self.after_commit(Commit::Durable);
        } else if let Some(durable) = &mut self.durable {
            remove(durable); // the files are gone, whatever the log remembers
        }
    }

    fn check_pruned(&mut self, gone: Events) {
        let (mut lost, mut early) = (0, 0);
        for ((route, cursor), sink) in (0..).zip(&self.db.cursors).zip(&self.sinks) {
            if cursor.is_none() {
                continue;
            }
            let of = |batch: &&Batch| batch.route == route;
            let held = self.db.batches.iter().filter(of).filter(|b| b.held()).fold(0, |all, batch| all | batch.events);
            let open = self.db.batches.iter().filter(of).filter(|b| !b.held()).fold(0, |all, batch| all | batch.events);
            let sealed = self.db.sealed.get(usize::from(route)).copied().unwrap_or_default();
            lost |= gone & !(sink.delivered | held);
            early |= gone & (open | !sealed);
        }
        if lost != 0 {
            self.fault(Fault::Lost);
        }
        if early != 0 {
            self.fault(Fault::PrunedEarly);
        }
    }
}
