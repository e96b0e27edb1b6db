//! [`PostgresStore`]: the contract's steps as calls of the outbox functions.

use std::sync::Arc;
use std::time::Duration;

use diesel::query_builder::SqlQuery;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Uuid as SqlUuid};
use diesel::{ConnectionResult, QueryResult};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use outbox_core::{
    BatchId, Claim, HeldBatch, Hold, Load, PartDraft, PartRecord, PlanRequest, Planned, Release, ReplayRequest,
    Replayed, Route, RouteSpec, RouteStart, SchemaRecord, Status, Store, StoreError, StoreErrorKind, StoredEvent,
};
use tokio_postgres::tls::TlsStream;
use tokio_postgres::{Client, Connection, Socket};
use uuid::Uuid;

use super::connections::Connections;
use super::floors::Floors;
use super::prepared::Prepare;
use super::read::Reading;
use super::rows::{Count, Flag, PlanRow};
use super::setup;
use crate::{Tables, parts};

/// A relay needs one connection for its work and one to renew a lease beside it.
const CONNECTIONS_MAX: usize = 4;

/// How long a step may take: sealing 200,000 events takes a third of a second.
pub(super) const STEP_TIMEOUT: Duration = Duration::from_secs(30);

/// How long installing and counting may take.
pub(super) const LONG_STEP_TIMEOUT: Duration = Duration::from_secs(600);

/// The outbox in a PostgreSQL database (13 or later).
///
/// Every step is one short transaction, and no step relies on a setting of the session. Through a connection pooler in transaction
/// mode it wants [`behind_pooler`](PostgresStore::behind_pooler). Only sealing and freezing are
/// synchronous commits, claims and settlements are not (losing one delivers the same part again under the same token).
#[derive(Clone)]
pub struct PostgresStore {
    pub(super) connections: Connections,
    pub(super) tables: Arc<Tables>,
    pub(super) reading: Arc<Reading>,
    pub(super) floors: Floors,
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStore").finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// A store that connects to `url`, without TLS, when it is first used: up to four connections per store.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self::over(Connections::to(url, CONNECTIONS_MAX))
    }

    /// A store whose connections `connect` makes with [`tokio_postgres`]: for TLS, or what a URL does not say.
    #[must_use]
    pub fn with_clients<F, S>(connect: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(Client, Connection<Socket, S>), tokio_postgres::Error>> + Send + 'static,
        S: TlsStream + Unpin + Send + 'static,
    {
        Self::over(Connections::with_clients(connect, CONNECTIONS_MAX))
    }

    /// A store whose connections `connect` makes with Diesel. Through them a relay takes about a third more CPU time for a large
    /// backlog than through [`with_clients`](Self::with_clients), because a task of its own reads each of them.
    #[must_use]
    pub fn with_connect<F>(connect: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ConnectionResult<AsyncPgConnection>> + Send + 'static,
    {
        Self::over(Connections::with(connect, CONNECTIONS_MAX))
    }

    fn over(connections: Connections) -> Self {
        let tables = Tables::new();
        let reading = Arc::new(Reading::of(&tables));
        Self { connections, tables: Arc::new(tables), reading, floors: Floors::default() }
    }

    /// The same over other tables: default `outbox_event` and so on, in the first schema of the connection's search path.
    #[must_use]
    pub fn with_tables(self, tables: Tables) -> Self {
        Self { reading: Arc::new(Reading::of(&tables)), tables: Arc::new(tables), floors: Floors::default(), ..self }
    }

    /// The same through a pooler in transaction mode (PgBouncer's `pool_mode = transaction`): each step is one transaction, with no
    /// prepared statement, lock or setting that outlives it. It costs two more round trips a step. Connections of your own
    /// ([`with_connect`](Self::with_connect)) must then come from [`behind_pooler`](super::behind_pooler).
    ///
    /// [`listen`](Self::listen) hears nothing through a pooler: polling does.
    #[must_use]
    pub fn behind_pooler(self) -> Self {
        Self { connections: self.connections.behind_pooler(), ..self }
    }

    /// A store over `url`, after a look whether PostgreSQL answers there.
    ///
    /// # Errors
    /// [`StoreError`] with PostgreSQL's reason when it does not.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        let store = Self::new(url);
        store.reach().await?;
        Ok(store)
    }

    /// Looks whether PostgreSQL answers.
    ///
    /// # Errors
    /// [`StoreError`] with PostgreSQL's reason when it does not.
    pub async fn reach(&self) -> Result<(), StoreError> {
        self.step("connect", async |conn| conn.batch_execute("SELECT 1").await).await
    }

    /// One short transaction. After a failure the floors are looked up anew: the database may be another one (a standby, a
    /// restore), or have forgotten what was not durable.
    pub(super) async fn step<T>(
        &self,
        operation: &'static str,
        step: impl AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<T>,
    ) -> Result<T, StoreError> {
        self.or_forget(self.connections.run(operation, STEP_TIMEOUT, step).await).await
    }

    async fn or_forget<T>(&self, done: Result<T, StoreError>) -> Result<T, StoreError> {
        if done.is_err() {
            self.floors.forget().await;
        }
        done
    }

    pub(super) fn sql(&self, statement: &str) -> SqlQuery {
        diesel::sql_query(self.tables.sql(statement))
    }

    async fn fenced(
        &self,
        operation: &'static str,
        call: impl AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<Flag>,
    ) -> Result<(), StoreError> {
        match self.step(operation, call).await? {
            Flag { flag: true } => Ok(()),
            Flag { flag: false } => Err(StoreError::lease_lost(operation)),
        }
    }

    async fn still_held(&self, operation: &'static str, claim: &Claim) -> Result<(), StoreError> {
        self.fenced(operation, async |conn| {
            self.sql("SELECT EXISTS (SELECT FROM outbox_batch WHERE no = $1 AND owner = $2 AND attempt = $3) AS flag")
                .bind::<BigInt, _>(claim.batch.0)
                .bind::<SqlUuid, _>(claim.owner)
                .bind::<Integer, _>(claim.attempt)
                .get_result(conn)
                .await
        })
        .await
    }
}

