//! [`SqliteStore`]: the contract's steps, on one blocking connection.

use std::time::Duration;

use diesel::QueryResult;
use outbox_core::{
    BatchId, Claim, HeldBatch, Hold, Load, PartDraft, PartRecord, PlanRequest, Planned, Release, ReplayRequest,
    Replayed, Route, RouteSpec, SchemaRecord, Status, Store, StoreError, StoreErrorKind, StoredEvent,
};
use uuid::Uuid;

use super::connection::{Durability, SETUP, SharedConnection, Step};
use super::{batches, held, operate, plan, prune, routes, setup};
use crate::{Tables, parts};

/// The outbox in a SQLite file.
///
/// The file is put into WAL mode. Sealing, freezing and holding are commits with `synchronous = FULL`, the others with `NORMAL`
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
    /// A store over the file at `path`, which may also be a `sqlite://` URL. Opened when first used, created by
    /// [`setup`](Store::setup). `:memory:` is not useful here: each connection would have a database of its own.
    #[must_use]
    pub fn new(path: &str) -> Self {
        Self { conn: SharedConnection::new(path.strip_prefix("sqlite://").unwrap_or(path), Tables::new()) }
    }

    /// The same over other tables: default `outbox_event` and so on. SQLite has no schemas; one that is named is not used.
    #[must_use]
    pub fn with_tables(self, tables: Tables) -> Self {
        Self { conn: self.conn.with_tables(tables) }
    }

    async fn fenced<T: Send + 'static>(
        &self,
        operation: &'static str,
        durability: Durability,
        claim: &Claim,
        step: impl FnOnce(&mut Step<'_>, &Claim) -> QueryResult<Option<T>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let claim = claim.clone();
        let done = self.conn.run(operation, durability, move |conn| step(conn, &claim)).await?;
        done.ok_or_else(|| StoreError::lease_lost(operation))
    }

    async fn check(&self, operation: &'static str) -> Result<(), StoreError> {
        setup::check(operation, self.conn.run(operation, Durability::Process, setup::version).await?)
    }
}

fn no_route(operation: &'static str, route: &Route) -> StoreError {
    let message = format!(
        "the outbox has no route '{route}': it was removed while a relay ran; a relay that is started makes it anew, and delivers \
         every event that is kept once more"
    );
    StoreError::new(StoreErrorKind::Schema, operation, message)
}

impl Store for SqliteStore {
    async fn setup(&self) -> Result<(), StoreError> {
        let found = self.conn.run(SETUP, Durability::Full, setup::setup).await?;
        setup::check("setup", found.max(setup::MIGRATIONS.len()))?;
        tracing::info!(found, version = setup::MIGRATIONS.len(), "outbox tables are ready");
        Ok(())
    }

    async fn open(&self, route: &RouteSpec) -> Result<(), StoreError> {
        self.check("open").await?;
        let route = route.clone();
        self.conn.run("open", Durability::Full, move |step| routes::open(step, &route)).await
    }

    async fn remove_route(&self, route: &Route) -> Result<bool, StoreError> {
        let route = route.clone();
        self.conn.run("remove route", Durability::Full, move |step| routes::remove(step, &route)).await
    }

    async fn plan(&self, request: &PlanRequest) -> Result<Planned, StoreError> {
        let asked = request.clone();
        let planned = self.conn.run("plan", Durability::Full, move |step| plan::plan(step, &asked)).await?;
        planned.ok_or_else(|| no_route("plan", &request.route))
    }

    async fn claim(&self, route: &Route, owner: Uuid, lease: Duration) -> Result<Option<Claim>, StoreError> {
        let name = route.clone();
        let claim = move |step: &mut Step<'_>| batches::claim(step, &name, owner, lease);
        let claimed = self.conn.run("claim", Durability::Process, claim).await?;
        claimed.map(|claimed| claimed.row.claim(route, owner, claimed.parts, claimed.parked_tables)).transpose()
    }

