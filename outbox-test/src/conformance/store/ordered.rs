//! Ordered routes: one batch at a time, the oldest first.

use outbox_core::{Release, Route, RouteSpec, Store};
use uuid::Uuid;

use super::steps::{
    LONG, LONGER_THAN_SHORT, SHORT, TICK, claim, deliver_all, emit, hold, keys, keys_of, opened_as, plan, read, status,
    try_claim,
};
use super::{Sample, StoreHarness};

fn ordered() -> RouteSpec {
    RouteSpec { ordered: true, ..RouteSpec::default() }
}

/// Whoever asks.
pub async fn an_ordered_route_has_one_batch_in_hand<H: StoreHarness>() {
    let (harness, store) = opened_as::<H>(&ordered()).await;
    let main = Route::default();
    let samples = Sample::many("k", 9);
    emit(&harness, &samples).await;
    assert_eq!(plan(&store, &main, 3).await.batches, 3);
    assert!(status(&store, &main).await.ordered);
    let other = harness.store();
    let mut delivered = Vec::new();
    while let Some(claim) = try_claim(&store, &main).await {
        assert!(try_claim(&other, &main).await.is_none(), "one at a time");
        delivered.extend(keys(&store, &claim).await);
        store.settle(&claim).await.expect("settles");
    }
    assert_eq!(delivered, keys_of(&samples));
    // Nor is one that was put aside in hand together with one that was not.
    emit(&harness, &Sample::many("aside", 2)).await;
    assert_eq!(plan(&store, &main, 1).await.batches, 2);
    let first = claim(&store, &main).await;
    let events = read(&store, &first).await;
    store.hold(&first, &hold(&events, None, &[0], false)).await.expect("holds");
    store.settle(&first).await.expect("settles");
    harness.elapse(TICK).await;
    let parked = claim(&store, &main).await;
    assert!(parked.held, "its time has come");
    assert!(try_claim(&other, &main).await.is_none(), "one at a time, of whichever kind");
}

/// Also when its lease ran out, and when it is to be tried again later.
pub async fn the_oldest_batch_waits_and_the_others_behind_it<H: StoreHarness>() {
    let (harness, store) = opened_as::<H>(&ordered()).await;
    let main = Route::default();
    emit(&harness, &Sample::many("k", 2)).await;
    plan(&store, &main, 1).await;
    let first = store.claim(&main, Uuid::new_v4(), SHORT).await.expect("claims").expect("a batch");
    harness.elapse(LONGER_THAN_SHORT).await;
    let again = claim(&store, &main).await;
    assert_eq!(again.batch, first.batch, "the same one again");
    let later = |delay| Release { delay, error: Some("later".into()), parked: false };
    store.release(&again, &later(SHORT)).await.expect("releases");
    harness.elapse(LONGER_THAN_SHORT).await;
    let again = claim(&store, &main).await;
    assert_eq!(again.batch, first.batch, "still the same");
    store.release(&again, &later(LONG)).await.expect("releases");
    assert!(try_claim(&store, &main).await.is_none(), "nobody overtakes it");
}

/// However many ask at the same moment.
pub async fn relays_that_claim_at_once_get_one_batch_between_them<H: StoreHarness>() {
    let (harness, store) = opened_as::<H>(&ordered()).await;
    let main = Route::default();
    emit(&harness, &Sample::many("k", 20)).await;
    plan(&store, &main, 1).await;
    for _ in 0..5 {
        let claims = (0..6).map(|_| {
            let (store, main) = (harness.store(), main.clone());
            tokio::spawn(async move { store.claim(&main, Uuid::new_v4(), LONG).await.expect("claims") })
        });
        let mut got = Vec::new();
        for claim in claims.collect::<Vec<_>>() {
            got.extend(claim.await.expect("no panic"));
        }
        // All may have stood in each other's way.
        got.extend(try_claim(&store, &main).await);
        assert_eq!(got.len(), 1, "one batch in hand");
        store.settle(&got[0]).await.expect("settles");
    }
    assert_eq!(deliver_all(&store, &main).await.len(), 15);
}

/// To the claims that come after, so that their events are held behind.
pub async fn parked_tables_are_named<H: StoreHarness>() {
    let (harness, store) = opened_as::<H>(&ordered()).await;
    let main = Route::default();
    emit(&harness, &Sample::many("k", 4)).await;
    plan(&store, &main, 2).await;
    let first = claim(&store, &main).await;
    assert!(first.parked_tables.is_empty());
    let events = read(&store, &first).await;
    let mut parked = hold(&events, None, &[0, 1], false);
    parked.delay = LONG;
    store.hold(&first, &parked).await.expect("holds");
    store.settle(&first).await.expect("settles");
    let second = claim(&store, &main).await;
    assert_eq!(second.parked_tables, ["event_log"]);
}
