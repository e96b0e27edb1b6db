//! Routes in the order of `seq`: one batch in flight, across relays and crashes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outbox::{Grace, Hold, HoldReason, Part, Relay, Release, Route, RouteSpec, Sink, SinkError, Store};
use uuid::Uuid;

use super::{LONG, claim, events, opened, request, seqs_of_all_batches};
use crate::world::{create_users, eventually};

fn in_order() -> RouteSpec {
    RouteSpec { ordered: true, ..RouteSpec::default() }
}

/// The first transaction to begin is the last one to write: its event comes later, though its transaction id is lower.
#[tokio::test(flavor = "multi_thread")]
async fn events_are_in_the_order_of_their_emits_and_not_of_their_transactions() {
    let (world, store) = opened(&in_order()).await;
    let other = Route::new("by transaction");
    store.open(&RouteSpec::new(other.clone())).await.expect("opens");
    let (mut first, mut second) = (world.conn().await, world.conn().await);
    first.execute("BEGIN; SELECT pg_current_xact_id()").await;
    second.execute(&events("second", 1)).await;
    first.execute(&format!("{}; COMMIT", events("first", 1))).await;
    for route in [&Route::default(), &other] {
        store.plan(&request(route)).await.expect("plans");
    }
    assert_eq!(seqs_of_all_batches(&store, &Route::default()).await, [[1, 2]]);
    assert_eq!(seqs_of_all_batches(&store, &other).await, [[2, 1]], "in any order is in the order of transactions");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_windows_are_cut_in_order() {
    let (world, store) = opened(&in_order()).await;
    let (mut late, mut conn) = (world.conn().await, world.conn().await);
    late.execute(&format!("BEGIN; {}", events("late", 3))).await;
    for _ in 0..9 {
        conn.execute(&events("a", 5)).await;
    }
    let route = Route::default();
    // Two batches of ten a call: the window is cut in several calls, and in each the position is kept.
    let small = outbox::PlanRequest { batches_max: 2, ..request(&route) };
    let mut sealed = 0;
    while let rows @ 1.. = store.plan(&small).await.expect("plans").rows {
        sealed += rows;
    }
    assert_eq!(sealed, 45);
    late.execute("COMMIT").await;
    assert_eq!(store.plan(&small).await.expect("plans").rows, 3);
    let batches = seqs_of_all_batches(&store, &route).await;
    assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 10, 10, 5, 3]);
    assert!(batches[..5].concat().is_sorted());
    assert_eq!(batches[5], [1, 2, 3], "a transaction that commits late comes late, and in its own order");
}

