//! A store and a sink that kill their process with SIGKILL at a chosen step: no destructor runs, nothing is flushed.

use std::str::FromStr;
use std::time::Duration;

use outbox::{
    BatchId, Claim, Frozen, HeldBatch, Hold, Load, Part, PartDraft, PartRecord, PlanRequest, Planned, Recovery,
    RelayError, Release, ReplayRequest, Replayed, Route, RouteSpec, SchemaRecord, Sink, SinkError, SinkErrorKind,
    Status, Store, StoreError, StoredEvent,
};
use rustix::process::{Signal, getpid, kill_process};
use uuid::Uuid;

/// Where the relay dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Before anything is sealed.
    BeforeSeal,
    /// A batch is sealed, nobody has claimed it.
    AfterSeal,
    /// Claimed, not read.
    AfterClaim,
    /// The parts are frozen, nothing is sent.
    AfterFreeze,
    /// The destination has said yes, nobody has heard it.
    AfterSend,
    /// Delivered, not settled.
    BeforeSettle,
    /// Settled.
    AfterSettle,
}

impl Step {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::BeforeSeal,
        Self::AfterSeal,
        Self::AfterClaim,
        Self::AfterFreeze,
        Self::AfterSend,
        Self::BeforeSettle,
        Self::AfterSettle,
    ];
}

impl FromStr for Step {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|step| format!("{step:?}") == name).ok_or_else(|| format!("no step {name}"))
    }
}

/// Whether a relay did not start because its destination is not there. That may be so right after a client of ClickHouse was
/// killed: version 26.7 aborts at times when that happens, and is started again.
#[must_use]
pub fn is_away(error: &RelayError) -> bool {
    let RelayError::Sink(error) = error else { return false };
    matches!(error.kind(), SinkErrorKind::Unknown | SinkErrorKind::Environment)
}

/// Wraps a store or a sink.
#[derive(Clone, Debug)]
pub struct Crashing<T> {
    inner: T,
    at: Step,
}

impl<T> Crashing<T> {
    /// `inner`, which dies at `at`.
    pub fn new(inner: T, at: Step) -> Self {
        Self { inner, at }
    }

    fn reach(&self, step: Step) {
        if self.at == step {
            kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
            // The signal is delivered before anything else of this process goes on; this is for the compiler's peace.
            std::thread::park();
        }
    }
}

impl<S: Store> Store for Crashing<S> {
    async fn setup(&self) -> Result<(), StoreError> {
        self.inner.setup().await
    }
    async fn open(&self, route: &RouteSpec) -> Result<(), StoreError> {
        self.inner.open(route).await
    }
    async fn remove_route(&self, route: &Route) -> Result<bool, StoreError> {
        self.inner.remove_route(route).await
    }
    async fn plan(&self, request: &PlanRequest) -> Result<Planned, StoreError> {
        self.reach(Step::BeforeSeal);
        let planned = self.inner.plan(request).await?;
        if planned.rows > 0 {
            self.reach(Step::AfterSeal);
        }
        Ok(planned)
    }
    async fn claim(&self, route: &Route, owner: Uuid, lease: Duration) -> Result<Option<Claim>, StoreError> {
        let claim = self.inner.claim(route, owner, lease).await?;
        if claim.is_some() {
            self.reach(Step::AfterClaim);
        }
        Ok(claim)
    }
    async fn read(&self, claim: &Claim) -> Result<Vec<StoredEvent>, StoreError> {
        self.inner.read(claim).await
    }
    async fn freeze(&self, claim: &Claim, drafts: Vec<PartDraft>) -> Result<Vec<PartRecord>, StoreError> {
        let records = self.inner.freeze(claim, drafts).await?;
        self.reach(Step::AfterFreeze);
        Ok(records)
    }
    async fn replace(&self, claim: &Claim, no: i32, drafts: Vec<PartDraft>) -> Result<Vec<PartRecord>, StoreError> {
        self.inner.replace(claim, no, drafts).await
    }
    async fn hold(&self, claim: &Claim, hold: &Hold) -> Result<BatchId, StoreError> {
        self.inner.hold(claim, hold).await
    }
    async fn settle_part(&self, claim: &Claim, no: i32) -> Result<(), StoreError> {
        self.inner.settle_part(claim, no).await
    }
    async fn settle(&self, claim: &Claim) -> Result<(), StoreError> {
        self.reach(Step::BeforeSettle);
        self.inner.settle(claim).await?;
        self.reach(Step::AfterSettle);
        Ok(())
    }
    async fn renew(&self, claim: &Claim, lease: Duration) -> Result<(), StoreError> {
        self.inner.renew(claim, lease).await
    }
    async fn release(&self, claim: &Claim, release: &Release) -> Result<(), StoreError> {
        self.inner.release(claim, release).await
    }
    async fn prune(&self, keep: Duration) -> Result<u64, StoreError> {
        self.inner.prune(keep).await
    }
    async fn replay(&self, request: &ReplayRequest) -> Result<Replayed, StoreError> {
        self.inner.replay(request).await
    }
    async fn register(&self, schemas: &[SchemaRecord]) -> Result<(), StoreError> {
        self.inner.register(schemas).await
    }
    async fn schemas(&self) -> Result<Vec<SchemaRecord>, StoreError> {
        self.inner.schemas().await
    }
    async fn set_full(&self, full: bool) -> Result<(), StoreError> {
        self.inner.set_full(full).await
    }
    async fn load(&self) -> Result<Load, StoreError> {
        self.inner.load().await
    }
    async fn held(&self, limit: u32) -> Result<Vec<HeldBatch>, StoreError> {
        self.inner.held(limit).await
    }
    async fn held_events(&self, batch: BatchId) -> Result<Option<Vec<StoredEvent>>, StoreError> {
        self.inner.held_events(batch).await
    }
    async fn retry_held(&self, batch: BatchId) -> Result<bool, StoreError> {
        self.inner.retry_held(batch).await
    }
    async fn discard_held(&self, batch: BatchId) -> Result<bool, StoreError> {
        self.inner.discard_held(batch).await
    }
    async fn status(&self) -> Result<Status, StoreError> {
        self.inner.status().await
    }
}

impl<S: Sink> Sink for Crashing<S> {
    async fn deliver(&self, part: &Part) -> Result<(), SinkError> {
        self.inner.deliver(part).await?;
        self.reach(Step::AfterSend);
        Ok(())
    }
    async fn check(&self) -> Result<(), SinkError> {
        self.inner.check().await
    }
    async fn freeze(&self, table: &str, events: &[&StoredEvent]) -> Result<Frozen, SinkError> {
        self.inner.freeze(table, events).await
    }
    async fn recover(&self, part: &Part) -> Result<Recovery, SinkError> {
        self.inner.recover(part).await
    }
}
