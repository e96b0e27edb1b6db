//! The one loop: performs a machine's commands against a store and a sink.

mod lease;

use std::sync::Arc;
use std::time::Duration;

use outbox_core::{
    Claim, Clock, DynSink, Hold, Part, PartDraft, Recovery, Release, SinkError, SinkErrorKind, Store, StoreError,
    StoreErrorKind,
};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tracing::Instrument;
use uuid::Uuid;

use crate::limits::Limits;
use crate::machine::{Aside, Command, Exit, Fact, Group, Machine};
use crate::options::RelayOptions;
use crate::stats::Counters;

/// How far a stop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Keep on.
    Running,
    /// Finish what is in flight.
    Finishing,
    /// Give the lease back at once.
    Aborting,
}

/// How long giving a lease back may take when the relay must end.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);

/// How often within a linger a worker follows wake-ups.
const LINGER_LOOKS: u32 = 10;

/// So late, at most, a wake-up is followed where events linger: they may be enough for a batch.
const PAUSE_MAX: Duration = Duration::from_millis(100);

pub(crate) struct Worker<S, C> {
    pub(crate) store: S,
    pub(crate) sink: Arc<dyn DynSink>,
    pub(crate) clock: C,
    pub(crate) options: RelayOptions,
    pub(crate) machine: Machine,
    pub(crate) owner: Uuid,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) wake: Arc<Notify>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) last_alarm: String,
    /// Whether the outbox was over its limits at the last look.
    pub(crate) full: bool,
}

impl<S: Store, C: Clock> Worker<S, C> {
    pub(crate) async fn run(mut self) -> Exit {
        let mut fact = Fact::Started;
        loop {
            if *self.phase.borrow() >= Phase::Finishing {
                self.machine.stop();
            }
            let command = self.machine.step(fact, self.clock.now());
            fact = match command {
                Command::Exit(exit) => return exit,
                Command::Release(release) => self.release(release).await,
                command => {
                    let mut phase = self.phase.clone();
                    let span = self.span();
                    tokio::select! {
                        biased;
                        // Dropping a step is safe: whatever it left undone comes again under the same tokens.
                        _ = phase.wait_for(|phase| *phase == Phase::Aborting) => Fact::Aborted,
                        fact = self.perform(command).instrument(span) => fact,
                    }
                }
            };
        }
    }

    fn span(&self) -> tracing::Span {
        match self.machine.claim() {
            Some(claim) => tracing::info_span!(
                "outbox.batch",
                route = %claim.route,
                batch = claim.batch.0,
                attempt = claim.attempt,
                rows = claim.rows,
                bytes = claim.bytes,
            ),
            None => tracing::Span::none(),
        }
    }

    async fn perform(&mut self, command: Command) -> Fact {
        match command {
            Command::Claim => {
                // Asked before answered: the lease is counted from before the request left.
                let asked = self.clock.now();
                let claimed = self.store.claim(&self.options.route, self.owner, self.options.lease).await;
                self.told(claimed, |claim| Fact::Claimed { claim, asked })
            }
            Command::Plan => {
                let planned = self.store.plan(&self.options.plan_request()).await;
                if let Ok(planned) = &planned
                    && planned.rows > 0
                {
                    tracing::debug!(rows = planned.rows, batches = planned.batches, "sealed");
                }
                self.told(planned, Fact::Planned)
            }
            Command::Prune => {
                // Not worth stopping for: delivery goes on, and the next time is soon.
                match self.store.prune(self.options.keep_delivered).await {
                    Ok(0) => {}
                    Ok(pruned) => tracing::debug!(pruned, "pruned"),
                    Err(error) => tracing::error!(%error, "cannot prune: settled events pile up"),
                }
                self.look_at_limits().await;
                Fact::Pruned
            }
            Command::Idle(wait) => {
                let mut phase = self.phase.clone();
                tokio::select! {
                    // In a fixed order, so that a simulated schedule is the same each time.
                    biased;
                    _ = phase.wait_for(|phase| *phase >= Phase::Finishing) => {}
                    () = self.woken() => {}
                    () = sleep(wait) => {}
                }
                Fact::Waited
            }
            Command::Wait(wait) => {
                let mut phase = self.phase.clone();
                tokio::select! {
                    biased;
                    _ = phase.wait_for(|phase| *phase >= Phase::Finishing) => {}
                    () = sleep(wait) => {}
                }
                Fact::Waited
            }
            command => match self.machine.claim().cloned() {
                Some(claim) => self.perform_on(claim, command).await,
                None => Fact::LeaseExpired,
            },
        }
    }

