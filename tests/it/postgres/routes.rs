//! Several routes over the same events: filters, where they start, letting go, and not waiting for each other.

use std::time::Duration;

use outbox::{Part, Relay, Route, RouteSpec, RouteStart, Sink, SinkError, Store, StoreErrorKind};

use super::{LONG, claim, events, opened, request, seqs_of_all_batches};
use crate::world::{create_users, eventually};

fn only(types: &[&str]) -> RouteSpec {
    RouteSpec { event_types: Some(types.iter().map(|&name| name.to_owned()).collect()), ..RouteSpec::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_is_frozen_with_the_batch() {
    let route = Route::default();
    let (world, store) = opened(&only(&["a"])).await;
    let mut conn = world.conn().await;
    conn.execute(&events("a", 7)).await;
    conn.execute(&events("b", 5)).await;
    assert_eq!(store.plan(&request(&route)).await.expect("plans").rows, 7);
    // What was sealed under the old filter reads back the same under the new one.
    store.open(&only(&["b"])).await.expect("opens");
    conn.execute(&events("b", 3)).await;
    assert_eq!(store.plan(&request(&route)).await.expect("plans").rows, 3, "the five were passed over for good");
    let claimed = claim(&store, &route).await.expect("a batch");
    let read = store.read(&claimed).await.expect("reads");
    assert_eq!(read.len(), 7);
    assert!(read.iter().all(|stored| &*stored.event.event_type == "a"));
    let status = store.status().await.expect("a status");
    assert_eq!(status.routes[0].event_types, Some(vec!["b".to_owned()]));
}

/// Else every poll would walk over everything that the filter has passed over since the route's last event.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_filter_passes_over_is_passed_over_once() {
    let route = Route::default();
    let (world, store) = opened(&only(&["a"])).await;
    let mut conn = world.conn().await;
    conn.execute(&events("b", 50)).await;
    let patient = outbox::PlanRequest { rows: 5, linger: LONG, ..request(&route) };
    assert_eq!(store.plan(&patient).await.expect("plans").rows, 0);
    let passed =
        "outbox_cursor c WHERE EXISTS (SELECT FROM outbox_event WHERE NOT pg_visible_in_snapshot(xid, c.base))";
    assert_eq!(conn.count(passed).await, 0, "the route's base is behind them");
    // And they do not hold up pruning.
    assert_eq!(store.prune(Duration::ZERO).await.expect("prunes"), 1);
    // A poll that finds nothing new writes nothing.
    let row = "outbox_cursor WHERE xmin::text = pg_current_xact_id_if_assigned()::text";
    let before = conn.count("pg_stat_all_tables WHERE relname = 'outbox_cursor' AND n_tup_upd > 1").await;
    store.plan(&patient).await.expect("plans");
    assert_eq!(conn.count(row).await, 0);
    assert_eq!(conn.count("pg_stat_all_tables WHERE relname = 'outbox_cursor' AND n_tup_upd > 1").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_route_starts_at_the_oldest_event_or_now() {
    let (world, store) = opened(&RouteSpec::default()).await;
    let mut conn = world.conn().await;
    conn.execute(&events("a", 10)).await;
    let late = &mut world.conn().await;
    late.execute(&format!("BEGIN; {}", events("a", 2))).await;
    let now = RouteSpec { start: RouteStart::Now, ..RouteSpec::new(Route::new("now")) };
    let oldest = RouteSpec::new(Route::new("oldest"));
    store.open(&now).await.expect("opens");
    store.open(&oldest).await.expect("opens");
    conn.execute(&events("a", 3)).await;
    late.execute("COMMIT").await;
    let planned = async |spec: &RouteSpec| store.plan(&request(&spec.route)).await.expect("plans").rows;
    assert_eq!(planned(&now).await, 5, "what is committed from then on, in whichever transaction");
    assert_eq!(planned(&oldest).await, 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_route_lets_go() {
    let (world, store) = opened(&RouteSpec::default()).await;
    let slow = Route::new("slow");
    store.open(&RouteSpec::new(slow.clone())).await.expect("opens");
    world.conn().await.execute(&events("a", 30)).await;
    for route in [&Route::default(), &slow] {
        store.plan(&request(route)).await.expect("plans");
    }
    let held = claim(&store, &slow).await.expect("a batch");
    seqs_of_all_batches(&store, &Route::default()).await;
    assert_eq!(store.prune(Duration::ZERO).await.expect("prunes"), 0, "the slow route has them still to deliver");
    assert!(store.remove_route(&slow).await.expect("removes"));
    assert!(!store.remove_route(&slow).await.expect("looks"), "there is none any more");
    assert_eq!(store.prune(Duration::ZERO).await.expect("prunes"), 1);
    // A relay that did not hear of it can do nothing.
    assert_eq!(store.settle(&held).await.expect_err("gone").kind(), StoreErrorKind::LeaseLost);
    assert_eq!(store.plan(&request(&slow)).await.expect_err("gone").kind(), StoreErrorKind::Schema);
    assert_eq!(store.status().await.expect("a status").routes.len(), 1);
}

/// Refuses everything.
struct Down;

impl Sink for Down {
    async fn deliver(&self, _: &Part) -> Result<(), SinkError> {
        Err(SinkError::unknown("deliver", "it is down"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_fails_all_the_time_delays_no_other_and_keeps_its_events() {
    let (world, store) = opened(&RouteSpec::default()).await;
    let failing = Relay::builder(store.clone())
        .sink(Down)
        .route("down")
        .linger(Duration::ZERO)
        .retry(Duration::from_millis(5), Duration::from_millis(20))
        .start()
        .await
        .expect("starts");
    let relay = world.relay().await;
    let committed = create_users(&mut world.conn().await, 0..300).await;
    let pending = async |name: &str| {
        let status = store.status().await.expect("a status");
        status.routes.into_iter().find(|route| route.route == name).map_or(u64::MAX, |route| route.pending_events())
    };
    eventually("the other route has delivered", async || pending("main").await == 0).await;
    eventually("it has failed often", async || failing.stats().failures > 10).await;
    world.assert_exactly_once(&committed).await;
    store.prune(Duration::ZERO).await.expect("prunes");
    assert_eq!(world.conn().await.count("outbox_event").await, 300, "one route has not delivered them");
    assert_eq!(pending("down").await, 300);
    drop((failing, relay));
}
