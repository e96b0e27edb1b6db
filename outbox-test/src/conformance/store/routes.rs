//! Routes: their own pace, where they begin, what they want, and letting go.

use std::time::Duration;

use outbox_core::{Route, RouteSpec, RouteStart, Store, StoreErrorKind};

use super::steps::{
    claim, deliver_all, emit, keys, keys_of, opened, opened_as, plan, request, route, status, try_claim,
};
use super::{Sample, StoreHarness, StoreTx};

fn only(types: &[&str]) -> RouteSpec {
    RouteSpec { event_types: Some(types.iter().map(|&name| name.to_owned()).collect()), ..RouteSpec::default() }
}

/// Everything, each.
pub async fn routes_deliver_the_same_events_at_their_own_pace<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let (main, slow) = (Route::default(), route("slow"));
    store.open(&RouteSpec::new(slow.clone())).await.expect("opens");
    let (a, b) = (Sample::many("a", 5), Sample::many("b", 5));
    emit(&harness, &a).await;
    assert_eq!(deliver_all(&store, &main).await, keys_of(&a));
    emit(&harness, &b).await;
    plan(&store, &main, 10).await;
    let held = claim(&store, &main).await;
    assert_eq!(held.route, main);
    let both: Vec<String> = keys_of(&a).into_iter().chain(keys_of(&b)).collect();
    assert_eq!(deliver_all(&store, &slow).await, both, "a lease of the other route does not matter");
    store.settle(&held).await.expect("settles");
    let routes = store.status().await.expect("a status").routes;
    assert_eq!(routes.iter().map(|route| route.route.as_str()).collect::<Vec<_>>(), ["main", "slow"]);
}

/// Without what is there, pruned or not.
pub async fn a_route_can_begin_now<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let (main, late) = (Route::default(), route("late"));
    emit(&harness, &Sample::many("old", 10)).await;
    let spec = RouteSpec { start: RouteStart::Now, ..RouteSpec::new(late.clone()) };
    store.open(&spec).await.expect("opens");
    emit(&harness, &Sample::many("new", 3)).await;
    // Where it begins is of no meaning once it is there.
    store.open(&spec).await.expect("opens");
    assert_eq!(status(&store, &late).await.unsealed_events, 3);
    assert_eq!(deliver_all(&store, &late).await, keys_of(&Sample::many("new", 3)));
    assert_eq!(deliver_all(&store, &main).await.len(), 13);
    store.prune(Duration::ZERO).await.expect("prunes");
    let after = route("after");
    store.open(&RouteSpec { start: RouteStart::Now, ..RouteSpec::new(after.clone()) }).await.expect("opens");
    emit(&harness, &Sample::many("last", 1)).await;
    assert_eq!(deliver_all(&store, &after).await, ["last000000"]);
}

/// Also when it was emitted before.
pub async fn what_commits_after_a_route_began_is_delivered<H: StoreHarness>() {
    if !H::CONCURRENT_WRITERS {
        return;
    }
    let (harness, store) = opened::<H>().await;
    let late = route("late");
    let mut tx = harness.begin().await;
    assert!(tx.emit(&Sample::many("open", 2)).await);
    emit(&harness, &Sample::many("old", 10)).await;
    store.open(&RouteSpec { start: RouteStart::Now, ..RouteSpec::new(late.clone()) }).await.expect("opens");
    assert_eq!(deliver_all(&store, &late).await, [""; 0]);
    tx.commit().await;
    assert_eq!(deliver_all(&store, &late).await, keys_of(&Sample::many("open", 2)));
}

