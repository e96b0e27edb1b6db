//! Pruning, retention and replay.

use std::time::Duration;

use chrono::{DateTime, Utc};
use outbox_core::{Release, ReplayRequest, Route, RouteSpec, Store};

use super::steps::{
    LONG, TICK, claim, deliver_all, emit, hold, keys, keys_of, opened, plan, read, route, status, try_claim,
};
use super::{Sample, StoreHarness};

/// Batch by batch, whichever is slower.
pub async fn nothing_is_pruned_before_every_route_has_settled_it<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let (main, slow) = (Route::default(), route("slow"));
    store.open(&RouteSpec::new(slow.clone())).await.expect("opens");
    emit(&harness, &Sample::many("k", 30)).await;
    for (route, rows_max) in [(&main, 10), (&slow, 7)] {
        assert_eq!(plan(&store, route, rows_max).await.rows, 30, "still there, for whoever has not even sealed them");
        while let Some(claim) = try_claim(&store, route).await {
            store.prune(Duration::ZERO).await.expect("prunes");
            assert_eq!(read(&store, &claim).await.len(), claim.rows as usize, "still there");
            store.settle(&claim).await.expect("settles");
        }
        store.prune(Duration::ZERO).await.expect("prunes");
    }
    store.prune(Duration::ZERO).await.expect("prunes");
    assert_eq!(plan(&store, &main, 10).await.rows + plan(&store, &slow, 10).await.rows, 0);
    emit(&harness, &Sample::many("after", 2)).await;
    assert_eq!(deliver_all(&store, &main).await, keys_of(&Sample::many("after", 2)));
    assert_eq!(deliver_all(&store, &slow).await, keys_of(&Sample::many("after", 2)));
}

/// As long as there is room.
pub async fn what_is_to_be_kept_is_kept<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let main = Route::default();
    emit(&harness, &Sample::many("k", 10)).await;
    assert_eq!(deliver_all(&store, &main).await.len(), 10);
    store.prune(LONG).await.expect("prunes");
    assert_eq!(store.status().await.expect("a status").stored_events, 10, "they are young");
    assert_eq!(plan(&store, &main, 10).await.rows, 0, "kept, and delivered");
}

fn replay(route: &Route, all: bool) -> ReplayRequest {
    ReplayRequest {
        route: route.clone(),
        from: DateTime::UNIX_EPOCH,
        to: DateTime::<Utc>::from_timestamp_micros(4_102_444_800_000_000).expect("a time"),
        all,
        rows_max: 4,
        bytes_max: u64::MAX,
    }
}

/// Once more, and are kept until that is settled.
pub async fn replayed_events_are_sealed_again<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let main = Route::default();
    let samples = Sample::many("k", 10);
    emit(&harness, &samples).await;
    assert_eq!(deliver_all(&store, &main).await.len(), 10);
    if H::TELLS_THE_TIME {
        let nothing = ReplayRequest { to: DateTime::UNIX_EPOCH, ..replay(&main, false) };
        assert_eq!(store.replay(&nothing).await.expect("seals").rows, 0);
    }
    for all in [false, true] {
        let sealed = store.replay(&replay(&main, all)).await.expect("seals");
        assert_eq!((sealed.rows, sealed.batches), (10, 3));
        store.prune(Duration::ZERO).await.expect("prunes");
        let mut again = Vec::new();
        while let Some(claim) = try_claim(&store, &main).await {
            assert_eq!(claim.replay, !all, "the sink looks first, unless all are to be sent");
            again.extend(keys(&store, &claim).await);
            store.settle(&claim).await.expect("settles");
        }
        assert_eq!(again, keys_of(&samples));
    }
    store.prune(Duration::ZERO).await.expect("prunes");
    assert_eq!(deliver_all(&store, &main).await, [""; 0]);
}

/// All of which goes out by itself, or when a person says so: another batch would bring it once more.
pub async fn a_replay_passes_over_what_is_open_and_what_is_held<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let main = Route::default();
    let samples = Sample::many("k", 15);
    emit(&harness, &samples).await;
    plan(&store, &main, 3).await;
    // One event parked, one dead, a batch delivered, one in a relay's hands, one that waits for its next try.
    for dead in [false, true] {
        let batch = claim(&store, &main).await;
        let mut aside = hold(&read(&store, &batch).await, None, &[1], dead);
        aside.delay = LONG;
        store.hold(&batch, &aside).await.expect("holds");
        store.settle(&batch).await.expect("settles");
    }
    let delivered = claim(&store, &main).await;
    store.settle(&delivered).await.expect("settles");
    let in_hands = claim(&store, &main).await;
    let waiting = claim(&store, &main).await;
    let later = Release { delay: LONG, error: None, parked: false };
    store.release(&waiting, &later).await.expect("releases");

    let sealed = store.replay(&replay(&main, false)).await.expect("seals");
    assert_eq!((sealed.rows, sealed.passed_over), (7, 8));
    for all in [false, true] {
        let again = store.replay(&replay(&main, all)).await.expect("seals");
        assert_eq!((again.rows, again.passed_over), (0, 15), "what was replayed is open itself");
    }
    harness.elapse(TICK).await;
    let mut again = Vec::new();
    while let Some(claim) = try_claim(&store, &main).await {
        again.extend(keys(&store, &claim).await);
        store.settle(&claim).await.expect("settles");
    }
    let settled = [0, 2, 3, 5, 6, 7, 8].map(|n: usize| samples[n].key.clone());
    assert_eq!(again, settled);
    store.settle(&in_hands).await.expect("it was in hands all the time");
    let state = status(&store, &main).await;
    assert_eq!((state.sealed_events, state.dead_events), (4, 1), "the parked one, the waiting batch, and the dead one");
}

/// From the oldest that is kept.
pub async fn a_new_route_gets_what_is_still_there<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let (main, second) = (Route::default(), route("second"));
    emit(&harness, &Sample::many("a", 5)).await;
    assert_eq!(deliver_all(&store, &main).await.len(), 5);
    store.prune(LONG).await.expect("prunes");
    emit(&harness, &Sample::many("b", 5)).await;
    store.open(&RouteSpec::new(second.clone())).await.expect("opens");
    // What the first route delivers meanwhile stays for the second.
    assert_eq!(deliver_all(&store, &main).await.len(), 5);
    store.prune(Duration::ZERO).await.expect("prunes");
    plan(&store, &second, 100).await;
    let claim = claim(&store, &second).await;
    assert_eq!(keys(&store, &claim).await.len(), 10);
}
