//! Putting aside what cannot be delivered, so that a broken table neither blocks nor re-sends the others.

use std::time::Duration;

use outbox_core::{HoldReason, SinkError};

use super::Machine;
use super::vocabulary::{Aside, Group};

/// What events of an ordered route are held for when earlier ones of their table are.
const BEHIND: &str = "waits behind earlier events of its table, which are parked";

impl Machine {
    /// Puts the events of a table aside that does not take them: they are tried again by themselves. A batch that is held
    /// already stays what it is, and false is returned.
    pub(super) fn park(&mut self, part: Option<i32>, group: Group, error: &SinkError) -> bool {
        let delay = self.policy.parked_delay;
        let Some(work) = self.work.as_mut().filter(|work| !work.claim.held) else { return false };
        self.failed = Some(error.to_string());
        let reason = HoldReason { dead: false, code: error.code(), error: error.to_string() };
        work.parked.push(group.table.clone());
        work.asides.push_back(Aside { part, group, reason, delay });
        true
    }

    /// On an ordered route, what comes behind parked events waits behind them: puts it aside and returns true.
    pub(super) fn wait_behind(&mut self, part: Option<i32>, group: &Group) -> bool {
        let ordered = self.policy.ordered;
        let Some(work) = self.work.as_mut().filter(|work| ordered && !work.claim.held) else { return false };
        if !work.parked.contains(&group.table) && !work.claim.parked_tables.contains(&group.table) {
            return false;
        }
        let reason = HoldReason { dead: false, code: None, error: BEHIND.to_owned() };
        work.asides.push_back(Aside { part, group: group.clone(), reason, delay: Duration::ZERO });
        true
    }
}
