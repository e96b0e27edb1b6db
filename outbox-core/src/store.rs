//! Where events wait: [`Store`], the contract that every database behind the relay keeps.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use uuid::Uuid;

use crate::{Claim, PartDraft, PartRecord, Retry, Route, Status, StoredEvent};

/// An outbox in a database, as the relay sees it.
///
/// The relay never picks rows twice: it seals batches ([`plan`](Store::plan)), claims one under a lease, reads it,
/// freezes its parts, delivers them, settles it. What a store promises:
///
/// 1. An event is in exactly one batch of a route, and only once its transaction has committed.
/// 2. A sealed batch is durable before `plan` returns, and reads back the same events in the same order for ever.
/// 3. A frozen part is durable before `freeze` returns.
/// 4. `freeze`, `replace`, `settle_part`, `settle`, `renew` and `release` are fenced: once another claim of the batch exists, they fail
///    with [`StoreErrorKind::LeaseLost`] and change nothing.
/// 5. `settle` and `claim` need not be durable: losing them delivers the same parts again under the same tokens.
/// 6. Nothing is pruned before every route has settled it.
pub trait Store: Clone + Send + Sync + 'static {
    /// Creates or upgrades the tables, under a lock: any number of processes may call it at once.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    fn setup(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Makes sure that the tables are there in a version that this store understands, and that the route exists; a new
    /// route starts at the oldest event that is kept.
    ///
    /// # Errors
    /// [`StoreErrorKind::Schema`] that says what to run when they are not.
    fn open(&self, route: &Route) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Seals what is waiting into batches. An idle call writes nothing.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was sealed, or it was and the next call goes on from there.
    fn plan(&self, request: &PlanRequest) -> impl Future<Output = Result<Planned, StoreError>> + Send;

    /// Claims the oldest batch that nobody holds and that may be tried now.
    ///
    /// # Errors
    /// [`StoreError`].
    fn claim(
        &self,
        route: &Route,
        owner: Uuid,
        lease: Duration,
    ) -> impl Future<Output = Result<Option<Claim>, StoreError>> + Send;

    /// The batch's events, the same ones in the same order at every call.
    ///
    /// # Errors
    /// [`StoreErrorKind::Mismatch`] when their number is not what was sealed.
    fn read(&self, claim: &Claim) -> impl Future<Output = Result<Vec<StoredEvent>, StoreError>> + Send;

    /// Stores parts, each under a new random token, before their first send.
    ///
    /// # Errors
    /// [`StoreError`].
    fn freeze(
        &self,
        claim: &Claim,
        drafts: Vec<PartDraft>,
    ) -> impl Future<Output = Result<Vec<PartRecord>, StoreError>> + Send;

    /// Marks the part `no` as done and stores `draft` as a new part in its place, under a new token: all or nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    fn replace(
        &self,
        claim: &Claim,
        no: i32,
        draft: PartDraft,
    ) -> impl Future<Output = Result<PartRecord, StoreError>> + Send;

    /// Marks one of several parts as delivered.
    ///
    /// # Errors
    /// [`StoreError`].
    fn settle_part(&self, claim: &Claim, no: i32) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Reports the whole batch as delivered.
    ///
    /// # Errors
    /// [`StoreError`].
    fn settle(&self, claim: &Claim) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Keeps the lease for another `lease` from now.
    ///
    /// # Errors
    /// [`StoreError`].
    fn renew(&self, claim: &Claim, lease: Duration) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Gives the lease back.
    ///
    /// # Errors
    /// [`StoreError`].
    fn release(&self, claim: &Claim, release: &Release) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Removes what every route has settled. Returns how many partitions or rows went, in the store's own measure.
    ///
    /// # Errors
    /// [`StoreError`].
    fn prune(&self) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// The outbox's state.
    ///
    /// # Errors
    /// [`StoreError`].
    fn status(&self) -> impl Future<Output = Result<Status, StoreError>> + Send;
}

/// How to cut batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanRequest {
    /// For which route.
    pub route: Route,
    /// This many waiting events make a batch at once.
    pub rows: u32,
    /// Fewer are sealed when the oldest has waited this long, by the database's clock.
    pub linger: Duration,
    /// The most events in a batch.
    pub rows_max: u32,
    /// A batch is cut when its events reach this size; it may be larger by one event.
    pub bytes_max: u64,
    /// The most batches to seal in one call.
    pub batches_max: u32,
}

/// What [`Store::plan`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planned {
    /// Events sealed.
    pub rows: u64,
    /// Batches sealed.
    pub batches: u32,
    /// Somebody else was planning: ask again soon.
    pub contended: bool,
}

/// How to give a lease back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Nobody claims the batch again before this time has passed.
    pub delay: Duration,
    /// Why, for `status`: never holds a payload or a password. None when nothing failed.
    pub error: Option<String>,
    /// Whether it waits for a person.
    pub parked: bool,
}

/// What kind of failure a [`StoreError`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// Another relay has claimed the batch: drop the work.
    LeaseLost,
    /// The database is not there or asks to try again.
    Unavailable,
    /// The tables are missing, or of a version or a database that this store must not touch.
    Schema,
    /// A batch does not read back as it was sealed: park it and raise an alarm.
    Mismatch,
}

/// A store's failure. `Display` says what happened and what to do; it never holds a payload or a password.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    operation: &'static str,
    message: Cow<'static, str>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl StoreError {
    /// A failure of the given kind. `operation` is the step's name ("plan").
    pub fn new(kind: StoreErrorKind, operation: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, operation, message: message.into(), source: None }
    }

    /// The lease went to somebody else.
    #[must_use]
    pub fn lease_lost(operation: &'static str) -> Self {
        Self::new(StoreErrorKind::LeaseLost, operation, "another relay has claimed the batch since")
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// When it may be tried again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self.kind {
            StoreErrorKind::Unavailable => Retry::Later,
            StoreErrorKind::LeaseLost | StoreErrorKind::Schema | StoreErrorKind::Mismatch => Retry::Never,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, self.message)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
