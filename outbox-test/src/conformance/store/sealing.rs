//! Sealing: which events, when, and that a batch is the same for ever.

use std::collections::BTreeSet;
use std::time::Duration;

use outbox_core::{PlanRequest, Route, Store, StoreErrorKind};
use uuid::Uuid;

use super::steps::{
    LONG, LONGER_THAN_SHORT, SHORT, claim, deliver_all, draft, emit, keys, keys_of, opened, plan, read, request,
    status, try_claim,
};
use super::{Sample, StoreHarness, StoreTx};

/// Read twice, by another claim, through another store, with more events around it: byte for byte.
pub async fn a_batch_reads_back_the_same_and_keeps_its_parts<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let main = Route::default();
    emit(&harness, &Sample::many("a", 10)).await;
    plan(&store, &main, 10).await;
    let first = store.claim(&main, Uuid::new_v4(), SHORT).await.expect("claims").expect("a batch");
    let events = read(&store, &first).await;
    let drafts = vec![draft(0..4), draft([4, 6, 8]), draft([5, 7, 9])];
    let frozen = store.freeze(&first, drafts.clone()).await.expect("freezes");
    assert_eq!(frozen.iter().map(|part| part.draft.clone()).collect::<Vec<_>>(), drafts);
    assert_eq!(frozen.iter().map(|part| part.no).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(frozen.iter().map(|part| part.token).collect::<BTreeSet<_>>().len(), 3, "a token each");
    assert_eq!(read(&store, &first).await, events);

    emit(&harness, &Sample::many("b", 10)).await;
    harness.elapse(LONGER_THAN_SHORT).await;
    let other = harness.store();
    let again = other.claim(&main, Uuid::new_v4(), LONG).await.expect("claims").expect("the lease has run out");
    assert_eq!((again.batch, again.attempt, again.bytes), (first.batch, 2, first.bytes));
    assert_eq!(again.parts, frozen, "token, table, events, statement and mark are kept");
    assert_eq!(read(&other, &again).await, events);
}

/// That of the emits, within a transaction and over several.
pub async fn a_batch_is_in_the_order_of_seq<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let main = Route::default();
    for prefix in ["c", "a", "b"] {
        emit(&harness, &Sample::many(prefix, 5)).await;
    }
    plan(&store, &main, 100).await;
    let events = read(&store, &claim(&store, &main).await).await;
    assert!(events.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    let keys = super::steps::names(&events);
    let expected: Vec<String> = ["c", "a", "b"].iter().flat_map(|prefix| keys_of(&Sample::many(prefix, 5))).collect();
    assert_eq!(keys, expected);
}

/// With the event that reaches the limit.
pub async fn a_batch_ends_where_its_bytes_do<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let main = Route::default();
    emit(&harness, &Sample::many("k", 50)).await;
    let bytes_max = 1000;
    let planned = store.plan(&PlanRequest { bytes_max, ..request(&main, 1000) }).await.expect("plans");
    assert!(planned.rows == 50 && planned.batches > 3, "{planned:?}");
    while let Some(claim) = try_claim(&store, &main).await {
        let events = read(&store, &claim).await;
        let last = events.last().map_or(0, |stored| stored.event.bytes() as u64);
        assert!(claim.bytes < bytes_max + last, "larger by one event at most: {}", claim.bytes);
    }
}

/// Until there are enough of them, or the oldest has waited.
pub async fn a_few_events_wait_for_others<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let main = Route::default();
    let patient = PlanRequest { rows: 5, linger: LONG, ..request(&main, 100) };
    emit(&harness, &Sample::many("a", 4)).await;
    assert_eq!(store.plan(&patient).await.expect("plans").rows, 0);
    emit(&harness, &Sample::many("b", 1)).await;
    assert_eq!(store.plan(&patient).await.expect("plans").rows, 5, "five make a batch at once");
    emit(&harness, &Sample::many("c", 1)).await;
    assert_eq!(store.plan(&patient).await.expect("plans").rows, 0);
    harness.elapse(LONGER_THAN_SHORT).await;
    let waited = PlanRequest { linger: SHORT, ..patient };
    assert_eq!(store.plan(&waited).await.expect("plans").rows, 1, "by the database's clock");
}

/// Nor does it write a batch without events.
pub async fn an_idle_plan_seals_nothing<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let main = Route::default();
    for _ in 0..3 {
        assert_eq!(plan(&store, &main, 10).await, outbox_core::Planned::default());
    }
    emit(&harness, &Sample::many("k", 1)).await;
    assert_eq!(plan(&store, &main, 10).await.batches, 1);
    for _ in 0..3 {
        assert_eq!(plan(&store, &main, 10).await, outbox_core::Planned::default());
    }
    assert_eq!(status(&store, &main).await.open_batches, 1);
}

/// Neither before nor after, and the others are.
pub async fn rolled_back_events_are_never_seen<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let main = Route::default();
    emit(&harness, &Sample::many("a", 2)).await;
    let mut tx = harness.begin().await;
    assert!(tx.emit(&Sample::many("gone", 3)).await);
    if H::CONCURRENT_WRITERS {
        assert_eq!(plan(&store, &main, 10).await.rows, 2, "what is not committed is not there");
    }
    tx.rollback().await;
    emit(&harness, &Sample::many("b", 2)).await;
    assert_eq!(deliver_all(&store, &main).await, ["a000000", "a000001", "b000000", "b000001"]);
    assert_eq!(store.status().await.expect("a status").stored_events, 4);
}

