//! Two outboxes in one database, by prefix and by schema: neither sees the other.

use outbox::postgres::{PostgresStore, migrations};
use outbox::{Route, RouteSpec, Store, Tables};
use outbox_test::databases::ClickHouseDatabase;
use outbox_test::process::Process;

use super::{claim, events, request, seqs_of_all_batches};
use crate::world::{Kind, World, eventually};

fn elsewhere() -> [Tables; 3] {
    let prefixed = Tables::new().with_prefix("audit_").expect("a name");
    let named = Tables::new().with_schema("logs").expect("a name");
    let both = Tables::new().with_schema("more").and_then(|tables| tables.with_prefix("x_")).expect("a name");
    [prefixed, named, both]
}

#[tokio::test(flavor = "multi_thread")]
async fn outboxes_with_other_names_do_not_see_each_other() {
    let world = World::new(Kind::Postgres).await;
    let plain = world.postgres().await;
    let route = Route::default();
    let mut stores = vec![(Tables::new(), plain.clone())];
    for tables in elsewhere() {
        let store: PostgresStore = plain.clone().with_tables(tables.clone());
        store.setup().await.expect("sets up");
        store.setup().await.expect("is set up");
        stores.push((tables, store));
    }
    let mut conn = world.conn().await;
    for (no, (tables, store)) in (1..).zip(&stores) {
        store.open(&RouteSpec::default()).await.expect("opens");
        conn.execute(&tables.sql(&events("a", no))).await;
    }
    for (no, (_, store)) in (1..).zip(&stores) {
        assert_eq!(store.plan(&request(&route)).await.expect("plans").rows, no);
        assert_eq!(store.load().await.expect("a load").rows, no);
        let claimed = claim(store, &route).await.expect("a batch");
        assert_eq!(store.read(&claimed).await.expect("reads").len() as u64, no);
        assert_eq!(store.status().await.expect("a status").stored_events, no);
        store.settle(&claimed).await.expect("settles");
        assert!(seqs_of_all_batches(store, &route).await.is_empty());
        assert_eq!(store.prune(std::time::Duration::ZERO).await.expect("prunes"), 1);
    }
}

/// A service and a relay that were told the same names by their environment.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_and_a_relay_find_each_other_by_the_variables() {
    let names = [("OUTBOX_SCHEMA", "logs"), ("OUTBOX_TABLE_PREFIX", "audit_")];
    let world = World::bare(Kind::Postgres, ClickHouseDatabase::create().await).await;
    let mut migrate = world.command(&["migrate"]);
    assert!(migrate.envs(names).status().await.expect("runs").success());
    let mut service = world.program(env!("CARGO_BIN_EXE_crash_app"), &["--users", "20"]);
    assert!(service.envs(names).status().await.expect("runs").success());
    assert_eq!(world.conn().await.count("logs.audit_event").await, 20);
    let mut command = world.command(&["run"]);
    let mut relay = Process::spawn({
        command.envs(names);
        command
    });
    relay.wait_line(|line| line.contains("relay started")).await;
    eventually("they have arrived", async || world.arrived().await.1 == 20).await;
    assert!(relay.terminate().await.success());
}

#[test]
fn the_sql_that_is_printed_is_the_sql_that_is_run() {
    for tables in elsewhere() {
        let sql = migrations(&tables.clone().with_slot_bits(12).expect("in range")).concat();
        assert!(!sql.contains("outbox_") || tables.prefix() == "outbox_");
        assert_eq!(sql.matches(">> 12)").count(), 2, "the partition key and the pruning");
    }
}
