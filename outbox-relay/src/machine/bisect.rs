//! Finding the rows that the destination refuses: they are put aside as dead, and the others are delivered.
//!
//! A part is taken apart only when nothing of it can have arrived. Where an earlier send of it is unresolved, or a destination
//! of several servers may have taken what only one of them refused, the sink is asked to look for its events first.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use outbox_core::{HoldReason, Moment, Part, SinkError, StoredEvent};
use uuid::Uuid;

use super::Machine;
use super::vocabulary::{Aside, Command, Group};
use super::work::{Current, FailureKind};

/// The most rows that are sent alone because the destination named them: beyond that, halves need fewer sends.
const SUSPECTS_MAX: usize = 16;

impl Machine {
    /// The destination refuses rows of `current`.
    pub(super) fn bad_rows(&mut self, current: Current, error: SinkError, now: Moment) -> Command {
        let Some(work) = &mut self.work else { return Command::Claim };
        if now >= work.deadline {
            return self.drop_work();
        }
        let Current { part, ordinals, refused, .. } = current;
        let unresolved = (part.resend && !part.replay) || error.may_have_partly_arrived();
        if unresolved && refused.is_none() {
            let part = Part { resend: true, replay: true, ..part };
            let refused = Some(Arc::new(error));
            work.current = Some(Current { part: part.clone(), ordinals, refused, sent: false });
            return Command::Recover(part);
        }
        let missing = ordinals.clone();
        self.take_apart(Current { part, ordinals, refused: None, sent: false }, missing, &error, now)
    }

    /// Rows of `current` are refused, and of those that are `missing` none has arrived.
    pub(super) fn take_apart(
        &mut self,
        current: Current,
        missing: Vec<u32>,
        error: &SinkError,
        now: Moment,
    ) -> Command {
        let (ordered, dead_max) = (self.policy.ordered, self.policy.bad_rows_max);
        let Some(work) = &mut self.work else { return Command::Claim };
        let (no, table) = (current.part.id.no, current.part.table.clone());
        let whole = missing.len() == current.ordinals.len();
        if whole && missing.len() == 1 {
            work.dead += 1;
            let reason = HoldReason { dead: true, code: error.code(), error: error.to_string() };
            work.asides.push_back(Aside {
                part: Some(no),
                group: Group { table, ordinals: missing },
                reason,
                delay: Duration::ZERO,
            });
            self.failed = Some(error.to_string());
            return self.next_part(now);
        }
        if whole && work.dead >= dead_max {
            // So many cannot be the rows' fault: the table or its schema is another one than was thought.
            if !self.park(Some(no), Group { table, ordinals: missing }, error) {
                self.note(error, FailureKind::Parked);
            }
            return self.next_part(now);
        }
        let groups = match missing.len() {
            1 => vec![missing],
            _ => split(&missing, &work.events, error.bad_ids(), ordered),
        };
        let groups = groups.into_iter().map(|ordinals| Group { table: table.clone(), ordinals }).collect();
        work.current = Some(current);
        Command::Replace { no, groups }
    }
}

/// Where the destination has named rows, those alone and the rest together; else two halves. In order on an ordered route.
/// `events` are those of the batch.
fn split(ordinals: &[u32], events: &[StoredEvent], named: &[Uuid], ordered: bool) -> Vec<Vec<u32>> {
    let named: BTreeSet<&Uuid> = named.iter().collect();
    let event = |at: usize| events.get(*ordinals.get(at)? as usize);
    let is_suspect = |at: usize| event(at).is_some_and(|stored| named.contains(&stored.event.id));
    let suspects = (0..ordinals.len()).filter(|at| is_suspect(*at)).count();
    if suspects == 0 || suspects == ordinals.len() || suspects > SUSPECTS_MAX {
        let (first, second) = ordinals.split_at(ordinals.len() / 2);
        return vec![first.to_vec(), second.to_vec()];
    }
    let mut groups: Vec<Vec<u32>> = Vec::new();
    let mut rest: Vec<u32> = Vec::new();
    let mut alone: Vec<Vec<u32>> = Vec::new();
    for (at, ordinal) in ordinals.iter().enumerate() {
        if !is_suspect(at) {
            rest.push(*ordinal);
        } else if ordered {
            groups.extend((!rest.is_empty()).then(|| std::mem::take(&mut rest)));
            groups.push(vec![*ordinal]);
        } else {
            alone.push(vec![*ordinal]);
        }
    }
    groups.extend((!rest.is_empty()).then_some(rest));
    groups.extend(alone);
    groups
}

#[cfg(test)]
mod tests;
