//! Sealing: `outbox_plan`, statement by statement.

use crate::Scenario;
use crate::db::{Batch, Cursor, Kind, Part, Row, Window};
use crate::durability::Commit;
use crate::guard::Guard;
use crate::snapshot::Snapshot;
use crate::state::{Fault, Plan, Relay, State};

impl State {
    /// Whether another relay has the route's advisory lock.
    pub(crate) fn plan_locked(&self, route: u8) -> bool {
        self.relays.iter().any(|relay| {
            matches!(relay, Relay::Planning { route: planned, plan } if *planned == route
                && !matches!(plan, Plan::Early { .. }))
        })
    }

    /// The planner's first statement: the lock. The other way round when the guard is out.
    pub(crate) fn plan_begins(&self, scenario: &Scenario, route: u8) -> Option<Plan> {
        let cursor = self.cursor(route)?;
        if !scenario.has(Guard::LockFirst) {
            return Some(Plan::Early { cursor, tick: self.tick(cursor) });
        }
        (!self.plan_locked(route)).then_some(Plan::Locked)
    }

    fn cursor(&self, route: u8) -> Option<Cursor> {
        self.db.cursors.get(usize::from(route)).copied().flatten()
    }

    fn tick(&self, cursor: Cursor) -> Snapshot {
        cursor.tick.unwrap_or_else(|| self.db.snapshot())
    }

    /// The next statement. None: there was nothing to seal, or the lock is not to be had.
    pub(crate) fn plan_goes_on(&mut self, scenario: &Scenario, route: u8, plan: Plan, commit: Commit) -> Option<Plan> {
        match plan {
            Plan::Early { cursor, tick } => (!self.plan_locked(route)).then_some(Plan::Looked { cursor, tick }),
            Plan::Locked => {
                let cursor = self.cursor(route)?;
                Some(Plan::Looked { cursor, tick: self.tick(cursor) })
            }
            Plan::Looked { cursor, tick } => self.cut(scenario, route, cursor, tick),
            Plan::Cut { batches, cursor } => {
                self.plan_commits(scenario, route, batches, cursor, commit);
                None
            }
        }
    }

    /// Whether a plan in one step would change anything.
    pub(crate) fn plannable(&self, scenario: &Scenario, route: u8) -> bool {
        self.cursor(route).is_some_and(|cursor| self.cut(scenario, route, cursor, self.tick(cursor)).is_some())
    }

    fn cut(&self, scenario: &Scenario, route: u8, cursor: Cursor, tick: Snapshot) -> Option<Plan> {
        let fresh = cursor.tick.is_none();
        let base = cursor.base;
        let pos = if fresh { (0, 0) } else { cursor.pos };
        let first = if pos.0 < base.xmax { (base.xmax, None) } else { (pos.0, Some(pos.1)) };
        let mut rows: Vec<Row> = self
            .db
            .visible()
            .filter(|row| {
                let in_flight = base.in_flight(row.xid)
                    && tick.sees(row.xid)
                    && row.xid >= pos.0
                    && (row.xid != pos.0 || row.seq > pos.1);
                let later = (row.xid, Some(row.seq)) > first && tick.sees(row.xid);
                in_flight && scenario.has(Guard::InFlightArm) || later
            })
            .collect();
        rows.sort_by_key(|row| row.place());
        let limit = scenario.rows_max * scenario.batches_max;
        rows.truncate(limit);
        let Some(last) = rows.last().copied() else {
            // Fresh and nothing there: an idle call writes nothing. Else the call before has cut the window to its end.
            let done = Cursor { base: tick, tick: None, pos: (0, 0) };
            return (!fresh).then_some(Plan::Cut { batches: Vec::new(), cursor: done });
        };
        let mut lo = pos;
        let batches = rows.chunks(scenario.rows_max).map(|rows| {
            let hi = rows.last().map_or(lo, |row| row.place());
            let batch = Batch {
                no: 0,
                route,
                kind: Kind::Sealed,
                window: Window { base, tick, lo, hi },
                n: u8::try_from(rows.len()).unwrap_or(u8::MAX),
                holder: None,
                parts: Vec::new(),
                events: rows.iter().fold(0, |events, row| events | 1 << row.event),
            };
            lo = hi;
            batch
        });
        let batches = batches.collect();
        let cursor = if rows.len() < limit {
            Cursor { base: tick, tick: None, pos: (0, 0) }
        } else {
            Cursor { base, tick: Some(tick), pos: last.place() }
        };
        Some(Plan::Cut { batches, cursor })
    }

    fn plan_commits(&mut self, scenario: &Scenario, route: u8, batches: Vec<Batch>, cursor: Cursor, commit: Commit) {
        let commit = if scenario.has(Guard::DurablePlan) { Commit::Durable } else { commit };
        self.before_commit(commit);
        for mut batch in batches {
            if scenario.parts_planned {
                batch.parts = vec![Part { token: self.new_token(), ordinals: all(batch.n.into()), done: false }];
            }
            batch.no = self.new_no();
            if let Some(sealed) = self.db.sealed.get_mut(usize::from(route)) {
                let twice = *sealed & batch.events != 0;
                *sealed |= batch.events;
                if twice {
                    self.fault(Fault::TwoBatches);
                }
            }
            self.db.batches.push(batch);
        }
        if let Some(stored) = self.db.cursors.get_mut(usize::from(route)) {
            *stored = Some(cursor);
        }
        self.after_commit(commit);
    }
}

/// The positions of a batch of `n` events.
pub(crate) fn all(n: usize) -> u8 {
    (1 << n) - 1
}
