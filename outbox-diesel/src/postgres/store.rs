//! [`PostgresStore`]: the contract's steps as calls of the outbox functions.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Uuid as SqlUuid};
use diesel::{ConnectionResult, QueryResult};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use outbox_core::{
    BatchId, Claim, PartDraft, PartRecord, PlanRequest, Planned, Release, Route, Status, Store, StoreError,
    StoreErrorKind, StoredEvent,
};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::connections::{Connections, by_url};
use super::rows::{ClaimRow, Count, EventRow, Flag, FloorRow, FrozenRow, PartRow, PlanRow};
use super::setup;
use crate::parts;
use crate::status::{FailingRow, RouteRow};

/// A relay needs one connection for its work and one to renew a lease beside it.
const CONNECTIONS_MAX: usize = 4;

/// How long a step may take: sealing 200,000 events takes a third of a second.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);

/// How long installing and counting may take.
const LONG_STEP_TIMEOUT: Duration = Duration::from_secs(600);

/// How often the smallest open batch is looked up anew.
const FLOOR_AGE_MAX: Duration = Duration::from_secs(1);

/// How often it is looked up from the beginning: a settlement that a crash undid brings a smaller number back.
const FLOOR_LOOK_BACK: Duration = Duration::from_secs(30);

/// Planner settings for reading a batch: the index order is the batch's order, so anything else would only sort again.
const READ_SETTINGS: &str = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL jit = off; \
    SET LOCAL plan_cache_mode = force_generic_plan";

/// The events between a batch's bounds: those in flight at base and finished by tick, then those started after base.
const READ: &str = "SELECT e.seq, e.id, e.event_type, e.version, e.occurred_at, e.environment, e.destination, e.key, \
    e.headers, e.payload FROM ( \
    (SELECT e.* FROM (SELECT x FROM pg_snapshot_xip($1::pg_snapshot) x \
        WHERE x >= $3::xid8 AND x <= $5::xid8 AND pg_visible_in_snapshot(x, $2::pg_snapshot) ORDER BY x) l \
      CROSS JOIN LATERAL (SELECT * FROM outbox_event e WHERE e.xid = l.x \
        AND e.seq > CASE WHEN l.x = $3::xid8 THEN $4::int8 ELSE -1 END \
        AND e.seq <= CASE WHEN l.x = $5::xid8 THEN $6::int8 ELSE 9223372036854775807 END ORDER BY e.seq) e \
      ORDER BY l.x, e.seq) \
    UNION ALL \
    (SELECT e.* FROM outbox_event e \
      WHERE (e.xid, e.seq) > ( \
            CASE WHEN $3::xid8 < pg_snapshot_xmax($1::pg_snapshot) THEN pg_snapshot_xmax($1::pg_snapshot) ELSE $3::xid8 END, \
            CASE WHEN $3::xid8 < pg_snapshot_xmax($1::pg_snapshot) THEN -1 ELSE $4::int8 END) \
        AND (e.xid, e.seq) <= ($5::xid8, $6::int8) AND pg_visible_in_snapshot(e.xid, $2::pg_snapshot) \
      ORDER BY e.xid, e.seq) \
    ) e ORDER BY e.xid, e.seq";

/// The outbox in a PostgreSQL database (13 or later).
///
/// Every step is one short transaction, and no step relies on a setting of the session; behind a connection pooler in
/// transaction mode it has not been tested, and such a pooler must know prepared statements. Only sealing and freezing are
/// synchronous commits, claims and settlements are not (losing one delivers the same part again under the same token).
#[derive(Clone)]
pub struct PostgresStore {
    connections: Connections,
    floors: Arc<Mutex<HashMap<Route, Floor>>>,
}

