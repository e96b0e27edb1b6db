//! What people do: open a route, replay.

use crate::Scenario;
use crate::db::{Batch, Cursor, Kind, Window};
use crate::durability::Commit;
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

    /// Everything that route 0 has sealed and that is still kept, as a new batch: one statement, which counts the rows and
    /// writes the batch. None: there is nothing.
    pub(crate) fn replay(&mut self, scenario: &Scenario) -> Option<()> {
        let base = self.db.cursors.first().copied().flatten()?.base;
        let mut window = Window { base: Snapshot::OLDEST, tick: base, lo: (0, 0), hi: (u8::MAX, u8::MAX) };
        let rows = self.db.read(scenario, window);
        window.hi = rows.last()?.place();
        let batch = Batch {
            no: self.new_no(),
            route: 0,
            kind: Kind::Replay,
            window,
            n: u8::try_from(rows.len()).unwrap_or(u8::MAX),
            holder: None,
            parts: Vec::new(),
            events: rows.iter().fold(0, |events, row| events | 1 << row.event),
        };
        self.replays -= 1;
        self.db.batches.push(batch);
        self.after_commit(Commit::Durable);
        Some(())
    }
}
