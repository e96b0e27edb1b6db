//! [`SqliteStore`]: the contract's steps on ranges of row numbers.

use std::time::Duration;

use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};
use diesel::{QueryResult, RunQueryDsl, SqliteConnection, sql_query};
use outbox_core::{
    BatchId, Claim, PartDraft, PartRecord, PlanRequest, Planned, Release, Route, Status, Store, StoreError,
    StoreErrorKind, StoredEvent,
};
use uuid::Uuid;

use super::connection::{Durability, SETUP, SharedConnection};
use super::cut::cut;
use super::rows::{BatchRow, EventRow, Number, PartRow, Seq, Waiting};
use super::setup;
use crate::parts;
use crate::status::{FailingRow, RouteRow};

/// The database's clock in milliseconds, as the columns have it.
const NOW_MS: &str = "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)";

/// How many rows one step of pruning deletes: few, so that writers never wait long for the lock.
const PRUNE_ROWS: i64 = 2_000;

/// The outbox in a SQLite file.
///
/// The file is put into WAL mode. Sealing and freezing are commits with `synchronous = FULL`, the others with `NORMAL`
/// (losing one delivers the same part again under the same token). Steps run on tokio's blocking threads, one at a time.
#[derive(Clone)]
pub struct SqliteStore {
    conn: SharedConnection,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// A store over the file at `path`, which may also be a `sqlite://` URL. Opened when first used, created when
    /// missing. `:memory:` is not useful here: each connection would have a database of its own.
    #[must_use]
    pub fn new(path: &str) -> Self {
        Self { conn: SharedConnection::new(path.strip_prefix("sqlite://").unwrap_or(path)) }
    }

    /// Runs a step under the write lock, when `claim` still holds its batch.
    async fn fenced<T: Send + 'static>(
        &self,
        operation: &'static str,
        durability: Durability,
        claim: &Claim,
        step: impl FnOnce(&mut SqliteConnection) -> QueryResult<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (no, owner, attempt) = (claim.batch.0, claim.owner.to_string(), claim.attempt);
        let done = self.conn.run(operation, durability, move |conn| {
            conn.immediate_transaction(|conn| {
                let held: Number =
                    sql_query("SELECT count(*) AS number FROM outbox_batch WHERE no = ? AND owner = ? AND attempt = ?")
                        .bind::<BigInt, _>(no)
                        .bind::<Text, _>(owner)
                        .bind::<Integer, _>(attempt)
                        .get_result(conn)?;
                match held.number {
                    Some(1) => step(conn).map(Some),
                    _ => Ok(None),
                }
            })
        });
        done.await?.ok_or_else(|| StoreError::lease_lost(operation))
    }

    async fn freeze_all(
        &self,
        operation: &'static str,
        claim: &Claim,
        replaces: Option<i32>,
        drafts: Vec<PartDraft>,
    ) -> Result<Vec<PartRecord>, StoreError> {
        let batch = claim.batch.0;
        self.fenced(operation, Durability::Full, claim, move |conn| {
            if let Some(no) = replaces {
                finish_part(conn, batch, no)?;
            }
            let next: Number = sql_query("SELECT coalesce(max(no) + 1, 0) AS number FROM outbox_part WHERE batch = ?")
                .bind::<BigInt, _>(batch)
                .get_result(conn)?;
            let first = i32::try_from(next.number.unwrap_or(0)).unwrap_or(i32::MAX);
            let insert = |(no, draft): (i32, PartDraft)| {
                let token = Uuid::new_v4();
                sql_query(
                    "INSERT INTO outbox_part (batch, no, token, destination, ordinals, statement, mark) \
                     VALUES (?, ?, ?, ?, ?, ?, ?)",
                )
                .bind::<BigInt, _>(batch)
                .bind::<Integer, _>(no)
                .bind::<Text, _>(token.to_string())
                .bind::<Text, _>(&draft.table)
                .bind::<Text, _>(crate::ordinals::encode(&draft.ordinals))
                .bind::<Text, _>(&draft.frozen.statement)
                .bind::<Text, _>(&draft.frozen.mark)
                .execute(conn)?;
                Ok(PartRecord { no, token, done: false, draft })
            };
            (first..).zip(drafts).map(insert).collect()
        })
        .await
    }
}

