//! A step in words, for a counterexample.

use crate::Scenario;
use crate::action::Action;
use crate::durability::Commit;
use crate::pruner::Pruner;
use crate::state::{Plan, Relay, Stage, State};

impl State {
    /// What `action` does in this state.
    pub(crate) fn says(&self, scenario: &Scenario, action: Action) -> String {
        let how = |commit: Commit| if commit == Commit::Lost { ", not on disk yet" } else { "" };
        match action {
            Action::Begin(tx) => format!("transaction {tx} begins, with id {}", self.db.next_xid),
            Action::Emit(tx) => {
                let seq = self.db.next_seq;
                format!("transaction {tx} emits seq {seq} into partition {}", scenario.partition(seq))
            }
            Action::Commit(tx, commit) => format!("transaction {tx} commits{}", how(commit)),
            Action::Abort(tx) => format!("transaction {tx} rolls back"),
            Action::OthersEnd => "a transaction without events ends".into(),
            Action::OpenRoute => format!("route {} is opened", scenario.routes - 1),
            Action::Replay => "an operator replays route 0".into(),
            Action::Mend => "route 0's destination takes the bad event from now on".into(),
            Action::Plan(relay, route, commit) if scenario.whole_plans => {
                format!("relay {relay} plans route {route}{}", how(commit))
            }
            Action::Plan(relay, route, _) if scenario.has(crate::Guard::LockFirst) => {
                format!("relay {relay} locks the plan of route {route}")
            }
            Action::Plan(relay, route, _) => {
                format!("relay {relay} reads the cursor of route {route} and takes its tick")
            }
            Action::Claim(relay, no, commit) => {
                let verb = if scenario.whole_deliveries { "delivers and settles" } else { "claims" };
                format!("relay {relay} {verb} batch {no}{}", how(commit))
            }
            Action::GoOn(relay, commit) => format!("relay {relay} {}{}", self.goes_on(relay), how(commit)),
            Action::ReplyLost(relay) => format!("relay {relay} sends, and the reply is lost"),
            Action::Die(relay) => format!("relay {relay} dies"),
            Action::Prune(partition) if scenario.has(crate::Guard::SingleStatement) => {
                format!("pruning of partition {partition}: the bound, and a look")
            }
            Action::Prune(partition) => format!("pruning of partition {partition}: the bound of the batches"),
            Action::PruneGoesOn => match self.pruner {
                Pruner::HalfBound { .. } => "pruning: the bound of the cursors, and a look".into(),
                _ => "pruning: lock, look again, TRUNCATE".into(),
            },
            Action::Crash => "the database crashes".into(),
        }
    }

    fn goes_on(&self, relay: u8) -> String {
        match self.relays.get(usize::from(relay)) {
            Some(Relay::Planning { route, plan }) => match plan {
                Plan::Early { .. } => format!("locks the plan of route {route}"),
                Plan::Locked => format!("reads the cursor of route {route} and takes its tick"),
                Plan::Looked { .. } => format!("cuts the window of route {route}"),
                Plan::Cut { batches, .. } => format!("commits the plan of route {route}: {} batches", batches.len()),
            },
            Some(Relay::Working { batch, stage, .. }) => {
                let no = batch.no;
                match stage {
                    Stage::Claimed => format!("reads batch {no}"),
                    Stage::Ready if batch.parts.is_empty() => format!("freezes batch {no}"),
                    Stage::Ready if batch.parts.iter().all(|part| part.done) => format!("settles batch {no}"),
                    Stage::Ready => format!("sends the next part of batch {no}"),
                    Stage::Sent(_) if batch.parts.iter().filter(|part| !part.done).count() < 2 => {
                        format!("settles batch {no}")
                    }
                    Stage::Sent(_) => format!("settles a part of batch {no}"),
                    Stage::Refused(at) if batch.parts.get(*at).is_some_and(|part| part.ordinals.count_ones() > 1) => {
                        format!("bisects the refused part of batch {no}")
                    }
                    Stage::Refused(_) => format!("holds the refused part of batch {no}"),
                    Stage::Unknown(_) => format!("moves the part of batch {no} to a held batch"),
                }
            }
            _ => "does nothing".into(),
        }
    }
}
