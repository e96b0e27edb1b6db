//! ClickHouse's tables, from the side of the relay: one that is broken, rows that are refused, and columns that only the
//! outbox knows.

use std::collections::BTreeSet;
use std::time::Duration;

use outbox::{ColumnRecord, DdlRecord, Grace, Layout, Relay, SchemaRecord, Store};
use outbox_test::databases::ClickHouseDatabase;
use outbox_test::process::Process;
use outbox_test::servers::PrivateClickHouse;

use crate::world::{Kind, World, create_users, eventually, on_each_database};

on_each_database!(a_broken_table_parks_alone_and_goes_on_by_itself);

const ORDERS: &str = "CREATE TABLE orders (event_id UUID, event_type String, event_date_time DateTime64(6, 'UTC'), \
    environment String, event_context String, metadata_version Int32) ENGINE = MergeTree ORDER BY event_id \
    SETTINGS non_replicated_deduplication_window = 1000";

async fn a_broken_table_parks_alone_and_goes_on_by_itself(kind: Kind) {
    let world = World::new(kind).await;
    create_users(&mut world.conn().await, 0..100).await;
    world.conn().await.execute("UPDATE outbox_event SET destination = 'orders' WHERE seq % 2 = 0").await;
    let relay = match kind {
        Kind::Sqlite | Kind::AsyncSqlite => start(&world, world.sqlite()).await,
        Kind::MySql => start(&world, world.mysql()).await,
        _ => start(&world, world.postgres().await).await,
    };
    eventually("the broken table's events are put aside, and the others arrive", async || {
        relay.stats().delivered_events == 50 && world.route_status().await.parked_batches == 1
    })
    .await;
    let tries = relay.stats().failures;
    eventually("they are tried again", async || relay.stats().failures > tries + 2).await;
    // Nobody touches the outbox: the table is made, and that is all.
    world.clickhouse.query(ORDERS).await;
    world.delivered().await;
    relay.stop(Grace::secs(10)).await.expect("stops");
    let count =
        async |table: &str| world.clickhouse.query(format!("SELECT uniqExact(event_id), count() FROM {table}")).await;
    assert_eq!((count("event_log").await, count("orders").await), ("50\t50".to_owned(), "50\t50".to_owned()));
}

async fn start(world: &World, store: impl Store) -> Relay {
    let relay = world.configured(Relay::builder(store)).retry_parked(Duration::from_millis(100));
    relay.start().await.expect("starts")
}

