//! Leases and fences.

use std::collections::BTreeSet;

use outbox_core::{Release, Route, Store, StoreErrorKind};
use uuid::Uuid;

use super::steps::{
    LONG, LONGER_THAN_SHORT, SHORT, claim, deliver_all, draft, emit, hold, keys, keys_of, opened, plan, read,
    release_now, status, try_claim,
};
use super::{Sample, StoreHarness};

/// Also when there are many, and each once.
pub async fn every_event_is_in_exactly_one_batch<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let main = Route::default();
    let samples = Sample::many("k", 100);
    emit(&harness, &samples).await;
    let planned = plan(&store, &main, 7).await;
    assert_eq!((planned.rows, planned.batches), (100, 15));
    let (mut seen, mut batches) = (Vec::new(), BTreeSet::new());
    while let Some(claim) = try_claim(&store, &main).await {
        let events = read(&store, &claim).await;
        assert!(events.len() <= 7 && events.len() as u32 == claim.rows, "{} of {}", events.len(), claim.rows);
        assert_eq!(events.iter().map(|stored| stored.event.bytes() as u64).sum::<u64>(), claim.bytes);
        assert!(batches.insert(claim.batch), "a number is one batch's");
        seen.extend(keys(&store, &claim).await);
    }
    seen.sort();
    assert_eq!(seen, keys_of(&samples));
    assert_eq!(plan(&store, &main, 7).await.rows, 0);
}

/// By the database's clock, and from then on to anybody's.
pub async fn a_claimed_batch_is_nobody_elses_until_its_lease_runs_out<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let (main, other) = (Route::default(), harness.store());
    emit(&harness, &Sample::many("k", 3)).await;
    plan(&store, &main, 10).await;
    let first = store.claim(&main, Uuid::new_v4(), SHORT).await.expect("claims").expect("a batch");
    assert_eq!(first.attempt, 1);
    harness.elapse(LONGER_THAN_SHORT).await;
    let second = other.claim(&main, Uuid::new_v4(), LONG).await.expect("claims").expect("the lease has run out");
    assert_eq!((second.batch, second.attempt, second.rows), (first.batch, 2, 3));
    assert!(try_claim(&store, &main).await.is_none(), "it is under a lease");
    other.settle(&second).await.expect("settles");
    assert!(try_claim(&store, &main).await.is_none(), "a settled batch is gone");
}

/// However many ask at the same moment.
pub async fn relays_that_claim_at_once_never_get_the_same_batch<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let main = Route::default();
    emit(&harness, &Sample::many("k", 60)).await;
    assert_eq!(plan(&store, &main, 1).await.batches, 60);
    let relays = (0..6).map(|_| {
        let (store, main) = (harness.store(), main.clone());
        tokio::spawn(async move {
            let mut mine = Vec::new();
            while let Some(claim) = store.claim(&main, Uuid::new_v4(), LONG).await.expect("claims") {
                mine.push(claim.batch);
            }
            mine
        })
    });
    let mut all = Vec::new();
    for relay in relays.collect::<Vec<_>>() {
        all.extend(relay.await.expect("no panic"));
    }
    // One that lost every race it looked at may have given up early; the rest is still there for the next.
    while let Some(claim) = try_claim(&store, &main).await {
        all.push(claim.batch);
    }
    let distinct: BTreeSet<_> = all.iter().collect();
    assert_eq!((all.len(), distinct.len()), (60, 60), "each batch once");
}

/// Whatever it tries.
pub async fn a_stale_claim_can_do_nothing<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let main = Route::default();
    emit(&harness, &Sample::many("k", 10)).await;
    plan(&store, &main, 10).await;
    let stale = store.claim(&main, Uuid::new_v4(), SHORT).await.expect("claims").expect("a batch");
    let events = read(&store, &stale).await;
    let part = store.freeze(&stale, vec![draft(0..10)]).await.expect("freezes").remove(0);
    harness.elapse(LONGER_THAN_SHORT).await;
    // The same owner claims it again: the attempt alone must be enough to tell.
    let current = store.claim(&main, stale.owner, LONG).await.expect("claims").expect("the lease has run out");
    let lost = StoreErrorKind::LeaseLost;
    let aside = hold(&events, Some(part.no), &[0, 1], true);
    assert_eq!(store.freeze(&stale, vec![draft(0..10)]).await.expect_err("stale").kind(), lost);
    assert_eq!(store.replace(&stale, part.no, vec![draft(0..10)]).await.expect_err("stale").kind(), lost);
    assert_eq!(store.hold(&stale, &aside).await.expect_err("stale").kind(), lost);
    assert_eq!(store.settle_part(&stale, part.no).await.expect_err("stale").kind(), lost);
    assert_eq!(store.settle(&stale).await.expect_err("stale").kind(), lost);
    assert_eq!(store.settle_and_claim(&stale, LONG).await.expect_err("stale").kind(), lost);
    assert_eq!(store.renew(&stale, LONG).await.expect_err("stale").kind(), lost);
    assert_eq!(store.release(&stale, &release_now()).await.expect_err("stale").kind(), lost);
    assert!(try_claim(&store, &main).await.is_none(), "the current claim holds");
    assert!(store.held(10).await.expect("lists").is_empty());
    assert_eq!(current.parts, [part], "nothing of it was kept");
    store.settle(&current).await.expect("the current claim settles");
    assert_eq!(store.settle(&current).await.expect_err("settled already").kind(), lost);
    assert_eq!(deliver_all(&store, &main).await, [""; 0], "and nothing comes back");
}

