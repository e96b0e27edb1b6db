//! The steps on batches: claim, read, freeze, settle, renew, release. All but claiming and reading are fenced.

use std::time::Duration;

use outbox_core::{
    BatchId, BatchStatus, Claim, Moment, PartDraft, PartRecord, Release, Route, RouteStatus, Status, StoreError,
    StoreErrorKind, StoredEvent,
};
use uuid::Uuid;

use super::inspect::Lease;
use super::state::State;

/// How many failing batches `status` shows.
const FAILING_MAX: usize = 10;

/// A sealed batch that is not settled.
#[derive(Debug)]
pub(super) struct Batch {
    route: Route,
    seqs: Vec<i64>,
    bytes: u64,
    pub lease: Lease,
    parts: Vec<PartRecord>,
    parked: bool,
    error: Option<String>,
}

impl Batch {
    pub(super) fn new(route: Route, seqs: Vec<i64>, bytes: u64) -> Self {
        let lease = Lease { owner: None, attempt: 0, until: Moment::new(Duration::ZERO) };
        Self { route, seqs, bytes, lease, parts: Vec::new(), parked: false, error: None }
    }

    fn is_held_by(&self, claim: &Claim) -> bool {
        self.lease.owner == Some(claim.owner) && self.lease.attempt == claim.attempt
    }
}

impl State {
    pub(super) fn claim(&mut self, route: &Route, owner: Uuid, lease: Duration, now: Moment) -> Option<Claim> {
        let free = |batch: &Batch| batch.route == *route && batch.lease.until <= now;
        let (id, batch) = self.batches.iter_mut().find(|(_, batch)| free(batch))?;
        batch.lease = Lease { owner: Some(owner), attempt: batch.lease.attempt + 1, until: now.after(lease) };
        Some(Claim {
            batch: *id,
            route: route.clone(),
            owner,
            attempt: batch.lease.attempt,
            rows: u32::try_from(batch.seqs.len()).unwrap_or(u32::MAX),
            bytes: batch.bytes,
            bounds: batch.seqs.iter().map(i64::to_string).collect::<Vec<_>>().join(","),
            parts: batch.parts.clone(),
        })
    }

    pub(super) fn read(&self, claim: &Claim) -> Result<Vec<StoredEvent>, StoreError> {
        let wrong = |message: String| StoreError::new(StoreErrorKind::Mismatch, "read", message);
        let seqs: Result<Vec<i64>, _> = claim.bounds.split(',').map(str::parse).collect();
        let seqs = seqs.map_err(|_| wrong("the batch's bounds are unreadable".into()))?;
        let stored = |seq| self.rows.get(&seq).map(|row| StoredEvent { seq, event: row.event.clone() });
        let events: Vec<StoredEvent> = seqs.into_iter().filter_map(stored).collect();
        match u32::try_from(events.len()) == Ok(claim.rows) {
            true => Ok(events),
            // Its events may be pruned by now: that is no mistake of anybody's.
            false if !self.batches.get(&claim.batch).is_some_and(|batch| batch.is_held_by(claim)) => {
                Err(StoreError::lease_lost("read"))
            }
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
        if let Some(batch) = self.batches.remove(&claim.batch) {
            for seq in &batch.seqs {
                if let Some(row) = self.rows.get_mut(seq) {
                    row.owed.remove(&batch.route);
                }
            }
        }
        Ok(())
    }

    pub(super) fn renew(&mut self, claim: &Claim, lease: Duration, now: Moment) -> Result<(), StoreError> {
        self.held("renew", claim)?.lease.until = now.after(lease);
        Ok(())
    }

    pub(super) fn release(&mut self, claim: &Claim, release: &Release, now: Moment) -> Result<(), StoreError> {
        let batch = self.held("release", claim)?;
        batch.lease.owner = None;
        batch.lease.until = now.after(release.delay);
        batch.parked = release.parked;
        if release.error.is_some() {
            batch.error.clone_from(&release.error);
        }
        Ok(())
    }

    pub(super) fn status(&self, now: Moment) -> Status {
        let routes = self.routes.iter().map(|(route, waiting)| {
            let batches: Vec<(&BatchId, &Batch)> = self.batches.iter().filter(|(_, b)| b.route == *route).collect();
            let events = |batch: &Batch| batch.seqs.len() as u64;
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
                unsealed_events: waiting.len() as u64,
                sealed_events: batches.iter().map(|(_, batch)| events(batch)).sum(),
                open_batches: batches.len() as u64,
                parked_batches: batches.iter().filter(|(_, batch)| batch.parked).count() as u64,
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
