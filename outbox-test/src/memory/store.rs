//! [`MemoryStore`]: the contract of a store, in memory.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use outbox_core::{
    BatchId, Claim, Clock, EncodeError, EventLog, HeldBatch, Hold, Load, Moment, PartDraft, PartRecord, PlanRequest,
    Planned, Release, ReplayRequest, Replayed, Route, RouteSpec, SchemaRecord, Status, Store, StoreError,
    StoreErrorKind, StoredEvent,
};
use uuid::Uuid;

use super::inspect::{Lease, SealedBatch};
use super::state::State;
use super::tx::MemoryTx;

/// How a step of the store is to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFault {
    /// Nothing is done, and the answer is [`StoreErrorKind::Unavailable`].
    Refuse,
    /// The step is done, and the answer is [`StoreErrorKind::Unavailable`].
    LoseReply,
}

/// An outbox in memory. Clones share it.
///
/// It never forgets which batches it sealed, so that a test can ask: it is not for production, and not for millions of
/// events.
#[derive(Clone)]
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
    faults: Arc<Mutex<VecDeque<StoreFault>>>,
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

impl MemoryStore {
    /// An empty outbox. `clock` times leases, delays and lingering.
    #[must_use]
    pub fn new(clock: impl Clock) -> Self {
        Self::with_seed(clock, fastrand::u64(..))
    }

    /// As [`new`](Self::new); the same seed makes the same tokens.
    #[must_use]
    pub fn with_seed(clock: impl Clock, seed: u64) -> Self {
        Self { clock: Arc::new(clock), state: Arc::new(Mutex::new(State::new(seed))), faults: Arc::default() }
    }

    /// Begins a transaction.
    #[must_use]
    pub fn begin(&self) -> MemoryTx {
        MemoryTx::new(self.clone())
    }

    /// Emits one event in a transaction of its own, which commits, and returns its id.
    ///
    /// # Errors
    /// [`EncodeError`] when it cannot be an outbox row.
    pub fn emit<E: EventLog + ?Sized>(&self, event: &E) -> Result<Uuid, EncodeError> {
        let mut tx = self.begin();
        let id = tx.emit(event)?;
        tx.commit();
        Ok(id)
    }

    /// Makes the next step that has no fault yet fail. Every call of the contract but `setup`, `open` and `status` is a
    /// step.
    pub fn fail_next(&self, fault: StoreFault) {
        lock(&self.faults).push_back(fault);
    }

    /// The committed events that are not pruned, in their order.
    #[must_use]
    pub fn events(&self) -> Vec<StoredEvent> {
        let state = self.state();
        let committed = state.rows.iter().filter(|(_, row)| row.committed);
        committed.map(|(seq, row)| StoredEvent { seq: *seq, event: row.event.clone() }).collect()
    }

    /// Every batch that was ever sealed, in the order of sealing.
    #[must_use]
    pub fn sealed(&self) -> Vec<SealedBatch> {
        self.state().sealed.clone()
    }

    /// The ids of an open batch's events, in their order; empty when it is settled.
    #[must_use]
    pub fn events_of(&self, batch: BatchId) -> Vec<Uuid> {
        self.state().ids_of(batch)
    }

    /// The ids of the events that a route has put aside.
    #[must_use]
    pub fn held_ids(&self, route: &Route) -> Vec<Uuid> {
        self.state().held_ids(route)
    }

    /// Of these, the ids of the events that wait for a person.
    #[must_use]
    pub fn dead_ids(&self, route: &Route) -> Vec<Uuid> {
        self.state().dead_ids(route)
    }

    /// Whether `emit` is to be refused, as [`set_full`](Store::set_full) said last.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.state().full
    }

    /// Who holds `batch`. None: it is settled, or was never sealed.
    #[must_use]
    pub fn lease(&self, batch: BatchId) -> Option<Lease> {
        self.state().batches.get(&batch).map(|batch| batch.lease)
    }

    /// Takes an event out of the table, as an operator's mistake would. A batch that held it does not read back.
    pub fn lose(&self, id: Uuid) {
        self.state().rows.retain(|_, row| row.event.id != id);
    }

    pub(super) fn now(&self) -> Moment {
        self.clock.now()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn step<T>(
        &self,
        operation: &'static str,
        effect: impl FnOnce(&mut State, Moment) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let fault = lock(&self.faults).pop_front();
        let refused = StoreError::new(StoreErrorKind::Unavailable, operation, "told to fail");
        match fault {
            Some(StoreFault::Refuse) => Err(refused),
            Some(StoreFault::LoseReply) => effect(&mut self.state(), self.now()).and(Err(refused)),
            None => effect(&mut self.state(), self.now()),
        }
    }
}

