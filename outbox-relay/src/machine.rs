//! The relay's decisions: what to do next, given what just happened. Pure: no I/O, no clock, no await.
//!
//! One machine drives one worker. It is told a [`Fact`] and answers with the one [`Command`] to perform next:
//!
//! ```text
//!            +--> Plan --> (nothing) --> Prune? --> Idle --+
//!            |      |                                      |
//! Claim --(none)    +--(sealed)--> Claim                   |
//!   ^  |                                                   |
//!   |  +--(a batch)--> Read --> Freeze? --> per part: Recover? -> Deliver -> SettlePart? or Hold
//!   |                   ^                                          |
//!   |                   +------ SettleAndClaim <-------------------+
//!   +-------------- Settle, or Release when a part failed <--------+
//! ```

mod bisect;
mod hold;
mod vocabulary;
mod work;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use outbox_core::{
    Claim, Moment, Planned, Recovery, Release, Retry, SinkError, SinkErrorKind, StoreError, StoreErrorKind, StoredEvent,
};

pub(crate) use self::vocabulary::{Aside, Command, Exit, Fact, Group, Policy};
use self::work::{Current, Failure, FailureKind, Fault, Work, part};

/// See the module.
#[derive(Debug)]
pub(crate) struct Machine {
    policy: Policy,
    rng: fastrand::Rng,
    work: Option<Work>,
    failures: u32,
    pruned_at: Option<Moment>,
    /// Whether there may be more to claim.
    backlog: bool,
    /// Whether batches may be free even when nothing was sealed.
    claim_after_plan: bool,
    /// How often in a row another session was sealing.
    contended: u32,
    /// How often in a row there was nothing to do.
    idle: u32,
    stopping: bool,
    failed: Option<String>,
    /// Set while a failure makes everything wait.
    pause: Option<Duration>,
}

impl Machine {
    pub(crate) fn new(policy: Policy, seed: u64) -> Self {
        Self {
            policy,
            rng: fastrand::Rng::with_seed(seed),
            work: None,
            failures: 0,
            pruned_at: None,
            backlog: false,
            claim_after_plan: false,
            contended: 0,
            idle: 0,
            stopping: false,
            failed: None,
            pause: None,
        }
    }

    /// Finish what is in flight, then exit.
    pub(crate) fn stop(&mut self) {
        self.stopping = true;
    }

    /// The batch in hand.
    pub(crate) fn claim(&self) -> Option<&Claim> {
        self.work.as_ref().map(|work| &work.claim)
    }

    /// The events of the batch in hand, as they were read.
    pub(crate) fn events(&self) -> Arc<[StoredEvent]> {
        self.work.as_ref().map_or_else(|| Arc::from([]), |work| Arc::clone(&work.events))
    }

    /// When a send must be over.
    pub(crate) fn deadline(&self) -> Option<Moment> {
        self.work.as_ref().map(|work| work.deadline)
    }

    /// The lease was renewed by a request made at `asked`.
    pub(crate) fn renewed(&mut self, asked: Moment) {
        let deadline = self.deadline_of(asked);
        if let Some(work) = &mut self.work {
            work.deadline = deadline;
        }
    }

    /// The next command after `fact`.
    pub(crate) fn step(&mut self, fact: Fact, now: Moment) -> Command {
        match fact {
            Fact::Started | Fact::Waited | Fact::Settled | Fact::Released => self.after_batch(&fact, now),
            Fact::Claimed { claim: Some(claim), asked } => self.take(claim, asked),
            Fact::SettledAndClaimed { claim, asked } => {
                self.failures = 0;
                self.work = None;
                match claim {
                    Some(claim) => self.take(claim, asked),
                    None => Command::Plan,
                }
            }
            Fact::Claimed { claim: None, .. } => Command::Plan,
            Fact::Planned(planned) => self.after_plan(planned, now),
            Fact::Pruned => {
                self.pruned_at = Some(now);
                match self.backlog {
                    true => Command::Claim,
                    false => self.idle(),
                }
            }
            Fact::Read(events) => self.group(events, now),
            Fact::Frozen { records, failed } => {
                for (group, error) in failed {
                    let fault = self.fault(&error);
                    if !(matches!(fault, Fault::Table | Fault::Rows) && self.park(None, group, &error)) {
                        self.note(&error, fault.failure());
                    }
                }
                if let Some(work) = &mut self.work {
                    // Events of a replay may have arrived in other parts: the sink looks before it sends.
                    let look = work.claim.replay;
                    work.todo.extend(records.into_iter().map(|record| (record, look)));
                }
                self.next_part(now)
            }
            Fact::Recovered(recovery) => self.recovered(recovery, now),
            Fact::Replaced(records) => {
                if let Some(work) = &mut self.work {
                    work.current = None;
                    for record in records.into_iter().rev() {
                        work.todo.push_front((record, false));
                    }
                }
                self.next_part(now)
            }
            Fact::Delivered => self.delivered(now),
            Fact::PartSettled | Fact::Held => self.next_part(now),
            Fact::SinkFailed(error) => self.sink_failed(error, now),
            Fact::StoreFailed(error) => self.store_failed(&error),
            Fact::LeaseExpired => self.drop_work(),
            Fact::Aborted => match self.work.take() {
                Some(work) => {
                    self.stopping = true;
                    self.work = Some(work);
                    Command::Release(Release { delay: Duration::ZERO, error: None, parked: false })
                }
                None => Command::Exit(self.exit()),
            },
        }
    }