    async fn read(&self, claim: &Claim) -> Result<Vec<StoredEvent>, StoreError> {
        let asked = claim.clone();
        let read = self.conn.run("read", Durability::Process, move |step| batches::read(step, &asked)).await;
        let events = read.and_then(|events| match events {
            Some(events) => parts::complete(claim, events),
            None => Err(StoreError::new(StoreErrorKind::Mismatch, "read", "the batch's bounds are unreadable")),
        });
        if events.as_ref().is_err_and(|error| error.kind() == StoreErrorKind::Mismatch) {
            // Settled and pruned by another relay while this one stood still: no alarm.
            let held = |step: &mut Step<'_>, claim: &Claim| Ok(batches::is_held(step, claim)?.then_some(()));
            self.fenced("read", Durability::Process, claim, held).await?;
        }
        events
    }

    async fn freeze(&self, claim: &Claim, drafts: Vec<PartDraft>) -> Result<Vec<PartRecord>, StoreError> {
        let freeze = move |step: &mut Step<'_>, claim: &Claim| batches::freeze(step, claim, None, drafts);
        self.fenced("freeze", Durability::Full, claim, freeze).await
    }

    async fn replace(&self, claim: &Claim, no: i32, drafts: Vec<PartDraft>) -> Result<Vec<PartRecord>, StoreError> {
        let freeze = move |step: &mut Step<'_>, claim: &Claim| batches::freeze(step, claim, Some(no), drafts);
        self.fenced("replace", Durability::Full, claim, freeze).await
    }

    async fn hold(&self, claim: &Claim, hold: &Hold) -> Result<BatchId, StoreError> {
        let hold = hold.clone();
        self.fenced("hold", Durability::Full, claim, move |step, claim| held::hold(step, claim, &hold)).await
    }

    async fn settle_part(&self, claim: &Claim, no: i32) -> Result<(), StoreError> {
        let settle = move |step: &mut Step<'_>, claim: &Claim| batches::settle_part(step, claim, no);
        self.fenced("settle", Durability::Process, claim, settle).await
    }

    async fn settle(&self, claim: &Claim) -> Result<(), StoreError> {
        self.fenced("settle", Durability::Process, claim, batches::settle).await
    }

    async fn renew(&self, claim: &Claim, lease: Duration) -> Result<(), StoreError> {
        let renew = move |step: &mut Step<'_>, claim: &Claim| batches::renew(step, claim, lease);
        self.fenced("renew", Durability::Process, claim, renew).await
    }

    async fn release(&self, claim: &Claim, release: &Release) -> Result<(), StoreError> {
        let release = release.clone();
        let release = move |step: &mut Step<'_>, claim: &Claim| batches::release(step, claim, &release);
        self.fenced("release", Durability::Process, claim, release).await
    }

    async fn prune(&self, keep: Duration) -> Result<u64, StoreError> {
        let mut pruned = 0;
        loop {
            // A step each, so that writers get their turn in between.
            let rows = self.conn.run("prune", Durability::Process, move |step| prune::prune(step, keep)).await?;
            pruned += rows as u64;
            if i64::try_from(rows).unwrap_or(0) < prune::ROWS_MAX {
                return Ok(pruned);
            }
        }
    }

    async fn replay(&self, request: &ReplayRequest) -> Result<Replayed, StoreError> {
        let asked = request.clone();
        let sealed = self.conn.run("replay", Durability::Full, move |step| plan::replay(step, &asked)).await?;
        sealed.ok_or_else(|| no_route("replay", &request.route))
    }

    async fn register(&self, schemas: &[SchemaRecord]) -> Result<(), StoreError> {
        let schemas = schemas.to_vec();
        self.conn.run("register", Durability::Full, move |step| operate::register(step, &schemas)).await
    }

    async fn schemas(&self) -> Result<Vec<SchemaRecord>, StoreError> {
        self.conn.run("schemas", Durability::Process, operate::schemas).await
    }

    async fn set_full(&self, full: bool) -> Result<(), StoreError> {
        self.conn.run("limit", Durability::Full, move |step| operate::set_full(step, full)).await
    }

