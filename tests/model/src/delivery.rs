//! Claim, read, freeze, send, settle: a relay's statements about one batch, each a step.

use crate::Scenario;
use crate::db::{Batch, Events, Kind, Part, Window};
use crate::durability::Commit;
use crate::guard::Guard;
use crate::planner::all;
use crate::sink::Arrival;
use crate::state::{Fault, Plan, Relay, Stage, State};

/// A claimed batch in a relay's memory.
struct Work {
    batch: Batch,
    events: Vec<u8>,
    stage: Stage,
    lapsed: bool,
}

impl Work {
    fn next(&self) -> Option<(usize, Part)> {
        self.batch.parts.iter().copied().enumerate().find(|(_, part)| !part.done)
    }

    fn part(&self, at: usize) -> Option<Part> {
        self.batch.parts.get(at).copied()
    }

    /// The events at a part's positions.
    fn of(&self, part: Part) -> Events {
        let at = |at: &usize| part.ordinals & 1 << at != 0;
        let events = self.events.iter().enumerate().filter(|(position, _)| at(position));
        events.fold(0, |all, (_, event)| all | 1 << event)
    }

    fn done(&mut self, token: u8) {
        self.batch.parts.iter_mut().filter(|part| part.token == token).for_each(|part| part.done = true);
    }
}

impl State {
    /// `outbox_claim`. Which batch is free, and which lease has run out, is left open: any batch may be taken.
    pub(crate) fn claim(&mut self, scenario: &Scenario, relay: usize, no: u8, commit: Commit) {
        let owner = u8::try_from(relay).ok();
        // What this relay had claimed before, also before a crash of the database, is somebody else's now.
        let batches = self.dbs_mut().flat_map(|db| &mut db.batches);
        batches.filter(|batch| batch.holder == owner).for_each(|batch| batch.holder = None);
        let resent = self.db.batch(no).is_some_and(|batch| !batch.parts.is_empty());
        let commit = if resent && scenario.has(Guard::DurableReclaim) { Commit::Durable } else { commit };
        self.before_commit(commit);
        let Some(batch) = self.db.batch(no) else { return };
        let before = batch.holder.replace(relay as u8);
        let batch = Batch { holder: None, ..batch.clone() };
        self.after_commit(commit);
        if let Some(Relay::Working { lapsed, .. }) = before.and_then(|before| self.relays.get_mut(usize::from(before)))
        {
            *lapsed = true;
        }
        if let Some(slot) = self.relays.get_mut(relay) {
            *slot = Relay::Working { batch, events: Vec::new(), stage: Stage::Claimed, lapsed: false };
        }
    }

    /// The next statement of a relay that is in the middle of something. Whether it goes on after it.
    pub(crate) fn go_on(&mut self, scenario: &Scenario, relay: usize, commit: Commit) -> bool {
        let Some(was) = self.relays.get(relay).cloned() else { return false };
        let now = match was {
            Relay::Idle => None,
            Relay::Planning { route, plan } => {
                let plan = self.plan_goes_on(scenario, route, plan, commit);
                plan.map(|plan| Relay::Planning { route, plan })
            }
            Relay::Working { .. } => self.work(scenario, relay, was, commit),
        };
        let Some(slot) = self.relays.get_mut(relay) else { return false };
        *slot = now.unwrap_or(Relay::Idle);
        *slot != Relay::Idle
    }

