#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::time::Duration;

use outbox_core::{
    Claim, EncodeError, EventLog, Frozen, Part, PartDraft, PartId, PartRecord, PlanRequest, Recovery, Release, Route,
    RouteSpec, Sink, SinkErrorKind, Store, StoreErrorKind,
};
use uuid::Uuid;

use super::*;

const LEASE: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);

struct Seen(u32);

impl EventLog for Seen {
    fn event_type(&self) -> &str {
        "seen"
    }
    fn payload(&self) -> Result<String, EncodeError> {
        Ok(format!("{{\"no\":{}}}", self.0))
    }
}

fn request(rows_max: u32) -> PlanRequest {
    PlanRequest {
        route: Route::default(),
        rows: 1,
        linger: Duration::ZERO,
        rows_max,
        bytes_max: u64::MAX,
        batches_max: 20,
    }
}

/// An outbox with so many events, none of them sealed.
async fn outbox(events: u32) -> (ManualClock, MemoryStore, Vec<Uuid>) {
    let clock = ManualClock::new();
    let store = MemoryStore::new(clock.clone());
    store.open(&RouteSpec::default()).await.unwrap();
    let ids = (0..events).map(|no| store.emit(&Seen(no)).unwrap()).collect();
    (clock, store, ids)
}

async fn claim(store: &MemoryStore, route: &Route) -> Option<Claim> {
    store.claim(route, Uuid::new_v4(), LEASE).await.unwrap()
}

async fn claimed(events: u32) -> (ManualClock, MemoryStore, Claim) {
    let (clock, store, _) = outbox(events).await;
    store.plan(&request(events)).await.unwrap();
    let claim = claim(&store, &Route::default()).await.unwrap();
    (clock, store, claim)
}

fn draft(rows: u32) -> PartDraft {
    PartDraft { table: "event_log".into(), ordinals: (0..rows).collect(), frozen: Frozen::default() }
}

fn release(delay: Duration, parked: bool) -> Release {
    Release { delay, error: parked.then(|| "why".into()), parked }
}

#[tokio::test]
async fn every_event_is_in_exactly_one_batch() {
    let (_, store, ids) = outbox(10).await;
    let planned = store.plan(&request(4)).await.unwrap();
    assert_eq!((planned.rows, planned.batches), (10, 3));
    assert_eq!(store.plan(&request(4)).await.unwrap().rows, 0);
    let sealed: Vec<Uuid> = store.sealed().into_iter().flat_map(|batch| batch.events).collect();
    assert_eq!(sealed, ids);
    let small = PlanRequest { bytes_max: 1, ..request(100) };
    store.emit(&Seen(10)).unwrap();
    store.emit(&Seen(11)).unwrap();
    assert_eq!(store.plan(&small).await.unwrap().batches, 2, "a batch ends with the event that fills it");
}

#[tokio::test]
async fn what_commits_late_is_not_passed_over_and_what_rolls_back_never_was() {
    let (_, store, _) = outbox(0).await;
    let (mut late, mut never) = (store.begin(), store.begin());
    let first = late.emit(&Seen(1)).unwrap();
    never.emit(&Seen(2)).unwrap();
    let second = store.emit(&Seen(3)).unwrap();
    store.plan(&request(10)).await.unwrap();
    drop(never);
    late.commit();
    store.plan(&request(10)).await.unwrap();
    let sealed: Vec<Vec<Uuid>> = store.sealed().into_iter().map(|batch| batch.events).collect();
    assert_eq!(sealed, [vec![second], vec![first]]);
}

#[tokio::test]
async fn a_few_events_wait_for_others() {
    let (clock, store, _) = outbox(4).await;
    let patient = PlanRequest { rows: 5, linger: SECOND, ..request(10) };
    assert_eq!(store.plan(&patient).await.unwrap().rows, 0);
    clock.advance(SECOND);
    assert_eq!(store.plan(&patient).await.unwrap().rows, 4);
}

