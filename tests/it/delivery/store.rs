//! What a store promises, seen from the contract: fences, sealed batches that read back the same, pruning, set-up.

use std::time::Duration;

use outbox::postgres::PostgresStore;
use outbox::sqlite::SqliteStore;
use outbox::{Frozen, PartDraft, PlanRequest, Release, Route, RouteSpec, Store, StoreErrorKind};
use outbox_test::databases::ClickHouseDatabase;
use uuid::Uuid;

use crate::world::{Kind, World, create_users, eventually};

const LONG: Duration = Duration::from_secs(600);

fn request(rows_max: u32, bytes_max: u64) -> PlanRequest {
    PlanRequest { route: Route::default(), rows: 1, linger: Duration::ZERO, rows_max, bytes_max, batches_max: 20 }
}

fn draft(rows: u32) -> PartDraft {
    let frozen = Frozen { statement: "INSERT 'x'".into(), mark: "{\"a\":1}".into() };
    PartDraft { table: "event_log".into(), ordinals: (0..rows).collect(), frozen }
}

/// Runs a generic test on both stores.
macro_rules! on_both_stores {
    ($($test:ident),+ $(,)?) => {
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let world = super::World::new(super::Kind::Postgres).await;
                let store: super::PostgresStore = world.postgres().await;
                super::$test(&world, store).await;
            })+
        }
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let world = super::World::new(super::Kind::Sqlite).await;
                let store: super::SqliteStore = world.sqlite();
                super::$test(&world, store).await;
            })+
        }
    };
}

on_both_stores!(
    every_event_is_in_exactly_one_batch,
    a_batch_reads_back_the_same_and_keeps_its_parts,
    a_stale_claim_can_do_nothing,
    a_part_is_replaced_in_one_step,
    nothing_is_pruned_before_every_route_has_settled_it,
    a_few_events_wait_for_others,
    an_idle_plan_writes_nothing,
    a_batch_that_lost_rows_is_never_given_out,
    setting_up_twice_at_once_is_safe,
    a_parked_batch_waits_for_its_time_and_holds_up_no_other,
    parts_are_found_whatever_the_count_of_claims_says,
    a_row_that_cannot_be_read_is_a_mismatch,
);

async fn every_event_is_in_exactly_one_batch(world: &World, store: impl Store) {
    let committed = create_users(&mut world.conn().await, 0..100).await;
    let route = Route::default();
    store.open(&RouteSpec::new(route.clone())).await.expect("opens");
    let planned = store.plan(&request(7, u64::MAX)).await.expect("plans");
    assert_eq!((planned.rows, planned.batches), (100, 15));
    let mut seen = Vec::new();
    while let Some(claim) = store.claim(&route, Uuid::new_v4(), LONG).await.expect("claims") {
        let events = store.read(&claim).await.expect("reads");
        assert!(events.len() <= 7 && events.len() as u32 == claim.rows);
        assert_eq!(events.iter().map(|stored| stored.event.bytes() as u64).sum::<u64>(), claim.bytes);
        seen.extend(events.into_iter().map(|stored| stored.event.id.to_string()));
    }
    assert_eq!(seen.len(), 100);
    assert_eq!(seen.into_iter().collect::<std::collections::BTreeSet<_>>(), committed);
    assert_eq!(store.plan(&request(7, u64::MAX)).await.expect("plans").rows, 0);
    // Large events make smaller batches.
    create_users(&mut world.conn().await, 100..200).await;
    let planned = store.plan(&request(1000, 1000)).await.expect("plans");
    assert!(planned.batches > 5, "{planned:?}");
}

async fn a_batch_reads_back_the_same_and_keeps_its_parts(world: &World, store: impl Store) {
    create_users(&mut world.conn().await, 0..10).await;
    let route = Route::default();
    store.open(&RouteSpec::new(route.clone())).await.expect("opens");
    store.plan(&request(10, u64::MAX)).await.expect("plans");
    let first = store.claim(&route, Uuid::new_v4(), Duration::ZERO).await.expect("claims").expect("a batch");
    let events = store.read(&first).await.expect("reads");
    let frozen = store.freeze(&first, vec![draft(10)]).await.expect("freezes");
    create_users(&mut world.conn().await, 10..20).await;

    let mut again = None;
    eventually("the lease has run out", async || {
        again = store.claim(&route, Uuid::new_v4(), LONG).await.expect("claims");
        again.is_some()
    })
    .await;
    let again = again.expect("a batch");
    assert_eq!((again.batch, again.attempt), (first.batch, 2));
    assert_eq!(again.parts, frozen, "token, table, events, statement and mark are kept");
    assert_eq!(store.read(&again).await.expect("reads"), events);
}