    fn deadline_of(&self, asked: Moment) -> Moment {
        asked.after(self.policy.lease.saturating_sub(self.policy.lease_margin))
    }

    fn take(&mut self, claim: Claim, asked: Moment) -> Command {
        self.idle = 0;
        self.contended = 0;
        self.work = Some(Work::new(claim, self.deadline_of(asked)));
        match self.stopping {
            true => Command::Release(Release { delay: Duration::ZERO, error: None, parked: false }),
            false => Command::Read,
        }
    }

    /// Finds the events that are in no part yet, by table, in the order in which the tables first appear.
    fn group(&mut self, events: Vec<StoredEvent>, now: Moment) -> Command {
        let Some(work) = &mut self.work else { return Command::Claim };
        work.events = events.into();
        let frozen: BTreeSet<u32> =
            work.claim.parts.iter().flat_map(|part| part.draft.ordinals.iter().copied()).collect();
        let mut groups: Vec<Group> = Vec::new();
        for (ordinal, stored) in (0..).zip(work.events.iter()) {
            if frozen.contains(&ordinal) {
                continue;
            }
            match groups.iter_mut().find(|group| group.table == *stored.event.table) {
                Some(group) => group.ordinals.push(ordinal),
                None => groups.push(Group { table: stored.event.table.to_string(), ordinals: vec![ordinal] }),
            }
        }
        groups.retain(|group| !self.wait_behind(None, group));
        match groups.is_empty() {
            true => self.next_part(now),
            false => Command::Freeze(groups),
        }
    }

    fn next_part(&mut self, now: Moment) -> Command {
        let Some(work) = &mut self.work else { return Command::Claim };
        // Looked at again right before sending: a relay that was suspended must not send under a lease that is gone.
        if now >= work.deadline {
            return self.drop_work();
        }
        if let Some(aside) = work.asides.pop_front() {
            return Command::Hold(aside);
        }
        let Some((record, resend)) = work.todo.pop_front() else {
            return match work.failure.clone() {
                Some(failure) => self.release(failure),
                None => self.settle(now),
            };
        };
        let group = Group { table: record.draft.table.clone(), ordinals: record.draft.ordinals.clone() };
        if self.wait_behind(Some(record.no), &group) {
            return self.next_part(now);
        }
        let Some(work) = &mut self.work else { return Command::Claim };
        let current = part(&work.claim, &work.events, record, resend);
        let part = current.part.clone();
        work.current = Some(current);
        if resend { Command::Recover(part) } else { Command::Deliver(part) }
    }

    /// Together with the next claim, unless something else is to be done first.
    fn settle(&self, now: Moment) -> Command {
        match self.stopping || self.prune_is_due(now) {
            true => Command::Settle,
            false => Command::SettleAndClaim,
        }
    }