#[tokio::test]
async fn a_stale_claim_can_do_nothing() {
    let (clock, store, stale) = claimed(3).await;
    assert!(claim(&store, &stale.route).await.is_none(), "it is under a lease");
    clock.advance(LEASE);
    // The same owner claims it again: the attempt alone must be enough to tell.
    let current = store.claim(&stale.route, stale.owner, LEASE).await.unwrap().unwrap();
    assert_eq!((current.batch, current.attempt), (stale.batch, 2));
    let answers = [
        store.freeze(&stale, vec![draft(3)]).await.map(drop),
        store.replace(&stale, 0, vec![draft(3)]).await.map(drop),
        store.settle_part(&stale, 0).await,
        store.settle(&stale).await,
        store.renew(&stale, LEASE).await,
        store.release(&stale, &release(Duration::ZERO, false)).await,
    ];
    assert!(answers.into_iter().all(|answer| answer.unwrap_err().kind() == StoreErrorKind::LeaseLost));
    assert_eq!(store.lease(stale.batch).unwrap().attempt, 2);
    store.settle(&current).await.unwrap();
    assert_eq!(store.settle(&current).await.unwrap_err().kind(), StoreErrorKind::LeaseLost);
}

#[tokio::test]
async fn a_batch_reads_back_the_same_and_keeps_its_parts() {
    let (clock, store, first) = claimed(3).await;
    let events = store.read(&first).await.unwrap();
    let old = store.freeze(&first, vec![draft(3)]).await.unwrap().remove(0);
    let new = store.replace(&first, old.no, vec![draft(1)]).await.unwrap().remove(0);
    assert!(new.token != old.token && new.no != old.no);
    store.emit(&Seen(9)).unwrap();
    clock.advance(LEASE);
    let again = claim(&store, &first.route).await.unwrap();
    assert_eq!(again.parts, [PartRecord { done: true, ..old }, new]);
    assert_eq!(store.read(&again).await.unwrap(), events);
}

#[tokio::test]
async fn a_released_batch_waits_for_its_delay_and_says_why() {
    let (clock, store, first) = claimed(3).await;
    store.release(&first, &release(SECOND, true)).await.unwrap();
    let status = store.status().await.unwrap().routes.remove(0);
    assert_eq!((status.parked_batches, status.failing[0].error.as_str()), (1, "why"));
    assert!(claim(&store, &first.route).await.is_none());
    clock.advance(SECOND);
    assert!(claim(&store, &first.route).await.is_some());
}

#[tokio::test]
async fn a_renewed_lease_holds_longer() {
    let (clock, store, first) = claimed(3).await;
    clock.advance(LEASE - SECOND);
    store.renew(&first, LEASE).await.unwrap();
    clock.advance(LEASE - SECOND);
    assert!(claim(&store, &first.route).await.is_none());
}

#[tokio::test]
async fn a_batch_that_lost_rows_is_never_given_out() {
    let (_, store, ids) = outbox(3).await;
    store.plan(&request(3)).await.unwrap();
    let claim = claim(&store, &Route::default()).await.unwrap();
    store.lose(ids[1]);
    assert_eq!(store.read(&claim).await.unwrap_err().kind(), StoreErrorKind::Mismatch);
}

#[tokio::test]
async fn nothing_is_pruned_before_every_route_has_settled_it() {
    let (_, store, ids) = outbox(3).await;
    let (fast, slow) = (Route::default(), Route::new("slow"));
    store.open(&RouteSpec::new(slow.clone())).await.unwrap();
    for (route, left) in [(fast, ids.len()), (slow, 0)] {
        store.plan(&PlanRequest { route: route.clone(), ..request(3) }).await.unwrap();
        let claim = claim(&store, &route).await.unwrap();
        store.settle(&claim).await.unwrap();
        store.prune(Duration::ZERO).await.unwrap();
        assert_eq!(store.events().len(), left, "after {route}");
    }
}

#[tokio::test]
async fn a_step_fails_before_or_after_its_effect() {
    let (_, store, _) = outbox(1).await;
    store.fail_next(StoreFault::Refuse);
    store.fail_next(StoreFault::LoseReply);
    for sealed in [0, 1] {
        assert_eq!(store.plan(&request(1)).await.unwrap_err().kind(), StoreErrorKind::Unavailable);
        assert_eq!(store.sealed().len(), sealed);
    }
}

