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

/// How many of the events of a plan that commits between two looks of the pruning are left. The lock on the cursors stops the
/// pruning where it looks at them; the plan commits; the pruning goes on.
async fn events_left_after_a_plan_in_the_middle_of_pruning(sql: &str) -> i64 {
    let world = World::bare(Kind::Postgres, ClickHouseDatabase::create().await).await;
    let mut planner = world.conn().await;
    planner.execute(&format!("BEGIN; {sql}; COMMIT")).await;
    let store = world.postgres().await;
    store.open(&RouteSpec::default()).await.expect("opens");
    planner.execute(&events("a", 30)).await;
    planner.execute("BEGIN; LOCK TABLE outbox_cursor IN ACCESS EXCLUSIVE MODE").await;
    let done = Arc::new(AtomicBool::new(false));
    let (pruner, ended) = (store.clone(), Arc::clone(&done));
    let pruning = tokio::spawn(async move {
        pruner.prune(Duration::ZERO).await.expect("prunes");
        ended.store(true, Ordering::SeqCst);
    });
    blocked(&mut world.conn().await, || done.load(Ordering::SeqCst)).await;
    planner.execute("SELECT outbox_plan('main', 1, '0', 10, 1000000, 20); COMMIT").await;
    pruning.await.expect("no panic");
    world.conn().await.count("outbox_event").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_commits_in_the_middle_of_pruning_keeps_its_events() {
    let sql = migrations(&Tables::new()).concat();
    assert_eq!(events_left_after_a_plan_in_the_middle_of_pruning(&sql).await, 30);

    // The bound from two statements: batches first, cursors afterwards.
    assert_eq!(sql.matches(ONE_STATEMENT).count(), 1, "the migration has changed: where is the bound?");
    let two = sql
        .replace(ONE_STATEMENT, "FROM (SELECT unnest(open) AS base UNION ALL SELECT base FROM outbox_cursor) s")
        .replace("p record; done xid8;", "p record; open pg_snapshot[]; done xid8;")
        .replace("-- ONE statement", "open := ARRAY(SELECT base FROM outbox_batch WHERE NOT held); --");
    assert_eq!(events_left_after_a_plan_in_the_middle_of_pruning(&two).await, 0, "this race has to lose them");
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