impl Store for MemoryStore {
    async fn setup(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn open(&self, route: &RouteSpec) -> Result<(), StoreError> {
        self.state().open(route);
        Ok(())
    }

    async fn remove_route(&self, route: &Route) -> Result<bool, StoreError> {
        self.step("remove route", |state, _| Ok(state.remove_route(route)))
    }

    async fn plan(&self, request: &PlanRequest) -> Result<Planned, StoreError> {
        self.step("plan", |state, now| state.plan(request, now))
    }

    async fn claim(&self, route: &Route, owner: Uuid, lease: Duration) -> Result<Option<Claim>, StoreError> {
        self.step("claim", |state, now| Ok(state.claim(route, owner, lease, now)))
    }

    async fn read(&self, claim: &Claim) -> Result<Vec<StoredEvent>, StoreError> {
        self.step("read", |state, _| state.read(claim))
    }

    async fn freeze(&self, claim: &Claim, drafts: Vec<PartDraft>) -> Result<Vec<PartRecord>, StoreError> {
        self.step("freeze", |state, _| state.freeze("freeze", claim, None, drafts))
    }

    async fn replace(&self, claim: &Claim, no: i32, drafts: Vec<PartDraft>) -> Result<Vec<PartRecord>, StoreError> {
        self.step("replace", |state, _| state.freeze("replace", claim, Some(no), drafts))
    }

    async fn hold(&self, claim: &Claim, hold: &Hold) -> Result<BatchId, StoreError> {
        self.step("hold", |state, now| state.hold(claim, hold, now))
    }

    async fn settle_part(&self, claim: &Claim, no: i32) -> Result<(), StoreError> {
        self.step("settle", |state, _| state.settle_part(claim, no))
    }

    async fn settle(&self, claim: &Claim) -> Result<(), StoreError> {
        self.step("settle", |state, _| state.settle(claim))
    }

    async fn renew(&self, claim: &Claim, lease: Duration) -> Result<(), StoreError> {
        self.step("renew", |state, now| state.renew(claim, lease, now))
    }

    async fn release(&self, claim: &Claim, release: &Release) -> Result<(), StoreError> {
        self.step("release", |state, now| state.release(claim, release, now))
    }

    async fn prune(&self, keep: Duration) -> Result<u64, StoreError> {
        self.step("prune", |state, now| Ok(state.prune(|written| now.since(written) >= keep)))
    }

    /// Of all that is kept: this store's clock knows no dates.
    async fn replay(&self, request: &ReplayRequest) -> Result<Replayed, StoreError> {
        self.step("replay", |state, _| state.replay(request, |_| true))
    }

    async fn register(&self, schemas: &[SchemaRecord]) -> Result<(), StoreError> {
        self.step("register", |state, _| {
            let keyed = schemas.iter().map(|schema| ((schema.event_type.clone(), schema.version), schema.clone()));
            state.schemas.extend(keyed);
            Ok(())
        })
    }

    async fn schemas(&self) -> Result<Vec<SchemaRecord>, StoreError> {
        Ok(self.state().schemas.values().cloned().collect())
    }

    async fn set_full(&self, full: bool) -> Result<(), StoreError> {
        self.step("limit", |state, _| {
            state.full = full;
            Ok(())
        })
    }

    async fn load(&self) -> Result<Load, StoreError> {
        Ok(self.state().load(self.now()))
    }

    async fn held(&self, limit: u32) -> Result<Vec<HeldBatch>, StoreError> {
        Ok(self.state().held_batches(limit))
    }

    async fn held_events(&self, batch: BatchId) -> Result<Option<Vec<StoredEvent>>, StoreError> {
        let state = self.state();
        let held = state.batches.get(&batch).and_then(|batch| batch.held.as_ref());
        Ok(held.map(|held| held.events.clone()))
    }

    async fn retry_held(&self, batch: BatchId) -> Result<bool, StoreError> {
        self.step("retry", |state, now| Ok(state.retry_held(batch, now)))
    }

    async fn discard_held(&self, batch: BatchId) -> Result<bool, StoreError> {
        self.step("discard", |state, now| Ok(state.discard_held(batch, now)))
    }

    async fn status(&self) -> Result<Status, StoreError> {
        Ok(self.state().status(self.now()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