/// A part of so many events, as a relay would send it for the first time.
async fn part(sink: &MemorySink, events: u32) -> Part {
    let (_, store, claim) = claimed(events).await;
    let events = store.read(&claim).await.unwrap();
    let frozen = sink.freeze("event_log", &[]).await.unwrap();
    Part {
        id: PartId { batch: claim.batch, no: 0 },
        route: claim.route,
        table: "event_log".into(),
        token: Uuid::new_v4(),
        fence: 1,
        events: events.into(),
        frozen,
        resend: false,
        replay: false,
    }
}

#[tokio::test]
async fn a_lost_reply_is_repaired_by_a_repeat() {
    let sink = MemorySink::new();
    let part = part(&sink, 4).await;
    sink.fail_next(SinkFault::LoseReply);
    assert_eq!(sink.deliver(&part).await.unwrap_err().kind(), SinkErrorKind::Unknown);
    assert!(!sink.holds(part.events[0].event.id), "nobody was told so");
    assert_eq!(sink.recover(&part).await.unwrap(), Recovery::Resend);
    sink.deliver(&Part { resend: true, ..part.clone() }).await.unwrap();
    assert_eq!(sink.rows().len(), 4);
    sink.crash(Kept::Nothing);
    assert!(part.events.iter().all(|stored| sink.holds(stored.event.id)), "what was acknowledged stays");
}

#[tokio::test]
async fn a_token_that_outlived_its_rows_is_no_proof() {
    for (kept, landed) in [(Kept::TokenOnly, 0), (Kept::HalfTheRows, 2)] {
        let sink = MemorySink::new();
        let part = part(&sink, 4).await;
        sink.fail_next(SinkFault::Crash(kept));
        sink.deliver(&part).await.unwrap_err();
        let repeat = Part { resend: true, ..part.clone() };
        assert_eq!(sink.deliver(&repeat).await.unwrap_err().kind(), SinkErrorKind::Unknown);
        let Recovery::Replace { landed: found } = sink.recover(&part).await.unwrap() else { panic!("{kept:?}") };
        assert_eq!((found.len(), sink.rows().len()), (landed, landed));
    }
}

#[tokio::test]
async fn recovery_after_a_restart_completes_what_can_be_completed() {
    for kept in [Kept::Nothing, Kept::Everything] {
        let sink = MemorySink::new();
        let part = part(&sink, 4).await;
        sink.fail_next(SinkFault::Crash(kept));
        sink.deliver(&part).await.unwrap_err();
        assert_eq!(sink.recover(&part).await.unwrap(), Recovery::Delivered);
        // Whoever still sends it is turned away.
        sink.deliver(&part).await.unwrap();
        assert_eq!(sink.rows().len(), 4);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_from_before_a_restart_is_no_answer() {
    let sink = MemorySink::new();
    let part = part(&sink, 4).await;
    sink.fail_next(SinkFault::DelayReply(SECOND));
    let (answer, ()) = tokio::join!(sink.deliver(&part), async {
        tokio::time::sleep(SECOND / 2).await;
        sink.crash(Kept::Nothing);
    });
    assert_eq!(answer.unwrap_err().kind(), SinkErrorKind::Unknown);
    assert!(sink.rows().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_leaves_nothing_and_a_delay_only_takes_time() {
    let sink = MemorySink::new();
    let part = part(&sink, 4).await;
    let refusals = [
        (SinkFault::Refuse, SinkErrorKind::Unknown),
        (SinkFault::Busy, SinkErrorKind::Busy),
        (SinkFault::Stop, SinkErrorKind::Stop),
        (SinkFault::BadRows, SinkErrorKind::BadRows),
    ];
    for (fault, kind) in refusals {
        sink.fail_next(fault);
        assert_eq!(sink.deliver(&part).await.unwrap_err().kind(), kind);
        assert!(sink.rows().is_empty());
    }
    let clock = TokioClock::new();
    let before = outbox_core::Clock::now(&clock);
    sink.fail_next(SinkFault::Delay(SECOND));
    sink.deliver(&part).await.unwrap();
    assert_eq!(outbox_core::Clock::now(&clock).since(before), SECOND);
}
