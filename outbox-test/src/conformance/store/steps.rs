//! Steps that most tests take.

use std::time::Duration;

use outbox_core::{
    Claim, Frozen, Hold, HoldReason, PartDraft, PlanRequest, Planned, Release, Route, RouteSpec, Store, StoredEvent,
};
use uuid::Uuid;

use super::{Sample, StoreHarness, StoreTx};

/// A lease that does not run out during a test.
pub(super) const LONG: Duration = Duration::from_secs(600);
/// A lease that is to run out, and how long that is waited for.
pub(super) const SHORT: Duration = Duration::from_millis(20);
pub(super) const LONGER_THAN_SHORT: Duration = Duration::from_millis(25);
/// The store's clock may count in milliseconds.
pub(super) const TICK: Duration = Duration::from_millis(2);

/// A harness with tables and the route `main`.
pub(super) async fn opened<H: StoreHarness>() -> (H, H::Store) {
    opened_as::<H>(&RouteSpec::default()).await
}

pub(super) async fn opened_as<H: StoreHarness>(spec: &RouteSpec) -> (H, H::Store) {
    let harness = H::create().await;
    let store = harness.store();
    store.setup().await.expect("sets up");
    store.open(spec).await.expect("opens");
    (harness, store)
}

pub(super) fn route(name: &str) -> Route {
    Route::new(name)
}

/// Emits in a transaction that commits.
pub(super) async fn emit<H: StoreHarness>(harness: &H, samples: &[Sample]) {
    let mut tx = harness.begin().await;
    assert!(tx.emit(samples).await, "the outbox takes events");
    tx.commit().await;
}

/// Batches of up to `rows_max`, at once.
pub(super) fn request(route: &Route, rows_max: u32) -> PlanRequest {
    PlanRequest {
        route: route.clone(),
        rows: 1,
        linger: Duration::ZERO,
        rows_max,
        bytes_max: u64::MAX,
        batches_max: 100,
    }
}

/// Seals all that waits.
pub(super) async fn plan(store: &impl Store, route: &Route, rows_max: u32) -> Planned {
    store.plan(&request(route, rows_max)).await.expect("plans")
}

pub(super) async fn try_claim(store: &impl Store, route: &Route) -> Option<Claim> {
    store.claim(route, Uuid::new_v4(), LONG).await.expect("claims")
}

pub(super) async fn claim(store: &impl Store, route: &Route) -> Claim {
    try_claim(store, route).await.expect("a batch to claim")
}

pub(super) async fn read(store: &impl Store, claim: &Claim) -> Vec<StoredEvent> {
    store.read(claim).await.expect("reads")
}

/// The keys of a batch's events, in its order.
pub(super) async fn keys(store: &impl Store, claim: &Claim) -> Vec<String> {
    names(&read(store, claim).await)
}

pub(super) fn names(events: &[StoredEvent]) -> Vec<String> {
    events.iter().filter_map(|stored| stored.event.key.clone()).collect()
}

pub(super) fn keys_of(samples: &[Sample]) -> Vec<String> {
    samples.iter().map(|sample| sample.key.clone()).collect()
}

/// Seals, claims, reads and settles until nothing is left. Returns the keys in the order of delivery.
pub(super) async fn deliver_all(store: &impl Store, route: &Route) -> Vec<String> {
    let mut delivered = Vec::new();
    loop {
        let planned = plan(store, route, 1000).await;
        while let Some(claim) = try_claim(store, route).await {
            delivered.extend(keys(store, &claim).await);
            store.settle(&claim).await.expect("settles");
        }
        if planned.rows == 0 && !planned.contended {
            return delivered;
        }
    }
}

/// A part of these events.
pub(super) fn draft(ordinals: impl IntoIterator<Item = u32>) -> PartDraft {
    let frozen = Frozen { statement: "INSERT 'x' \u{2013} ü".into(), mark: "{\"a\":1}".into() };
    PartDraft { table: "event_log".into(), ordinals: ordinals.into_iter().collect(), frozen }
}

/// The events at these positions, put aside.
pub(super) fn hold(events: &[StoredEvent], part: Option<i32>, ordinals: &[u32], dead: bool) -> Hold {
    let table = ordinals.first().map(|first| events[*first as usize].event.table.to_string()).unwrap_or_default();
    Hold {
        part,
        table,
        ordinals: ordinals.to_vec(),
        events: ordinals.iter().map(|ordinal| events[*ordinal as usize].clone()).collect(),
        reason: HoldReason { dead, code: Some(60), error: "there is no such table".into() },
        delay: Duration::ZERO,
    }
}

pub(super) fn release_now() -> Release {
    Release { delay: Duration::ZERO, error: None, parked: false }
}

/// The route's own line of the status.
pub(super) async fn status(store: &impl Store, route: &Route) -> outbox_core::RouteStatus {
    let routes = store.status().await.expect("a status").routes;
    routes.into_iter().find(|status| status.route == route.as_str()).unwrap_or_default()
}