/// Events in an SQLite outbox, for a table.
async fn insert(world: &World, table: &str, rows: u32, payload: &str) {
    let sql = format!(
        "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {rows}) \
         INSERT INTO outbox_event (id, event_type, version, occurred_at, environment, destination, payload, bytes) \
         SELECT '0199aaaa-0000-7000-8000-' || printf('%012x', i), '{table}', 1, 1700000000000000, 'test', '{table}', {payload}, 100 FROM n"
    );
    world.conn().await.execute(&sql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_bad_rows_of_ten_thousand_are_held_and_the_query_log_leads_back_to_each_send() {
    let server = PrivateClickHouse::start_with_query_log().await;
    let world = World::with_clickhouse(Kind::Sqlite, ClickHouseDatabase::create_on(&server).await).await;
    world.sink().ensure_table().await.expect("a table");
    world
        .clickhouse
        .query("ALTER TABLE event_log ADD CONSTRAINT clean CHECK JSONExtractInt(event_context, 'n') % 4000 != 7")
        .await;
    insert(&world, "event_log", 10_000, r#"'{"n":' || i || '}'"#).await;
    let relay = world.relay().await;
    world.delivered().await;
    relay.stop(Grace::secs(10)).await.expect("stops");

    assert_eq!(world.clickhouse.query("SELECT count(), uniqExact(event_id) FROM event_log").await, "9997\t9997");
    let mut dead = BTreeSet::new();
    for held in world.sqlite().held(10).await.expect("held") {
        assert!(held.dead && held.code == Some(469), "{held:?}");
        let events = world.sqlite().held_events(held.id()).await.expect("readable").unwrap_or_default();
        dead.extend(events.into_iter().map(|stored| stored.event.payload));
    }
    assert_eq!(dead, [7, 4007, 8007].map(|n| format!(r#"{{"n":{n}}}"#)).into());

    world.clickhouse.query("SYSTEM FLUSH LOGS").await;
    let sends = world
        .clickhouse
        .query(
            "SELECT query_id, log_comment, Settings['insert_deduplication_token'], exception_code, written_rows FROM system.query_log \
             WHERE type != 'QueryStart' AND query_kind = 'Insert' AND startsWith(query_id, 'outbox-') ORDER BY event_time_microseconds",
        )
        .await;
    let sends: Vec<Vec<&str>> = sends.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(sends.len(), 7, "{sends:?}");
    let (mut tokens, mut written) = (BTreeSet::new(), 0);
    for send in sends {
        let [query_id, comment, token, code, rows] = send[..] else { panic!("{send:?}") };
        // Which part it was, of which batch and route, and which claim of it.
        assert!(query_id.starts_with(&format!("outbox-{token}-1-")), "{query_id} {token}");
        assert!(comment.starts_with("outbox route main part 1") && comment.contains(" fence 1 rows "), "{comment}");
        assert!(tokens.insert(token.to_owned()), "each part has its own");
        if code == "0" {
            written += rows.parse::<u32>().expect("a number");
        } else {
            assert_eq!(code, "469");
        }
    }
    assert_eq!(written, 9_997);
}

/// As a service registers what its types say, in another process.
fn registered() -> SchemaRecord {
    let column = |(name, ty): (&str, &str)| ColumnRecord {
        name: name.into(),
        ty: ty.into(),
        codec: None,
        default: None,
        comment: None,
    };
    SchemaRecord {
        event_type: "page_seen".into(),
        version: 1,
        table: "page_seen".into(),
        layout: Layout::Columns,
        columns: [("visits", "UInt32"), ("path", "LowCardinality(String)"), ("price", "Decimal(9, 2)")]
            .map(column)
            .into(),
        ddl: DdlRecord { order_by: Some("event_date_time, event_id".into()), ..DdlRecord::default() },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_the_start_did_not_know_of_is_made_when_its_first_part_comes() {
    let world = World::new(Kind::Sqlite).await;
    world.sqlite().register(&[registered()]).await.expect("registers");
    // Nobody registered what goes to the event log.
    insert(&world, "event_log", 10, "'{}'").await;
    let mut once = Process::spawn(world.command(&["run", "--once"]));
    assert!(once.wait().await.success(), "{:?}", once.output());
    assert_eq!(world.clickhouse.query("SELECT count(), uniqExact(event_id) FROM event_log").await, "10\t10");

    // Registered while the relay runs, with a table that is not there yet.
    let mut command = world.command(&["run"]);
    command.env("OUTBOX_RETRY_PARKED", "100ms");
    let mut relay = Process::spawn(command);
    relay.wait_line(|line| line.contains("relay started")).await;
    let exists = async |table: &str| world.clickhouse.query(format!("EXISTS TABLE {table}")).await;
    let event = |table: &str, number: u32| {
        format!(
            "INSERT INTO outbox_event (id, event_type, version, occurred_at, environment, destination, payload, bytes) VALUES \
             ('0199bbbb-0000-7000-8000-00000000000{number}', '{table}', 1, 1700000000000000, 'test', '{table}', '{{\"visits\":1}}', 100)"
        )
    };
    world.conn().await.execute(&event("visits", 1)).await;
    eventually("it is parked", async || world.route_status().await.parked_batches == 1).await;
    // Whether it has a column per field, nobody has said: a table of the wrong layout would be worse than none.
    assert_eq!(exists("visits").await, "0");
    relay.wait_line(|line| line.contains("register its events")).await;
    let mut visits = registered();
    visits.event_type = "visits".into();
    visits.table = "visits".into();
    visits.columns.truncate(1);
    world.sqlite().register(&[visits]).await.expect("registers");
    world.delivered().await;
    assert!(relay.terminate().await.success());
    assert_eq!(world.clickhouse.query("SELECT count(), sum(visits) FROM visits").await, "1\t1");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_delivers_a_column_per_field_from_what_is_registered_without_the_types() {
    let world = World::new(Kind::Sqlite).await;
    world.sqlite().register(&[registered()]).await.expect("registers");
    insert(&world, "page_seen", 100, r#"'{"visits":' || i || ',"path":"/p","price":"0.25"}'"#).await;
    let mut once = Process::spawn(world.command(&["run", "--once"]));
    assert!(once.wait().await.success(), "{:?}", once.output());
    let read = "SELECT count(), uniqExact(event_id), sum(visits), any(path), toString(sum(price)), any(event_type) FROM page_seen";
    assert_eq!(world.clickhouse.query(read).await, "100\t100\t4950\t/p\t25\tpage_seen");
    // A version that comes later, with a relay that runs.
    let mut newer = registered();
    newer.version = 2;
    newer.columns.push(ColumnRecord {
        default: Some("'none'".into()),
        name: "referrer".into(),
        ..newer.columns[1].clone()
    });
    let mut command = world.command(&["run"]);
    command.envs([("OUTBOX_CLICKHOUSE_CREATE_TABLE", "add_columns"), ("OUTBOX_RETRY_PARKED", "100ms")]);
    let mut relay = Process::spawn(command);
    relay.wait_line(|line| line.contains("relay started")).await;
    world.clickhouse.query("ALTER TABLE page_seen ADD COLUMN referrer LowCardinality(String) DEFAULT 'none'").await;
    // It is emitted before anybody has said what it looks like: it waits, and is not held as dead.
    let event = |number: u32| {
        format!(
            "INSERT INTO outbox_event (id, event_type, version, occurred_at, environment, destination, payload, bytes) VALUES \
             ('0199bbbb-0000-7000-8000-00000000000{number}', 'page_seen', 2, 1700000000000000, 'test', 'page_seen', \
             '{{\"visits\":1,\"path\":\"/p\",\"price\":\"1\",\"referrer\":\"search\"}}', 100)"
        )
    };
    world.conn().await.execute(&event(1)).await;
    eventually("it is parked", async || world.route_status().await.parked_batches == 1).await;
    world.sqlite().register(&[newer]).await.expect("registers");
    world.delivered().await;
    world.conn().await.execute(&event(2)).await;
    world.delivered().await;
    assert!(relay.terminate().await.success());
    let read = "SELECT countIf(referrer = 'none'), countIf(referrer = 'search') FROM page_seen";
    assert_eq!(world.clickhouse.query(read).await, "100\t2");
}