async fn a_stale_claim_can_do_nothing(world: &World, store: impl Store) {
    create_users(&mut world.conn().await, 0..10).await;
    let route = Route::default();
    store.open(&RouteSpec::new(route.clone())).await.expect("opens");
    store.plan(&request(10, u64::MAX)).await.expect("plans");
    let stale = store.claim(&route, Uuid::new_v4(), Duration::ZERO).await.expect("claims").expect("a batch");
    let mut current = None;
    eventually("the lease has run out", async || {
        // The same owner claims it again: the attempt alone must be enough to tell.
        current = store.claim(&route, stale.owner, LONG).await.expect("claims");
        current.is_some()
    })
    .await;
    let current = current.expect("a batch");
    let lost = StoreErrorKind::LeaseLost;
    let release = Release { delay: Duration::ZERO, error: None, parked: false };
    assert_eq!(store.freeze(&stale, vec![draft(10)]).await.expect_err("stale").kind(), lost);
    assert_eq!(store.replace(&stale, 0, vec![draft(10)]).await.expect_err("stale").kind(), lost);
    assert_eq!(store.settle_part(&stale, 0).await.expect_err("stale").kind(), lost);
    assert_eq!(store.settle(&stale).await.expect_err("stale").kind(), lost);
    assert_eq!(store.renew(&stale, LONG).await.expect_err("stale").kind(), lost);
    assert_eq!(store.release(&stale, &release).await.expect_err("stale").kind(), lost);
    assert!(store.claim(&route, Uuid::new_v4(), LONG).await.expect("claims").is_none(), "the current claim holds");
    store.settle(&current).await.expect("the current claim settles");
    assert_eq!(store.settle(&current).await.expect_err("settled already").kind(), lost);
}

async fn a_part_is_replaced_in_one_step(world: &World, store: impl Store) {
    create_users(&mut world.conn().await, 0..10).await;
    let route = Route::default();
    store.open(&RouteSpec::new(route.clone())).await.expect("opens");
    store.plan(&request(10, u64::MAX)).await.expect("plans");
    let claim = store.claim(&route, Uuid::new_v4(), LONG).await.expect("claims").expect("a batch");
    let old = store.freeze(&claim, vec![draft(10)]).await.expect("freezes").remove(0);
    let new = store.replace(&claim, old.no, vec![draft(3)]).await.expect("replaces").remove(0);
    assert!(new.token != old.token && new.no != old.no);
    store
        .release(&claim, &Release { delay: Duration::ZERO, error: Some("why".into()), parked: false })
        .await
        .expect("released");
    let mut again = None;
    eventually("it can be claimed", async || {
        again = store.claim(&route, Uuid::new_v4(), LONG).await.expect("claims");
        again.is_some()
    })
    .await;
    let parts = again.expect("a batch").parts;
    assert_eq!(parts.iter().map(|part| (part.no, part.done)).collect::<Vec<_>>(), [(old.no, true), (new.no, false)]);
    assert_eq!(world.route_status().await.failing[0].error, "why");
}

async fn nothing_is_pruned_before_every_route_has_settled_it(world: &World, store: impl Store) {
    create_users(&mut world.conn().await, 0..30).await;
    let (fast, slow) = (Route::default(), Route::new("slow"));
    store.open(&RouteSpec::new(fast.clone())).await.expect("opens");
    store.open(&RouteSpec::new(slow.clone())).await.expect("opens");
    let settle_all = async |route: &Route| {
        store.plan(&PlanRequest { route: route.clone(), ..request(10, u64::MAX) }).await.expect("plans");
        while let Some(claim) = store.claim(route, Uuid::new_v4(), LONG).await.expect("claims") {
            store.prune(Duration::ZERO).await.expect("prunes");
            assert_eq!(store.read(&claim).await.expect("still there").len(), 10);
            store.settle(&claim).await.expect("settles");
        }
    };
    settle_all(&fast).await;
    store.prune(Duration::ZERO).await.expect("prunes");
    assert_eq!(world.conn().await.count("outbox_event").await, 30, "the slow route has seen none of them");
    settle_all(&slow).await;
    store.prune(Duration::ZERO).await.expect("prunes");
    assert_eq!(world.conn().await.count("outbox_event").await, 0);
}

async fn a_few_events_wait_for_others(world: &World, store: impl Store) {
    let patient = PlanRequest { rows: 5, linger: LONG, ..request(100, u64::MAX) };
    store.open(&RouteSpec::default()).await.expect("opens");
    let mut conn = world.conn().await;
    create_users(&mut conn, 0..4).await;
    assert_eq!(store.plan(&patient).await.expect("plans").rows, 0);
    create_users(&mut conn, 4..5).await;
    assert_eq!(store.plan(&patient).await.expect("plans").rows, 5, "five make a batch at once");
    create_users(&mut conn, 5..6).await;
    assert_eq!(store.plan(&patient).await.expect("plans").rows, 0);
    let impatient = PlanRequest { linger: Duration::ZERO, ..patient };
    assert_eq!(store.plan(&impatient).await.expect("plans").rows, 1);
}

