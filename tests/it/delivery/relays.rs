//! Several relays, long transactions, and stops.

use std::collections::BTreeSet;
use std::time::Duration;

use outbox::{Grace, Relay};

use crate::world::{Kind, World, create_users, eventually, on_each_database};

on_each_database!(
    several_relays_share_the_batches,
    a_stop_in_the_middle_loses_nothing,
    other_tables_are_delivered_on_their_own,
    a_broken_table_does_not_hold_up_the_others,
);

async fn several_relays_share_the_batches(kind: Kind) {
    let world = World::new(kind).await;
    let mut conn = world.conn().await;
    let mut committed = create_users(&mut conn, 0..500).await;
    let relays = [world.busy_relay(2, 10).await, world.busy_relay(2, 7).await, world.busy_relay(1, 13).await];
    committed.extend(create_users(&mut conn, 500..800).await);
    world.delivered().await;
    let shares: Vec<u64> = relays.iter().map(|relay| relay.stats().delivered_events).collect();
    assert_eq!(shares.iter().sum::<u64>(), 800, "{shares:?}");
    drop(relays);
    world.assert_exactly_once(&committed).await;
}

async fn a_stop_in_the_middle_loses_nothing(kind: Kind) {
    let world = World::alone(kind).await;
    let mut conn = world.conn().await;
    let mut committed = BTreeSet::new();
    for round in 0..5 {
        committed.extend(create_users(&mut conn, round * 100..round * 100 + 100).await);
        let relay = world.busy_relay(2, 10).await;
        eventually("some are delivered", async || relay.stats().delivered_events > 0).await;
        // No grace at all in every second round: what is in flight is dropped and given back.
        let grace = if round % 2 == 0 { Grace::secs(10) } else { Grace::from(Duration::ZERO) };
        relay.stop(grace).await.expect("stops");
    }
    let relay: Relay = world.relay().await;
    world.delivered().await;
    drop(relay);
    world.assert_exactly_once(&committed).await;
}

const ORDERS: &str = "CREATE TABLE orders (event_id UUID, event_type String, event_date_time DateTime64(6, 'UTC'), \
    environment String, event_context String, metadata_version Int32) ENGINE = MergeTree ORDER BY event_id \
    SETTINGS non_replicated_deduplication_window = 1000";

/// Moves the events of every second user to the table `orders`, as if another type had been emitted.
async fn mix_tables(world: &World) {
    world.conn().await.execute("UPDATE outbox_event SET destination = 'orders' WHERE seq % 2 = 0").await;
}

async fn other_tables_are_delivered_on_their_own(kind: Kind) {
    let world = World::new(kind).await;
    create_users(&mut world.conn().await, 0..100).await;
    mix_tables(&world).await;
    world.clickhouse.query(ORDERS).await;
    world.drain().await;
    let count =
        async |table: &str| world.clickhouse.query(format!("SELECT uniqExact(event_id), count() FROM {table}")).await;
    assert_eq!((count("event_log").await, count("orders").await), ("50\t50".to_owned(), "50\t50".to_owned()));
}

async fn a_broken_table_does_not_hold_up_the_others(kind: Kind) {
    let world = World::new(kind).await;
    create_users(&mut world.conn().await, 0..100).await;
    mix_tables(&world).await;
    let relay = world.relay().await;
    eventually("the good table has its events", async || {
        relay.stats().delivered_events >= 50 && world.route_status().await.parked_batches == 1
    })
    .await;
    // The batch is done with; what the broken table did not take was put aside, and holds up nothing.
    let held = async || world.conn().await.count("outbox_held").await;
    eventually("the rest is settled", async || world.route_status().await.pending_events() == 50).await;
    assert_eq!(held().await, 50);
    let waiting = world.route_status().await;
    assert!(waiting.failing[0].parked && waiting.failing[0].error.contains("orders"), "{waiting:?}");
    eventually("the events are pruned", async || world.conn().await.count("outbox_event").await == 0).await;
    relay.stop(Grace::secs(10)).await.expect("stops");

    world.clickhouse.query(ORDERS).await;
    // As an operator who has made the table and does not want to wait for the next try.
    let listed = world.command(&["held", "list", "--json"]).output().await.expect("the command runs");
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("one held batch");
    assert_eq!((listed["table"].as_str(), listed["events"].as_u64()), (Some("orders"), Some(50)), "{listed}");
    let retry = world.command(&["held", "retry", &listed["batch"].to_string()]).output().await.expect("runs");
    assert!(retry.status.success(), "{retry:?}");
    world.drain().await;
    assert_eq!(held().await, 0);
    let count =
        async |table: &str| world.clickhouse.query(format!("SELECT uniqExact(event_id), count() FROM {table}")).await;
    assert_eq!((count("event_log").await, count("orders").await), ("50\t50".to_owned(), "50\t50".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_transaction_delays_only_its_own_events() {
    let world = World::new(Kind::Postgres).await;
    let (mut long, mut short) = (world.conn().await, world.conn().await);
    let insert = "INSERT INTO outbox_event (id, event_type, version, occurred_at, environment, destination, payload, bytes) \
        VALUES (gen_random_uuid(), 'late', 1, now(), 'test', 'event_log', '{}', 100)";
    long.execute(&format!("BEGIN; {insert}")).await;
    create_users(&mut short, 0..100).await;
    let relay = world.relay().await;
    eventually("the others arrive", async || world.arrived().await.1 == 100).await;
    long.execute("COMMIT").await;
    eventually("and then the late one", async || world.arrived().await.1 == 101).await;
    drop(relay);
}
