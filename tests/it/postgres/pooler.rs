//! A PgBouncer in transaction mode between everybody and PostgreSQL: no session lasts longer than a transaction.

use std::collections::BTreeSet;

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use outbox::postgres::{PostgresStore, connect_behind_pooler};
use outbox::{Grace, Relay, RouteSpec, Store};
use outbox_test::process::Process;
use outbox_test::servers::PrivatePgBouncer;
use outbox_tests::service::{Conn, create_user_postgres};

use super::request;
use crate::world::{Kind, World, create_users, eventually};

/// A world without the outbox tables, the pooler before its database, and the URL there.
async fn pooled() -> (World, PrivatePgBouncer, String) {
    let world = World::bare(Kind::Postgres, outbox_test::databases::ClickHouseDatabase::create().await).await;
    let pooler = PrivatePgBouncer::start(&world.database_url()).await;
    let url = pooler.url(&world.database_url());
    (world, pooler, url)
}

async fn producer(url: &str, ids: std::ops::Range<i64>) -> BTreeSet<String> {
    let mut conn = connect_behind_pooler(url).await.expect("the pooler answers");
    let mut events = BTreeSet::new();
    for id in ids {
        events.insert(create_user_postgres(&mut conn, id).await.expect("a new user").to_string());
    }
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn producers_store_and_relays_work_through_a_pooler() {
    let (world, _pooler, url) = pooled().await;
    let store = PostgresStore::new(&url).behind_pooler();
    store.setup().await.expect("installs");
    let mut command = world.command(&["run"]);
    command.envs([("DATABASE_URL", url.as_str()), ("OUTBOX_BEHIND_POOLER", "true")]);
    command.envs([("OUTBOX_BATCH_ROWS", "20"), ("OUTBOX_BATCH_ROWS_MAX", "20")]);
    let mut relay = Process::spawn(command);
    let beside =
        world.configured(Relay::builder(store.clone())).workers(2).batch_rows(20).batch_rows_max(20).start().await;
    let beside = beside.expect("the relay starts");
    let (one, two, three) = tokio::join!(producer(&url, 0..200), producer(&url, 200..400), producer(&url, 400..600));
    eventually("everything is delivered", async || {
        let routes = store.status().await.expect("a status").routes;
        routes.iter().all(|route| route.pending_events() == 0)
    })
    .await;
    beside.stop(Grace::secs(10)).await.expect("stops");
    assert!(relay.terminate().await.success(), "{:?}", relay.output());
    let committed = [one, two, three].into_iter().flatten().collect();
    world.assert_exactly_once(&committed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_setting_statements_go_astray() {
    let (_world, _pooler, url) = pooled().await;
    let behind = PostgresStore::new(&url).behind_pooler();
    behind.setup().await.expect("installs");
    behind.open(&RouteSpec::default()).await.expect("opens");
    // So that the pooler has several connections to take turns with.
    tokio::join!(producer(&url, 0..20), producer(&url, 20..40), producer(&url, 40..60));
    let plain = PostgresStore::new(&url);
    let mut failed = 0;
    for _ in 0..10 {
        failed += u32::from(plain.plan(&request(&RouteSpec::default().route)).await.is_err());
        behind.plan(&request(&RouteSpec::default().route)).await.expect("plans");
    }
    assert!(failed > 0, "the pooler took every statement to where it was prepared: the other tests show nothing");
}

#[derive(QueryableByName)]
struct Setting {
    #[diesel(sql_type = Text)]
    value: String,
    #[diesel(sql_type = BigInt)]
    prepared: i64,
    #[diesel(sql_type = BigInt)]
    locks: i64,
}

/// The time zone and what is left over, on whichever server connection comes next.
async fn left_over(conn: &mut AsyncPgConnection) -> Setting {
    let look = "SELECT current_setting('TimeZone') AS value, \
        (SELECT count(*) FROM pg_prepared_statements WHERE statement NOT LIKE '%pg_prepared_statements%') AS prepared, \
        (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS locks";
    conn.batch_execute("BEGIN").await.expect("begins");
    let setting = diesel_async::RunQueryDsl::get_result(diesel::sql_query(look), conn).await.expect("a setting");
    conn.batch_execute("COMMIT").await.expect("commits");
    setting
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_session_is_left_behind() {
    let (world, _pooler, url) = pooled().await;
    // Not Diesel's, so that it is seen whose it is.
    let mut direct = world.conn().await;
    direct
        .execute("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone TO ''Asia/Kathmandu''', current_database()); END $$")
        .await;
    let store = PostgresStore::new(&url).behind_pooler();
    store.setup().await.expect("installs");
    store.open(&RouteSpec::default()).await.expect("opens");
    tokio::join!(producer(&url, 0..50), producer(&url, 50..100), producer(&url, 100..150));
    let route = RouteSpec::default().route;
    store.plan(&request(&route)).await.expect("plans");
    let claim = super::claim(&store, &route).await.expect("a batch");
    store.read(&claim).await.expect("reads");
    store.settle(&claim).await.expect("settles");
    let mut conn = connect_behind_pooler(&url).await.expect("the pooler answers");
    for _ in 0..12 {
        let left = left_over(&mut conn).await;
        assert_eq!((left.value.as_str(), left.prepared, left.locks), ("UTC", 0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn listening_through_a_pooler_is_refused() {
    let (world, _pooler, url) = pooled().await;
    let mut command = world.command(&["run"]);
    command.envs([("DATABASE_URL", url.as_str()), ("OUTBOX_BEHIND_POOLER", "true"), ("OUTBOX_LISTEN", "true")]);
    let refused = command.output().await.expect("the command runs");
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && text.contains("OUTBOX_LISTEN") && text.contains("pooler"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_dropped_in_the_middle_leaves_nothing_open() {
    let (world, _pooler, url) = pooled().await;
    let store = PostgresStore::new(&url).behind_pooler();
    store.setup().await.expect("installs");
    for id in 0..5 {
        let mut conn = connect_behind_pooler(&url).await.expect("the pooler answers");
        conn.batch_execute("BEGIN").await.expect("begins");
        let insert = format!("INSERT INTO users (id, email) VALUES ({id}, '{id}')");
        conn.batch_execute(&insert).await.expect("inserts");
    }
    let mut direct: Conn = world.conn().await;
    eventually("all are rolled back", async || {
        direct.count("pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'").await
            == 0
    })
    .await;
    assert_eq!(direct.count("users").await, 0);
    assert_eq!(create_users(&mut direct, 0..5).await.len(), 5);
}
