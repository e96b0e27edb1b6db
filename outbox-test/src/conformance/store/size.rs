//! Large events, strange texts, and many of them.

use std::time::Duration;

use outbox_core::{EVENT_BYTES_MAX, PlanRequest, Route, Store};

use super::steps::{LONG, claim, deliver_all, draft, emit, keys_of, opened, plan, read, request, status};
use super::{Sample, StoreHarness, StoreTx};

/// Payload, key and names, whatever the database's character set is.
pub async fn unicode_and_a_mebibyte_come_back_byte_for_byte<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let main = Route::default();
    let large = format!("{{\"key\":\"{}\"}}", "\u{1F600}".repeat(EVENT_BYTES_MAX / 4 - 100));
    let samples = [
        Sample { payload: large, ..Sample::new("large") },
        Sample { payload: "{\"a\":\"\\u0000 \\\\ \\\" ' % _ \\n\"}".into(), ..Sample::new("escapes") },
        Sample {
            payload: "{\"a\":\"Zo\u{eb} \u{202e} \u{10FFFF} \u{0301} \u{4e2d}\"}".into(),
            ..Sample::new("plane 16")
        },
        // What a collation would call the same, and what it would cut.
        Sample { event_type: "\u{e9}t\u{e9} ".into(), table: "T\u{e4}ble".into(), ..Sample::new("ete") },
        Sample { event_type: "ete".into(), table: "table".into(), ..Sample::new("\u{c9}t\u{e9} ") },
    ];
    emit(&harness, &samples).await;
    plan(&store, &main, 10).await;
    let claim = claim(&store, &main).await;
    let events = read(&store, &claim).await;
    assert_eq!(events.len(), samples.len());
    for (sample, stored) in samples.iter().zip(&events) {
        let event = &stored.event;
        assert!(event.payload == sample.payload, "the payload of {}", sample.key);
        assert_eq!((&*event.event_type, &*event.table), (&*sample.event_type, &*sample.table));
        assert_eq!(event.key.as_ref(), Some(&sample.key));
    }
    let parts = store.freeze(&claim, vec![draft(0..3)]).await.expect("freezes");
    assert_eq!(parts[0].draft, draft(0..3));
    // Held events are copies: also byte for byte.
    let aside = super::steps::hold(&events, Some(0), &[0, 1, 2], true);
    let batch = store.hold(&claim, &aside).await.expect("holds");
    assert!(store.held_events(batch).await.expect("reads").expect("a held batch") == events[..3]);
}

/// In batches of ten thousand, and pruned to the last.
pub async fn a_hundred_thousand_pending_events_are_all_delivered<H: StoreHarness>() {
    const EVENTS: usize = 100_000;
    let (harness, store) = opened::<H>().await;
    let main = Route::default();
    let samples = Sample::many("k", EVENTS);
    for chunk in samples.chunks(20_000) {
        emit(&harness, chunk).await;
    }
    let load = store.load().await.expect("a load");
    assert!(load.rows as usize >= EVENTS, "{load:?}");
    let planned = store.plan(&PlanRequest { batches_max: 4, ..request(&main, 10_000) }).await.expect("plans");
    assert_eq!((planned.rows, planned.batches), (40_000, 4), "no more than was asked for");
    assert_eq!(status(&store, &main).await.pending_events() as usize, EVENTS);
    let mut delivered = Vec::with_capacity(EVENTS);
    loop {
        let planned = plan(&store, &main, 10_000).await;
        let mut claim = store.claim(&main, uuid::Uuid::new_v4(), LONG).await.expect("claims");
        while let Some(held) = claim {
            delivered.extend(super::steps::names(&read(&store, &held).await));
            claim = store.settle_and_claim(&held, LONG).await.expect("settles");
        }
        if planned.rows == 0 {
            break;
        }
    }
    assert!(delivered == keys_of(&samples), "each once, in the order of the emits");
    // Somebody writes meanwhile, and waits for nobody.
    let mut left = Vec::new();
    if H::CONCURRENT_WRITERS {
        let mut tx = harness.begin().await;
        assert!(tx.emit(&Sample::many("new", 1)).await);
        store.prune(Duration::ZERO).await.expect("prunes");
        tx.commit().await;
        left = keys_of(&Sample::many("new", 1));
    }
    assert_eq!(deliver_all(&store, &main).await, left);
    store.prune(Duration::ZERO).await.expect("prunes");
}