    /// Waits for a wake-up that is worth a look. One that comes too early is kept.
    async fn woken(&self) {
        // The last look has found nothing, and what was committed since has not lingered. Without this, a service that commits
        // a thousand times a second would have as many statements run in vain.
        let pause = (self.options.linger / LINGER_LOOKS).min(PAUSE_MAX);
        if !pause.is_zero() {
            sleep(pause).await;
        }
        self.wake.notified().await;
    }

    /// Raises the alarm when a limit is passed, and lets `emit` refuse events where that is asked for.
    async fn look_at_limits(&mut self) {
        let limits = self.options.limits;
        if limits == Limits::none() {
            return;
        }
        let passed = match self.store.load().await {
            Ok(load) => limits.passed(&load, self.full),
            Err(error) => return tracing::warn!(%error, "cannot look whether the outbox is over its limits"),
        };
        let refuses = limits.refuses();
        match &passed {
            Some(passed) if !self.full => tracing::error!(refuses, "the outbox is over its limits: {passed}"),
            None if self.full => tracing::info!("the outbox is within its limits again"),
            _ => {}
        }
        self.full = passed.is_some();
        // Said each time, and written only where it changes: another relay may have said otherwise when it started.
        if refuses && let Err(error) = self.store.set_full(self.full).await {
            tracing::warn!(%error, full = self.full, "cannot tell the producers whether the outbox is full");
        }
    }

    /// The commands about a claimed batch.
    async fn perform_on(&mut self, claim: Claim, command: Command) -> Fact {
        if let Err(fact) = self.keep_lease(&claim).await {
            return fact;
        }
        match command {
            Command::Read => {
                let store = self.store.clone();
                match self.leased(&claim, store.read(&claim)).await {
                    Ok(events) => self.told(events, Fact::Read),
                    Err(fact) => fact,
                }
            }
            Command::Freeze(groups) => self.freeze(&claim, groups).await,
            Command::Recover(part) => self.recover(&claim, &part).await,
            Command::Deliver(part) => self.deliver(&claim, &part).await,
            Command::Replace { no, groups } => self.replace(&claim, no, groups).await,
            Command::SettlePart(no) => {
                let settled = self.store.settle_part(&claim, no).await;
                self.told(settled, |()| Fact::PartSettled)
            }
            Command::Hold(aside) => self.hold(&claim, aside).await,
            Command::SettleAndClaim => {
                let asked = self.clock.now();
                let claimed = self.store.settle_and_claim(&claim, self.options.lease).await;
                if claimed.is_ok() {
                    Counters::add(&self.counters.settled_batches, 1);
                    tracing::info!("settled");
                }
                self.told(claimed, |claim| Fact::SettledAndClaimed { claim, asked })
            }
            Command::Settle => {
                let settled = self.store.settle(&claim).await;
                if settled.is_ok() {
                    Counters::add(&self.counters.settled_batches, 1);
                    tracing::info!("settled");
                }
                self.told(settled, |()| Fact::Settled)
            }
            // Performed by `run` and `perform`.
            Command::Claim
            | Command::Plan
            | Command::Prune
            | Command::Idle(_)
            | Command::Wait(_)
            | Command::Release(_)
            | Command::Exit(_) => Fact::LeaseExpired,
        }
    }

    async fn freeze(&mut self, claim: &Claim, groups: Vec<Group>) -> Fact {
        let (mut drafts, mut failed) = (Vec::new(), Vec::new());
        for group in groups {
            match self.drafts(claim, &group).await {
                Ok(Ok(more)) => drafts.extend(more),
                Ok(Err(error)) => {
                    self.alarm(&error, "a part cannot be frozen");
                    failed.push((group, error));
                }
                Err(fact) => return fact,
            }
        }
        if drafts.is_empty() {
            return Fact::Frozen { records: Vec::new(), failed };
        }
        let records = self.store.freeze(claim, drafts).await;
        self.told(records, |records| Fact::Frozen { records, failed })
    }