    fn recovered(&mut self, recovery: Recovery, now: Moment) -> Command {
        let Some(work) = &mut self.work else { return Command::Claim };
        if now >= work.deadline {
            return self.drop_work();
        }
        let Some(current) = &mut work.current else { return self.next_part(now) };
        current.sent = recovery == Recovery::Resend;
        let current = current.clone();
        let Current { part, ordinals, refused, .. } = &current;
        match recovery {
            Recovery::Resend => Command::Deliver(part.clone()),
            Recovery::Delivered => self.delivered(now),
            Recovery::Replace { landed } => {
                let landed: BTreeSet<_> = landed.into_iter().collect();
                let missing = ordinals.iter().zip(part.events.iter());
                let missing = missing.filter(|(_, stored)| !landed.contains(&stored.event.id));
                let missing: Vec<_> = missing.map(|(ordinal, _)| *ordinal).collect();
                match refused.clone() {
                    _ if missing.is_empty() => self.delivered(now),
                    Some(error) => self.take_apart(current, missing, &error, now),
                    None => {
                        let group = Group { table: part.table.clone(), ordinals: missing };
                        Command::Replace { no: part.id.no, groups: vec![group] }
                    }
                }
            }
        }
    }

    fn delivered(&mut self, now: Moment) -> Command {
        let Some(work) = &mut self.work else { return Command::Claim };
        let current = work.current.take();
        let last = work.todo.is_empty() && work.asides.is_empty() && work.failure.is_none();
        match current {
            // The last part settles with its batch, in one step.
            Some(current) if !last => Command::SettlePart(current.part.id.no),
            _ => self.settle(now),
        }
    }

    fn sink_failed(&mut self, error: SinkError, now: Moment) -> Command {
        let current = self.work.as_mut().and_then(|work| work.current.take());
        // Only who was sent rows can refuse them: a question that fails like this says nothing of them.
        let error = match error.kind() {
            SinkErrorKind::BadRows if current.as_ref().is_some_and(|current| !current.sent) => {
                error.with_kind(SinkErrorKind::Unforeseen)
            }
            _ => error,
        };
        let fault = self.fault(&error);
        match (current, fault) {
            (Some(current), Fault::Rows) => return self.bad_rows(current, error, now),
            (Some(Current { part, ordinals, .. }), Fault::Table) => {
                // The fault is in this part or its table: the others may go through.
                let parked = self.park(Some(part.id.no), Group { table: part.table, ordinals }, &error);
                if parked {
                    return self.next_part(now);
                }
            }
            _ => {}
        }
        self.note(&error, fault.failure());
        match self.work.as_ref().map(|work| work.failure.clone()) {
            Some(_) if !matches!(fault, Fault::Destination(_)) => self.next_part(now),
            Some(Some(failure)) => self.release(failure),
            _ => Command::Claim,
        }
    }

    /// Whose fault a failure is, and so what else can go on.
    fn fault(&self, error: &SinkError) -> Fault {
        let tries = self.work.as_ref().map_or(0, |work| work.claim.attempt);
        match error.kind() {
            SinkErrorKind::BadRows => Fault::Rows,
            SinkErrorKind::Stop => Fault::Table,
            SinkErrorKind::Environment | SinkErrorKind::Unforeseen => match () {
                () if tries >= self.policy.attempts_max => Fault::Table,
                // Nothing may overtake.
                () if self.policy.ordered => Fault::Destination(FailureKind::Later),
                () => Fault::Part,
            },
            SinkErrorKind::Busy => Fault::Destination(FailureKind::Busy),
            _ => Fault::Destination(FailureKind::Later),
        }
    }

    fn store_failed(&mut self, error: &StoreError) -> Command {
        match error.kind() {
            StoreErrorKind::LeaseLost => self.drop_work(),
            StoreErrorKind::Mismatch if self.work.is_some() => {
                self.failed.get_or_insert_with(|| error.to_string());
                Command::Release(Release {
                    delay: self.policy.parked_delay,
                    error: Some(error.to_string()),
                    parked: true,
                })
            }
            _ => {
                // Whatever was in hand comes back when its lease runs out.
                self.work = None;
                self.failed = Some(error.to_string());
                self.failures = self.failures.saturating_add(1);
                if self.policy.once || self.stopping {
                    return Command::Exit(self.exit());
                }
                Command::Wait(self.policy.backoff.wait(self.failures, self.rng.f64()))
            }
        }
    }

    /// Keeps the worst failure of the batch.
    fn note(&mut self, error: &SinkError, kind: FailureKind) {
        let failure = Failure { kind, retry: error.retry(), message: error.to_string() };
        if let Some(work) = &mut self.work {
            match &work.failure {
                Some(worst) if worst.kind >= kind => {}
                _ => work.failure = Some(failure),
            }
        }
    }

