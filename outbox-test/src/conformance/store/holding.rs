//! Held events.

use std::time::Duration;

use outbox_core::{BatchId, Release, Route, Store, StoreErrorKind};

use super::steps::{
    LONG, TICK, claim, deliver_all, draft, emit, hold, keys, names, opened, plan, read, release_now, status, try_claim,
};
use super::{Sample, StoreHarness};

/// They are safe meanwhile.
pub async fn held_events_let_the_rest_be_settled_and_pruned<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let main = Route::default();
    emit(&harness, &Sample::many("k", 6)).await;
    plan(&store, &main, 10).await;
    let first = claim(&store, &main).await;
    let events = read(&store, &first).await;
    let aside = hold(&events, None, &[1, 4], true);
    let batch = store.hold(&first, &aside).await.expect("holds");
    assert_ne!(batch, first.batch);
    store.settle(&first).await.expect("settles");
    store.prune(Duration::ZERO).await.expect("prunes");
    let held = store.held(10).await.expect("lists");
    assert_eq!(held.len(), 1);
    let bytes: u64 = aside.events.iter().map(|stored| stored.event.bytes() as u64).sum();
    assert_eq!((held[0].id(), held[0].route(), held[0].events, held[0].bytes), (batch, main.clone(), 2, bytes));
    assert_eq!((held[0].dead, held[0].code, held[0].error.as_str()), (true, Some(60), "there is no such table"));
    assert_eq!(held[0].table, "event_log");
    let kept = store.held_events(batch).await.expect("reads").expect("a held batch");
    assert_eq!(kept, aside.events, "seq and all");
    assert_eq!(store.held_events(BatchId(batch.0 + 1000)).await.expect("reads"), None);
    let state = status(&store, &main).await;
    assert_eq!((state.dead_events, state.pending_events(), state.oldest_age), (2, 0, None));
    assert_eq!(store.load().await.expect("a load").held, 2);
}

/// With its token, its statement and its mark, in a batch of its own.
pub async fn a_parked_part_comes_back_as_it_was<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let main = Route::default();
    emit(&harness, &Sample::many("k", 6)).await;
    plan(&store, &main, 10).await;
    let first = claim(&store, &main).await;
    let events = read(&store, &first).await;
    let parts = store.freeze(&first, vec![draft(0..3), draft([3, 5])]).await.expect("freezes");
    let aside = hold(&events, Some(parts[1].no), &[3, 5], false);
    let batch = store.hold(&first, &aside).await.expect("holds");
    store.settle_part(&first, parts[0].no).await.expect("settles");
    store.release(&first, &release_now()).await.expect("releases");
    harness.elapse(TICK).await;

    let (mut old, mut held) = (None, None);
    while let Some(claim) = try_claim(&store, &main).await {
        if claim.held { held = Some(claim) } else { old = Some(claim) }
    }
    let (old, held) = (old.expect("the old batch"), held.expect("the held batch"));
    assert_eq!(old.batch, first.batch);
    assert!(old.parts.iter().all(|part| part.done), "nothing of it is left to do");
    assert!(old.parts.iter().all(|part| part.token != parts[1].token), "the token is one part's");
    assert_eq!((held.batch, held.rows, held.replay), (batch, 2, false));
    assert_eq!(read(&store, &held).await, aside.events);
    assert_eq!(held.parts.len(), 1);
    assert_eq!((held.parts[0].token, held.parts[0].done), (parts[1].token, false));
    assert_eq!(held.parts[0].draft.frozen, parts[1].draft.frozen);
    assert_eq!(held.parts[0].draft.ordinals, [0, 1], "its events as they are counted there");
    store.settle(&old).await.expect("settles");
    store.settle(&held).await.expect("settles");
    assert!(store.held(10).await.expect("lists").is_empty());
    assert_eq!(store.settle(&held).await.expect_err("it is gone").kind(), StoreErrorKind::LeaseLost);
}

/// Who retries it: then it is looked for at the destination first.
pub async fn a_dead_batch_waits_for_a_person<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let main = Route::default();
    emit(&harness, &Sample::many("k", 3)).await;
    plan(&store, &main, 10).await;
    let first = claim(&store, &main).await;
    let events = read(&store, &first).await;
    let part = store.freeze(&first, vec![draft(0..3)]).await.expect("freezes").remove(0);
    let batch = store.hold(&first, &hold(&events, Some(part.no), &[0, 1, 2], true)).await.expect("holds");
    store.settle(&first).await.expect("settles");
    harness.elapse(TICK).await;
    assert!(try_claim(&store, &main).await.is_none(), "it is nobody's turn but a person's");
    assert!(!store.retry_held(first.batch).await.expect("answers"), "that is no held batch");
    assert!(store.retry_held(batch).await.expect("retries"));
    let again = claim(&store, &main).await;
    assert_eq!((again.batch, again.held, again.replay), (batch, true, true));
    assert!(again.parts.is_empty(), "its own token was refused or replaced");
    assert!(!store.retry_held(batch).await.expect("answers"), "it is in a relay's hands");
    assert!(!store.discard_held(batch).await.expect("answers"), "it is in a relay's hands");
    store.settle(&again).await.expect("settles");
    assert_eq!(status(&store, &main).await.dead_events, 0);
}

