//! What people do: open a route, replay.

use crate::Scenario;
use crate::db::{Batch, Cursor, Events, Kind, Row, Window};
use crate::durability::Commit;
use crate::guard::Guard;
use crate::snapshot::Snapshot;
use crate::state::State;

impl State {
    /// A new route starts at the oldest event that is kept.
    pub(crate) fn open_route(&mut self, scenario: &Scenario) {
        let route = usize::from(scenario.routes - 1);
        self.before_commit(Commit::Durable);
        let pruned = self.db.pruned;
        if let (Some(cursor), Some(before)) = (self.db.cursors.get_mut(route), self.db.before.get_mut(route)) {
            *cursor = Some(Cursor::NEW);
            *before = pruned;
        }
        self.after_commit(Commit::Durable);
    }

    /// Everything that route 0 has sealed and that is still kept, but for what a batch of it has, open or held: one
    /// statement, which writes a batch for each run of rows between those. None: there is nothing.
    pub(crate) fn replay(&mut self, scenario: &Scenario) -> Option<()> {
        let base = self.db.cursors.first().copied().flatten()?.base;
        let all = Window { base: Snapshot::OLDEST, tick: base, lo: (0, 0), hi: (u8::MAX, u8::MAX) };
        let busy = if scenario.has(Guard::PassedOver) { self.busy(scenario) } else { 0 };
        let is_busy = |row: &Row| busy & 1 << row.event != 0;
        let (mut lo, mut batches) = (all.lo, Vec::new());
        for run in self.db.read(scenario, all).chunk_by(|a, b| is_busy(a) == is_busy(b)) {
            let hi = run.last()?.place();
            if !run.first().is_some_and(is_busy) {
                batches.push(Batch {
                    no: self.new_no(),
                    route: 0,
                    kind: Kind::Replay,
                    window: Window { lo, hi, ..all },
                    n: u8::try_from(run.len()).unwrap_or(u8::MAX),
                    holder: None,
                    parts: Vec::new(),
                    events: run.iter().fold(0, |events, row| events | 1 << row.event),
                });
            }
            lo = hi;
        }
        if batches.is_empty() {
            return None;
        }
        self.replays -= 1;
        self.db.batches.extend(batches);
        self.after_commit(Commit::Durable);
        Some(())
    }

    /// What batches of route 0 have.
    fn busy(&self, scenario: &Scenario) -> Events {
        let mine = self.db.batches.iter().filter(|batch| batch.route == 0);
        mine.fold(0, |busy, batch| match batch.held() {
            true => busy | batch.events,
            false => self.db.read(scenario, batch.window).iter().fold(busy, |busy, row| busy | 1 << row.event),
        })
    }
}