impl Store for SqliteStore {
    async fn setup(&self) -> Result<(), StoreError> {
        let found = self.conn.run(SETUP, Durability::Full, setup::setup).await?;
        setup::check("setup", found.max(setup::MIGRATIONS.len()))?;
        tracing::info!(found, version = setup::MIGRATIONS.len(), "outbox tables are ready");
        Ok(())
    }

    async fn open(&self, route: &Route) -> Result<(), StoreError> {
        setup::check("open", self.conn.run("open", Durability::Process, setup::version).await?)?;
        let route = route.as_str().to_owned();
        self.conn
            .run("open", Durability::Full, move |conn| {
                sql_query("INSERT INTO outbox_cursor (route, pos) VALUES (?, 0) ON CONFLICT (route) DO NOTHING")
                    .bind::<Text, _>(route)
                    .execute(conn)
            })
            .await?;
        Ok(())
    }

    async fn plan(&self, request: &PlanRequest) -> Result<Planned, StoreError> {
        let request = request.clone();
        self.conn.run("plan", Durability::Full, move |conn| plan(conn, &request)).await
    }

    async fn claim(&self, route: &Route, owner: Uuid, lease: Duration) -> Result<Option<Claim>, StoreError> {
        let name = route.as_str().to_owned();
        let claimed = self.conn.run("claim", Durability::Process, move |conn| claim(conn, &name, owner, lease));
        let Some((row, parts)) = claimed.await? else { return Ok(None) };
        let rows = u32::try_from(row.n).unwrap_or(u32::MAX);
        Ok(Some(Claim {
            batch: BatchId(row.no),
            route: route.clone(),
            owner,
            attempt: row.attempt,
            rows,
            bytes: row.bytes.unsigned_abs(),
            bounds: format!("{} {}", row.lo, row.hi),
            parts: parts.into_iter().map(|part| part.record(rows)).collect::<Result<_, _>>()?,
        }))
    }