impl Store for PostgresStore {
    async fn setup(&self) -> Result<(), StoreError> {
        let installed = self
            .connections
            .run_transaction("setup", LONG_STEP_TIMEOUT, async |conn| setup::setup(&self.tables, conn).await);
        setup::installed(installed.await?)
    }

    async fn open(&self, route: &RouteSpec) -> Result<(), StoreError> {
        let found = self.step("open", async |conn| setup::version(&self.tables, conn).await).await?;
        setup::check("open", found)?;
        self.step("open", async |conn| {
            self.sql("SELECT outbox_open($1, $2, $3, $4)")
                .bind::<Text, _>(route.route.as_str())
                .bind::<Bool, _>(route.start == RouteStart::Now)
                .bind::<Nullable<Array<Text>>, _>(route.event_types.as_ref())
                .bind::<Bool, _>(route.ordered)
                .execute(conn)
                .await
        })
        .await?;
        Ok(())
    }

    async fn remove_route(&self, route: &Route) -> Result<bool, StoreError> {
        let removed: Flag = self
            .step("remove route", async |conn| {
                let call = self.sql("SELECT outbox_remove_route($1) AS flag");
                call.bind::<Text, _>(route.as_str()).get_result(conn).await
            })
            .await?;
        Ok(removed.flag)
    }

    async fn plan(&self, request: &PlanRequest) -> Result<Planned, StoreError> {
        let row: PlanRow = self
            .step("plan", async |conn| {
                self.sql("SELECT * FROM outbox_plan($1, $2, $3::interval, $4, $5, $6)")
                    .bind::<Text, _>(request.route.as_str())
                    .bind::<Integer, _>(i32::try_from(request.rows).unwrap_or(i32::MAX))
                    .bind::<Text, _>(interval(request.linger))
                    .bind::<Integer, _>(i32::try_from(request.rows_max).unwrap_or(i32::MAX))
                    .bind::<BigInt, _>(i64::try_from(request.bytes_max).unwrap_or(i64::MAX))
                    .bind::<Integer, _>(i32::try_from(request.batches_max).unwrap_or(i32::MAX))
                    .prepared()
                    .get_result(conn)
                    .await
            })
            .await?;
        Ok(Planned {
            rows: row.sealed_rows.unsigned_abs(),
            batches: row.sealed_batches.unsigned_abs(),
            contended: row.state == -1,
        })
    }

    async fn claim(&self, route: &Route, owner: Uuid, lease: Duration) -> Result<Option<Claim>, StoreError> {
        self.claim_batch(route, owner, lease).await
    }

    async fn read(&self, claim: &Claim) -> Result<Vec<StoredEvent>, StoreError> {
        let read = async |conn: &mut AsyncPgConnection| self.reading.read(claim, conn).await;
        let read = match claim.held {
            true => self.connections.run("read", STEP_TIMEOUT, read).await, // a single statement
            false => self.connections.run_transaction("read", STEP_TIMEOUT, read).await,
        };
        let read = self.or_forget(read).await?;
        let events =
            read.ok_or_else(|| StoreError::new(StoreErrorKind::Mismatch, "read", "the batch's bounds are unreadable"));
        let events = events.and_then(|events| parts::complete(claim, events));
        if events.is_err() {
            // Settled and pruned by another relay while this one stood still: no alarm.
            self.still_held("read", claim).await?;
        }
        events
    }

    async fn freeze(&self, claim: &Claim, drafts: Vec<PartDraft>) -> Result<Vec<PartRecord>, StoreError> {
        self.freeze_all("freeze", claim, None, drafts).await
    }

    async fn replace(&self, claim: &Claim, no: i32, drafts: Vec<PartDraft>) -> Result<Vec<PartRecord>, StoreError> {
        self.freeze_all("replace", claim, Some(no), drafts).await
    }

