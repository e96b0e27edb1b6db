//! The steps on batches: claim, read, freeze, settle, renew, release. All but claiming and reading are fenced.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::DateTime;
use outbox_core::{
    BatchId, BatchStatus, Claim, Frozen, HeldBatch, Hold, Load, Moment, PartDraft, PartRecord, Release, Route,
    RouteStatus, Status, StoreError, StoreErrorKind, StoredEvent,
};
use uuid::Uuid;

use super::inspect::Lease;
use super::state::State;

/// How many failing batches `status` shows.
const FAILING_MAX: usize = 10;

/// Events that were put aside.
#[derive(Debug)]
pub(super) struct Held {
    pub table: String,
    pub events: Vec<StoredEvent>,
    pub dead: bool,
    pub code: Option<i32>,
}

/// A sealed batch that is not settled.
#[derive(Debug)]
pub(super) struct Batch {
    pub route: Route,
    seqs: Vec<i64>,
    pub bytes: u64,
    pub lease: Lease,
    parts: Vec<PartRecord>,
    parked: bool,
    error: Option<String>,
    pub replay: bool,
    /// Its events, when they were put aside.
    pub held: Option<Held>,
}

impl Batch {
    pub(super) fn new(route: Route, seqs: Vec<i64>, bytes: u64) -> Self {
        let lease = Lease { owner: None, attempt: 0, until: Moment::new(Duration::ZERO) };
        Self { route, seqs, bytes, lease, parts: Vec::new(), parked: false, error: None, replay: false, held: None }
    }

    fn is_held_by(&self, claim: &Claim) -> bool {
        self.lease.owner == Some(claim.owner) && self.lease.attempt == claim.attempt
    }

    fn rows(&self) -> usize {
        self.held.as_ref().map_or(self.seqs.len(), |held| held.events.len())
    }

    fn is_dead(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.dead)
    }

    /// Where a batch waits in line when it is parked: behind the others of its destination.
    fn destination(&self) -> Option<&str> {
        self.held.as_ref().map(|held| held.table.as_str())
    }

    fn is_in_hands(&self, now: Moment) -> bool {
        self.lease.owner.is_some() && self.lease.until > now
    }
}

impl State {
    pub(super) fn claim(&mut self, route: &Route, owner: Uuid, lease: Duration, now: Moment) -> Option<Claim> {
        let ordered = self.routes.get(route).is_some_and(|progress| progress.spec.ordered);
        let id = self.next_claim(route, ordered, now)?;
        let waits = |batch: &&Batch| batch.route == *route && batch.parked && !batch.is_dead();
        let parked_tables: BTreeSet<String> =
            self.batches.values().filter(waits).filter_map(|batch| batch.destination().map(str::to_owned)).collect();
        let batch = self.batches.get_mut(&id)?;
        batch.lease = Lease { owner: Some(owner), attempt: batch.lease.attempt + 1, until: now.after(lease) };
        Some(Claim {
            batch: id,
            route: route.clone(),
            owner,
            attempt: batch.lease.attempt,
            rows: u32::try_from(batch.rows()).unwrap_or(u32::MAX),
            bytes: batch.bytes,
            bounds: batch.seqs.iter().map(i64::to_string).collect::<Vec<_>>().join(","),
            held: batch.held.is_some(),
            replay: batch.replay,
            parked_tables: match ordered && batch.held.is_none() {
                true => parked_tables.into_iter().collect(),
                false => Vec::new(),
            },
            parts: batch.parts.clone(),
        })
    }

    /// The oldest parked batch of a destination whose time has come, or else the oldest that is not parked.
    fn next_claim(&self, route: &Route, ordered: bool, now: Moment) -> Option<BatchId> {
        let mine = || self.batches.iter().filter(|(_, batch)| batch.route == *route && !batch.is_dead());
        if ordered && mine().any(|(_, batch)| batch.is_in_hands(now)) {
            return None;
        }
        let mut first = BTreeMap::new();
        for (id, batch) in mine().filter(|(_, batch)| batch.parked) {
            first.entry(batch.destination()).or_insert((*id, batch.lease.until));
        }
        let due = first.into_values().filter(|(_, until)| *until <= now).map(|(id, _)| id).min();
        let free = |batch: &Batch| batch.lease.until <= now;
        let mut open = mine().filter(|(_, batch)| !batch.parked);
        due.or_else(|| match ordered {
            true => open.next().filter(|(_, batch)| free(batch)).map(|(id, _)| *id),
            false => open.find(|(_, batch)| free(batch)).map(|(id, _)| *id),
        })
    }

