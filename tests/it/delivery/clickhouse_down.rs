//! ClickHouse fails in every way that a network and a power switch offer.

use std::collections::BTreeSet;

use outbox_test::proxy::{FaultProxy, Mode};

use crate::world::{Kind, World, create_users, eventually, on_each_database};

on_each_database!(
    the_reply_is_lost,
    the_request_is_cut,
    users_are_created_while_clickhouse_is_down,
    kill_clickhouse_during_inserts,
);

async fn proxied(kind: Kind) -> (World, FaultProxy) {
    let mut world = World::alone(kind).await;
    let proxy = FaultProxy::start(world.clickhouse.address()).await;
    world.clickhouse_url = proxy.http_url();
    (world, proxy)
}

async fn the_reply_is_lost(kind: Kind) {
    let (world, proxy) = proxied(kind).await;
    let mut conn = world.conn().await;
    let relay = world.relay().await;
    let mut committed = BTreeSet::new();
    for round in 0..10 {
        proxy.set_once(Mode::LoseReply);
        committed.extend(create_users(&mut conn, round * 20..round * 20 + 20).await);
        proxy.wait_for(round.unsigned_abs() + 1).await;
        world.delivered().await;
    }
    drop(relay);
    world.assert_exactly_once(&committed).await;
}

async fn the_request_is_cut(kind: Kind) {
    let (world, proxy) = proxied(kind).await;
    let mut conn = world.conn().await;
    let relay = world.relay().await;
    let mut committed = BTreeSet::new();
    for (round, bytes) in (0..).zip([1, 200, 1_000, 2_500, 5_000]) {
        proxy.set_once(Mode::CutAfter(bytes));
        committed.extend(create_users(&mut conn, round * 50..round * 50 + 50).await);
        world.delivered().await;
    }
    drop(relay);
    world.assert_exactly_once(&committed).await;
}

async fn users_are_created_while_clickhouse_is_down(kind: Kind) {
    let mut world = World::alone(kind).await;
    let mut conn = world.conn().await;
    let mut committed = create_users(&mut conn, 0..50).await;
    let relay = world.relay().await;
    world.delivered().await;

    world.server().kill();
    committed.extend(create_users(&mut conn, 50..250).await);
    eventually("the relay has noticed", async || relay.stats().failures > 0).await;
    assert!(world.route_status().await.pending_events() > 0);
    world.server().restart().await;
    world.delivered().await;
    drop(relay);
    world.assert_exactly_once(&committed).await;
}

async fn kill_clickhouse_during_inserts(kind: Kind) {
    let mut world = World::alone(kind).await;
    let mut conn = world.conn().await;
    // Many small batches by several writers, so that a kill hits some of them in the middle.
    let relay = world.busy_relay(4, 10).await;
    let mut committed = BTreeSet::new();
    for round in 0..6 {
        let before = relay.stats().delivered_events;
        committed.extend(create_users(&mut conn, round * 200..round * 200 + 200).await);
        eventually("inserts are under way", async || relay.stats().delivered_events >= before + 30).await;
        world.server().kill();
        world.server().restart().await;
    }
    world.delivered().await;
    relay.stop(outbox::Grace::secs(10)).await.expect("stops");
    world.assert_exactly_once(&committed).await;
}
