//! What only PostgreSQL's store has to promise: late commits, other clusters, isolation, durable steps, dead connections.

use std::time::Duration;

use chrono::{DateTime, Utc};
use outbox::postgres::PostgresStore;
use outbox::{
    Frozen, Hold, HoldReason, PartDraft, PlanRequest, Release, ReplayRequest, Route, RouteSpec, Store, StoreErrorKind,
};
use outbox_test::proxy::{FaultProxy, Mode};
use uuid::Uuid;

use crate::world::{Kind, World, create_users};

const LONG: Duration = Duration::from_secs(600);

const LATE: &str = "INSERT INTO outbox_event \
    (id, event_type, version, occurred_at, environment, destination, payload, bytes) \
    VALUES (gen_random_uuid(), 'late', 1, now(), 'test', 'event_log', '{}', 100)";

fn request() -> PlanRequest {
    let route = Route::default();
    PlanRequest { route, rows: 1, linger: Duration::ZERO, rows_max: 10, bytes_max: u64::MAX, batches_max: 20 }
}

fn replay() -> ReplayRequest {
    let (from, to) = (DateTime::UNIX_EPOCH, Utc::now() + LONG);
    ReplayRequest { route: Route::default(), from, to, all: true, rows_max: 10, bytes_max: u64::MAX }
}

async fn opened() -> (World, PostgresStore) {
    let world = World::new(Kind::Postgres).await;
    let store = world.postgres().await;
    store.open(&RouteSpec::default()).await.expect("opens");
    (world, store)
}

/// A transaction that was in flight when others were sealed, and commits after they are settled: its events are in no batch
/// yet, in a partition whose other events are all done.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_commit_is_not_pruned() {
    let (world, store) = opened().await;
    let mut late = world.conn().await;
    late.execute(&format!("BEGIN; {LATE}")).await;
    create_users(&mut world.conn().await, 0..10).await;
    store.plan(&request()).await.expect("plans");
    let claim = store.claim(&Route::default(), Uuid::new_v4(), LONG).await.expect("claims").expect("a batch");
    assert_eq!(claim.rows, 10);
    store.settle(&claim).await.expect("settles");
    assert_eq!(store.prune(Duration::ZERO).await.expect("prunes"), 0, "somebody writes there");
    late.execute("COMMIT").await;
    assert_eq!(store.prune(Duration::ZERO).await.expect("prunes"), 0, "nobody has sealed it yet");
    assert_eq!(world.conn().await.count("outbox_event WHERE event_type = 'late'").await, 1);

    assert_eq!(store.plan(&request()).await.expect("plans").rows, 1);
    let claim = store.claim(&Route::default(), Uuid::new_v4(), LONG).await.expect("claims").expect("a batch");
    assert_eq!(store.prune(Duration::ZERO).await.expect("prunes"), 0, "it is in an open batch");
    store.settle(&claim).await.expect("settles");
    assert_eq!(store.prune(Duration::ZERO).await.expect("prunes"), 1);
    assert_eq!(world.conn().await.count("outbox_event").await, 0);
}