/// From the moment when it was renewed.
pub async fn a_renewed_lease_runs_on<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let main = Route::default();
    emit(&harness, &Sample::many("k", 1)).await;
    plan(&store, &main, 10).await;
    let claim = store.claim(&main, Uuid::new_v4(), SHORT).await.expect("claims").expect("a batch");
    store.renew(&claim, LONG).await.expect("renews");
    harness.elapse(LONGER_THAN_SHORT).await;
    assert!(try_claim(&store, &main).await.is_none(), "it was renewed");
    store.settle(&claim).await.expect("settles");
}

/// And keeps the reason for `status`.
pub async fn a_released_batch_waits_for_its_delay<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let main = Route::default();
    emit(&harness, &Sample::many("k", 1)).await;
    plan(&store, &main, 10).await;
    let first = claim(&store, &main).await;
    let events = read(&store, &first).await;
    let part = store.freeze(&first, vec![draft([0])]).await.expect("freezes").remove(0);
    let release = Release { delay: LONG, error: Some("why".into()), parked: false };
    store.release(&first, &release).await.expect("releases");
    // Nobody has claimed it since: the attempt is still the same, and the owner alone must be enough to tell.
    let lost = StoreErrorKind::LeaseLost;
    let aside = hold(&events, Some(part.no), &[0], true);
    assert_eq!(store.freeze(&first, vec![draft([0])]).await.expect_err("given back").kind(), lost);
    assert_eq!(store.replace(&first, part.no, vec![draft([0])]).await.expect_err("given back").kind(), lost);
    assert_eq!(store.hold(&first, &aside).await.expect_err("given back").kind(), lost);
    assert_eq!(store.settle_part(&first, part.no).await.expect_err("given back").kind(), lost);
    assert_eq!(store.renew(&first, LONG).await.expect_err("given back").kind(), lost);
    assert_eq!(store.release(&first, &release_now()).await.expect_err("given back").kind(), lost);
    assert_eq!(store.settle(&first).await.expect_err("given back").kind(), lost);
    assert!(try_claim(&store, &main).await.is_none(), "not yet");
    let failing = status(&store, &main).await.failing;
    assert_eq!(
        failing.iter().map(|batch| (batch.batch, batch.error.as_str())).collect::<Vec<_>>(),
        [(first.batch.0, "why")]
    );
}

/// Others go on, and it comes again.
pub async fn a_parked_batch_does_not_stand_in_the_way<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let main = Route::default();
    emit(&harness, &Sample::many("a", 3)).await;
    plan(&store, &main, 10).await;
    let parked = claim(&store, &main).await;
    let release = |delay| Release { delay, error: Some("no table".into()), parked: true };
    store.release(&parked, &release(SHORT)).await.expect("releases");
    harness.elapse(LONGER_THAN_SHORT).await;
    let again = claim(&store, &main).await;
    assert_eq!(again.batch, parked.batch, "its time has come");
    store.release(&again, &release(LONG)).await.expect("releases");
    emit(&harness, &Sample::many("b", 3)).await;
    plan(&store, &main, 10).await;
    let other = claim(&store, &main).await;
    assert!(other.batch != parked.batch && try_claim(&store, &main).await.is_none());
    assert_eq!(status(&store, &main).await.parked_batches, 1);
}

/// The next batch is the same owner's.
pub async fn settling_and_claiming_in_one_call_is_both_or_neither<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let main = Route::default();
    emit(&harness, &Sample::many("k", 2)).await;
    plan(&store, &main, 1).await;
    let first = claim(&store, &main).await;
    let second = store.settle_and_claim(&first, LONG).await.expect("settles").expect("the second batch");
    assert_eq!((second.owner, second.attempt), (first.owner, 1));
    assert!(second.batch > first.batch);
    assert_eq!(store.settle_and_claim(&first, LONG).await.expect_err("settled").kind(), StoreErrorKind::LeaseLost);
    assert!(store.settle_and_claim(&second, LONG).await.expect("settles").is_none(), "that was the last");
    assert_eq!(status(&store, &main).await.pending_events(), 0);
}