    async fn hold(&self, claim: &Claim, hold: &Hold) -> Result<BatchId, StoreError> {
        self.hold_events(claim, hold).await
    }

    async fn settle_part(&self, claim: &Claim, no: i32) -> Result<(), StoreError> {
        self.fenced("settle", async |conn| {
            self.sql("SELECT outbox_settle_part($1, $2, $3, $4) AS flag")
                .bind::<BigInt, _>(claim.batch.0)
                .bind::<SqlUuid, _>(claim.owner)
                .bind::<Integer, _>(claim.attempt)
                .bind::<Integer, _>(no)
                .prepared()
                .get_result(conn)
                .await
        })
        .await
    }

    async fn settle(&self, claim: &Claim) -> Result<(), StoreError> {
        self.fenced("settle", async |conn| {
            self.sql("SELECT outbox_settle($1, $2, $3) AS flag")
                .bind::<BigInt, _>(claim.batch.0)
                .bind::<SqlUuid, _>(claim.owner)
                .bind::<Integer, _>(claim.attempt)
                .prepared()
                .get_result(conn)
                .await
        })
        .await
    }

    async fn settle_and_claim(&self, claim: &Claim, lease: Duration) -> Result<Option<Claim>, StoreError> {
        self.settle_and_claim_batch(claim, lease).await
    }

    async fn renew(&self, claim: &Claim, lease: Duration) -> Result<(), StoreError> {
        self.fenced("renew", async |conn| {
            self.sql("SELECT outbox_renew($1, $2, $3, $4::interval) AS flag")
                .bind::<BigInt, _>(claim.batch.0)
                .bind::<SqlUuid, _>(claim.owner)
                .bind::<Integer, _>(claim.attempt)
                .bind::<Text, _>(interval(lease))
                .prepared()
                .get_result(conn)
                .await
        })
        .await
    }

    async fn release(&self, claim: &Claim, release: &Release) -> Result<(), StoreError> {
        self.fenced("release", async |conn| {
            self.sql("SELECT outbox_release($1, $2, $3, $4::interval, $5, $6) AS flag")
                .bind::<BigInt, _>(claim.batch.0)
                .bind::<SqlUuid, _>(claim.owner)
                .bind::<Integer, _>(claim.attempt)
                .bind::<Text, _>(interval(release.delay))
                .bind::<Bool, _>(release.parked)
                .bind::<Nullable<Text>, _>(release.error.as_deref().map(crate::reason::kept))
                .get_result(conn)
                .await
        })
        .await
    }

    async fn prune(&self, keep: Duration) -> Result<u64, StoreError> {
        let pruned: Count = self
            .step("prune", async |conn| {
                let call = self.sql("SELECT outbox_prune($1::interval)::bigint AS count");
                call.bind::<Text, _>(interval(keep)).prepared().get_result(conn).await
            })
            .await?;
        Ok(pruned.count.unsigned_abs())
    }

    async fn replay(&self, request: &ReplayRequest) -> Result<Replayed, StoreError> {
        self.seal_again(request).await
    }

    async fn register(&self, schemas: &[SchemaRecord]) -> Result<(), StoreError> {
        self.keep_schemas(schemas).await
    }

    async fn schemas(&self) -> Result<Vec<SchemaRecord>, StoreError> {
        self.known_schemas().await
    }

    async fn set_full(&self, full: bool) -> Result<(), StoreError> {
        self.step("limit", async |conn| {
            let update = self.sql("UPDATE outbox_limit SET is_full = $1 WHERE is_full <> $1");
            update.bind::<Bool, _>(full).execute(conn).await
        })
        .await?;
        Ok(())
    }

    async fn load(&self) -> Result<Load, StoreError> {
        self.measure().await
    }

    async fn held(&self, limit: u32) -> Result<Vec<HeldBatch>, StoreError> {
        self.held_batches(limit).await
    }

    async fn held_events(&self, batch: BatchId) -> Result<Option<Vec<StoredEvent>>, StoreError> {
        self.events_of_held(batch).await
    }

    async fn retry_held(&self, batch: BatchId) -> Result<bool, StoreError> {
        self.on_held("retry", "SELECT outbox_retry_held($1) AS flag", batch).await
    }

    async fn discard_held(&self, batch: BatchId) -> Result<bool, StoreError> {
        self.on_held("discard", "SELECT outbox_discard_held($1) AS flag", batch).await
    }

    async fn status(&self) -> Result<Status, StoreError> {
        let found = self.step("status", async |conn| setup::version(&self.tables, conn).await).await?;
        setup::check("status", found)?;
        self.count_everything().await
    }
}

/// A duration as PostgreSQL reads it, microseconds exact.
pub(super) fn interval(duration: Duration) -> String {
    format!("{}.{:06} seconds", duration.as_secs(), duration.subsec_micros())
}