    pub(super) fn read(&self, claim: &Claim) -> Result<Vec<StoredEvent>, StoreError> {
        let wrong = |message: String| StoreError::new(StoreErrorKind::Mismatch, "read", message);
        let batch = self.batches.get(&claim.batch).filter(|batch| batch.is_held_by(claim));
        if claim.held {
            let held = batch.and_then(|batch| batch.held.as_ref()).ok_or_else(|| StoreError::lease_lost("read"))?;
            return Ok(held.events.clone());
        }
        let seqs: Result<Vec<i64>, _> = claim.bounds.split(',').map(str::parse).collect();
        let seqs = seqs.map_err(|_| wrong("the batch's bounds are unreadable".into()))?;
        let stored = |seq| self.rows.get(&seq).map(|row| StoredEvent { seq, event: row.event.clone() });
        let events: Vec<StoredEvent> = seqs.into_iter().filter_map(stored).collect();
        match u32::try_from(events.len()) == Ok(claim.rows) {
            true => Ok(events),
            // Its events may be pruned by now: that is no mistake of anybody's.
            false if batch.is_none() => Err(StoreError::lease_lost("read")),
            false => Err(wrong(format!(
                "batch {} was sealed with {} events and reads back {}",
                claim.batch,
                claim.rows,
                events.len()
            ))),
        }
    }

    pub(super) fn freeze(
        &mut self,
        operation: &'static str,
        claim: &Claim,
        replaces: Option<i32>,
        drafts: Vec<PartDraft>,
    ) -> Result<Vec<PartRecord>, StoreError> {
        self.held(operation, claim)?;
        let tokens: Vec<Uuid> = drafts.iter().map(|_| self.token()).collect();
        let batch = self.held(operation, claim)?;
        for part in batch.parts.iter_mut().filter(|part| Some(part.no) == replaces) {
            part.done = true;
        }
        let first = batch.parts.last().map_or(0, |part| part.no + 1);
        let record = |(no, (draft, token))| PartRecord { no, token, done: false, draft };
        let records: Vec<PartRecord> = (first..).zip(drafts.into_iter().zip(tokens)).map(record).collect();
        batch.parts.extend(records.iter().cloned());
        Ok(records)
    }

    pub(super) fn settle_part(&mut self, claim: &Claim, no: i32) -> Result<(), StoreError> {
        let batch = self.held("settle", claim)?;
        batch.parts.iter_mut().filter(|part| part.no == no).for_each(|part| part.done = true);
        Ok(())
    }

    pub(super) fn settle(&mut self, claim: &Claim) -> Result<(), StoreError> {
        self.held("settle", claim)?;
        let Some(settled) = self.batches.remove(&claim.batch) else { return Ok(()) };
        self.owe_no_more(&settled);
        if settled.parked {
            // What stood in the way is gone: the next one behind it may go at once.
            let behind = |batch: &&mut Batch| {
                batch.route == settled.route
                    && batch.parked
                    && !batch.is_dead()
                    && batch.destination() == settled.destination()
            };
            if let Some(next) = self.batches.values_mut().find(behind)
                && next.lease.owner.is_none()
            {
                next.lease.until = Moment::new(Duration::ZERO);
            }
        }
        Ok(())
    }

    /// The events of a batch that is gone need not be kept for its route, unless another batch has them too.
    fn owe_no_more(&mut self, gone: &Batch) {
        let route = &gone.route;
        // Batches are runs of growing numbers, so hardly any other one comes into question.
        let overlaps = |batch: &&Batch| {
            batch.route == *route && batch.seqs.first() <= gone.seqs.last() && batch.seqs.last() >= gone.seqs.first()
        };
        let others: Vec<&Batch> = self.batches.values().filter(overlaps).collect();
        for seq in &gone.seqs {
            let again = others.iter().any(|batch| batch.seqs.binary_search(seq).is_ok());
            if let Some(row) = self.rows.get_mut(seq).filter(|_| !again) {
                row.owed.remove(route);
            }
        }
    }