/// A number up to the smallest open batch's of a route, and when it was looked up.
///
/// Per route, because one route's planner is one at a time: a batch with a smaller number cannot appear later.
#[derive(Clone, Copy)]
struct Floor {
    no: i64,
    looked_up: Instant,
    from_the_beginning: Instant,
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
        Self::with_connect(by_url(url))
    }

    /// A store whose connections `connect` makes: for TLS, or what a URL does not say.
    #[must_use]
    pub fn with_connect<F>(connect: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ConnectionResult<AsyncPgConnection>> + Send + 'static,
    {
        Self { connections: Connections::new(CONNECTIONS_MAX, connect), floors: Arc::default() }
    }

    /// A store over `url`, after a look whether PostgreSQL answers there.
    ///
    /// # Errors
    /// [`StoreError`] with PostgreSQL's reason when it does not.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        let store = Self::new(url);
        store.step("connect", async |conn| conn.batch_execute("SELECT 1").await).await?;
        Ok(store)
    }

    /// One short transaction. After a failure the floors are looked up anew: the database may be another one (a standby, a
    /// restore), or have forgotten what was not durable.
    async fn step<T>(
        &self,
        operation: &'static str,
        step: impl AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<T>,
    ) -> Result<T, StoreError> {
        let done = self.connections.run(operation, STEP_TIMEOUT, step).await;
        if done.is_err() {
            self.floors.lock().await.clear();
        }
        done
    }

    /// Any number up to the route's smallest open batch's, at most a second old.
    async fn floor(&self, route: &Route, conn: &mut AsyncPgConnection) -> QueryResult<i64> {
        let mut floors = self.floors.lock().await;
        let known = floors.get(route).copied();
        if let Some(known) = known.filter(|known| known.looked_up.elapsed() < FLOOR_AGE_MAX) {
            return Ok(known.no);
        }
        let recent = known.filter(|known| known.from_the_beginning.elapsed() < FLOOR_LOOK_BACK);
        let at_least = recent.map_or(0, |known| known.no);
        let found: FloorRow =
            diesel::sql_query("SELECT min(no) AS floor FROM outbox_batch WHERE route = $1 AND no >= $2")
                .bind::<Text, _>(route.as_str())
                .bind::<BigInt, _>(at_least)
                .get_result(conn)
                .await?;
        let no = found.floor.unwrap_or(at_least);
        let now = Instant::now();
        let from_the_beginning = recent.map_or(now, |known| known.from_the_beginning);
        floors.insert(route.clone(), Floor { no, looked_up: now, from_the_beginning });
        Ok(no)
    }

    /// The claimed batch and its parts: read however often it was claimed, because an operator may set the count back.
    async fn claim_one(
        &self,
        route: &Route,
        owner: Uuid,
        lease: Duration,
    ) -> Result<Option<(ClaimRow, Vec<PartRow>)>, StoreError> {
        self.step("claim", async |conn| {
            let floor = self.floor(route, conn).await?;
            let row: Option<ClaimRow> = diesel::sql_query(
                "SELECT no, attempt, n, bytes, concat_ws(' ', base, tick, lo_xid, lo_seq, hi_xid, hi_seq) AS bounds \
                 FROM outbox_claim($1, $2, $3::interval, $4)",
            )
            .bind::<Text, _>(route.as_str())
            .bind::<SqlUuid, _>(owner)
            .bind::<Text, _>(interval(lease))
            .bind::<BigInt, _>(floor)
            .load(conn)
            .await?
            .pop();
            let Some(row) = row else { return Ok(None) };
            let parts = diesel::sql_query(
                "SELECT no, token, destination, ordinals, statement, mark, done FROM outbox_part WHERE batch = $1 ORDER BY no",
            )
            .bind::<BigInt, _>(row.no)
            .load::<PartRow>(conn)
            .await?;
            Ok(Some((row, parts)))
        })
        .await
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
            diesel::sql_query(
                "SELECT EXISTS (SELECT FROM outbox_batch WHERE no = $1 AND owner = $2 AND attempt = $3) AS flag",
            )
            .bind::<BigInt, _>(claim.batch.0)
            .bind::<SqlUuid, _>(claim.owner)
            .bind::<Integer, _>(claim.attempt)
            .get_result(conn)
            .await
        })
        .await
    }

    async fn freeze_all(
        &self,
        operation: &'static str,
        claim: &Claim,
        replaces: Option<i32>,
        drafts: Vec<PartDraft>,
    ) -> Result<Vec<PartRecord>, StoreError> {
        let column = |of: fn(&PartDraft) -> String| drafts.iter().map(of).collect::<Vec<_>>();
        let frozen: Vec<FrozenRow> = self
            .step(operation, async |conn| {
                diesel::sql_query(
                    "SELECT part_no, part_token FROM outbox_freeze($1, $2, $3, $4, $5, $6, $7, $8) ORDER BY 1",
                )
                .bind::<BigInt, _>(claim.batch.0)
                .bind::<SqlUuid, _>(claim.owner)
                .bind::<Integer, _>(claim.attempt)
                .bind::<Nullable<Integer>, _>(replaces)
                .bind::<Array<Text>, _>(column(|draft| draft.table.clone()))
                .bind::<Array<Text>, _>(column(|draft| crate::ordinals::encode(&draft.ordinals)))
                .bind::<Array<Text>, _>(column(|draft| draft.frozen.statement.clone()))
                .bind::<Array<Text>, _>(column(|draft| draft.frozen.mark.clone()))
                .load(conn)
                .await
            })
            .await?;
        if frozen.len() != drafts.len() {
            return Err(StoreError::lease_lost(operation));
        }
        let record = |(row, draft): (FrozenRow, PartDraft)| PartRecord {
            no: row.part_no,
            token: row.part_token,
            done: false,
            draft,
        };
        Ok(frozen.into_iter().zip(drafts).map(record).collect())
    }
}

