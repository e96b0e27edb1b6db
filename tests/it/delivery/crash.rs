//! Killed with SIGKILL: the relay at every step, and the service before COMMIT.

use outbox_test::process::was_killed;
use outbox_tests::crash::Step;

use crate::world::{Kind, World, create_users, on_each_database};

on_each_database!(
    kill_relay_before_seal,
    kill_relay_after_seal,
    kill_relay_after_claim,
    kill_relay_after_freeze,
    kill_relay_after_send,
    kill_relay_before_settle,
    kill_relay_after_settle,
    kill_relay_many_times,
    kill_service_before_commit,
);

async fn kill_relay_before_seal(kind: Kind) {
    kill_relay_at(kind, Step::BeforeSeal).await;
}
async fn kill_relay_after_seal(kind: Kind) {
    kill_relay_at(kind, Step::AfterSeal).await;
}
async fn kill_relay_after_claim(kind: Kind) {
    kill_relay_at(kind, Step::AfterClaim).await;
}
async fn kill_relay_after_freeze(kind: Kind) {
    kill_relay_at(kind, Step::AfterFreeze).await;
}
async fn kill_relay_after_send(kind: Kind) {
    kill_relay_at(kind, Step::AfterSend).await;
}
async fn kill_relay_before_settle(kind: Kind) {
    kill_relay_at(kind, Step::BeforeSettle).await;
}
async fn kill_relay_after_settle(kind: Kind) {
    kill_relay_at(kind, Step::AfterSettle).await;
}

async fn kill_relay_at(kind: Kind, step: Step) {
    let world = World::alone(kind).await;
    let mut conn = world.conn().await;
    let mut committed = create_users(&mut conn, 1..301).await;
    let mut doomed = world.spawn(env!("CARGO_BIN_EXE_crash_relay"), &[&format!("{step:?}")]);
    let status = doomed.wait().await;
    assert!(was_killed(status), "{status}: {:?}", doomed.output());
    // What comes later must not be mixed into what may have been sent.
    committed.extend(create_users(&mut conn, 301..401).await);

    let relay = world.relay().await;
    world.delivered().await;
    relay.stop(outbox::Grace::secs(10)).await.expect("stops");
    world.assert_exactly_once(&committed).await;
}

async fn kill_relay_many_times(kind: Kind) {
    let world = World::alone(kind).await;
    let mut conn = world.conn().await;
    let mut committed = create_users(&mut conn, 0..100).await;
    for (round, step) in (1..).zip([Step::AfterSend, Step::AfterFreeze, Step::AfterSend, Step::BeforeSettle]) {
        let mut doomed = world.spawn(env!("CARGO_BIN_EXE_crash_relay"), &[&format!("{step:?}")]);
        assert!(was_killed(doomed.wait().await), "{:?}", doomed.output());
        committed.extend(create_users(&mut conn, round * 100..round * 100 + 100).await);
    }
    let relay = world.relay().await;
    world.delivered().await;
    drop(relay);
    world.assert_exactly_once(&committed).await;
}

async fn kill_service_before_commit(kind: Kind) {
    if kind == Kind::AsyncSqlite {
        // The same file as the blocking kind: a killed process has no kind of connection.
        return;
    }
    let world = World::new(kind).await;
    let mut service = world.spawn(env!("CARGO_BIN_EXE_crash_app"), &[]);
    service.wait_line(|line| line == "written").await;
    assert!(was_killed(service.kill9().await));
    let mut conn = world.conn().await;
    // A write takes the lock that the killed transaction held.
    conn.create_user(2).await.expect("a new user");
    assert_eq!((conn.count("users").await, conn.count("outbox_event").await), (1, 1));
}