    async fn read(&self, claim: &Claim) -> Result<Vec<StoredEvent>, StoreError> {
        let bounds = claim.bounds.split_once(' ').and_then(|(lo, hi)| Some((lo.parse().ok()?, hi.parse().ok()?)));
        let (lo, hi): (i64, i64) = bounds
            .ok_or_else(|| StoreError::new(StoreErrorKind::Mismatch, "read", "the batch's bounds are unreadable"))?;
        let events = self.conn.run("read", Durability::Process, move |conn| {
            sql_query(
                "SELECT seq, id, event_type, version, occurred_at, environment, destination, key, headers, payload \
                 FROM outbox_event WHERE seq > ? AND seq <= ? ORDER BY seq",
            )
            .bind::<BigInt, _>(lo)
            .bind::<BigInt, _>(hi)
            .load::<EventRow>(conn)?
            .into_iter()
            .map(StoredEvent::try_from)
            .collect()
        });
        let events = parts::complete(claim, events.await?);
        if events.is_err() {
            // Settled and pruned by another relay while this one stood still: no alarm.
            self.fenced("read", Durability::Process, claim, |_| Ok(())).await?;
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
        let batch = claim.batch.0;
        self.fenced("settle", Durability::Process, claim, move |conn| finish_part(conn, batch, no)).await
    }

    async fn settle(&self, claim: &Claim) -> Result<(), StoreError> {
        let batch = claim.batch.0;
        self.fenced("settle", Durability::Process, claim, move |conn| {
            sql_query("DELETE FROM outbox_part WHERE batch = ?").bind::<BigInt, _>(batch).execute(conn)?;
            sql_query("DELETE FROM outbox_batch WHERE no = ?").bind::<BigInt, _>(batch).execute(conn).map(drop)
        })
        .await
    }

    async fn renew(&self, claim: &Claim, lease: Duration) -> Result<(), StoreError> {
        let batch = claim.batch.0;
        self.fenced("renew", Durability::Process, claim, move |conn| {
            sql_query(format!("UPDATE outbox_batch SET lease_until = {NOW_MS} + ? WHERE no = ?"))
                .bind::<BigInt, _>(millis(lease))
                .bind::<BigInt, _>(batch)
                .execute(conn)
                .map(drop)
        })
        .await
    }

    async fn release(&self, claim: &Claim, release: &Release) -> Result<(), StoreError> {
        let (batch, release) = (claim.batch.0, release.clone());
        self.fenced("release", Durability::Process, claim, move |conn| {
            sql_query(format!(
                "UPDATE outbox_batch SET owner = NULL, lease_until = {NOW_MS} + ?, parked = ?, \
                 error = coalesce(?, error) WHERE no = ?"
            ))
            .bind::<BigInt, _>(millis(release.delay))
            .bind::<Bool, _>(release.parked)
            .bind::<Nullable<Text>, _>(release.error)
            .bind::<BigInt, _>(batch)
            .execute(conn)
            .map(drop)
        })
        .await
    }

    async fn prune(&self) -> Result<u64, StoreError> {
        let mut pruned = 0;
        loop {
            let step = self.conn.run("prune", Durability::Process, prune_step).await?;
            pruned += u64::try_from(step).unwrap_or(0);
            if i64::try_from(step).unwrap_or(0) < PRUNE_ROWS {
                return Ok(pruned);
            }
        }
    }

    async fn status(&self) -> Result<Status, StoreError> {
        setup::check("status", self.conn.run("status", Durability::Process, setup::version).await?)?;
        self.conn.run("status", Durability::Process, status).await
    }
}

fn plan(conn: &mut SqliteConnection, request: &PlanRequest) -> QueryResult<Planned> {
    // Looks first without the write lock: an idle call writes nothing and waits for nobody.
    let waiting: Waiting = sql_query(format!(
        "SELECT c.pos, count(e.seq) AS waiting, coalesce({NOW_MS} - min(e.created_at), 0) AS age_ms FROM outbox_cursor c \
         LEFT JOIN (SELECT seq, created_at FROM outbox_event \
                     WHERE seq > (SELECT pos FROM outbox_cursor WHERE route = ?1) ORDER BY seq LIMIT ?2) e ON true \
         WHERE c.route = ?1"
    ))
    .bind::<Text, _>(request.route.as_str())
    .bind::<BigInt, _>(i64::from(request.rows.max(1)))
    .get_result(conn)?;
    // An event from the future is one from before the clock was set back: no reason to wait.
    let patient = waiting.waiting < i64::from(request.rows) && (0..millis(request.linger)).contains(&waiting.age_ms);
    if waiting.waiting == 0 || patient {
        return Ok(Planned::default());
    }
    conn.immediate_transaction(|conn| {
        let pos: Number = sql_query("SELECT pos AS number FROM outbox_cursor WHERE route = ?")
            .bind::<Text, _>(request.route.as_str())
            .get_result(conn)?;
        let pos = pos.number.unwrap_or(waiting.pos);
        let limit = i64::from(request.rows_max).saturating_mul(i64::from(request.batches_max));
        let rows: Vec<Seq> = sql_query("SELECT seq, bytes FROM outbox_event WHERE seq > ? ORDER BY seq LIMIT ?")
            .bind::<BigInt, _>(pos)
            .bind::<BigInt, _>(limit)
            .load(conn)?;
        let rows: Vec<(i64, i64)> = rows.into_iter().map(|row| (row.seq, row.bytes)).collect();
        let cuts = cut(pos, &rows, request.rows_max, request.bytes_max);
        for batch in &cuts {
            sql_query("INSERT INTO outbox_batch (route, lo, hi, n, bytes) VALUES (?, ?, ?, ?, ?)")
                .bind::<Text, _>(request.route.as_str())
                .bind::<BigInt, _>(batch.lo)
                .bind::<BigInt, _>(batch.hi)
                .bind::<BigInt, _>(batch.rows)
                .bind::<BigInt, _>(batch.bytes)
                .execute(conn)?;
        }
        if let Some(last) = cuts.last() {
            sql_query("UPDATE outbox_cursor SET pos = ? WHERE route = ?")
                .bind::<BigInt, _>(last.hi)
                .bind::<Text, _>(request.route.as_str())
                .execute(conn)?;
        }
        Ok(Planned {
            rows: u64::try_from(rows.len()).unwrap_or(0),
            batches: u32::try_from(cuts.len()).unwrap_or(u32::MAX),
            contended: false,
        })
    })
}

fn claim(
    conn: &mut SqliteConnection,
    route: &str,
    owner: Uuid,
    lease: Duration,
) -> QueryResult<Option<(BatchRow, Vec<PartRow>)>> {
    let free = format!(
        "SELECT no AS number FROM outbox_batch WHERE route = ? AND lease_until < {NOW_MS} ORDER BY parked, no LIMIT 1"
    );
    let look = |conn: &mut SqliteConnection| {
        sql_query(&free)
            .bind::<Text, _>(route)
            .load::<Number>(conn)
            .map(|mut rows| rows.pop().and_then(|row| row.number))
    };
    if look(conn)?.is_none() {
        return Ok(None);
    }
    conn.immediate_transaction(|conn| {
        let Some(no) = look(conn)? else { return Ok(None) };
        let row: BatchRow = sql_query(format!(
            "UPDATE outbox_batch SET owner = ?, attempt = attempt + 1, lease_until = {NOW_MS} + ? WHERE no = ? \
             RETURNING no, lo, hi, n, bytes, attempt"
        ))
        .bind::<Text, _>(owner.to_string())
        .bind::<BigInt, _>(millis(lease))
        .bind::<BigInt, _>(no)
        .get_result(conn)?;
        let parts = sql_query(
            "SELECT no, token, destination, ordinals, statement, mark, done FROM outbox_part WHERE batch = ? ORDER BY no",
        )
        .bind::<BigInt, _>(no)
        .load(conn)?;
        Ok(Some((row, parts)))
    })
}

fn finish_part(conn: &mut SqliteConnection, batch: i64, no: i32) -> QueryResult<()> {
    sql_query("UPDATE outbox_part SET done = 1 WHERE batch = ? AND no = ?")
        .bind::<BigInt, _>(batch)
        .bind::<Integer, _>(no)
        .execute(conn)
        .map(drop)
}

/// Deletes up to [`PRUNE_ROWS`] events before the oldest open batch and before every route's position.
fn prune_step(conn: &mut SqliteConnection) -> QueryResult<usize> {
    let settled: Number = sql_query(
        "SELECT min(coalesce((SELECT min(lo) FROM outbox_batch b WHERE b.route = c.route), c.pos)) AS number \
         FROM outbox_cursor c",
    )
    .get_result(conn)?;
    let first: Number = sql_query("SELECT min(seq) AS number FROM outbox_event").get_result(conn)?;
    match (settled.number, first.number) {
        // Both bounds only grow, so what was settled before the write lock is settled under it.
        (Some(settled), Some(first)) if first <= settled => {
            sql_query("DELETE FROM outbox_event WHERE seq <= min(?, ?)")
                .bind::<BigInt, _>(settled)
                .bind::<BigInt, _>(first.saturating_add(PRUNE_ROWS - 1))
                .execute(conn)
        }
        _ => Ok(0),
    }
}

fn status(conn: &mut SqliteConnection) -> QueryResult<Status> {
    let rows: Vec<RouteRow> = sql_query(format!(
        "SELECT c.route, \
            (SELECT count(*) FROM outbox_event e WHERE e.seq > c.pos) AS unsealed, \
            coalesce((SELECT sum(n) FROM outbox_batch b WHERE b.route = c.route), 0) AS sealed, \
            (SELECT count(*) FROM outbox_batch b WHERE b.route = c.route) AS open_batches, \
            (SELECT count(*) FROM outbox_batch b WHERE b.route = c.route AND b.parked) AS parked, \
            {NOW_MS} - (SELECT created_at FROM outbox_event e WHERE e.seq > \
                coalesce((SELECT min(lo) FROM outbox_batch b WHERE b.route = c.route), c.pos) \
                ORDER BY e.seq LIMIT 1) AS oldest_ms \
         FROM outbox_cursor c ORDER BY c.route"
    ))
    .load(conn)?;
    let stored: Number = sql_query("SELECT count(*) AS number FROM outbox_event").get_result(conn)?;
    let mut routes = Vec::with_capacity(rows.len());
    for row in rows {
        let failing: Vec<FailingRow> = sql_query(
            "SELECT no, attempt, n AS events, parked, error FROM outbox_batch \
             WHERE route = ? AND error IS NOT NULL ORDER BY no DESC LIMIT 10",
        )
        .bind::<Text, _>(&row.route)
        .load(conn)?;
        routes.push(row.status(failing));
    }
    Ok(Status { routes, stored_events: stored.number.unwrap_or(0).unsigned_abs() })
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 2)
}