/// And the others do not hold up pruning.
pub async fn a_filtered_route_gets_only_its_types<H: StoreHarness>() {
    let (harness, store) = opened_as::<H>(&only(&["a", "c"])).await;
    let main = Route::default();
    let mut samples = Vec::new();
    for n in 0..30 {
        let event_type = ["a", "b", "c"][n % 3];
        samples.push(Sample::new(&format!("{event_type}{n:02}")).of_type(event_type));
    }
    emit(&harness, &samples).await;
    assert_eq!(status(&store, &main).await.event_types, Some(vec!["a".to_owned(), "c".to_owned()]));
    assert_eq!(status(&store, &main).await.unsealed_events, 20);
    let planned = plan(&store, &main, 8).await;
    assert_eq!((planned.rows, planned.batches), (20, 3), "as large as without a filter");
    let delivered = deliver_all(&store, &main).await;
    let wanted: Vec<String> = keys_of(&samples).into_iter().filter(|key| !key.starts_with('b')).collect();
    assert_eq!(delivered, wanted);
    emit(&harness, &[Sample::new("b").of_type("b")]).await;
    assert_eq!(plan(&store, &main, 8).await.batches, 0);
    store.prune(Duration::ZERO).await.expect("prunes");
    assert_eq!(plan(&store, &main, 8).await.rows, 0);
    assert_eq!(status(&store, &main).await.pending_events(), 0);
}

/// A sealed batch stays what it is, and what was passed over does not come back.
pub async fn a_changed_filter_counts_from_then_on<H: StoreHarness>() {
    let (harness, store) = opened_as::<H>(&only(&["a"])).await;
    let main = Route::default();
    let mixed =
        |name: &str| [Sample::new(&format!("a{name}")).of_type("a"), Sample::new(&format!("b{name}")).of_type("b")];
    emit(&harness, &mixed("1")).await;
    assert_eq!(plan(&store, &main, 10).await.rows, 1);
    store.open(&only(&["b"])).await.expect("opens");
    emit(&harness, &mixed("2")).await;
    assert_eq!(plan(&store, &main, 10).await.rows, 1);
    let first = claim(&store, &main).await;
    assert_eq!(keys(&store, &first).await, ["a1"], "as it was sealed");
    let second = claim(&store, &main).await;
    assert_eq!(keys(&store, &second).await, ["b2"]);
    store.settle(&first).await.expect("settles");
    store.settle(&second).await.expect("settles");
    store.open(&RouteSpec::default()).await.expect("opens");
    emit(&harness, &mixed("3")).await;
    assert_eq!(deliver_all(&store, &main).await, ["a3", "b3"]);
}

/// With all its batches; the others go on.
pub async fn a_removed_route_is_forgotten<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let (main, dead) = (Route::default(), route("dead"));
    store.open(&RouteSpec::new(dead.clone())).await.expect("opens");
    emit(&harness, &Sample::many("k", 10)).await;
    plan(&store, &dead, 5).await;
    let held = claim(&store, &dead).await;
    assert_eq!(deliver_all(&store, &main).await.len(), 10);
    store.prune(Duration::ZERO).await.expect("prunes");
    assert_eq!(super::steps::read(&store, &held).await.len(), 5, "it holds them");
    assert!(store.remove_route(&dead).await.expect("removes"));
    assert!(!store.remove_route(&dead).await.expect("nothing to remove"));
    assert_eq!(store.settle(&held).await.expect_err("it is gone").kind(), StoreErrorKind::LeaseLost);
    assert!(try_claim(&store, &dead).await.is_none());
    store.prune(Duration::ZERO).await.expect("prunes");
    let state = store.status().await.expect("a status");
    assert_eq!(state.routes.iter().map(|route| route.route.as_str()).collect::<Vec<_>>(), ["main"]);
}

/// Rather than planned for in vain.
pub async fn a_route_that_is_not_there_is_refused<H: StoreHarness>() {
    let (_harness, store) = opened::<H>().await;
    let nowhere = route("nowhere");
    assert_eq!(store.plan(&request(&nowhere, 10)).await.expect_err("no route").kind(), StoreErrorKind::Schema);
    assert!(try_claim(&store, &nowhere).await.is_none());
}
