//! What PostgreSQL's store has to promise beyond the contract that every store keeps.

mod guards;
mod limits;
mod ordered;
mod outboxes;
mod pooler;
mod pruning;
mod replay;
mod restored;
mod rights;
mod routes;
mod wake_ups;

use std::time::Duration;

use outbox::postgres::PostgresStore;
use outbox::{Claim, PlanRequest, Route, RouteSpec, Store};
use outbox_tests::service::Conn;
use uuid::Uuid;

use crate::world::{Kind, World, eventually};

const LONG: Duration = Duration::from_secs(600);

/// A world with its outbox and this route.
async fn opened(spec: &RouteSpec) -> (World, PostgresStore) {
    let world = World::new(Kind::Postgres).await;
    let store = world.postgres().await;
    store.open(spec).await.expect("opens");
    (world, store)
}

fn request(route: &Route) -> PlanRequest {
    PlanRequest {
        route: route.clone(),
        rows: 1,
        linger: Duration::ZERO,
        rows_max: 10,
        bytes_max: u64::MAX,
        batches_max: 20,
    }
}

async fn claim(store: &PostgresStore, route: &Route) -> Option<Claim> {
    store.claim(route, Uuid::new_v4(), LONG).await.expect("claims")
}

/// An INSERT of events, as another program would write it.
fn events(event_type: &str, count: u32) -> String {
    format!(
        "INSERT INTO outbox_event (id, event_type, version, occurred_at, environment, destination, payload, bytes) \
         SELECT gen_random_uuid(), '{event_type}', 1, now(), 'test', 'event_log', '{{}}', 100 FROM generate_series(1, {count})"
    )
}

/// The places in the outbox of everything that is sealed and not settled, batch by batch.
async fn seqs_of_all_batches(store: &PostgresStore, route: &Route) -> Vec<Vec<i64>> {
    let mut batches = Vec::new();
    while let Some(claim) = claim(store, route).await {
        let events = store.read(&claim).await.expect("reads");
        batches.push(events.iter().map(|stored| stored.seq).collect());
        store.settle(&claim).await.expect("settles");
    }
    batches
}

/// Waits until another session of this database waits for a lock, or `done` says that it never will.
async fn blocked(watcher: &mut Conn, done: impl Fn() -> bool) {
    let waiting = "pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually("it waits for the lock, or goes on without", async || done() || watcher.count(waiting).await > 0).await;
}