/// By whoever claims the batch again.
pub async fn events_that_were_in_no_part_are_not_frozen_again<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let main = Route::default();
    emit(&harness, &Sample::many("k", 5)).await;
    plan(&store, &main, 10).await;
    let first = claim(&store, &main).await;
    let events = read(&store, &first).await;
    store.freeze(&first, vec![draft(0..2)]).await.expect("freezes");
    store.hold(&first, &hold(&events, None, &[2, 4], true)).await.expect("holds");
    store.release(&first, &release_now()).await.expect("releases");
    harness.elapse(TICK).await;
    let again = claim(&store, &main).await;
    let done: Vec<_> = again.parts.iter().map(|part| (part.no, part.done, part.draft.ordinals.clone())).collect();
    assert_eq!(done, [(0, false, vec![0, 1]), (1, true, vec![2, 4])]);
}

/// And the one behind it may go as soon as it went through.
pub async fn parked_batches_of_a_table_wait_for_the_first<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let main = Route::default();
    emit(&harness, &Sample::many("k", 3)).await;
    plan(&store, &main, 10).await;
    let batch = claim(&store, &main).await;
    let events = read(&store, &batch).await;
    for ordinal in [0, 1, 2] {
        let mut parked = hold(&events, None, &[ordinal], false);
        // The second would wait long, were it not for the first; the third's own time comes at once.
        parked.delay = if ordinal == 1 { LONG } else { Duration::ZERO };
        store.hold(&batch, &parked).await.expect("holds");
    }
    store.settle(&batch).await.expect("settles");
    harness.elapse(TICK).await;
    let first = claim(&store, &main).await;
    assert_eq!(keys(&store, &first).await, ["k000000"]);
    assert!(try_claim(&store, &main).await.is_none(), "both are behind the first");
    store.settle(&first).await.expect("settles");
    let second = claim(&store, &main).await;
    assert_eq!(keys(&store, &second).await, ["k000001"], "at once");
    assert!(try_claim(&store, &main).await.is_none(), "the third is behind the second");
    store.settle(&second).await.expect("settles");
    let third = claim(&store, &main).await;
    assert_eq!(keys(&store, &third).await, ["k000002"]);
    store.settle(&third).await.expect("settles");
    assert_eq!(deliver_all(&store, &main).await, [""; 0]);
}

/// Events and all.
pub async fn a_discarded_batch_is_gone<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let main = Route::default();
    emit(&harness, &Sample::many("k", 2)).await;
    plan(&store, &main, 10).await;
    let first = claim(&store, &main).await;
    let events = read(&store, &first).await;
    assert_eq!(names(&events).len(), 2);
    let batch = store.hold(&first, &hold(&events, None, &[0, 1], true)).await.expect("holds");
    store.settle(&first).await.expect("settles");
    assert!(!store.discard_held(first.batch).await.expect("answers"), "that is no held batch");
    assert!(store.discard_held(batch).await.expect("discards"));
    assert!(!store.discard_held(batch).await.expect("answers"), "it is gone");
    assert_eq!(store.held_events(batch).await.expect("reads"), None);
    assert_eq!(status(&store, &main).await.dead_events, 0);
}

/// Its beginning, at least: a batch is put aside, and given back, whatever a destination had to say.
pub async fn an_error_of_any_length_is_kept<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let main = Route::default();
    emit(&harness, &Sample::many("k", 2)).await;
    plan(&store, &main, 10).await;
    let batch = claim(&store, &main).await;
    // With a NUL in it, which not every database's text can hold.
    let error = format!("{}\0{}", "\u{fc}".repeat(1000), "\u{fc}".repeat(100_000));
    let mut aside = hold(&read(&store, &batch).await, None, &[1], true);
    aside.reason.error.clone_from(&error);
    store.hold(&batch, &aside).await.expect("holds");
    let release = Release { delay: LONG, error: Some(error), parked: false };
    store.release(&batch, &release).await.expect("releases");
    let held = store.held(10).await.expect("lists").remove(0);
    let failing = status(&store, &main).await.failing.remove(0);
    for error in [held.error, failing.error] {
        assert!(error.starts_with(&"\u{fc}".repeat(1000)), "{error}");
    }
}
