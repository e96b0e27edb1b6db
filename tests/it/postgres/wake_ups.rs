//! Announcements from one process's commits to another's relay.

use std::time::Duration;

use outbox::{Relay, RouteSpec};

use super::opened;
use crate::world::{create_users, eventually};

/// The relay would look again in an hour: only the announcement can have woken it.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_hears_of_commits_elsewhere() {
    let (world, store) = opened(&RouteSpec::default()).await;
    let listening = store.listen();
    let relay = world
        .configured(Relay::builder(store.clone()))
        .poll_interval(Duration::from_secs(3600))
        .wake_on(move || listening.notified())
        .start()
        .await
        .expect("starts");
    let announcing = store.announce_commits(Duration::from_millis(10));
    let mut conn = world.conn().await;
    let mut committed = std::collections::BTreeSet::new();
    for round in 0..5 {
        committed.extend(create_users(&mut conn, round * 10..round * 10 + 10).await);
        // The relay's waits between looks double up to an hour, so that soon nothing but a wake-up ends one.
        eventually("they are delivered", async || relay.stats().delivered_events == committed.len() as u64).await;
    }
    world.assert_exactly_once(&committed).await;
    drop((announcing, relay));
}

#[tokio::test(flavor = "multi_thread")]
async fn listening_goes_on_when_its_connection_is_cut() {
    let (world, store) = opened(&RouteSpec::default()).await;
    let listening = store.listen();
    let mut conn = world.conn().await;
    let listeners = "pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %'";
    eventually("it listens", async || conn.count(listeners).await == 1).await;
    // By its number: the next one may be there before anybody has seen that there was none.
    conn.execute(&format!("CREATE TEMP TABLE cut AS SELECT pid FROM {listeners}")).await;
    conn.execute("SELECT pg_terminate_backend(pid) FROM cut").await;
    let again = format!("{listeners} AND pid NOT IN (SELECT pid FROM cut)");
    eventually("it listens again", async || conn.count(&again).await == 1).await;
    let heard = listening.notified();
    store.announce().await.expect("announces");
    tokio::time::timeout(Duration::from_secs(60), heard).await.expect("heard");
}
