//! Where events wait: [`Store`], the contract that every database behind the relay keeps.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    BatchId, Claim, HeldBatch, Hold, PartDraft, PartRecord, Retry, Route, RouteSpec, SchemaRecord, Status, StoredEvent,
};

/// An outbox in a database, as the relay sees it.
///
/// The relay never picks rows twice: it seals batches ([`plan`](Store::plan)), claims one under a lease, reads it,
/// freezes its parts, delivers them, settles it. What a store promises:
///
/// 1. An event is in exactly one batch of a route, and only once its transaction has committed.
/// 2. A sealed batch is durable before `plan` returns, and reads back the same events in the same order for ever.
/// 3. A frozen part is durable before `freeze` returns.
/// 4. `freeze`, `replace`, `hold`, `settle_part`, `settle`, `renew` and `release` are fenced: once another claim of the batch
///    exists, they fail with [`StoreErrorKind::LeaseLost`] and change nothing.
/// 5. `settle` and `claim` need not be durable: losing them delivers the same parts again under the same tokens.
/// 6. Nothing is pruned before every route has settled or held it.
/// 7. Held events are durable before `hold` returns, and stay until they are delivered or an operator discards them.
/// 8. On an ordered route, one batch is claimed at a time, in the order of sealing, and a batch is in the order of `seq`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the store of an outbox",
    label = "expected `PostgresStore`, `MySqlStore` or `SqliteStore`",
    note = "each is behind a feature of its own: `postgres`, `mysql`, `sqlite`",
    note = "for another database, implement `outbox::Store` and run `outbox_test::conformance::store` over it"
)]
pub trait Store: Clone + Send + Sync + 'static {
    /// Creates or upgrades the tables, under a lock: any number of processes may call it at once.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    fn setup(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Makes sure that the tables are there in a version that this store understands, and that the route exists and is as
    /// `route` says. The last one who opens a route decides its filter and its order, for what is sealed from then on.
    ///
    /// # Errors
    /// [`StoreErrorKind::Schema`] that says what to run when the tables are not there.
    fn open(&self, route: &RouteSpec) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Forgets a route with its batches, held ones included: what it has not delivered, it never will, and pruning waits for
    /// it no more. False: there is no such route. Its relays must have stopped; one that has not is refused from then on.
    ///
    /// # Errors
    /// [`StoreError`].
    fn remove_route(&self, route: &Route) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Seals what is waiting into batches. An idle call writes nothing.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was sealed, or it was and the next call goes on from there.
    fn plan(&self, request: &PlanRequest) -> impl Future<Output = Result<Planned, StoreError>> + Send;

    /// Claims a batch that nobody holds and that may be tried now: the oldest parked one of a destination table, when its time
    /// has come (one a table, and when it is settled, the next one behind it may go at once), or else the oldest that is not
    /// parked. On an ordered route, of these only the oldest, and only when no other batch of the route is in anybody's hands.
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

    /// Marks the part `no` as done and stores `drafts` as new parts in its place, each under a new token: all or nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    fn replace(
        &self,
        claim: &Claim,
        no: i32,
        drafts: Vec<PartDraft>,
    ) -> impl Future<Output = Result<Vec<PartRecord>, StoreError>> + Send;

    /// Moves events of a claimed batch into a new, held batch of the same route, so that the others can be settled and
    /// pruned. In the claimed batch they are in a part that is done from then on: the part that they were in, or, where they
    /// were in none, one that is stored for it, because whoever claims the batch again must not freeze them. All or nothing,
    /// and durable.
    ///
    /// # Errors
    /// [`StoreError`].
    fn hold(&self, claim: &Claim, hold: &Hold) -> impl Future<Output = Result<BatchId, StoreError>> + Send;

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

    /// Reports the whole batch as delivered, and claims the route's next one, for the same owner: one round trip where the
    /// database allows it. The answer is [`claim`](Store::claim)'s.
    ///
    /// # Errors
    /// [`StoreError`]. [`StoreErrorKind::LeaseLost`] is about the batch to settle, and then nothing is claimed.
    fn settle_and_claim(
        &self,
        claim: &Claim,
        lease: Duration,
    ) -> impl Future<Output = Result<Option<Claim>, StoreError>> + Send {
        async move {
            self.settle(claim).await?;
            self.claim(&claim.route, claim.owner, lease).await
        }
    }

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

    /// Removes what every route has settled and what is older than `keep`, by the database's clock. Zero keeps nothing.
    /// `keep` is the most that is kept: a store that needs the room may remove settled events earlier. Returns how many
    /// partitions or rows went, in the store's own measure.
    ///
    /// # Errors
    /// [`StoreError`].
    fn prune(&self, keep: Duration) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Seals settled events that are still kept into batches once more, for one route: see [`ReplayRequest`]. Passes over
    /// what an open batch of the route has, in hands or not, and what is held, parked or dead, whatever is settled or put
    /// aside meanwhile: that goes out anyway, and would come twice.
    ///
    /// # Errors
    /// [`StoreError`].
    fn replay(&self, request: &ReplayRequest) -> impl Future<Output = Result<Replayed, StoreError>> + Send;

    /// Keeps what is known of event types, for relays that do not know the Rust types. A record of the same name and version
    /// replaces the one before.
    ///
    /// # Errors
    /// [`StoreError`].
    fn register(&self, schemas: &[SchemaRecord]) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Everything that was [registered](Store::register).
    ///
    /// # Errors
    /// [`StoreError`].
    fn schemas(&self) -> impl Future<Output = Result<Vec<SchemaRecord>, StoreError>> + Send;

    /// Whether `emit` refuses events from now on, in every process, because the outbox is over its limits.
    ///
    /// # Errors
    /// [`StoreError`].
    fn set_full(&self, full: bool) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// How much waits, cheaply enough to be asked every few seconds whatever the backlog.
    ///
    /// # Errors
    /// [`StoreError`].
    fn load(&self) -> impl Future<Output = Result<Load, StoreError>> + Send;

    /// The held batches, oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    fn held(&self, limit: u32) -> impl Future<Output = Result<Vec<HeldBatch>, StoreError>> + Send;

    /// The events of a held batch. None: there is no such held batch.
    ///
    /// # Errors
    /// [`StoreError`].
    fn held_events(&self, batch: BatchId) -> impl Future<Output = Result<Option<Vec<StoredEvent>>, StoreError>> + Send;

    /// Lets a held batch be tried now: a dead one under new tokens, after a look whether its events have arrived
    /// meanwhile. False: there is no such held batch, or it is in a relay's hands.
    ///
    /// # Errors
    /// [`StoreError`].
    fn retry_held(&self, batch: BatchId) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Deletes a held batch with its events. False: there is no such held batch, or it is in a relay's hands.
    ///
    /// # Errors
    /// [`StoreError`].
    fn discard_held(&self, batch: BatchId) -> impl Future<Output = Result<bool, StoreError>> + Send;

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

/// Which events to deliver once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayRequest {
    /// To which route.
    pub route: Route,
    /// Written at this time or later, by the database's clock.
    pub from: DateTime<Utc>,
    /// Written before this time.
    pub to: DateTime<Utc>,
    /// Send all of them, those that are at the destination too. Otherwise the sink looks first, and what it finds is not
    /// sent again.
    pub all: bool,
    /// The most events in a batch.
    pub rows_max: u32,
    /// As in [`PlanRequest`].
    pub bytes_max: u64,
}

/// What [`Store::load`] found: what waits for the slowest route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Events that some route has not settled, held ones included. May be an estimate: gaps in `seq` count as events.
    pub rows: u64,
    /// Bytes on disk, of everything that is stored.
    pub bytes: u64,
    /// Of the oldest of them, by the database's clock.
    pub oldest_age: Duration,
    /// Held events.
    pub held: u64,
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

/// What [`Store::replay`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Events sealed once more.
    pub rows: u64,
    /// Batches of them.
    pub batches: u32,
    /// Events of that time that were passed over, because an open batch has them or they are held.
    pub passed_over: u64,
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