/// A window is what was over when it was taken, however late its last piece is cut.
#[tokio::test(flavor = "multi_thread")]
async fn what_commits_while_a_window_is_cut_is_in_the_next_one() {
    for spec in [RouteSpec::default(), in_order()] {
        let (world, store) = opened(&spec).await;
        let (mut late, mut conn) = (world.conn().await, world.conn().await);
        conn.execute(&events("a", 15)).await;
        late.execute(&format!("BEGIN; {}", events("late", 1))).await;
        conn.execute(&events("a", 3)).await;
        let one = outbox::PlanRequest { batches_max: 1, ..request(&spec.route) };
        assert_eq!(store.plan(&one).await.expect("plans").rows, 10);
        late.execute("COMMIT").await;
        assert_eq!(store.plan(&one).await.expect("plans").rows, 8);
        // One call may only find that the window is at its end.
        let last = store.plan(&one).await.expect("plans").rows + store.plan(&one).await.expect("plans").rows;
        assert_eq!(last, 1);
        let batches = seqs_of_all_batches(&store, &spec.route).await;
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [10, 8, 1]);
        assert_eq!(batches[2], [16]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_batch_is_in_flight_and_the_next_one_waits_for_it() {
    let (world, store) = opened(&in_order()).await;
    let route = Route::default();
    world.conn().await.execute(&events("a", 30)).await;
    store.plan(&request(&route)).await.expect("plans");
    let first = claim(&store, &route).await.expect("a batch");
    assert!(claim(&store, &route).await.is_none(), "the others wait");
    // Given back for a while, it still comes before the others.
    let later = Release { delay: LONG, error: Some("down".into()), parked: false };
    store.release(&first, &later).await.expect("released");
    assert!(claim(&store, &route).await.is_none(), "its turn is not over");
    world.conn().await.execute("UPDATE outbox_batch SET lease_until = '-infinity'").await;
    let again = claim(&store, &route).await.expect("a batch");
    assert_eq!(again.batch, first.batch);
    let next = store.settle_and_claim(&again, LONG).await.expect("settles").expect("the next");
    assert!(next.batch > first.batch);
}

/// What was put aside and what was not are looked for apart: neither finds the other's batch in the way by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_parked_batch_and_another_are_not_in_hands_at_once() {
    let (world, store) = opened(&in_order()).await;
    let route = Route::default();
    world.conn().await.execute(&events("a", 20)).await;
    store.plan(&request(&route)).await.expect("plans");
    let first = claim(&store, &route).await.expect("a batch");
    let held = store.read(&first).await.expect("reads");
    let reason = HoldReason { dead: false, code: Some(60), error: "no table".into() };
    let (table, ordinals) = ("event_log".into(), (0..10).collect());
    let hold = Hold { part: None, table, ordinals, events: held, reason, delay: Duration::ZERO };
    store.hold(&first, &hold).await.expect("held");
    store.settle(&first).await.expect("settles");

    let mut other = world.conn().await;
    other.execute("BEGIN; SELECT no FROM outbox_claim('main', gen_random_uuid(), '600 s', 0)").await;
    assert!(claim(&store, &route).await.is_none(), "another relay is looking, and has found the parked one");
    other.execute("ROLLBACK").await;
    let parked = claim(&store, &route).await.expect("a batch");
    assert!(parked.held);
    assert!(claim(&store, &route).await.is_none(), "the parked one is in hand");
    store.release(&parked, &Release { delay: LONG, error: None, parked: true }).await.expect("released");
    let second = claim(&store, &route).await.expect("the next batch");
    assert!(!second.held);
    other.execute("UPDATE outbox_batch SET lease_until = '-infinity' WHERE held").await;
    assert!(claim(&store, &route).await.is_none(), "the next one is in hand");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_table_comes_back_in_its_order() {
    let (world, store) = opened(&in_order()).await;
    let route = Route::default();
    world.conn().await.execute(&events("a", 30)).await;
    store.plan(&request(&route)).await.expect("plans");
    let mut parked = Vec::new();
    // Each batch of the table is put aside: the first because it is refused, the others because they come after it.
    for no in 0..3 {
        let claimed = claim(&store, &route).await.expect("a batch");
        assert_eq!(claimed.parked_tables.len(), usize::from(no > 0), "the relay is told that they have to wait");
        let held = store.read(&claimed).await.expect("reads");
        parked.push(held.iter().map(|stored| stored.seq).collect::<Vec<_>>());
        let reason = HoldReason { dead: false, code: Some(60), error: "no table".into() };
        let delay = if no == 0 { LONG } else { Duration::ZERO };
        let hold =
            Hold { part: None, table: "event_log".into(), ordinals: (0..10).collect(), events: held, reason, delay };
        store.hold(&claimed, &hold).await.expect("held");
        store.settle(&claimed).await.expect("settles");
    }
    assert_eq!(store.prune(Duration::ZERO).await.expect("prunes"), 1, "what is held holds up nothing");
    assert!(claim(&store, &route).await.is_none(), "the first one's time has not come, and the others are behind it");
    world.conn().await.execute("UPDATE outbox_batch SET lease_until = '-infinity' WHERE lease_until > now()").await;
    assert_eq!(
        seqs_of_all_batches(&store, &route).await,
        parked,
        "one after the other, as soon as the first is through"
    );
}

/// Notes what arrives, and fails now and then.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<(u32, Vec<i64>)>>);

impl Sink for Notes {
    async fn deliver(&self, part: &Part) -> Result<(), SinkError> {
        let mut notes = self.0.lock().expect("no panic under it");
        notes.0 += 1;
        if notes.0.is_multiple_of(3) {
            return Err(SinkError::unknown("deliver", "now and then"));
        }
        notes.1.extend(part.events.iter().map(|stored| stored.seq));
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_relays_deliver_in_order_through_failures_and_stops() {
    let (world, store) = opened(&in_order()).await;
    let notes = Notes::default();
    let relay = || {
        Relay::builder(store.clone())
            .sink(notes.clone())
            .ordered(true)
            .batch_rows(1)
            .batch_rows_max(7)
            .linger(Duration::ZERO)
            // What a stop without grace could not give back comes soon.
            .lease(Duration::from_secs(1))
            .retry(Duration::from_millis(2), Duration::from_millis(10))
    };
    let mut relays = Vec::new();
    for _ in 0..3 {
        relays.push(relay().start().await.expect("starts"));
    }
    let mut conn = world.conn().await;
    for round in 0..6 {
        create_users(&mut conn, round * 50..round * 50 + 50).await;
        let grace = if round % 2 == 0 { Grace::secs(10) } else { Grace::from(Duration::ZERO) };
        relays.remove(0).stop(grace).await.expect("stops");
        relays.push(relay().start().await.expect("starts"));
    }
    world.delivered().await;
    let arrived = notes.0.lock().expect("no panic under it").1.clone();
    // At least once: a batch that was dropped in the middle comes again. But never a later one before an earlier one.
    let mut first_seen = BTreeMap::new();
    for (place, seq) in arrived.iter().enumerate() {
        first_seen.entry(*seq).or_insert(place);
    }
    assert_eq!(first_seen.len(), 300);
    assert!(first_seen.values().is_sorted(), "{arrived:?}");
    eventually("nothing is left", async || world.route_status().await.open_batches == 0).await;
    assert!(store.claim(&Route::default(), Uuid::new_v4(), LONG).await.expect("claims").is_none());
}