/// An event with a smaller number, whose transaction commits when later ones have been sealed.
pub async fn late_commits_are_found<H: StoreHarness>() {
    if !H::CONCURRENT_WRITERS {
        return;
    }
    let (harness, store) = opened::<H>().await;
    let main = Route::default();
    let mut late = Vec::new();
    for n in 0..3 {
        let mut tx = harness.begin().await;
        assert!(tx.emit(&[Sample::new(&format!("late{n}"))]).await);
        late.push(tx);
        emit(&harness, &[Sample::new(&format!("early{n}"))]).await;
    }
    assert_eq!(deliver_all(&store, &main).await, ["early0", "early1", "early2"]);
    for (n, tx) in late.into_iter().enumerate().rev() {
        tx.commit().await;
        assert_eq!(deliver_all(&store, &main).await, [format!("late{n}")]);
    }
    assert_eq!(deliver_all(&store, &main).await, [""; 0]);
}

/// When all around it is gone, also for a relay that knows nothing of what was before.
pub async fn late_commits_are_found_among_settled_and_pruned_events<H: StoreHarness>() {
    if !H::CONCURRENT_WRITERS {
        return;
    }
    let (harness, store) = opened::<H>().await;
    let main = Route::default();
    emit(&harness, &Sample::many("a", 10)).await;
    let mut tx = harness.begin().await;
    assert!(tx.emit(&Sample::many("late", 2)).await);
    emit(&harness, &Sample::many("b", 10)).await;
    assert_eq!(deliver_all(&store, &main).await.len(), 20);
    store.prune(Duration::ZERO).await.expect("prunes");
    assert!(tx.emit(&Sample::many("later", 2)).await);
    tx.commit().await;
    store.prune(Duration::ZERO).await.expect("prunes");
    let other = harness.store();
    other.open(&outbox_core::RouteSpec::default()).await.expect("opens");
    let mut found = deliver_all(&other, &main).await;
    found.sort();
    assert_eq!(found, ["late000000", "late000001", "later000000", "later000001"]);
}

/// It leaves a large gap in the numbers.
pub async fn a_large_rolled_back_transaction_hides_nothing<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let main = Route::default();
    emit(&harness, &Sample::many("a", 1)).await;
    for _ in 0..3 {
        let mut tx = harness.begin().await;
        assert!(tx.emit(&Sample::many("gone", 3000)).await);
        tx.rollback().await;
        emit(&harness, &Sample::many("between", 1)).await;
    }
    assert_eq!(deliver_all(&store, &main).await.len(), 4);
    emit(&harness, &Sample::many("b", 1)).await;
    assert_eq!(deliver_all(&store, &main).await, ["b000000"]);
    store.prune(Duration::ZERO).await.expect("prunes");
    assert_eq!(plan(&store, &main, 10).await.rows, 0);
}

/// While events are written, too.
pub async fn planners_at_once_seal_every_event_once<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let main = Route::default();
    let planners = (0..3).map(|_| {
        let (store, main) = (harness.store(), main.clone());
        tokio::spawn(async move {
            let mut sealed = 0;
            for _ in 0..40 {
                sealed += store.plan(&request(&main, 10)).await.expect("plans").rows;
            }
            sealed
        })
    });
    let planners: Vec<_> = planners.collect();
    let mut expected = BTreeSet::new();
    for n in 0..40 {
        let samples = Sample::many(&format!("w{n}-"), 5);
        expected.extend(keys_of(&samples));
        emit(&harness, &samples).await;
    }
    let mut sealed = 0;
    for planner in planners {
        sealed += planner.await.expect("no panic");
    }
    let mut seen = Vec::new();
    while let Some(claim) = try_claim(&store, &main).await {
        seen.extend(keys(&store, &claim).await);
    }
    assert_eq!(seen.len() as u64, sealed, "what was sealed is what is claimed");
    seen.extend(deliver_all(&store, &main).await);
    assert_eq!(seen.len(), expected.len(), "none twice");
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), expected);
}

/// Neither lingering nor the age.
pub async fn the_applications_clock_decides_nothing<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let main = Route::default();
    let year_2100 = 4_102_444_800_000_000;
    let samples = [
        Sample { occurred_at: Some(1), ..Sample::new("1970") },
        Sample { occurred_at: Some(year_2100), ..Sample::new("2100") },
    ];
    emit(&harness, &samples).await;
    let patient = PlanRequest { rows: 5, linger: LONG, ..request(&main, 100) };
    assert_eq!(store.plan(&patient).await.expect("plans").rows, 0, "neither is old yet");
    harness.elapse(LONGER_THAN_SHORT).await;
    let age = status(&store, &main).await.oldest_age.expect("something waits");
    assert!(age >= SHORT && age < LONG, "{age:?}");
    let waited = PlanRequest { linger: SHORT, ..patient };
    assert_eq!(store.plan(&waited).await.expect("plans").rows, 2, "both have waited");
    let events = read(&store, &claim(&store, &main).await).await;
    let times: Vec<i64> = events.iter().map(|stored| stored.event.occurred_at.timestamp_micros()).collect();
    assert_eq!(times, [1, year_2100]);
}

/// It is an alarm to the relay that holds it, and none to one that lost its lease.
pub async fn a_batch_that_lost_events_is_never_given_out<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let main = Route::default();
    emit(&harness, &Sample::many("k", 10)).await;
    plan(&store, &main, 10).await;
    let claim = claim(&store, &main).await;
    harness.lose("k000003").await;
    assert_eq!(store.read(&claim).await.expect_err("nine of ten").kind(), StoreErrorKind::Mismatch);
    store.settle(&claim).await.expect("settles");
    assert_eq!(store.read(&claim).await.expect_err("settled").kind(), StoreErrorKind::LeaseLost);
}
