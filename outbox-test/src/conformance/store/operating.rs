//! Setting up, and what an operator sees.

use std::time::Duration;

use outbox_core::{Layout, Route, RouteSpec, SchemaRecord, Store};

use super::steps::{LONG, LONGER_THAN_SHORT, SHORT, claim, deliver_all, emit, keys_of, opened, plan, route, status};
use super::{Sample, StoreHarness, StoreTx};

/// And until then, opening says what to do.
pub async fn setting_up_many_times_at_once_is_safe<H: StoreHarness>() {
    let harness = H::create().await;
    let setups = (0..4).map(|_| {
        let store = harness.store();
        tokio::spawn(async move { store.setup().await })
    });
    for setup in setups.collect::<Vec<_>>() {
        setup.await.expect("no panic").expect("sets up");
    }
    let store = harness.store();
    store.open(&RouteSpec::default()).await.expect("opens");
    emit(&harness, &Sample::many("k", 1)).await;
    store.setup().await.expect("sets up");
    assert_eq!(deliver_all(&store, &Route::default()).await, ["k000000"], "nothing is made anew");
}

/// Per route, in events and in time.
pub async fn the_status_counts_what_waits<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let (main, other) = (Route::default(), route("other"));
    store.open(&RouteSpec::new(other.clone())).await.expect("opens");
    assert_eq!(status(&store, &main).await.oldest_age, None, "nothing waits");
    emit(&harness, &Sample::many("a", 6)).await;
    plan(&store, &main, 2).await;
    emit(&harness, &Sample::many("b", 4)).await;
    let claim = claim(&store, &main).await;
    harness.elapse(LONGER_THAN_SHORT).await;
    let state = status(&store, &main).await;
    assert_eq!((state.unsealed_events, state.sealed_events, state.open_batches), (4, 6, 3));
    let age = state.oldest_age.expect("something waits");
    assert!(age >= SHORT && age < LONG, "{age:?}");
    assert_eq!(status(&store, &other).await.unsealed_events, 10);
    store.settle(&claim).await.expect("settles");
    assert_eq!(status(&store, &main).await.sealed_events, 4);
    deliver_all(&store, &main).await;
    let state = status(&store, &main).await;
    assert_eq!((state.pending_events(), state.oldest_age), (0, None));
}

/// For the slowest route.
pub async fn the_load_is_what_waits<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let (main, slow) = (Route::default(), route("slow"));
    store.open(&RouteSpec::new(slow.clone())).await.expect("opens");
    emit(&harness, &Sample::many("k", 50)).await;
    harness.elapse(LONGER_THAN_SHORT).await;
    deliver_all(&store, &main).await;
    plan(&store, &slow, 20).await;
    let load = store.load().await.expect("a load");
    assert!(load.rows >= 50 && load.bytes > 0, "{load:?}");
    assert!(load.oldest_age >= SHORT && load.oldest_age < LONG, "{load:?}");
    deliver_all(&store, &slow).await;
    store.prune(Duration::ZERO).await.expect("prunes");
    let load = store.load().await.expect("a load");
    assert_eq!((load.rows, load.held), (0, 0), "{load:?}");
}

/// From every process, until it has room again.
pub async fn a_full_outbox_refuses_events<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let main = Route::default();
    emit(&harness, &Sample::many("a", 2)).await;
    store.set_full(true).await.expect("says so");
    harness.elapse(H::FULL_IS_SEEN_WITHIN).await;
    let mut tx = harness.begin().await;
    assert!(!tx.emit(&Sample::many("refused", 1)).await);
    tx.rollback().await;
    assert_eq!(deliver_all(&store, &main).await, keys_of(&Sample::many("a", 2)));
    store.set_full(false).await.expect("says so");
    harness.elapse(H::FULL_IS_SEEN_WITHIN).await;
    emit(&harness, &Sample::many("b", 1)).await;
    assert_eq!(deliver_all(&store, &main).await, ["b000000"]);
}

/// By name and version.
pub async fn schemas_are_kept_and_replaced<H: StoreHarness>() {
    let (_harness, store) = opened::<H>().await;
    assert_eq!(store.schemas().await.expect("reads"), []);
    let record = |event_type: &str, version, table: &str| SchemaRecord {
        event_type: event_type.to_owned(),
        version,
        table: table.to_owned(),
        layout: Layout::Columns,
        columns: Vec::new(),
        ddl: outbox_core::DdlRecord { order_by: Some("(a, `b c`)".into()), ..Default::default() },
    };
    store.register(&[record("a", 1, "one"), record("a", 2, "two")]).await.expect("registers");
    store.register(&[record("b", 1, "b"), record("a", 2, "changed")]).await.expect("registers");
    store.register(&[]).await.expect("nothing to do");
    let mut known = store.schemas().await.expect("reads");
    known.sort_by(|a, b| (&a.event_type, a.version).cmp(&(&b.event_type, b.version)));
    assert_eq!(known, [record("a", 1, "one"), record("a", 2, "changed"), record("b", 1, "b")]);
}
