//! Pruning against everything that happens at the same time. Where a guard stands against a race, the race is arranged with
//! locks, once with the guard and once without it: without, it has to lose events.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outbox::postgres::{PostgresStore, migrations};
use outbox::{Frozen, PartDraft, Route, RouteSpec, Store, StoreErrorKind, Tables};
use outbox_test::databases::ClickHouseDatabase;
use uuid::Uuid;

use super::{LONG, blocked, claim, events, opened, request};
use crate::world::{Kind, World};

const ONE_STATEMENT: &str =
    "FROM (SELECT base FROM outbox_batch WHERE NOT held UNION ALL SELECT base FROM outbox_cursor) s";
const UNDER_THE_LOCK: &str = "SELECT s.done, s.pending INTO done, pending FROM outbox_settled() s;";
const FIRST_LOOK: &str = "SELECT s.done INTO done FROM outbox_settled() s;";
const LOCK: &str = "EXECUTE format('LOCK TABLE ONLY";

fn replaced(sql: &str, from: &str, to: &str) -> String {
    assert_eq!(sql.matches(from).count(), 1, "the migration has changed: where is {from}?");
    sql.replace(from, to)
}

/// The migration whose pruning does not look again under the lock.
fn without_the_second_bound(sql: &str) -> String {
    let first =
        replaced(sql, FIRST_LOOK, "SELECT s.done, s.pending INTO done, pending FROM outbox_settled() s -- once\n;");
    replaced(&first, UNDER_THE_LOCK, "")
}

/// An outbox of thirty events, from this SQL.
async fn outbox(sql: &str) -> (World, PostgresStore) {
    let world = World::bare(Kind::Postgres, ClickHouseDatabase::create().await).await;
    world.conn().await.execute(&format!("BEGIN; {sql}; COMMIT")).await;
    let store = world.postgres().await;
    store.open(&RouteSpec::default()).await.expect("opens");
    world.conn().await.execute(&events("a", 30)).await;
    (world, store)
}

/// How many events are left when pruning is stopped by a lock, `meanwhile` commits, and pruning goes on.
async fn events_left(world: &World, store: &PostgresStore, lock: &str, meanwhile: &str) -> i64 {
    let mut other = world.conn().await;
    other.execute(&format!("BEGIN; {lock}")).await;
    let done = Arc::new(AtomicBool::new(false));
    let (pruner, ended) = (store.clone(), Arc::clone(&done));
    let pruning = tokio::spawn(async move {
        pruner.prune(Duration::ZERO).await.expect("prunes");
        ended.store(true, Ordering::SeqCst);
    });
    blocked(&mut world.conn().await, || done.load(Ordering::SeqCst)).await;
    other.execute(&format!("{meanwhile}; COMMIT")).await;
    pruning.await.expect("no panic");
    world.conn().await.count("outbox_event").await
}

/// A plan commits between the pruning's look at the batches and its look at the cursors.
async fn left_after_a_plan_in_the_middle(sql: &str) -> i64 {
    let (world, store) = outbox(sql).await;
    let lock = "LOCK TABLE outbox_cursor IN ACCESS EXCLUSIVE MODE";
    events_left(&world, &store, lock, "SELECT outbox_plan('main', 1, '0', 10, 1000000, 20)").await
}

/// Two guards stand one behind the other: the bound from a single statement, and the bound read again under the lock, which keeps
/// planners out of the partition. Without both, what the plan has sealed is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_commits_in_the_middle_of_pruning_keeps_its_events() {
    let sql = migrations(&Tables::new()).concat();
    assert_eq!(left_after_a_plan_in_the_middle(&sql).await, 30);
    let once = without_the_second_bound(&sql);
    assert_eq!(left_after_a_plan_in_the_middle(&once).await, 30, "a single statement sees both or neither");
    let two =
        replaced(&once, ONE_STATEMENT, "FROM (SELECT unnest(open) AS base UNION ALL SELECT base FROM outbox_cursor) s");
    let two = replaced(
        &two,
        "BEGIN\n    SELECT min(x::text",
        "DECLARE open pg_snapshot[];\nBEGIN open := ARRAY(SELECT base FROM outbox_batch WHERE NOT held);\n    SELECT min(x::text",
    );
    assert_eq!(left_after_a_plan_in_the_middle(&two).await, 0, "this race has to lose them");
}

