//! [`MySqlStore`]: the contract's steps, each a few statements on one connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use diesel::{ConnectionResult, QueryResult};
use diesel_async::{AsyncMysqlConnection, SimpleAsyncConnection};
use outbox_core::{
    BatchId, Claim, HeldBatch, Hold, Load, PartDraft, PartRecord, PlanRequest, Planned, Release, ReplayRequest,
    Replayed, Route, RouteSpec, SchemaRecord, Status, Store, StoreError, StoreErrorKind, StoredEvent,
};
use uuid::Uuid;

use super::connections::{Connections, Step, by_url};
use super::plan::Swept;
use super::{batches, held, operate, plan, prune, replay, routes, setup};
use crate::{Tables, parts};

/// A relay needs one connection for its work and one to renew a lease beside it.
const CONNECTIONS_MAX: usize = 4;

/// How long a step may take.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);

/// How long installing, counting and replaying may take.
const LONG_STEP_TIMEOUT: Duration = Duration::from_secs(600);

/// The outbox in a MySQL (8.0.13 or later) or MariaDB (10.6 or later) database.
///
/// Nothing is written per event but the event: a batch is one row, which says what it holds as ranges of numbers. Each commit
/// is as durable as the server's `innodb_flush_log_at_trx_commit` makes it; a value other than 1 is warned about at the start.
#[derive(Clone)]
pub struct MySqlStore {
    connections: Connections,
    swept: Arc<Mutex<HashMap<Route, Swept>>>,
}

impl std::fmt::Debug for MySqlStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MySqlStore").finish_non_exhaustive()
    }
}

