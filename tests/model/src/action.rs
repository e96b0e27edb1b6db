//! What may happen next.

use crate::Scenario;
use crate::db::{Batch, Tx};
use crate::durability::Commit;
use crate::guard::Guard;
use crate::pruner::Pruner;
use crate::scenario::TRANSACTIONS;
use crate::state::{Relay, Stage, State};

/// One step of somebody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    Begin(u8),
    Emit(u8),
    Commit(u8, Commit),
    Abort(u8),
    OthersEnd,
    OpenRoute,
    Replay,
    Mend,
    /// A relay begins to plan a route.
    Plan(u8, u8, Commit),
    /// A relay claims a batch.
    Claim(u8, u8, Commit),
    /// A relay's next statement.
    GoOn(u8, Commit),
    ReplyLost(u8),
    Die(u8),
    Prune(u8),
    PruneGoesOn,
    Crash,
}

impl State {
    pub(crate) fn actions(&self, scenario: &Scenario, actions: &mut Vec<Action>) {
        self.service(scenario, actions);
        for relay in 0..self.relays.len() {
            self.relay(scenario, relay, actions);
        }
        match self.pruner {
            Pruner::Idle => {
                let begins = |partition: &u8| self.prune_begins(scenario, *partition).is_some();
                actions.extend((0..scenario.partitions).filter(begins).map(Action::Prune));
            }
            _ => actions.push(Action::PruneGoesOn),
        }
        if scenario.late_route && self.db.cursors.get(usize::from(scenario.routes - 1)) == Some(&None) {
            actions.push(Action::OpenRoute);
        }
        if self.replays > 0 {
            actions.push(Action::Replay);
        }
        if scenario.mending && !self.mended {
            actions.push(Action::Mend);
        }
        if self.crashes > 0 {
            actions.push(Action::Crash);
        }
    }

    fn service(&self, scenario: &Scenario, actions: &mut Vec<Action>) {
        let commits = if scenario.async_commits { self.asynchronous() } else { &[Commit::Durable] };
        let mut waiting = [false; 16];
        for ((at, tx), emits) in (0u8..).zip(&self.db.txs).zip(scenario.emits) {
            match *tx {
                Tx::Idle if emits > 0 => {
                    // Transactions that are alike begin in the order of their numbers.
                    if let Some(waits) = waiting.get_mut(usize::from(emits)).filter(|waits| !**waits) {
                        *waits = true;
                        actions.push(Action::Begin(at));
                    }
                }
                Tx::Open { emitted, .. } => {
                    if emitted < emits {
                        actions.push(Action::Emit(at));
                    } else {
                        actions.extend(commits.iter().map(|&commit| Action::Commit(at, commit)));
                    }
                    if scenario.rollbacks && emitted > 0 {
                        actions.push(Action::Abort(at));
                    }
                }
                Tx::Idle | Tx::Committed | Tx::Aborted => (),
            }
        }
        if self.db.xmax < self.db.next_xid
            && (0..TRANSACTIONS).any(|tx| matches!(self.db.txs.get(tx), Some(Tx::Open { .. })))
        {
            actions.push(Action::OthersEnd);
        }
    }

    fn relay(&self, scenario: &Scenario, at: usize, actions: &mut Vec<Action>) {
        let number = at as u8;
        match self.relays.get(at) {
            // Two idle relays are alike.
            Some(Relay::Idle) if at > 0 && self.relays.first() == Some(&Relay::Idle) => (),
            Some(Relay::Idle) => {
                let lossy = scenario.whole_plans && !scenario.has(Guard::DurablePlan);
                let commits = if lossy { self.asynchronous() } else { &[Commit::Kept] };
                for route in
                    (0..scenario.routes).filter(|&route| !scenario.whole_plans || self.plannable(scenario, route))
                {
                    actions.extend(commits.iter().map(|&commit| Action::Plan(number, route, commit)));
                }
                // Trying again what is refused leaves no trace in one step.
                let waits =
                    |batch: &&Batch| scenario.whole_deliveries && batch.waits(self.refused(scenario, batch.route));
                for batch in self.db.batches.iter().filter(|batch| !waits(batch)) {
                    let commits = self.asynchronous().iter();
                    actions.extend(commits.map(|&commit| Action::Claim(number, batch.no, commit)));
                }
            }
            Some(relay) => {
                actions.extend(self.commits(scenario, at).iter().map(|&commit| Action::GoOn(number, commit)));
                if scenario.replies_lost && matches!(relay, Relay::Working { stage: Stage::Ready, .. }) {
                    actions.push(Action::ReplyLost(number));
                }
                actions.push(Action::Die(number));
            }
            None => (),
        }
    }

    /// None: nothing came of it.
    pub(crate) fn after(&self, scenario: &Scenario, action: Action) -> Option<Self> {
        let mut next = self.clone();
        match action {
            Action::Begin(tx) => {
                next.db.begin(tx.into());
                if scenario.whole_emits {
                    let emits = scenario.emits.get(usize::from(tx)).copied().unwrap_or_default();
                    (0..emits).for_each(|_| next.db.emit(scenario, tx));
                }
            }
            Action::Emit(tx) => next.db.emit(scenario, tx),
            Action::Commit(tx, commit) => next.commit(tx.into(), commit),
            Action::Abort(tx) => next.abort(tx.into()),
            Action::OthersEnd => next.others_end(),
            Action::OpenRoute => next.open_route(scenario),
            Action::Replay => next.replay(scenario)?,
            Action::Mend => next.mended = true,
            Action::Plan(_, route, commit) if scenario.whole_plans => next.plan_whole(scenario, route, commit),
            Action::Plan(relay, route, _) => {
                let plan = next.plan_begins(scenario, route)?;
                *next.relays.get_mut(usize::from(relay))? = Relay::Planning { route, plan };
            }
            Action::Claim(relay, no, commit) if scenario.whole_deliveries => {
                next.deliver_whole(scenario, relay.into(), no, commit);
            }
            Action::Claim(relay, no, commit) => next.claim(scenario, relay.into(), no, commit),
            Action::GoOn(relay, commit) => {
                next.go_on(scenario, relay.into(), commit);
            }
            Action::ReplyLost(relay) => next.reply_lost(scenario, relay.into())?,
            Action::Die(relay) => *next.relays.get_mut(usize::from(relay))? = Relay::Idle,
            Action::Prune(partition) => next.pruner = next.prune_begins(scenario, partition)?,
            Action::PruneGoesOn => next.prune_goes_on(scenario),
            Action::Crash => next.crash(),
        }
        let next = next.canonical(scenario);
        (next != *self).then_some(next)
    }
}
