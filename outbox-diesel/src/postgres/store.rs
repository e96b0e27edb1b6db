//! [`PostgresStore`]: the contract's steps as calls of the outbox functions.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bb8::{Pool, PooledConnection};
use diesel::QueryResult;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Uuid as SqlUuid};
use diesel_async::pooled_connection::AsyncDieselConnectionManager;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use outbox_core::{
    BatchId, BatchStatus, Claim, PartDraft, PartRecord, PlanRequest, Planned, Release, Route, RouteStatus, Status,
    Store, StoreError, StoreErrorKind, StoredEvent,
};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::error::store_error;
use super::rows::{ClaimRow, Count, EventRow, FailingRow, Flag, FloorRow, FrozenRow, PartRow, PlanRow, RouteRow};
use super::setup;
use crate::parts;

type Manager = AsyncDieselConnectionManager<AsyncPgConnection>;

/// A relay needs one connection for its work and one to renew a lease beside it.
const CONNECTIONS_MAX: u32 = 4;

/// How often the smallest open batch is looked up anew.
const FLOOR_AGE_MAX: Duration = Duration::from_secs(1);

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
/// It works through a connection pooler in transaction mode. Every step is one short transaction; only sealing and
/// freezing are synchronous commits, claims and settlements are not (losing one delivers the same part again under the
/// same token).
#[derive(Clone)]
pub struct PostgresStore {
    pool: Pool<Manager>,
    floors: Arc<Mutex<HashMap<Route, Floor>>>,
}

/// A number up to the smallest open batch's of a route, and when it was looked up.
///
/// Per route, because one route's planner is one at a time: a batch with a smaller number cannot appear later.
#[derive(Clone, Copy)]
struct Floor {
    no: i64,
    looked_up: Instant,
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStore").finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// A store over a pool of your own, for TLS and other connection settings.
    #[must_use]
    pub fn new(pool: Pool<Manager>) -> Self {
        Self { pool, floors: Arc::default() }
    }