/// The same with a prepared transaction, which holds its locks and its transaction id without a connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_transaction_is_sealed_when_it_commits() {
    let (world, store) = opened().await;
    let mut conn = world.conn().await;
    let name = Uuid::new_v4().simple().to_string();
    conn.execute(&format!(
        "BEGIN; SAVEPOINT a; {LATE}; RELEASE a; SAVEPOINT b; {LATE}; ROLLBACK TO b; PREPARE TRANSACTION '{name}'"
    ))
    .await;
    create_users(&mut conn, 0..10).await;
    assert_eq!(store.plan(&request()).await.expect("plans").rows, 10);
    conn.execute(&format!("COMMIT PREPARED '{name}'")).await;
    assert_eq!(store.plan(&request()).await.expect("plans").rows, 1, "what the savepoint took back is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_restored_into_another_cluster_is_refused() {
    let (world, store) = opened().await;
    create_users(&mut world.conn().await, 0..10).await;
    world.conn().await.execute("UPDATE outbox_cursor SET sysid = sysid + 1").await;
    let refused = store.plan(&request()).await.expect_err("another cluster");
    assert_eq!(refused.kind(), StoreErrorKind::Schema, "{refused}");
    let refused = store.replay(&replay()).await.expect_err("another cluster");
    assert_eq!(refused.kind(), StoreErrorKind::Schema, "{refused}");
    world.conn().await.execute("UPDATE outbox_cursor SET sysid = sysid - 1, base = '9000000000:9000000000:'").await;
    let refused = store.plan(&request()).await.expect_err("transaction ids went backwards");
    assert_eq!(refused.kind(), StoreErrorKind::Schema, "{refused}");
    assert_eq!(world.conn().await.count("outbox_event").await, 10, "nothing is lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_isolation_level_is_refused() {
    let (world, _) = opened().await;
    let set = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = %L', \
        current_database(), 'repeatable read'); END $$";
    world.conn().await.execute(set).await;
    let refused = world.postgres().await.plan(&request()).await.expect_err("a stale snapshot");
    assert_eq!(refused.kind(), StoreErrorKind::Schema);
    assert!(refused.to_string().contains("read committed"), "{refused}");
    let refused = world.postgres().await.replay(&replay()).await.expect_err("a stale snapshot");
    assert!(refused.to_string().contains("needs READ COMMITTED"), "{refused}");
    let refused = world.postgres().await.prune(Duration::ZERO).await.expect_err("a stale snapshot");
    assert!(refused.to_string().contains("needs READ COMMITTED"), "{refused}");
}

/// What `synchronous_commit` is at the COMMIT of a step, in a session whose default is `off`.
#[tokio::test(flavor = "multi_thread")]
async fn sealing_and_freezing_are_durable_whatever_the_default_is() {
    let (world, _) = opened().await;
    let set =
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$";
    world.conn().await.execute(set).await;
    // A deferred trigger runs at COMMIT.
    let triggers = "CREATE TABLE seen (source text, synchronous_commit text);
        CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO seen VALUES (TG_TABLE_NAME, current_setting('synchronous_commit')); RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER see AFTER INSERT ON outbox_batch DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION see();
        CREATE CONSTRAINT TRIGGER see AFTER INSERT ON outbox_part DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION see();
        CREATE FUNCTION see_claim() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO seen VALUES ('claim ' || NEW.attempt, current_setting('synchronous_commit')); RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER see_claim AFTER UPDATE OF attempt ON outbox_batch DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION see_claim();";
    world.conn().await.execute(triggers).await;
    let store = world.postgres().await;
    create_users(&mut world.conn().await, 0..10).await;
    store.plan(&request()).await.expect("plans");
    let claim = store.claim(&Route::default(), Uuid::new_v4(), LONG).await.expect("claims").expect("a batch");
    let draft = PartDraft { table: "event_log".into(), ordinals: (0..10).collect(), frozen: Frozen::default() };
    store.freeze(&claim, vec![draft]).await.expect("freezes");
    // What has parts may be sent without anything durable in between.
    let again = Release { delay: Duration::ZERO, error: None, parked: false };
    store.release(&claim, &again).await.expect("released");
    let claim = store.claim(&Route::default(), Uuid::new_v4(), LONG).await.expect("claims").expect("the batch again");
    assert_eq!(world.conn().await.count("seen WHERE source = 'claim 1' AND synchronous_commit = 'off'").await, 1);
    for table in ["outbox_batch", "outbox_part", "claim 2"] {
        let durable = format!("seen WHERE source = '{table}' AND synchronous_commit = 'on'");
        assert_eq!(world.conn().await.count(&durable).await, 1, "{table}");
    }
    let sealed = "seen WHERE source = 'outbox_batch' AND synchronous_commit = 'on'";
    world.conn().await.execute("DELETE FROM seen").await;
    let events = store.read(&claim).await.expect("reads");
    let reason = HoldReason { dead: false, code: None, error: "no table".into() };
    let (table, ordinals) = ("event_log".into(), (0..10).collect());
    let hold = Hold { part: Some(0), table, ordinals, events, reason, delay: LONG };
    let held = store.hold(&claim, &hold).await.expect("holds");
    assert_eq!(world.conn().await.count(sealed).await, 1, "holding");
    // A replay passes over what a batch has.
    store.settle(&claim).await.expect("settles");
    assert!(store.discard_held(held).await.expect("discards"));
    world.conn().await.execute("DELETE FROM seen").await;
    assert_eq!(store.replay(&replay()).await.expect("replays").rows, 10);
    assert_eq!(world.conn().await.count(sealed).await, 1, "replaying");
}

/// Each connection that was open is swallowed without a word; new ones work.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_connection_is_given_up() {
    let world = World::new(Kind::Postgres).await;
    let url = world.database_url();
    let (before, address) = url.split_once('@').expect("user@host");
    let (address, database) = address.split_once('/').expect("host/database");
    let proxy = FaultProxy::start(address).await;
    let store = PostgresStore::new(&format!("{before}@{}/{database}", proxy.addr()));
    store.open(&RouteSpec::default()).await.expect("opens");
    create_users(&mut world.conn().await, 0..10).await;
    proxy.set(Mode::Refuse);
    let plan = request();
    // Whether the connection breaks at once or at the first use: no step may hang on it, and none is lost.
    let _ = store.plan(&plan).await;
    store.plan(&plan).await.expect_err("nobody answers");
    proxy.set(Mode::Pass);
    assert!(store.plan(&plan).await.is_ok(), "a new connection");
}