    /// Moves events into a batch of their own. The claimed batch keeps its row, so they stay in the table until it is settled.
    pub(super) fn hold(&mut self, claim: &Claim, hold: &Hold, now: Moment) -> Result<BatchId, StoreError> {
        self.held("hold", claim)?;
        let (id, spent) = (self.next_batch(), self.token());
        let batch = self.held("hold", claim)?;
        let mut part = None;
        for record in batch.parts.iter_mut().filter(|record| Some(record.no) == hold.part) {
            part = Some(record.clone());
            (record.done, record.token) = (true, spent);
        }
        if part.is_none() {
            // Whoever claims the batch again must not freeze them.
            let no = batch.parts.last().map_or(0, |part| part.no + 1);
            let draft =
                PartDraft { table: hold.table.clone(), ordinals: hold.ordinals.clone(), frozen: Frozen::default() };
            batch.parts.push(PartRecord { no, token: spent, done: true, draft });
        }
        let ordinals = (0..).take(hold.events.len()).collect();
        let parts = part.filter(|_| !hold.reason.dead).map(|part| PartRecord {
            no: 0,
            done: false,
            draft: PartDraft { ordinals, ..part.draft },
            ..part
        });
        let bytes = hold.events.iter().map(|stored| stored.event.bytes() as u64).sum();
        let held = Held {
            table: hold.table.clone(),
            events: hold.events.clone(),
            dead: hold.reason.dead,
            code: hold.reason.code,
        };
        let mut aside = Batch::new(claim.route.clone(), Vec::new(), bytes);
        aside.lease.until = now.after(hold.delay);
        aside.parked = true;
        aside.error = Some(hold.reason.error.clone());
        aside.replay = batch.replay;
        aside.parts = parts.into_iter().collect();
        aside.held = Some(held);
        self.batches.insert(id, aside);
        Ok(id)
    }

    /// What batches of the route have, open or held.
    pub(super) fn busy(&self, route: &Route) -> BTreeSet<i64> {
        let mine = self.batches.values().filter(|batch| batch.route == *route);
        mine.flat_map(|batch| {
            let held = batch.held.iter().flat_map(|held| &held.events).map(|stored| stored.seq);
            batch.seqs.iter().copied().chain(held)
        })
        .collect()
    }

    pub(super) fn ids_of(&self, batch: BatchId) -> Vec<Uuid> {
        let Some(batch) = self.batches.get(&batch) else { return Vec::new() };
        match &batch.held {
            Some(held) => held.events.iter().map(|stored| stored.event.id).collect(),
            None => batch.seqs.iter().filter_map(|seq| self.rows.get(seq)).map(|row| row.event.id).collect(),
        }
    }

    pub(super) fn held_ids(&self, route: &Route) -> Vec<Uuid> {
        let mine = self.batches.values().filter(|batch| batch.route == *route);
        mine.filter_map(|batch| batch.held.as_ref())
            .flat_map(|held| &held.events)
            .map(|stored| stored.event.id)
            .collect()
    }

    pub(super) fn dead_ids(&self, route: &Route) -> Vec<Uuid> {
        let mine = self.batches.values().filter(|batch| batch.route == *route);
        let dead = mine.filter_map(|batch| batch.held.as_ref()).filter(|held| held.dead);
        dead.flat_map(|held| &held.events).map(|stored| stored.event.id).collect()
    }

    pub(super) fn held_batches(&self, limit: u32) -> Vec<HeldBatch> {
        let held = self.batches.iter().filter_map(|(id, batch)| {
            let held = batch.held.as_ref()?;
            Some(HeldBatch {
                batch: id.0,
                route: batch.route.as_str().to_owned(),
                table: held.table.clone(),
                events: held.events.len() as u64,
                bytes: batch.bytes,
                dead: held.dead,
                code: held.code,
                error: batch.error.clone().unwrap_or_default(),
                attempts: batch.lease.attempt,
                held_at: DateTime::UNIX_EPOCH,
            })
        });
        held.take(limit as usize).collect()
    }