impl Store for PostgresStore {
    async fn setup(&self) -> Result<(), StoreError> {
        let installed = self.connections.run("setup", LONG_STEP_TIMEOUT, setup::setup).await?;
        setup::installed(installed)
    }

    async fn open(&self, route: &Route) -> Result<(), StoreError> {
        setup::check("open", self.step("open", setup::version).await?)?;
        self.step("open", async |conn| {
            diesel::sql_query("SELECT outbox_open($1)").bind::<Text, _>(route.as_str()).execute(conn).await
        })
        .await?;
        Ok(())
    }

    async fn plan(&self, request: &PlanRequest) -> Result<Planned, StoreError> {
        let row: PlanRow = self
            .step("plan", async |conn| {
                diesel::sql_query("SELECT * FROM outbox_plan($1, $2, $3::interval, $4, $5, $6)")
                    .bind::<Text, _>(request.route.as_str())
                    .bind::<Integer, _>(i32::try_from(request.rows).unwrap_or(i32::MAX))
                    .bind::<Text, _>(interval(request.linger))
                    .bind::<Integer, _>(i32::try_from(request.rows_max).unwrap_or(i32::MAX))
                    .bind::<BigInt, _>(i64::try_from(request.bytes_max).unwrap_or(i64::MAX))
                    .bind::<Integer, _>(i32::try_from(request.batches_max).unwrap_or(i32::MAX))
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
        let Some((row, parts)) = self.claim_one(route, owner, lease).await? else { return Ok(None) };
        let rows = row.n.unsigned_abs();
        let parts = parts.into_iter().map(|part| {
            let PartRow { no, token, destination, ordinals, statement, mark, done } = part;
            let ordinals = parts::ordinals(&ordinals, rows)?;
            Ok(parts::record(no, token, done, destination, ordinals, statement, mark))
        });
        Ok(Some(Claim {
            batch: BatchId(row.no),
            route: route.clone(),
            owner,
            attempt: row.attempt,
            rows,
            bytes: row.bytes.unsigned_abs(),
            bounds: row.bounds,
            parts: parts.collect::<Result<_, _>>()?,
        }))
    }

    async fn read(&self, claim: &Claim) -> Result<Vec<StoredEvent>, StoreError> {
        let bounds: Vec<&str> = claim.bounds.split(' ').collect();
        let &[base, tick, lo_xid, lo_seq, hi_xid, hi_seq] = bounds.as_slice() else {
            return Err(StoreError::new(StoreErrorKind::Mismatch, "read", "the batch's bounds are unreadable"));
        };
        let rows: Vec<EventRow> = self
            .step("read", async |conn| {
                conn.build_transaction()
                    .read_committed()
                    .read_only()
                    .run(async |conn| {
                        conn.batch_execute(READ_SETTINGS).await?;
                        diesel::sql_query(READ)
                            .bind::<Text, _>(base)
                            .bind::<Text, _>(tick)
                            .bind::<Text, _>(lo_xid)
                            .bind::<Text, _>(lo_seq)
                            .bind::<Text, _>(hi_xid)
                            .bind::<Text, _>(hi_seq)
                            .load::<EventRow>(conn)
                            .await
                    })
                    .await
            })
            .await?;
        let events = parts::complete(claim, rows.into_iter().map(StoredEvent::from).collect());
        if events.is_err() {
            // Settled and pruned by another relay while this one stood still: no alarm.
            self.still_held("read", claim).await?;
        }
        events
    }

    async fn freeze(&self, claim: &Claim, drafts: Vec<PartDraft>) -> Result<Vec<PartRecord>, StoreError> {
        self.freeze_all("freeze", claim, None, drafts).await
    }

    async fn replace(&self, claim: &Claim, no: i32, draft: PartDraft) -> Result<PartRecord, StoreError> {
        let mut records = self.freeze_all("replace", claim, Some(no), vec![draft]).await?;
        records.pop().ok_or_else(|| StoreError::lease_lost("replace"))
    }

    async fn settle_part(&self, claim: &Claim, no: i32) -> Result<(), StoreError> {
        self.fenced("settle", async |conn| {
            diesel::sql_query("SELECT outbox_settle_part($1, $2, $3, $4) AS flag")
                .bind::<BigInt, _>(claim.batch.0)
                .bind::<SqlUuid, _>(claim.owner)
                .bind::<Integer, _>(claim.attempt)
                .bind::<Integer, _>(no)
                .get_result(conn)
                .await
        })
        .await
    }

    async fn settle(&self, claim: &Claim) -> Result<(), StoreError> {
        self.fenced("settle", async |conn| {
            diesel::sql_query("SELECT outbox_settle($1, $2, $3) AS flag")
                .bind::<BigInt, _>(claim.batch.0)
                .bind::<SqlUuid, _>(claim.owner)
                .bind::<Integer, _>(claim.attempt)
                .get_result(conn)
                .await
        })
        .await
    }

    async fn renew(&self, claim: &Claim, lease: Duration) -> Result<(), StoreError> {
        self.fenced("renew", async |conn| {
            diesel::sql_query("SELECT outbox_renew($1, $2, $3, $4::interval) AS flag")
                .bind::<BigInt, _>(claim.batch.0)
                .bind::<SqlUuid, _>(claim.owner)
                .bind::<Integer, _>(claim.attempt)
                .bind::<Text, _>(interval(lease))
                .get_result(conn)
                .await
        })
        .await
    }

    async fn release(&self, claim: &Claim, release: &Release) -> Result<(), StoreError> {
        self.fenced("release", async |conn| {
            diesel::sql_query("SELECT outbox_release($1, $2, $3, $4::interval, $5, $6) AS flag")
                .bind::<BigInt, _>(claim.batch.0)
                .bind::<SqlUuid, _>(claim.owner)
                .bind::<Integer, _>(claim.attempt)
                .bind::<Text, _>(interval(release.delay))
                .bind::<Bool, _>(release.parked)
                .bind::<Nullable<Text>, _>(release.error.as_deref())
                .get_result(conn)
                .await
        })
        .await
    }

    async fn prune(&self) -> Result<u64, StoreError> {
        let pruned: Count = self
            .step("prune", async |conn| {
                diesel::sql_query("SELECT outbox_prune()::bigint AS count").get_result(conn).await
            })
            .await?;
        Ok(pruned.count.unsigned_abs())
    }

    async fn status(&self) -> Result<Status, StoreError> {
        setup::check("status", self.step("status", setup::version).await?)?;
        self.connections.run("status", LONG_STEP_TIMEOUT, status).await
    }
}

async fn status(conn: &mut AsyncPgConnection) -> QueryResult<Status> {
    let rows: Vec<RouteRow> = diesel::sql_query("SELECT * FROM outbox_status()").load(conn).await?;
    let stored: Count = diesel::sql_query("SELECT count(*) AS count FROM outbox_event").get_result(conn).await?;
    let mut routes = Vec::with_capacity(rows.len());
    for row in rows {
        let failing: Vec<FailingRow> = diesel::sql_query(
            "SELECT no, attempt, n::bigint AS events, parked, error FROM outbox_batch \
             WHERE route = $1 AND error IS NOT NULL ORDER BY no DESC LIMIT 10",
        )
        .bind::<Text, _>(&row.route)
        .load(conn)
        .await?;
        routes.push(row.status(failing));
    }
    Ok(Status { routes, stored_events: stored.count.unsigned_abs() })
}

/// A duration as PostgreSQL reads it, microseconds exact.
fn interval(duration: Duration) -> String {
    format!("{}.{:06} seconds", duration.as_secs(), duration.subsec_micros())
}
