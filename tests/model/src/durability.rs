//! Commits that a crash of the database may take back.

use crate::db::Tx;
use crate::pruner::Pruner;
use crate::state::{Relay, State};

/// How a transaction commits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Commit {
    /// It returns when it is on disk, and with it everything before it.
    Durable,
    /// It returns at once, and no crash will take it back.
    Kept,
    /// It returns at once, and a crash takes it back, with everything after it, unless a durable commit comes first.
    Lost,
}

impl State {
    /// The ways in which an asynchronous commit may turn out. When an earlier one would be lost already, so would this one.
    pub(crate) fn asynchronous(&self) -> &'static [Commit] {
        if self.crashes > 0 && self.durable.is_none() { &[Commit::Kept, Commit::Lost] } else { &[Commit::Kept] }
    }

    /// Before the changes of a transaction that commits like this are made.
    pub(crate) fn before_commit(&mut self, commit: Commit) {
        if commit == Commit::Lost && self.durable.is_none() {
            self.durable = Some(Box::new(self.db.clone()));
        }
    }

    /// When they are made.
    pub(crate) fn after_commit(&mut self, commit: Commit) {
        if commit == Commit::Durable {
            self.durable = None;
        }
    }

    /// The database stops, and starts from what is on disk. Open transactions are gone. Relays lose their connections and
    /// remember what they had claimed.
    pub(crate) fn crash(&mut self) {
        let begun = self.db.txs;
        if let Some(durable) = self.durable.take() {
            self.db = *durable;
        }
        for (tx, begun) in self.db.txs.iter_mut().zip(begun) {
            if *tx != Tx::Committed && begun != Tx::Idle {
                *tx = Tx::Aborted;
            }
        }
        self.db.drop_aborted();
        self.db.xmax = self.db.next_xid;
        self.crashes -= 1;
        self.pruner = Pruner::Idle;
        for relay in &mut self.relays {
            if let Relay::Planning { .. } = relay {
                *relay = Relay::Idle;
            }
        }
    }
}