    /// Whether it was there and free: nobody takes a batch out of a relay's hands.
    pub(super) fn retry_held(&mut self, id: BatchId, now: Moment) -> bool {
        let Some(batch) = self.batches.get_mut(&id).filter(|batch| !batch.is_in_hands(now)) else { return false };
        let Some(held) = &mut batch.held else { return false };
        if std::mem::take(&mut held.dead) {
            batch.parts.clear();
            batch.replay = true;
        }
        (batch.lease.owner, batch.lease.until) = (None, Moment::new(Duration::ZERO));
        true
    }

    pub(super) fn discard_held(&mut self, id: BatchId, now: Moment) -> bool {
        let free = self.batches.get(&id).is_some_and(|batch| batch.held.is_some() && !batch.is_in_hands(now));
        free && self.batches.remove(&id).is_some()
    }

    pub(super) fn load(&self, now: Moment) -> Load {
        let owed = || self.rows.values().filter(|row| row.committed && !row.owed.is_empty());
        let held = self.batches.values().filter(|batch| batch.held.is_some()).map(|batch| batch.rows() as u64).sum();
        Load {
            rows: owed().count() as u64 + held,
            bytes: self.rows.values().map(|row| row.event.bytes() as u64).sum(),
            oldest_age: owed().map(|row| now.since(row.written_at)).max().unwrap_or_default(),
            held,
        }
    }

    pub(super) fn renew(&mut self, claim: &Claim, lease: Duration, now: Moment) -> Result<(), StoreError> {
        self.held("renew", claim)?.lease.until = now.after(lease);
        Ok(())
    }

    pub(super) fn release(&mut self, claim: &Claim, release: &Release, now: Moment) -> Result<(), StoreError> {
        let batch = self.held("release", claim)?;
        batch.lease.owner = None;
        batch.lease.until = now.after(release.delay);
        batch.parked = release.parked || (batch.held.is_some() && batch.parked);
        if release.error.is_some() {
            batch.error.clone_from(&release.error);
        }
        Ok(())
    }

    pub(super) fn status(&self, now: Moment) -> Status {
        let routes = self.routes.iter().map(|(route, progress)| {
            let mine = || self.batches.iter().filter(|(_, batch)| batch.route == *route);
            let batches: Vec<(&BatchId, &Batch)> = mine().filter(|(_, batch)| !batch.is_dead()).collect();
            let events = |batch: &Batch| batch.rows() as u64;
            let owed = self.rows.values().filter(|row| row.owed.contains(route));
            let failing = batches.iter().rev().filter_map(|(id, batch)| {
                Some(BatchStatus {
                    batch: id.0,
                    attempts: batch.lease.attempt,
                    events: events(batch),
                    parked: batch.parked,
                    error: batch.error.clone()?,
                })
            });
            RouteStatus {
                route: route.as_str().to_owned(),
                unsealed_events: progress.waiting.len() as u64,
                sealed_events: batches.iter().map(|(_, batch)| events(batch)).sum(),
                open_batches: batches.len() as u64,
                parked_batches: batches.iter().filter(|(_, batch)| batch.parked).count() as u64,
                dead_events: mine().filter(|(_, batch)| batch.is_dead()).map(|(_, batch)| events(batch)).sum(),
                ordered: progress.spec.ordered,
                event_types: progress.spec.event_types.clone(),
                oldest_age: owed.map(|row| now.since(row.written_at)).max(),
                failing: failing.take(FAILING_MAX).collect(),
            }
        });
        let stored_events = self.rows.values().filter(|row| row.committed).count() as u64;
        Status { routes: routes.collect(), stored_events }
    }

    /// The batch, while `claim` is the last one of it and was not given back.
    fn held(&mut self, operation: &'static str, claim: &Claim) -> Result<&mut Batch, StoreError> {
        let batch = self.batches.get_mut(&claim.batch).filter(|batch| batch.is_held_by(claim));
        batch.ok_or_else(|| StoreError::lease_lost(operation))
    }

    fn token(&mut self) -> Uuid {
        uuid::Builder::from_random_bytes(self.rng.u128(..).to_be_bytes()).into_uuid()
    }
}