    /// How the next statement may commit: more than one way where it is asynchronous.
    pub(crate) fn commits(&self, scenario: &Scenario, relay: usize) -> &'static [Commit] {
        let asynchronous = match self.relays.get(relay) {
            Some(Relay::Planning { plan: Plan::Cut { .. }, .. }) => !scenario.has(Guard::DurablePlan),
            Some(Relay::Working { batch, stage, .. }) => match stage {
                Stage::Ready if batch.parts.is_empty() => !scenario.has(Guard::DurableFreeze),
                Stage::Ready => batch.parts.iter().all(|part| part.done),
                Stage::Sent(_) => true,
                Stage::Refused(_) | Stage::Unknown(_) => !scenario.has(Guard::DurableFreeze),
                Stage::Claimed => false,
            },
            _ => false,
        };
        if asynchronous { self.asynchronous() } else { &[Commit::Kept] }
    }

    /// The stored batch, if the relay's claim of it is the last one.
    fn fenced(&mut self, scenario: &Scenario, relay: usize, no: u8, fence: Guard) -> Option<&mut Batch> {
        let fence = scenario.has(fence);
        self.db.batch(no).filter(|batch| !fence || batch.holder.map(usize::from) == Some(relay))
    }

    /// The next statement about the batch. None: the work is over, or dropped.
    fn work(&mut self, scenario: &Scenario, relay: usize, was: Relay, commit: Commit) -> Option<Relay> {
        let Relay::Working { batch, events, stage, lapsed } = was else { return None };
        let work = Work { batch, events, stage, lapsed };
        let work = match work.stage {
            Stage::Claimed => self.read(scenario, relay, work),
            Stage::Ready if work.batch.parts.is_empty() => self.freeze(scenario, relay, work, commit),
            Stage::Ready => match work.next() {
                Some((at, part)) => self.send(scenario, work, at, part),
                None => self.settle(scenario, relay, &work, commit),
            },
            Stage::Sent(at) => self.settle_part(scenario, relay, work, at, commit),
            Stage::Refused(at) => self.refused_part(scenario, relay, work, at, commit),
            Stage::Unknown(at) => self.hold(scenario, relay, work, at, commit),
        }?;
        let Work { batch, events, stage, lapsed } = work;
        Some(Relay::Working { batch, events, stage, lapsed })
    }

    fn read(&mut self, scenario: &Scenario, relay: usize, work: Work) -> Option<Work> {
        let events: Vec<u8> = if work.batch.held() {
            work.batch.held_events()
        } else {
            self.db.read(scenario, work.batch.window).into_iter().map(|row| row.event).collect()
        };
        if events.len() != usize::from(work.batch.n) {
            // Settled and pruned by another: nothing to worry about. Else rows have vanished under an open batch.
            let stored = self.db.batch(work.batch.no);
            if stored.is_some_and(|batch| batch.holder.map(usize::from) == Some(relay)) {
                self.fault(Fault::Unreadable);
            }
            return None;
        }
        Some(Work { events, stage: Stage::Ready, ..work })
    }

    fn freeze(&mut self, scenario: &Scenario, relay: usize, mut work: Work, commit: Commit) -> Option<Work> {
        let commit = frozen(scenario, commit);
        self.fenced(scenario, relay, work.batch.no, Guard::FreezeFence)?;
        let part = Part { token: self.new_token(), ordinals: all(work.events.len()), done: false };
        self.before_commit(commit);
        self.db.batch(work.batch.no)?.parts.push(part);
        self.after_commit(commit);
        work.batch.parts.push(part);
        Some(work)
    }

    fn send(&mut self, scenario: &Scenario, mut work: Work, at: usize, part: Part) -> Option<Work> {
        if work.lapsed && scenario.has(Guard::Deadline) {
            return None;
        }
        work.stage = if self.arrives(scenario, &work, part) { Stage::Sent(at) } else { Stage::Refused(at) };
        Some(work)
    }

    fn arrives(&mut self, scenario: &Scenario, work: &Work, part: Part) -> bool {
        let events = work.of(part);
        if events & self.refused(scenario, work.batch.route) != 0 {
            return false;
        }
        let token = if scenario.has(Guard::StoredToken) { part.token } else { self.new_token() };
        let Some(sink) = self.sinks.get_mut(usize::from(work.batch.route)) else { return false };
        match sink.accept(token, events, work.batch.replay()) {
            Arrival::New | Arrival::Again => (),
            Arrival::Doubled => self.fault(Fault::Doubled),
            Arrival::TokenReused => self.fault(Fault::TokenReused),
        }
        true
    }

    /// The next part arrives, or is refused, and the relay never hears which.
    pub(crate) fn reply_lost(&mut self, scenario: &Scenario, relay: usize) -> Option<()> {
        let Relay::Working { batch, events, stage: Stage::Ready, lapsed } = self.relays.get(relay)?.clone() else {
            return None;
        };
        let mut work = Work { batch, events, stage: Stage::Ready, lapsed };
        let (at, part) = work.next().filter(|_| !work.batch.held())?;
        if work.lapsed && scenario.has(Guard::Deadline) {
            return None;
        }
        self.arrives(scenario, &work, part);
        work.stage = Stage::Unknown(at);
        let Work { batch, events, stage, lapsed } = work;
        *self.relays.get_mut(relay)? = Relay::Working { batch, events, stage, lapsed };
        Some(())
    }

    fn settle_part(
        &mut self,
        scenario: &Scenario,
        relay: usize,
        mut work: Work,
        at: usize,
        commit: Commit,
    ) -> Option<Work> {
        let token = work.part(at)?.token;
        work.done(token);
        if work.next().is_none() {
            return self.settle(scenario, relay, &work, commit); // the last part settles with its batch
        }
        self.fenced(scenario, relay, work.batch.no, Guard::SettleFence)?;
        self.before_commit(commit);
        let parts = &mut self.db.batch(work.batch.no)?.parts;
        parts.iter_mut().filter(|part| part.token == token).for_each(|part| part.done = true);
        self.after_commit(commit);
        Some(Work { stage: Stage::Ready, ..work })
    }

    fn settle(&mut self, scenario: &Scenario, relay: usize, work: &Work, commit: Commit) -> Option<Work> {
        self.fenced(scenario, relay, work.batch.no, Guard::SettleFence)?;
        self.before_commit(commit);
        self.db.batches.retain(|batch| batch.no != work.batch.no);
        self.after_commit(commit);
        None
    }

    /// Bisects a part; a single event goes to a held batch, or stays there.
    fn refused_part(
        &mut self,
        scenario: &Scenario,
        relay: usize,
        mut work: Work,
        at: usize,
        commit: Commit,
    ) -> Option<Work> {
        let part = work.part(at)?;
        if part.ordinals.count_ones() < 2 {
            // Of a held batch, only what keeps other parts waiting.
            let alone = work.batch.parts.iter().filter(|part| !part.done).count() < 2;
            return if work.batch.held() && alone { None } else { self.hold(scenario, relay, work, at, commit) };
        }
        let commit = frozen(scenario, commit);
        self.fenced(scenario, relay, work.batch.no, Guard::FreezeFence)?;
        let first = 1 << part.ordinals.trailing_zeros();
        let token = self.new_token();
        let halves = [
            Part { token, ordinals: first, done: false },
            Part { token: token + 1, ordinals: part.ordinals & !first, done: false },
        ];
        self.before_commit(commit);
        for parts in [&mut self.db.batch(work.batch.no)?.parts, &mut work.batch.parts] {
            parts.iter_mut().filter(|stored| stored.token == part.token).for_each(|part| part.done = true);
            parts.extend(halves);
        }
        self.after_commit(commit);
        Some(Work { stage: Stage::Ready, ..work })
    }

    /// Moves a part, token and all, to a batch of its own whose events are kept apart.
    fn hold(&mut self, scenario: &Scenario, relay: usize, mut work: Work, at: usize, commit: Commit) -> Option<Work> {
        let commit = frozen(scenario, commit);
        let part = work.part(at)?;
        self.fenced(scenario, relay, work.batch.no, Guard::FreezeFence)?;
        let events = work.of(part);
        let n = events.count_ones();
        let held = Batch {
            no: self.new_no(),
            kind: Kind::Held { replay: work.batch.replay() },
            n: n as u8,
            parts: vec![Part { ordinals: all(n as usize), ..part }],
            events,
            window: Window::NONE,
            ..work.batch.clone()
        };
        self.before_commit(commit);
        let parts = &mut self.db.batch(work.batch.no)?.parts;
        parts.iter_mut().filter(|stored| stored.token == part.token).for_each(|part| part.done = true);
        self.db.batches.push(held);
        self.after_commit(commit);
        work.done(part.token);
        Some(Work { stage: Stage::Ready, ..work })
    }
}

/// How a statement commits that stores what is going to be sent.
fn frozen(scenario: &Scenario, commit: Commit) -> Commit {
    if scenario.has(Guard::DurableFreeze) { Commit::Durable } else { commit }
}
