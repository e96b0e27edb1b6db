//! What may wait: estimated cheaply, an alarm when it is too much, and events refused where that is asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use diesel::result::Error;
use outbox::{Limits, OnFull, Part, Relay, Route, RouteSpec, Sink, SinkError, Store};
use outbox_tests::service::create_user_postgres;

use super::{claim, events, opened, request, seqs_of_all_batches};
use crate::world::{create_users, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn the_load_is_known_without_counting() {
    let (world, store) = opened(&RouteSpec::default()).await;
    let load = async || store.load().await.expect("a load");
    assert_eq!(load().await.rows, 0);
    let mut conn = world.conn().await;
    conn.execute(&events("a", 25)).await;
    assert_eq!(load().await.rows, 25);
    let small = outbox::PlanRequest { batches_max: 1, ..request(&Route::default()) };
    store.plan(&small).await.expect("plans");
    assert_eq!(load().await.rows, 25, "ten of them sealed");
    conn.execute("UPDATE outbox_event SET created_at = created_at - interval '100 s'").await;
    conn.execute("UPDATE outbox_batch SET oldest = oldest - interval '50 s'").await;
    let found = load().await;
    assert!((Duration::from_secs(50)..Duration::from_secs(600)).contains(&found.oldest_age), "{found:?}");
    assert!(found.bytes > 8192);
    while store.plan(&small).await.expect("plans").rows > 0 {}
    seqs_of_all_batches(&store, &Route::default()).await;
    let drained = load().await;
    assert_eq!((drained.rows, drained.oldest_age), (0, Duration::ZERO));
    // Numbers that nobody used count only until the next event.
    conn.execute(&format!("BEGIN; {}; ROLLBACK", events("a", 5))).await;
    conn.execute(&events("a", 1)).await;
    store.plan(&small).await.expect("plans");
    let claimed = claim(&store, &Route::default()).await.expect("a batch");
    assert_eq!(load().await.rows, 1);
    store.settle(&claimed).await.expect("settles");
    assert_eq!(load().await.rows, 0);
}

/// A destination that is down until it is told otherwise.
#[derive(Clone, Default)]
struct Switch(Arc<AtomicBool>);

impl Sink for Switch {
    async fn deliver(&self, _: &Part) -> Result<(), SinkError> {
        match self.0.load(Ordering::SeqCst) {
            true => Ok(()),
            false => Err(SinkError::unknown("deliver", "it is down")),
        }
    }
}

/// The relay's destination is down; the outbox fills up; `emit` refuses; the destination is back; `emit` takes events again.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_outbox_refuses_events_and_takes_them_again() {
    let (world, store) = opened(&RouteSpec::default()).await;
    let mut conn = world.conn().await;
    create_users(&mut conn, 0..20).await;
    let destination = Switch::default();
    let relay = Relay::builder(store)
        .sink(destination.clone())
        .limits(Limits::none().rows(10).on_full(OnFull::Refuse))
        .linger(Duration::ZERO)
        .retry(Duration::from_millis(5), Duration::from_millis(20))
        .start()
        .await
        .expect("starts");
    let full = "outbox_limit WHERE is_full";
    eventually("it is full", async || world.conn().await.count(full).await == 1).await;
    let outbox_tests::service::Conn::Postgres(plain) = &mut conn else { panic!("PostgreSQL") };
    let refused = create_user_postgres(plain, 100).await.expect_err("full");
    assert!(outbox::is_outbox_full(&refused), "{refused}");
    assert!(refused.to_string().contains("OUTBOX_ON_FULL"), "{refused}");
    assert!(!outbox::is_outbox_full(&Error::NotFound));
    assert_eq!(conn.count("users WHERE id = 100").await, 0, "the business row goes with its event");

    destination.0.store(true, Ordering::SeqCst);
    eventually("it is not full any more", async || world.conn().await.count(full).await == 0).await;
    create_users(&mut conn, 100..101).await;
    world.delivered().await;
    assert_eq!(relay.stats().delivered_events, 21);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_only_warns_opens_what_an_earlier_one_closed() {
    let (world, store) = opened(&RouteSpec::default()).await;
    store.set_full(true).await.expect("says so");
    let relay = world.configured(Relay::builder(store)).limits(Limits::none().rows(1)).start().await.expect("starts");
    create_users(&mut world.conn().await, 0..50).await;
    world.delivered().await;
    drop(relay);
}