    async fn load(&self) -> Result<Load, StoreError> {
        self.conn.run("load", Durability::Process, operate::load).await
    }

    async fn held(&self, limit: u32) -> Result<Vec<HeldBatch>, StoreError> {
        self.conn.run("held", Durability::Process, move |step| held::list(step, limit)).await
    }

    async fn held_events(&self, batch: BatchId) -> Result<Option<Vec<StoredEvent>>, StoreError> {
        self.conn.run("held", Durability::Process, move |step| held::events_of(step, batch)).await
    }

    async fn retry_held(&self, batch: BatchId) -> Result<bool, StoreError> {
        self.conn.run("retry", Durability::Full, move |step| held::retry(step, batch)).await
    }

    async fn discard_held(&self, batch: BatchId) -> Result<bool, StoreError> {
        self.conn.run("discard", Durability::Full, move |step| held::discard(step, batch)).await
    }

    async fn status(&self) -> Result<Status, StoreError> {
        self.check("status").await?;
        self.conn.run("status", Durability::Process, operate::status).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use diesel::RunQueryDsl;
    use outbox_core::{Frozen, HoldReason};

    use super::*;

    const FULL: i32 = 2;
    const NORMAL: i32 = 1;
    const EVENT: &str = "INSERT INTO outbox_event (id, event_type, version, occurred_at, environment, destination, payload, bytes) \
        VALUES ('0195f3a0-0000-7000-8000-000000000000', 'a', 1, 0, 'test', 'event_log', '{}', 100)";

    /// What a power failure must not take back is on the disk before anything is sent; what may be done again does not wait.
    #[tokio::test]
    async fn sealing_freezing_and_holding_wait_for_the_disk() {
        let file = std::env::temp_dir().join(format!("outbox-{}.db", Uuid::new_v4()));
        let store = SqliteStore::new(&file.display().to_string());
        let route = Route::default();
        store.setup().await.expect("installs");
        store.open(&RouteSpec::default()).await.expect("opens");
        store.conn.run("emit", Durability::Process, |step| step.query(EVENT).execute(step.conn)).await.expect("emits");
        let request = PlanRequest {
            route: route.clone(),
            rows: 1,
            linger: Duration::ZERO,
            rows_max: 10,
            bytes_max: u64::MAX,
            batches_max: 1,
        };
        assert_eq!(store.plan(&request).await.expect("plans").rows, 1);
        assert_eq!(store.conn.synchronous(), FULL, "sealing");
        let lease = Duration::from_secs(600);
        let claim = store.claim(&route, Uuid::new_v4(), lease).await.expect("claims").expect("a batch");
        assert_eq!(store.conn.synchronous(), NORMAL, "a first claim is nothing to lose");
        let draft = || PartDraft { table: "event_log".into(), ordinals: vec![0], frozen: Frozen::default() };
        store.freeze(&claim, vec![draft()]).await.expect("freezes");
        assert_eq!(store.conn.synchronous(), FULL, "freezing");
        store.renew(&claim, lease).await.expect("renews");
        store.replace(&claim, 0, vec![draft()]).await.expect("replaces");
        assert_eq!(store.conn.synchronous(), FULL, "bisecting");
        let events = store.read(&claim).await.expect("reads");
        let reason = HoldReason { dead: true, code: None, error: "no".into() };
        let (table, ordinals) = ("event_log".into(), vec![0]);
        let hold = Hold { part: Some(1), table, ordinals, events, reason, delay: Duration::ZERO };
        store.hold(&claim, &hold).await.expect("holds");
        assert_eq!(store.conn.synchronous(), FULL, "holding");
        store.settle(&claim).await.expect("settles");
        assert_eq!(store.conn.synchronous(), NORMAL, "a settlement may be done again");
        drop(store);
        for suffix in ["", "-wal", "-shm"] {
            // The last two go with the last connection, as a rule.
            let _ = std::fs::remove_file(format!("{}{suffix}", file.display()));
        }
    }
}