    /// The parts of the events for one table. When they cannot be frozen, what is known of event types may be out of date.
    async fn drafts(&mut self, claim: &Claim, group: &Group) -> Result<Result<Vec<PartDraft>, SinkError>, Fact> {
        let drafts = self.divided(claim, group).await?;
        let stopped = drafts.as_ref().is_err_and(|error| error.kind() == SinkErrorKind::Stop);
        if !stopped {
            return Ok(drafts);
        }
        match self.store.schemas().await {
            Ok(schemas) => self.sink.learn(&schemas),
            Err(error) => return Err(self.told(Err(error), |()| Fact::LeaseExpired)),
        }
        self.divided(claim, group).await
    }

    async fn divided(&mut self, claim: &Claim, group: &Group) -> Result<Result<Vec<PartDraft>, SinkError>, Fact> {
        let (sink, events) = (Arc::clone(&self.sink), self.machine.events());
        let divided = async {
            let chosen: Vec<_> = group.ordinals.iter().filter_map(|ordinal| events.get(*ordinal as usize)).collect();
            sink.divide(&group.table, &chosen).await
        };
        let groups = match self.caught(claim, divided).await? {
            Ok(groups) => groups,
            Err(error) => return Ok(Err(error)),
        };
        if !is_partition(&groups, group.ordinals.len()) {
            let message = "`divide` must give each event's position exactly once, ascending within a group";
            return Ok(Err(SinkError::stop("divide", message)));
        }
        let mut drafts = Vec::new();
        for positions in groups.into_iter().filter(|positions| !positions.is_empty()) {
            let ordinals = positions.into_iter().filter_map(|at| group.ordinals.get(at).copied()).collect();
            match self.draft(claim, Group { table: group.table.clone(), ordinals }).await? {
                Ok(draft) => drafts.push(draft),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(drafts))
    }

    async fn replace(&mut self, claim: &Claim, no: i32, groups: Vec<Group>) -> Fact {
        let mut drafts = Vec::new();
        for group in groups {
            match self.draft(claim, group).await {
                Ok(Ok(draft)) => drafts.push(draft),
                Ok(Err(error)) => {
                    self.alarm(&error, "a part cannot be frozen");
                    return Fact::SinkFailed(error);
                }
                Err(fact) => return fact,
            }
        }
        let rows: usize = drafts.iter().map(|draft| draft.ordinals.len()).sum();
        tracing::warn!(part = no, rows, parts = drafts.len(), "the rest goes under new tokens");
        let records = self.store.replace(claim, no, drafts).await;
        self.told(records, Fact::Replaced)
    }

    async fn hold(&mut self, claim: &Claim, aside: Aside) -> Fact {
        let Aside { part, group: Group { table, ordinals }, reason, delay } = aside;
        let events = self.machine.events();
        let events: Vec<_> = ordinals.iter().filter_map(|ordinal| events.get(*ordinal as usize).cloned()).collect();
        let (rows, dead) = (events.len(), reason.dead);
        let hold = Hold { part, table, ordinals, events, reason, delay };
        let held = self.store.hold(claim, &hold).await;
        if let Ok(batch) = &held {
            Counters::add(&self.counters.held_events, rows as u64);
            let (table, code, error) = (hold.table, hold.reason.code, hold.reason.error);
            tracing::error!(held = batch.0, table, rows, dead, code, error, "put aside: see `outbox held`");
        }
        self.told(held, |_| Fact::Held)
    }

    async fn draft(&mut self, claim: &Claim, group: Group) -> Result<Result<PartDraft, SinkError>, Fact> {
        let sink = Arc::clone(&self.sink);
        let events = self.machine.events();
        let frozen = async {
            let chosen: Vec<_> = group.ordinals.iter().filter_map(|ordinal| events.get(*ordinal as usize)).collect();
            sink.freeze(&group.table, &chosen).await
        };
        let frozen = self.caught(claim, frozen).await?;
        Ok(frozen.map(|frozen| PartDraft { table: group.table, ordinals: group.ordinals, frozen }))
    }

    async fn recover(&mut self, claim: &Claim, part: &Part) -> Fact {
        let sink = Arc::clone(&self.sink);
        match self.caught(claim, sink.recover(part)).await {
            Ok(Ok(recovery)) => {
                let found = match &recovery {
                    Recovery::Resend => "send it again",
                    Recovery::Delivered => "all of it had arrived",
                    Recovery::Replace { .. } => "some of it is missing",
                };
                tracing::info!(part = part.id.no, token = %part.token, found, "looked for an earlier send");
                if recovery == Recovery::Delivered {
                    Counters::add(&self.counters.delivered_events, part.events.len() as u64);
                    Counters::add(&self.counters.delivered_parts, 1);
                }
                Fact::Recovered(recovery)
            }
            Ok(Err(error)) => {
                self.alarm(&error, "cannot find out what became of an earlier send");
                Fact::SinkFailed(error)
            }
            Err(fact) => fact,
        }
    }

    async fn deliver(&mut self, claim: &Claim, part: &Part) -> Fact {
        let sink = Arc::clone(&self.sink);
        let started = self.clock.now();
        if part.resend {
            Counters::add(&self.counters.resent_parts, 1);
        }
        match self.caught(claim, sink.deliver(part)).await {
            Ok(Ok(())) => {
                Counters::add(&self.counters.delivered_events, part.events.len() as u64);
                Counters::add(&self.counters.delivered_parts, 1);
                let ms = self.clock.now().since(started).as_millis() as u64;
                tracing::info!(
                    part = part.id.no,
                    table = part.table,
                    token = %part.token,
                    rows = part.events.len(),
                    resend = part.resend,
                    ms,
                    "delivered"
                );
                self.last_alarm.clear();
                Fact::Delivered
            }
            Ok(Err(error)) => {
                self.alarm(&error, "a part is not delivered");
                Fact::SinkFailed(error)
            }
            Err(fact) => fact,
        }
    }

    async fn release(&mut self, release: Release) -> Fact {
        let Some(claim) = self.machine.claim().cloned() else { return Fact::Released };
        let span = self.span();
        let delay_ms = release.delay.as_millis() as u64;
        span.in_scope(|| tracing::info!(delay_ms, parked = release.parked, "released"));
        let released = timeout(RELEASE_TIMEOUT, self.store.release(&claim, &release)).await;
        if let Ok(Err(error)) = released
            && error.kind() != StoreErrorKind::LeaseLost
        {
            // Not worth more: the lease runs out by itself.
            span.in_scope(|| tracing::warn!(%error, "cannot give the lease back"));
        }
        Fact::Released
    }

    fn alarm(&mut self, error: &SinkError, message: &'static str) {
        Counters::add(&self.counters.failures, 1);
        let (kind, code) = (format!("{:?}", error.kind()), error.code());
        let (host, query_id) = (error.host(), error.query_id());
        // Every batch of a broken table says the same: once in full, which may be a whole CREATE TABLE, then short.
        let text = error.to_string();
        let shown = if self.last_alarm == text { "as before" } else { text.as_str() };
        match error.retry() {
            outbox_core::Retry::Never => tracing::error!(error = shown, kind, code, host, query_id, "{message}"),
            _ => tracing::warn!(error = shown, kind, code, host, query_id, "{message}"),
        }
        self.last_alarm = text;
    }

    fn told<T>(&self, answer: Result<T, StoreError>, fact: impl FnOnce(T) -> Fact) -> Fact {
        match answer {
            Ok(answer) => fact(answer),
            Err(error) => {
                Counters::add(&self.counters.failures, 1);
                match error.kind() {
                    StoreErrorKind::LeaseLost => tracing::warn!(%error, "the batch went to another relay"),
                    StoreErrorKind::Unavailable => tracing::warn!(%error, "the outbox does not answer"),
                    _ => tracing::error!(%error, "the outbox cannot go on"),
                }
                Fact::StoreFailed(error)
            }
        }
    }
}

/// Whether each of `0..count` is in exactly one group, and they ascend in each.
fn is_partition(groups: &[Vec<usize>], count: usize) -> bool {
    let mut all = groups.concat();
    all.sort_unstable();
    all.into_iter().eq(0..count) && groups.iter().all(|group| group.is_sorted())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_division_has_each_position_once_and_in_order() {
        assert!(is_partition(&[vec![0, 2], vec![], vec![1]], 3));
        assert!(!is_partition(&[vec![0, 2]], 3), "an event would be settled and never sent");
        assert!(!is_partition(&[vec![0, 1], vec![1, 2]], 3), "an event would be sent twice");
        assert!(!is_partition(&[vec![0, 1, 3]], 3));
        assert!(!is_partition(&[vec![1, 0]], 2), "a part keeps the order of its events");
    }
}
