//! Keeping delivered events, and delivering them once more.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use outbox::postgres::PostgresStore;
use outbox::{PlanRequest, ReplayRequest, Route, RouteSpec, Store, Tables};

use super::{claim, events, opened, request, seqs_of_all_batches};
use crate::world::{Kind, World, create_users};

const KEEP: Duration = Duration::from_secs(3600);

fn replay(all: bool) -> ReplayRequest {
    let (from, to) = (Utc::now() - TimeDelta::hours(1), Utc::now() + TimeDelta::hours(1));
    ReplayRequest { route: Route::default(), from, to, all, rows_max: 10, bytes_max: u64::MAX }
}

#[tokio::test(flavor = "multi_thread")]
async fn delivered_events_are_kept_as_long_as_that() {
    let (world, store) = opened(&RouteSpec::default()).await;
    world.conn().await.execute(&events("a", 30)).await;
    store.plan(&request(&Route::default())).await.expect("plans");
    seqs_of_all_batches(&store, &Route::default()).await;
    assert_eq!(store.prune(KEEP).await.expect("prunes"), 0);
    assert_eq!(world.conn().await.count("outbox_event").await, 30);
    world.conn().await.execute("UPDATE outbox_event SET created_at = created_at - interval '2 hours'").await;
    assert_eq!(store.prune(KEEP).await.expect("prunes"), 1);
}

/// The ring has the last word: what is kept never stands in the way of what is written.
#[tokio::test(flavor = "multi_thread")]
async fn the_slot_that_comes_next_is_emptied_whatever_is_to_be_kept() {
    let world = World::bare(Kind::Postgres, outbox_test::databases::ClickHouseDatabase::create().await).await;
    let tables = Tables::new().with_slot_bits(10).expect("in range");
    let store = PostgresStore::connect(&world.database_url()).await.expect("answers").with_tables(tables);
    store.setup().await.expect("sets up");
    store.open(&RouteSpec::default()).await.expect("opens");
    let mut conn = world.conn().await;
    let mut most = 0;
    for _ in 0..12 {
        conn.execute(&events("a", 1000)).await;
        store.plan(&PlanRequest { rows_max: 1000, ..request(&Route::default()) }).await.expect("plans");
        seqs_of_all_batches(&store, &Route::default()).await;
        store.prune(KEEP).await.expect("prunes");
        most = most.max(conn.count("outbox_event").await);
    }
    // Three slots of 1024 and what was being written.
    assert!((2048..=4096).contains(&most), "{most}");
    assert!(conn.count("outbox_event").await >= 2000, "most of what the ring can keep is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_delivers_what_is_missing_and_nothing_else() {
    let world = World::new(Kind::Postgres).await;
    let store = world.postgres().await;
    let committed = create_users(&mut world.conn().await, 0..100).await;
    let relay = world.relay_that_keeps(KEEP).await;
    world.delivered().await;
    drop(relay);
    assert_eq!(world.conn().await.count("outbox_event").await, 100);
    // Somebody loses rows, for good.
    let lose = "ALTER TABLE event_log DELETE WHERE event_context LIKE '%user1%' SETTINGS mutations_sync = 2";
    world.clickhouse.query(lose).await;
    assert!(world.arrived().await.0.len() < 95);
    let sealed = store.replay(&replay(false)).await.expect("replays");
    assert_eq!((sealed.rows, sealed.batches), (100, 10));
    assert_eq!(store.prune(Duration::ZERO).await.expect("prunes"), 0, "its batches hold the events");
    world.drain().await;
    world.assert_exactly_once(&committed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_takes_only_what_was_written_in_its_time_and_sealed_before() {
    let (world, store) = opened(&RouteSpec::default()).await;
    let route = Route::default();
    let mut conn = world.conn().await;
    conn.execute(&events("a", 25)).await;
    store.plan(&request(&route)).await.expect("plans");
    seqs_of_all_batches(&store, &route).await;
    conn.execute("UPDATE outbox_event SET created_at = created_at - interval '2 hours' WHERE seq <= 12").await;
    conn.execute(&events("a", 5)).await;
    let sealed = store.replay(&replay(true)).await.expect("replays");
    assert_eq!((sealed.rows, sealed.batches), (13, 2), "the old ones are out of its time, the new ones not yet sealed");
    let claimed = claim(&store, &route).await.expect("a batch");
    assert!(!claimed.replay, "all of them: nobody looks");
    let seqs: Vec<i64> = store.read(&claimed).await.expect("reads").iter().map(|stored| stored.seq).collect();
    assert_eq!(seqs, (13..=22).collect::<Vec<i64>>());
    store.settle(&claimed).await.expect("settles");
    assert_eq!(store.plan(&request(&route)).await.expect("plans").rows, 5);
    assert_eq!(seqs_of_all_batches(&store, &route).await.concat(), [23, 24, 25, 26, 27, 28, 29, 30]);
    let none = ReplayRequest { from: DateTime::UNIX_EPOCH, to: DateTime::UNIX_EPOCH, ..replay(true) };
    assert_eq!(store.replay(&none).await.expect("replays").rows, 0);
}

/// Whether a batch was cut in the order of seq or not, and has what was in flight when the one before it was cut.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_passes_over_exactly_what_is_open() {
    for ordered in [false, true] {
        let (world, store) = opened(&RouteSpec { ordered, ..RouteSpec::default() }).await;
        let route = Route::default();
        let (mut conn, mut late) = (world.conn().await, world.conn().await);
        late.execute("BEGIN").await;
        late.execute(&events("a", 3)).await;
        conn.execute(&events("a", 3)).await;
        store.plan(&request(&route)).await.expect("plans");
        assert_eq!(seqs_of_all_batches(&store, &route).await, [[4, 5, 6]]);
        late.execute("COMMIT").await;
        conn.execute(&events("a", 3)).await;
        store.plan(&PlanRequest { rows_max: 4, ..request(&route) }).await.expect("plans");
        let first = claim(&store, &route).await.expect("a batch");
        let sealed = store.replay(&replay(false)).await.expect("replays");
        assert_eq!((sealed.rows, sealed.passed_over), (3, 6), "ordered: {ordered}");
        store.settle(&first).await.expect("settles");
        let sealed = store.replay(&replay(false)).await.expect("replays");
        assert_eq!((sealed.rows, sealed.batches, sealed.passed_over), (4, 2, 5), "around what is replayed already");
        let batches = seqs_of_all_batches(&store, &route).await;
        assert_eq!(batches, [vec![8, 9], vec![4, 5, 6], vec![1, 2, 3], vec![7]], "ordered: {ordered}");
    }
}