impl MySqlStore {
    /// A store that connects to `url` (`mysql://user:password@host/database`), without TLS, when it is first used: up to four
    /// connections per store.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self::with_connect(by_url(url))
    }

    /// A store whose connections `connect` makes: for TLS, or what a URL does not say. The store changes their settings, so they
    /// must be its own.
    #[must_use]
    pub fn with_connect<F>(connect: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ConnectionResult<AsyncMysqlConnection>> + Send + 'static,
    {
        Self { connections: Connections::new(CONNECTIONS_MAX, Tables::new(), connect), swept: Arc::default() }
    }

    /// The same over other tables: default `outbox_event` and so on, in the database of the URL.
    #[must_use]
    pub fn with_tables(self, tables: Tables) -> Self {
        Self { connections: self.connections.with_tables(tables), swept: Arc::default() }
    }

    /// A store over `url`, after a look whether MySQL answers there.
    ///
    /// # Errors
    /// [`StoreError`] with MySQL's reason when it does not.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        let store = Self::new(url);
        store.step("connect", || async move |step| step.conn.batch_execute("DO 1").await).await?;
        Ok(store)
    }

    async fn step<T, F>(&self, operation: &'static str, step: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: AsyncFnOnce(&mut Step<'_>) -> QueryResult<T>,
    {
        self.connections.run(operation, STEP_TIMEOUT, step).await
    }

    async fn fenced<F>(&self, operation: &'static str, step: impl Fn() -> F) -> Result<(), StoreError>
    where
        F: AsyncFnOnce(&mut Step<'_>) -> QueryResult<bool>,
    {
        match self.step(operation, step).await? {
            true => Ok(()),
            false => Err(StoreError::lease_lost(operation)),
        }
    }

    async fn freeze_all(
        &self,
        operation: &'static str,
        claim: &Claim,
        replaces: Option<i32>,
        drafts: &[PartDraft],
    ) -> Result<Vec<PartRecord>, StoreError> {
        let frozen = self.step(operation, || async move |step| batches::freeze(step, claim, replaces, drafts).await);
        frozen.await?.ok_or_else(|| StoreError::lease_lost(operation))
    }

    async fn check_server(&self, operation: &'static str) -> Result<(), StoreError> {
        self.step(operation, || async move |step| setup::server(step).await).await?.check(operation)
    }

    fn sweeps(&self) -> std::sync::MutexGuard<'_, HashMap<Route, Swept>> {
        self.swept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MySqlStore {
    async fn setup(&self) -> Result<(), StoreError> {
        self.check_server("setup").await?;
        let found =
            self.connections.run("setup", LONG_STEP_TIMEOUT, || async move |step| setup::setup(step).await).await?;
        setup::check("setup", found.max(setup::MIGRATIONS.len()))?;
        tracing::info!(found, version = setup::MIGRATIONS.len(), "outbox tables are ready");
        Ok(())
    }

    async fn open(&self, route: &RouteSpec) -> Result<(), StoreError> {
        self.check_server("open").await?;
        setup::check("open", self.step("open", || async move |step| setup::version(step).await).await?)?;
        self.connections.run("open", LONG_STEP_TIMEOUT, || async move |step| routes::open(step, route).await).await
    }

    async fn remove_route(&self, route: &Route) -> Result<bool, StoreError> {
        self.step("remove route", || async move |step| routes::remove(step, route).await).await
    }

    async fn plan(&self, request: &PlanRequest) -> Result<Planned, StoreError> {
        let sweep = Swept::is_due(self.sweeps().get(&request.route).copied());
        let (planned, swept) = self.step("plan", || async move |step| plan::plan(step, request, sweep).await).await?;
        if let Some(swept) = swept {
            self.sweeps().insert(request.route.clone(), swept);
        }
        Ok(planned)
    }

    async fn claim(&self, route: &Route, owner: Uuid, lease: Duration) -> Result<Option<Claim>, StoreError> {
        let claimed = self.step("claim", || async move |step| batches::claim(step, route, owner, lease).await).await?;
        claimed.map(|claimed| claimed.row.claim(route, owner, claimed.parts, claimed.parked_tables)).transpose()
    }

    async fn read(&self, claim: &Claim) -> Result<Vec<StoredEvent>, StoreError> {
        let read = self.step("read", || async move |step| batches::read(step, claim).await).await;
        let events = read.and_then(|events| parts::complete(claim, events));
        if events.as_ref().is_err_and(|error| error.kind() == StoreErrorKind::Mismatch) {
            // Settled and pruned by another relay while this one stood still: no alarm.
            self.fenced("read", || async move |step| batches::is_held(step, claim, "").await).await?;
        }
        events
    }

    async fn freeze(&self, claim: &Claim, drafts: Vec<PartDraft>) -> Result<Vec<PartRecord>, StoreError> {
        self.freeze_all("freeze", claim, None, &drafts).await
    }

    async fn replace(&self, claim: &Claim, no: i32, drafts: Vec<PartDraft>) -> Result<Vec<PartRecord>, StoreError> {
        self.freeze_all("replace", claim, Some(no), &drafts).await
    }

    async fn hold(&self, claim: &Claim, hold: &Hold) -> Result<BatchId, StoreError> {
        let held = self.step("hold", || async move |step| held::hold(step, claim, hold).await).await?;
        held.ok_or_else(|| StoreError::lease_lost("hold"))
    }

    async fn settle_part(&self, claim: &Claim, no: i32) -> Result<(), StoreError> {
        self.fenced("settle", || async move |step| batches::settle_part(step, claim, no).await).await
    }

    async fn settle(&self, claim: &Claim) -> Result<(), StoreError> {
        self.fenced("settle", || async move |step| batches::settle(step, claim).await).await
    }

    async fn renew(&self, claim: &Claim, lease: Duration) -> Result<(), StoreError> {
        self.fenced("renew", || async move |step| batches::renew(step, claim, lease).await).await
    }

    async fn release(&self, claim: &Claim, release: &Release) -> Result<(), StoreError> {
        self.fenced("release", || async move |step| batches::release(step, claim, release).await).await
    }

    async fn prune(&self, keep: Duration) -> Result<u64, StoreError> {
        let mut rows = 0;
        loop {
            let pruned = self.step("prune", || async move |step| prune::prune(step, keep).await).await?;
            rows += pruned.rows;
            if !pruned.more {
                return Ok(rows);
            }
        }
    }

    async fn replay(&self, request: &ReplayRequest) -> Result<Replayed, StoreError> {
        self.connections
            .run("replay", LONG_STEP_TIMEOUT, || async move |step| replay::replay(step, request).await)
            .await
    }

    async fn register(&self, schemas: &[SchemaRecord]) -> Result<(), StoreError> {
        self.step("register", || async move |step| operate::register(step, schemas).await).await
    }

    async fn schemas(&self) -> Result<Vec<SchemaRecord>, StoreError> {
        self.step("schemas", || async move |step| operate::schemas(step).await).await
    }

    async fn set_full(&self, full: bool) -> Result<(), StoreError> {
        self.step("limit", || async move |step| operate::set_full(step, full).await).await
    }

    async fn load(&self) -> Result<Load, StoreError> {
        self.step("load", || async move |step| operate::load(step).await).await
    }

    async fn held(&self, limit: u32) -> Result<Vec<HeldBatch>, StoreError> {
        self.step("held", || async move |step| held::list(step, limit).await).await
    }

    async fn held_events(&self, batch: BatchId) -> Result<Option<Vec<StoredEvent>>, StoreError> {
        self.step("held", || async move |step| held::events_of(step, batch).await).await
    }

    async fn retry_held(&self, batch: BatchId) -> Result<bool, StoreError> {
        self.step("retry", || async move |step| held::retry(step, batch).await).await
    }

    async fn discard_held(&self, batch: BatchId) -> Result<bool, StoreError> {
        self.step("discard", || async move |step| held::discard(step, batch).await).await
    }

    async fn status(&self) -> Result<Status, StoreError> {
        setup::check("status", self.step("status", || async move |step| setup::version(step).await).await?)?;
        self.connections.run("status", LONG_STEP_TIMEOUT, || async move |step| operate::status(step).await).await
    }
}