async fn an_idle_plan_writes_nothing(world: &World, store: impl Store) {
    store.open(&RouteSpec::default()).await.expect("opens");
    create_users(&mut world.conn().await, 0..1).await;
    store.plan(&request(10, u64::MAX)).await.expect("plans");
    let cursor = async || world.conn().await.count("outbox_batch").await;
    let before = cursor().await;
    for _ in 0..3 {
        let planned = store.plan(&request(10, u64::MAX)).await.expect("plans");
        assert_eq!((planned.rows, planned.batches), (0, 0));
    }
    assert_eq!(cursor().await, before);
}

async fn a_batch_that_lost_rows_is_never_given_out(world: &World, store: impl Store) {
    create_users(&mut world.conn().await, 0..10).await;
    let route = Route::default();
    store.open(&RouteSpec::new(route.clone())).await.expect("opens");
    store.plan(&request(10, u64::MAX)).await.expect("plans");
    let claim = store.claim(&route, Uuid::new_v4(), LONG).await.expect("claims").expect("a batch");
    world.conn().await.execute("DELETE FROM outbox_event WHERE payload LIKE '%user3@%'").await;
    let refused = store.read(&claim).await.expect_err("nine of ten");
    assert_eq!(refused.kind(), StoreErrorKind::Mismatch);
    // To a relay that stood still while another one settled and pruned, it is no alarm.
    store.settle(&claim).await.expect("settles");
    let late = store.read(&claim).await.expect_err("settled");
    assert_eq!(late.kind(), StoreErrorKind::LeaseLost);
}

async fn setting_up_twice_at_once_is_safe(world: &World, store: impl Store) {
    let fresh = World::bare(world.kind(), ClickHouseDatabase::create().await).await;
    drop(store);
    let setups = (0..4).map(|_| {
        let (kind, url) = (fresh.kind(), fresh.database_url());
        tokio::spawn(async move {
            match kind {
                Kind::Postgres => PostgresStore::connect(&url).await.expect("a pool").setup().await,
                _ => SqliteStore::new(&url).setup().await,
            }
        })
    });
    for setup in setups.collect::<Vec<_>>() {
        setup.await.expect("no panic").expect("sets up");
    }
    create_users(&mut fresh.conn().await, 0..1).await;
}

async fn a_parked_batch_waits_for_its_time_and_holds_up_no_other(world: &World, store: impl Store) {
    let route = Route::default();
    store.open(&RouteSpec::new(route.clone())).await.expect("opens");
    create_users(&mut world.conn().await, 0..10).await;
    store.plan(&request(10, u64::MAX)).await.expect("plans");
    let parked = store.claim(&route, Uuid::new_v4(), LONG).await.expect("claims").expect("a batch");
    let release = Release { delay: LONG, error: Some("no table".into()), parked: true };
    store.release(&parked, &release).await.expect("released");
    create_users(&mut world.conn().await, 10..20).await;
    store.plan(&request(10, u64::MAX)).await.expect("plans");
    let other = store.claim(&route, Uuid::new_v4(), LONG).await.expect("claims").expect("a batch");
    assert!(other.batch > parked.batch, "the new one goes on");
    assert!(store.claim(&route, Uuid::new_v4(), LONG).await.expect("claims").is_none());
}

async fn parts_are_found_whatever_the_count_of_claims_says(world: &World, store: impl Store) {
    let route = Route::default();
    store.open(&RouteSpec::new(route.clone())).await.expect("opens");
    create_users(&mut world.conn().await, 0..10).await;
    store.plan(&request(10, u64::MAX)).await.expect("plans");
    let claim = store.claim(&route, Uuid::new_v4(), LONG).await.expect("claims").expect("a batch");
    let frozen = store.freeze(&claim, vec![draft(10)]).await.expect("freezes");
    // As an operator who wants it tried again now.
    let now = if world.kind() == Kind::Postgres { "'-infinity'" } else { "0" };
    world.conn().await.execute(&format!("UPDATE outbox_batch SET attempt = 0, lease_until = {now}")).await;
    let again = store.claim(&route, Uuid::new_v4(), LONG).await.expect("claims").expect("a batch");
    assert_eq!(again.parts, frozen);
}

async fn a_row_that_cannot_be_read_is_a_mismatch(world: &World, store: impl Store) {
    let route = Route::default();
    store.open(&RouteSpec::new(route.clone())).await.expect("opens");
    create_users(&mut world.conn().await, 0..10).await;
    let broken = if world.kind() == Kind::Postgres { "occurred_at = 'infinity'" } else { "id = 'nope'" };
    world.conn().await.execute(&format!("UPDATE outbox_event SET {broken} WHERE payload LIKE '%user3@%'")).await;
    store.plan(&request(10, u64::MAX)).await.expect("plans");
    let claim = store.claim(&route, Uuid::new_v4(), LONG).await.expect("claims").expect("a batch");
    let refused = store.read(&claim).await.expect_err("one of them is unreadable");
    assert_eq!(refused.kind(), StoreErrorKind::Mismatch, "{refused}");
}