    fn release(&mut self, failure: Failure) -> Command {
        self.failed = Some(failure.message.clone());
        let delay = match failure.kind {
            FailureKind::Parked => self.policy.parked_delay,
            FailureKind::Alone => {
                let tries = self.work.as_ref().map_or(1, |work| work.claim.attempt);
                self.policy.backoff.wait(tries.unsigned_abs(), self.rng.f64())
            }
            FailureKind::Later | FailureKind::Busy => {
                self.failures = self.failures.saturating_add(1);
                let backoff = match failure.kind {
                    FailureKind::Busy => &self.policy.busy_backoff,
                    _ => &self.policy.backoff,
                };
                let wait = backoff.wait(self.failures, self.rng.f64());
                let wait = match failure.retry {
                    Retry::After(least) => wait.max(least),
                    _ => wait,
                };
                self.pause = Some(wait);
                wait
            }
        };
        Command::Release(Release { delay, error: Some(failure.message), parked: failure.kind == FailureKind::Parked })
    }

    fn after_batch(&mut self, fact: &Fact, now: Moment) -> Command {
        let settled = matches!(fact, Fact::Settled);
        if settled {
            self.failures = 0;
        }
        self.work = None;
        let pause = self.pause.take();
        if self.stopping || (self.policy.once && pause.is_some()) {
            return Command::Exit(self.exit());
        }
        match pause {
            Some(pause) => Command::Wait(pause),
            // In the middle of a backlog, too: it may last longer than the database has room.
            // Not the next batch at once: with many of them waiting for a person, nothing else would ever be sealed.
            None if matches!(fact, Fact::Released) => {
                self.claim_after_plan = true;
                Command::Plan
            }
            // While the destination is down, too: the limits are looked at then.
            None if (settled || matches!(fact, Fact::Waited)) && self.prune_is_due(now) => {
                self.backlog = true;
                Command::Prune
            }
            None => Command::Claim,
        }
    }

    fn prune_is_due(&self, now: Moment) -> bool {
        self.policy
            .prune_interval
            .is_some_and(|interval| self.pruned_at.is_none_or(|pruned_at| now.since(pruned_at) >= interval))
    }

    fn after_plan(&mut self, planned: Planned, now: Moment) -> Command {
        if self.stopping {
            return Command::Exit(self.exit());
        }
        if planned.rows > 0 {
            self.idle = 0;
            self.contended = 0;
            return Command::Claim;
        }
        if planned.contended {
            let wait = CONTENDED_WAIT.saturating_mul(1 << self.contended.min(10)).min(self.policy.poll_interval);
            self.contended += 1;
            return Command::Wait(wait);
        }
        self.contended = 0;
        if std::mem::take(&mut self.claim_after_plan) {
            return Command::Claim;
        }
        self.backlog = false;
        // At the end each worker looks: whichever settled last comes after all that was settled.
        if self.policy.once || self.prune_is_due(now) { Command::Prune } else { self.idle() }
    }

    fn idle(&mut self) -> Command {
        if self.stopping || self.policy.once {
            return Command::Exit(self.exit());
        }
        let wait = POLL_MIN.saturating_mul(1 << self.idle.min(16)).min(self.policy.poll_interval);
        self.idle += 1;
        Command::Idle(wait)
    }

    /// The batch is somebody else's by now, or will be: leave it alone.
    fn drop_work(&mut self) -> Command {
        // By the time it is free again a drain may be over, and must not say that all is well.
        if self.work.take().is_some() && self.policy.once {
            self.failed = Some(LEASE_RAN_OUT.to_owned());
        }
        match self.stopping {
            true => Command::Exit(self.exit()),
            false => Command::Claim,
        }
    }

    fn exit(&mut self) -> Exit {
        match self.failed.take().filter(|_| self.policy.once) {
            Some(message) => Exit::Failed(message),
            None => Exit::Done,
        }
    }
}

/// What a drain says that has dropped a batch.
const LEASE_RAN_OUT: &str = "the lease ran out in the middle of a batch: raise OUTBOX_LEASE";

/// The first wait when there is nothing to do, doubled each time there still is nothing: where events come often they are
/// found soon, and where none come a look every `poll_interval` costs next to nothing.
const POLL_MIN: Duration = Duration::from_millis(10);

/// Another relay is sealing: what it seals can be claimed in a moment. Doubled each time it still is.
const CONTENDED_WAIT: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests;