    /// A store over up to four connections of its own, without TLS. Connects when first used.
    ///
    /// # Errors
    /// [`StoreError`] when the pool cannot be made. Panics outside a tokio runtime.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        let pool = Pool::builder()
            .max_size(CONNECTIONS_MAX)
            .connection_timeout(Duration::from_secs(5))
            .retry_connection(false)
            .build(Manager::new(url))
            .await
            .map_err(|e| {
                StoreError::new(StoreErrorKind::Unavailable, "connect", "cannot reach PostgreSQL").with_source(e)
            })?;
        Ok(Self::new(pool))
    }

    async fn conn(&self, operation: &'static str) -> Result<PooledConnection<'_, Manager>, StoreError> {
        self.pool.get().await.map_err(|error| {
            StoreError::new(StoreErrorKind::Unavailable, operation, format!("cannot reach PostgreSQL: {error}"))
                .with_source(error)
        })
    }

    /// Any number up to the route's smallest open batch's, at most a second old.
    async fn floor(&self, route: &Route, conn: &mut AsyncPgConnection) -> QueryResult<i64> {
        let mut floors = self.floors.lock().await;
        let known = floors.get(route).copied();
        if let Some(known) = known.filter(|known| known.looked_up.elapsed() < FLOOR_AGE_MAX) {
            return Ok(known.no);
        }
        let at_least = known.map_or(0, |known| known.no);
        let found: FloorRow =
            diesel::sql_query("SELECT min(no) AS floor FROM outbox_batch WHERE route = $1 AND no >= $2")
                .bind::<Text, _>(route.as_str())
                .bind::<BigInt, _>(at_least)
                .get_result(conn)
                .await?;
        let no = found.floor.unwrap_or(at_least);
        floors.insert(route.clone(), Floor { no, looked_up: Instant::now() });
        Ok(no)
    }

    /// The next claim looks at every batch again: after a failure the database may be another one (a standby, a restore).
    async fn forget_floors(&self) {
        self.floors.lock().await.clear();
    }

    async fn claim_one(&self, route: &Route, owner: Uuid, lease: Duration) -> Result<Option<Claim>, StoreError> {
        let mut conn = self.conn("claim").await?;
        let floor = self.floor(route, &mut conn).await.map_err(store_error("claim"))?;
        let row: Option<ClaimRow> = diesel::sql_query(
            "SELECT no, attempt, n, bytes, concat_ws(' ', base, tick, lo_xid, lo_seq, hi_xid, hi_seq) AS bounds \
             FROM outbox_claim($1, $2, $3::interval, $4)",
        )
        .bind::<Text, _>(route.as_str())
        .bind::<SqlUuid, _>(owner)
        .bind::<Text, _>(interval(lease))
        .bind::<BigInt, _>(floor)
        .load(&mut conn)
        .await
        .map_err(store_error("claim"))?
        .pop();
        let Some(row) = row else { return Ok(None) };
        // A batch that is claimed for the first time has no parts yet.
        let parts = match row.attempt {
            ..=1 => Vec::new(),
            _ => diesel::sql_query(
                "SELECT no, token, destination, ordinals, statement, mark, done FROM outbox_part WHERE batch = $1 ORDER BY no",
            )
            .bind::<BigInt, _>(row.no)
            .load::<PartRow>(&mut conn)
            .await
            .map_err(store_error("claim"))?,
        };
        let parts = parts.into_iter().map(|part| {
            parts::record(part.no, part.token, part.done, part.destination, &part.ordinals, part.statement, part.mark)
        });
        Ok(Some(Claim {
            batch: BatchId(row.no),
            route: route.clone(),
            owner,
            attempt: row.attempt,
            rows: row.n.unsigned_abs(),
            bytes: row.bytes.unsigned_abs(),
            bounds: row.bounds,
            parts: parts.collect::<Result<_, _>>()?,
        }))
    }

    async fn fenced(
        &self,
        operation: &'static str,
        call: impl AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<Flag>,
    ) -> Result<(), StoreError> {
        let mut conn = self.conn(operation).await?;
        match call(&mut conn).await.map_err(store_error(operation))? {
            Flag { flag: true } => Ok(()),
            Flag { flag: false } => Err(StoreError::lease_lost(operation)),
        }
    }

    async fn freeze_all(
        &self,
        operation: &'static str,
        claim: &Claim,
        replaces: Option<i32>,
        drafts: Vec<PartDraft>,
    ) -> Result<Vec<PartRecord>, StoreError> {
        let mut conn = self.conn(operation).await?;
        let column = |of: fn(&PartDraft) -> String| drafts.iter().map(of).collect::<Vec<_>>();
        let frozen: Vec<FrozenRow> = diesel::sql_query(
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
        .load(&mut conn)
        .await
        .map_err(store_error(operation))?;
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
        setup::setup(&mut *self.conn("setup").await?).await
    }

    async fn open(&self, route: &Route) -> Result<(), StoreError> {
        let mut conn = self.conn("open").await?;
        setup::check(&mut conn).await?;
        diesel::sql_query("SELECT outbox_open($1)")
            .bind::<Text, _>(route.as_str())
            .execute(&mut conn)
            .await
            .map_err(store_error("open"))?;
        Ok(())
    }

    async fn plan(&self, request: &PlanRequest) -> Result<Planned, StoreError> {
        let mut conn = self.conn("plan").await?;
        let row: PlanRow = diesel::sql_query("SELECT * FROM outbox_plan($1, $2, $3::interval, $4, $5, $6)")
            .bind::<Text, _>(request.route.as_str())
            .bind::<Integer, _>(i32::try_from(request.rows).unwrap_or(i32::MAX))
            .bind::<Text, _>(interval(request.linger))
            .bind::<Integer, _>(i32::try_from(request.rows_max).unwrap_or(i32::MAX))
            .bind::<BigInt, _>(i64::try_from(request.bytes_max).unwrap_or(i64::MAX))
            .bind::<Integer, _>(i32::try_from(request.batches_max).unwrap_or(i32::MAX))
            .get_result(&mut conn)
            .await
            .map_err(store_error("plan"))?;
        Ok(Planned {
            rows: row.sealed_rows.unsigned_abs(),
            batches: row.sealed_batches.unsigned_abs(),
            contended: row.state == -1,
        })
    }

    async fn claim(&self, route: &Route, owner: Uuid, lease: Duration) -> Result<Option<Claim>, StoreError> {
        let claimed = self.claim_one(route, owner, lease).await;
        if claimed.is_err() {
            self.forget_floors().await;
        }
        claimed
    }

    async fn read(&self, claim: &Claim) -> Result<Vec<StoredEvent>, StoreError> {
        let bounds: Vec<&str> = claim.bounds.split(' ').collect();
        let &[base, tick, lo_xid, lo_seq, hi_xid, hi_seq] = bounds.as_slice() else {
            return Err(StoreError::new(StoreErrorKind::Mismatch, "read", "the batch's bounds are unreadable"));
        };
        let mut conn = self.conn("read").await?;
        let rows: Vec<EventRow> = conn
            .build_transaction()
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
            .map_err(store_error("read"))?;
        parts::complete(claim, rows.into_iter().map(StoredEvent::from).collect())
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
        let mut conn = self.conn("prune").await?;
        let pruned: Count = diesel::sql_query("SELECT outbox_prune()::bigint AS count")
            .get_result(&mut conn)
            .await
            .map_err(store_error("prune"))?;
        Ok(pruned.count.unsigned_abs())
    }

    async fn status(&self) -> Result<Status, StoreError> {
        let mut conn = self.conn("status").await?;
        setup::check(&mut conn).await?;
        let failed = store_error("status");
        let rows: Vec<RouteRow> =
            diesel::sql_query("SELECT * FROM outbox_status()").load(&mut conn).await.map_err(&failed)?;
        let stored: Count = diesel::sql_query("SELECT count(*) AS count FROM outbox_event")
            .get_result(&mut conn)
            .await
            .map_err(&failed)?;
        let mut routes = Vec::with_capacity(rows.len());
        for row in rows {
            let failing: Vec<FailingRow> = diesel::sql_query(
                "SELECT no, attempt, n, parked, error FROM outbox_batch \
                 WHERE route = $1 AND error IS NOT NULL ORDER BY no DESC LIMIT 10",
            )
            .bind::<Text, _>(&row.route)
            .load(&mut conn)
            .await
            .map_err(&failed)?;
            routes.push(RouteStatus {
                route: row.route,
                unsealed_events: row.unsealed.unsigned_abs(),
                sealed_events: row.sealed.unsigned_abs(),
                open_batches: row.open_batches.unsigned_abs(),
                parked_batches: row.parked.unsigned_abs(),
                oldest_age: row.oldest_ms.map(|ms| Duration::from_millis(ms.unsigned_abs())),
                failing: failing
                    .into_iter()
                    .map(|batch| BatchStatus {
                        batch: batch.no,
                        attempts: batch.attempt,
                        events: u64::from(batch.n.unsigned_abs()),
                        parked: batch.parked,
                        error: batch.error,
                    })
                    .collect(),
            });
        }
        Ok(Status { routes, stored_events: stored.count.unsigned_abs() })
    }
}

/// A duration as PostgreSQL reads it, microseconds exact.
fn interval(duration: Duration) -> String {
    format!("{}.{:06} seconds", duration.as_secs(), duration.subsec_micros())
}
