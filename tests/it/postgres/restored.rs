//! A dump that is restored into another cluster, whose transaction ids mean something else.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use outbox::postgres::PostgresStore;
use outbox::{Relay, Route, RouteSpec, Store, StoreErrorKind};
use outbox_test::servers::PrivatePostgres;
use outbox_tests::service::{Conn, Mode, USERS};
use uuid::Uuid;

use super::{LONG, request};
use crate::world::{Kind, World, create_users};

fn program(name: &str) -> Command {
    let bin = std::env::var("OUTBOX_TEST_POSTGRES_BIN").expect("the tests are run by `cargo xtask test`");
    Command::new(PathBuf::from(bin).join(name))
}

/// The database of `from` as it is now, in the fresh cluster `to`.
fn copy(from: &str, to: &str) {
    let dump = program("pg_dump").arg(from).output().expect("pg_dump runs");
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), dump.stdout).expect("written");
    let psql = program("psql").args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", to, "-f"]).arg(file.path()).output();
    let psql = psql.expect("psql runs");
    assert!(psql.status.success(), "{}", String::from_utf8_lossy(&psql.stderr));
}

async fn drain(world: &World, store: &PostgresStore) {
    let mut relay = world.configured(Relay::builder(store.clone())).once().start().await.expect("starts");
    relay.ended().await.expect("drains");
}

/// Before the dump, some are delivered, some parked, one batch is sent and not settled, one is sealed and not sent, some wait. After
/// it, the old cluster delivers more. The new one gets producers before anybody recovers the outbox. Nothing is lost, nothing doubles.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_dump_is_refused_and_recovered_without_loss() {
    // For ClickHouse and the settings.
    let world = World::new(Kind::Postgres).await;
    let old = PrivatePostgres::start().await;
    let store = PostgresStore::connect(old.url()).await.expect("answers");
    store.setup().await.expect("sets up");
    let mut conn = Conn::open(old.url(), Mode::Async).await;
    conn.execute(USERS).await;
    let route = Route::default();
    store.open(&RouteSpec::default()).await.expect("opens");
    let mut committed = create_users(&mut conn, 0..50).await;
    drain(&world, &store).await;
    committed.extend(create_users(&mut conn, 200..210).await);
    park(&store).await;
    committed.extend(create_users(&mut conn, 50..70).await);
    assert_eq!(store.plan(&request(&route)).await.expect("plans").batches, 2);
    // One of the two reaches ClickHouse, and its relay dies before it settles.
    let claimed = store.claim(&route, Uuid::new_v4(), LONG).await.expect("claims").expect("a batch");
    send(&world, &store, &claimed).await;
    committed.extend(create_users(&mut conn, 70..100).await);

    let new = PrivatePostgres::start().await;
    copy(old.url(), new.url());
    // After the dump, all of it goes out by the old cluster, under tokens that the dump does not know.
    conn.execute("UPDATE outbox_batch SET lease_until = '-infinity'").await;
    drain(&world, &store).await;
    world.assert_exactly_once(&committed).await;

    let store = PostgresStore::connect(new.url()).await.expect("answers");
    let mut conn = Conn::open(new.url(), Mode::Async).await;
    committed.extend(create_users(&mut conn, 1000..1040).await);
    store.open(&RouteSpec::default()).await.expect("opens");
    let refused = store.plan(&request(&route)).await.expect_err("another cluster");
    assert_eq!(refused.kind(), StoreErrorKind::Schema);
    assert!(refused.to_string().contains("outbox rebase"), "it says what to do: {refused}");
    // The short way is for pg_upgrade only: here the ids are those of a fresh cluster.
    conn.execute("UPDATE outbox_cursor SET base = '4000000000:4000000000:'").await;
    store.rebase(true).await.expect_err("the transaction ids went backwards");

    let offered = store.rebase(false).await.expect("recovers");
    assert!(offered >= 70, "those that waited, and those that were written before: {offered}");
    committed.extend(create_users(&mut conn, 2000..2020).await);
    conn.execute("UPDATE outbox_batch SET lease_until = '-infinity'").await; // the parked ones' time comes
    drain(&world, &store).await;
    world.assert_exactly_once(&committed).await;
    assert_eq!(conn.count("outbox_held").await, 0);
    assert_eq!(store.prune(std::time::Duration::ZERO).await.expect("prunes"), 0, "the relay has pruned already");
    assert_eq!(conn.count("outbox_event").await, 0);
}

/// Puts what waits aside, for a table that is not there yet.
async fn park(store: &PostgresStore) {
    use outbox::{Hold, HoldReason};
    let route = Route::default();
    assert_eq!(store.plan(&request(&route)).await.expect("plans").batches, 1);
    let claimed = super::claim(store, &route).await.expect("a batch");
    let events = store.read(&claimed).await.expect("reads");
    let reason = HoldReason { dead: false, code: Some(60), error: "no such table".into() };
    let (table, ordinals) = ("event_log".into(), (0..claimed.rows).collect());
    let hold = Hold { part: None, table, ordinals, events, reason, delay: LONG };
    store.hold(&claimed, &hold).await.expect("holds");
    store.settle(&claimed).await.expect("settles");
}

async fn send(world: &World, store: &PostgresStore, claim: &outbox::Claim) {
    use outbox::{Part, PartDraft, PartId, Sink};
    let events = store.read(claim).await.expect("reads");
    let sink = world.sink();
    let borrowed: Vec<_> = events.iter().collect();
    let frozen = sink.freeze("event_log", &borrowed).await.expect("decides");
    let ordinals = (0..claim.rows).collect();
    let draft = PartDraft { table: "event_log".into(), ordinals, frozen };
    let record = store.freeze(claim, vec![draft]).await.expect("freezes").remove(0);
    let part = Part {
        id: PartId { batch: claim.batch, no: record.no },
        route: claim.route.clone(),
        table: record.draft.table,
        token: record.token,
        fence: claim.attempt,
        events: events.into(),
        frozen: record.draft.frozen,
        resend: false,
        replay: false,
    };
    sink.deliver(&part).await.expect("delivers");
}

/// pg_upgrade keeps the transaction ids: noting the new identity is enough, and positions stay what they are.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgraded_cluster_needs_its_new_identity_only() {
    let (world, store) = super::opened(&RouteSpec::default()).await;
    let mut conn = world.conn().await;
    let committed: BTreeSet<String> = create_users(&mut conn, 0..30).await;
    store.plan(&request(&Route::default())).await.expect("plans");
    conn.execute("UPDATE outbox_cursor SET sysid = sysid + 1").await;
    assert_eq!(store.plan(&request(&Route::default())).await.expect_err("refused").kind(), StoreErrorKind::Schema);
    assert_eq!(store.rebase(true).await.expect("recovers"), 0);
    world.drain().await;
    world.assert_exactly_once(&committed).await;
}

/// The same through the command.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_recovers_a_restored_outbox() {
    let world = World::new(Kind::Postgres).await;
    world.postgres().await.open(&RouteSpec::default()).await.expect("opens");
    let committed = create_users(&mut world.conn().await, 0..30).await;
    world.conn().await.execute("UPDATE outbox_cursor SET sysid = sysid + 1").await;
    let refused = world.command(&["run", "--once"]).output().await.expect("runs");
    assert!(!refused.status.success());
    let output = world.command(&["rebase"]).output().await.expect("runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("30 events are offered once more"), "{output:?}");
    world.drain().await;
    world.assert_exactly_once(&committed).await;
}
