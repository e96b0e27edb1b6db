//! Whether what is left can still be brought to its end: by one relay alone, with nothing going wrong any more.

use crate::Scenario;
use crate::db::{Batch, Events};
use crate::durability::Commit;
use crate::pruner::Pruner;
use crate::scenario::TRANSACTIONS;
use crate::state::State;

/// More than a delivery has.
const STEPS_MAX: usize = 50;

impl State {
    /// Takes one step toward the end, and looks whether it leads on; where no step is left, everything must be at its end.
    ///
    /// One step is enough, because where it leads is a state that is looked at itself. `true` where somebody is in the middle
    /// of something: every process comes to its end or dies, so that a quiet state follows.
    pub(crate) fn drains(&self, scenario: &Scenario) -> bool {
        if !self.quiet() {
            return true;
        }
        if (0..scenario.routes).any(|route| self.plannable(scenario, route)) {
            return true; // and the cursor moves on
        }
        let mut next = self.clone();
        if let Some(no) = self.deliverable(scenario) {
            next.deliver_whole(scenario, 0, no, Commit::Kept);
            let left = |batch: &Batch| batch.no == no && !batch.waits(next.refused(scenario, batch.route));
            return next.faults() == 0 && !next.db.batches.iter().any(left);
        }
        (0..scenario.partitions).any(|partition| next.prune_whole(scenario, partition)) || self.drained(scenario)
    }

    fn deliverable(&self, scenario: &Scenario) -> Option<u8> {
        let waits = |batch: &&Batch| batch.waits(self.refused(scenario, batch.route));
        self.db.batches.iter().find(|batch| !waits(batch)).map(|batch| batch.no)
    }

    /// Pruning in one go. Whether anything went.
    fn prune_whole(&mut self, scenario: &Scenario, partition: u8) -> bool {
        let rows = self.db.rows.len();
        self.pruner = self.prune_begins(scenario, partition).unwrap_or(Pruner::Idle);
        while self.pruner != Pruner::Idle {
            self.prune_goes_on(scenario);
        }
        self.db.rows.len() < rows
    }

    /// Everything owed is delivered or held, no batch is open, no row is left, and nothing has gone wrong on the way.
    pub(crate) fn drained(&self, scenario: &Scenario) -> bool {
        let owed = self.db.owed(scenario);
        let held = |route: u8| -> Events {
            self.db.batches.iter().filter(|batch| batch.route == route).fold(0, |all, batch| all | batch.events)
        };
        let routes = (0u8..).zip(&self.db.cursors).zip(&self.sinks).zip(self.db.before);
        let complete = routes.filter(|((route, _), _)| route.1.is_some()).all(|(((route, _), sink), before)| {
            let refused = self.refused(scenario, route);
            owed & !before & !(sink.delivered | held(route) & refused) == 0
        });
        complete
            && self.faults() == 0
            && self.db.batches.iter().all(|batch| batch.held())
            && self.db.visible().next().is_none()
    }

    /// The best end: every event was committed, and delivered or held on every route, and pruned.
    pub(crate) fn finished(&self, scenario: &Scenario) -> bool {
        let everything = (0..TRANSACTIONS).fold(0, |all, tx| all | scenario.events(tx));
        let routes = self.db.cursors.iter().flatten().count();
        self.db.pruned == everything && routes == usize::from(scenario.routes) && self.quiet() && self.drained(scenario)
    }

    /// A plan in one step. Nobody sees its lock.
    pub(crate) fn plan_whole(&mut self, scenario: &Scenario, route: u8, commit: Commit) {
        let mut plan = self.plan_begins(scenario, route);
        while let Some(step) = plan {
            plan = self.plan_goes_on(scenario, route, step, commit);
        }
    }

    /// A delivery in one step.
    pub(crate) fn deliver_whole(&mut self, scenario: &Scenario, relay: usize, no: u8, commit: Commit) {
        self.claim(scenario, relay, no, commit);
        for _ in 0..STEPS_MAX {
            if !self.go_on(scenario, relay, commit) {
                return;
            }
        }
    }
}