/// Everything is settled; a replay seals it once more between the pruning's first look and its lock.
async fn left_after_a_replay_in_the_middle(sql: &str) -> i64 {
    let pause = format!("PERFORM pg_advisory_xact_lock_shared(42); {LOCK}");
    let (world, store) = outbox(&replaced(sql, LOCK, &pause)).await;
    let route = Route::default();
    store.plan(&request(&route)).await.expect("plans");
    while let Some(claimed) = claim(&store, &route).await {
        store.settle(&claimed).await.expect("settles");
    }
    let replay = "SELECT outbox_replay('main', '-infinity', 'infinity', true, 10, 1000000)";
    events_left(&world, &store, "SELECT pg_advisory_xact_lock(42)", replay).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_commits_in_the_middle_of_pruning_keeps_its_events() {
    let sql = migrations(&Tables::new()).concat();
    assert_eq!(left_after_a_replay_in_the_middle(&sql).await, 30);
    assert_eq!(
        left_after_a_replay_in_the_middle(&without_the_second_bound(&sql)).await,
        0,
        "this race has to lose them"
    );
}

/// What a claim that is stale by the time it gets the batch's row can still do. The other claim is made and not committed
/// yet; the stale step has to wait for it.
async fn stale_step(
    step: impl AsyncFnOnce(PostgresStore, outbox::Claim) -> StoreErrorKind + Send + 'static,
) -> StoreErrorKind
where
{
    let (world, store) = opened(&RouteSpec::default()).await;
    let route = Route::default();
    let mut other = world.conn().await;
    other.execute(&events("a", 10)).await;
    store.plan(&request(&route)).await.expect("plans");
    let stale = claim(&store, &route).await.expect("a batch");
    let draft = PartDraft { table: "event_log".into(), ordinals: (0..10).collect(), frozen: Frozen::default() };
    store.freeze(&stale, vec![draft]).await.expect("freezes");
    other.execute("BEGIN; UPDATE outbox_batch SET owner = gen_random_uuid(), attempt = attempt + 1").await;
    let mut watcher = world.conn().await;
    let (outcome, ()) = tokio::join!(step(store, stale), async {
        blocked(&mut watcher, || false).await;
        other.execute("COMMIT").await;
    });
    outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_goes_stale_while_it_freezes_freezes_nothing() {
    let kind = stale_step(async |store, stale| {
        let draft = PartDraft { table: "event_log".into(), ordinals: (0..10).collect(), frozen: Frozen::default() };
        store.freeze(&stale, vec![draft]).await.expect_err("stale").kind()
    });
    assert_eq!(kind.await, StoreErrorKind::LeaseLost);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_goes_stale_while_it_settles_a_part_settles_nothing() {
    let kind = stale_step(async |store, stale| store.settle_part(&stale, 0).await.expect_err("stale").kind());
    assert_eq!(kind.await, StoreErrorKind::LeaseLost);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_goes_stale_while_it_holds_events_holds_none() {
    let kind = stale_step(async |store, stale| {
        let events = store.read(&stale).await.expect("reads");
        let reason = outbox::HoldReason { dead: false, code: None, error: "no table".into() };
        let hold = outbox::Hold {
            part: Some(0),
            table: "event_log".into(),
            ordinals: (0..10).collect(),
            events,
            reason,
            delay: LONG,
        };
        store.hold(&stale, &hold).await.expect_err("stale").kind()
    });
    assert_eq!(kind.await, StoreErrorKind::LeaseLost);
}

/// A batch with a small number may be younger than one with a larger number, and the other way round: the bound is the lowest
/// over all of them.
#[tokio::test(flavor = "multi_thread")]
async fn every_open_batch_counts_whatever_its_number() {
    let (world, store) = opened(&RouteSpec::default()).await;
    let route = Route::default();
    let mut conn = world.conn().await;
    conn.execute(&events("a", 10)).await;
    store.plan(&request(&route)).await.expect("plans");
    // In a partition of their own, so that they do not keep the others.
    conn.execute("SELECT setval('outbox_event_seq', 1 << 20)").await;
    conn.execute(&events("b", 10)).await;
    store.plan(&request(&route)).await.expect("plans");
    // The older batch gets the larger number, as one that is sealed once more would have.
    conn.execute("ALTER TABLE outbox_batch ALTER no DROP IDENTITY; UPDATE outbox_batch SET no = 1000 WHERE no = 1")
        .await;
    assert_eq!(store.prune(Duration::ZERO).await.expect("prunes"), 0);
    let mut read = 0;
    while let Some(claimed) = store.claim(&route, Uuid::new_v4(), LONG).await.expect("claims") {
        read += store.read(&claimed).await.expect("reads").len();
        store.prune(Duration::ZERO).await.expect("prunes");
    }
    assert_eq!(read, 20);
}
