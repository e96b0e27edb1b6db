//! What is wrong is said at the start, with what to do, and nothing is lost.

use outbox_test::databases::ClickHouseDatabase;
use outbox_test::servers::PrivateClickHouse;

use crate::world::{Kind, World, create_users};

/// A password that must never show.
const SECRET: &str = "hunter2-secret";

struct Refusal {
    code: Option<i32>,
    text: String,
}

impl Refusal {
    fn says(&self, parts: &[&str]) {
        for part in parts {
            assert!(self.text.contains(part), "`{part}` is missing in: {}", self.text);
        }
        assert!(!self.text.contains(SECRET), "{}", self.text);
    }
}

async fn refused(world: &World, vars: &[(&str, &str)]) -> Refusal {
    refused_command(world, &["run", "--once"], vars).await
}

async fn refused_command(world: &World, arguments: &[&str], vars: &[(&str, &str)]) -> Refusal {
    let output = world.command(arguments).envs(vars.iter().copied()).output().await.expect("the command runs");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!output.status.success(), "{text}");
    Refusal { code: output.status.code(), text }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_setting_names_its_variable() {
    let world = World::new(Kind::Sqlite).await;
    for (name, value) in [
        ("OUTBOX_BATCH_ROWS", "many"),
        ("OUTBOX_LEASE", "1"),
        ("OUTBOX_STOP_GRACE", "later"),
        ("OUTBOX_LOG", "[["),
        ("OUTBOX_LOG_FORMAT", "xml"),
        ("OUTBOX_CLICKHOUSE_DELIVERY", "twice"),
        ("OUTBOX_CLICKHOUSE_CREATE_TABLE", "perhaps"),
        ("CLICKHOUSE_URL", "nowhere"),
        ("DATABASE_URL", "oracle://scott:hunter2-secret@host/db"),
        ("OUTBOX_BATCH_SIZE", "100"),
    ] {
        let refusal = refused(&world, &[(name, value)]).await;
        assert_eq!(refusal.code, Some(2), "{}", refusal.text);
        refusal.says(&[name]);
    }
    refused(&world, &[("OUTBOX_BATCH_SIZE", "100")]).await.says(&["did you mean OUTBOX_BATCH_"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_outbox_tables_say_what_to_run() {
    for kind in [Kind::Postgres, Kind::Sqlite] {
        let world = World::bare(kind, ClickHouseDatabase::create().await).await;
        let refusal = refused(&world, &[]).await;
        assert_eq!(refusal.code, Some(1));
        refusal.says(&["outbox migrate"]);
        refused_command(&world, &["status"], &[]).await.says(&["outbox migrate"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_database_is_named_without_its_password() {
    let world = World::new(Kind::Sqlite).await;
    let url = format!("postgres://outbox:{SECRET}@127.0.0.1:1/outbox");
    refused(&world, &[("DATABASE_URL", &url)]).await.says(&["PostgreSQL"]);
    refused(&world, &[("DATABASE_URL", "sqlite:///no/such/folder/a.db")]).await.says(&["/no/such/folder/a.db"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_the_table_is_said_and_nothing_is_lost() {
    let world = World::new(Kind::Sqlite).await;
    let committed = create_users(&mut world.conn().await, 0..20).await;
    let create = [("OUTBOX_CLICKHOUSE_CREATE_TABLE", "false")];

    refused(&world, &create).await.says(&["event_log", "OUTBOX_CLICKHOUSE_CREATE_TABLE=true"]);

    let columns = "event_type String, event_date_time DateTime64(6), environment String, event_context String, \
        metadata_version Int32";
    world
        .clickhouse
        .query(format!("CREATE TABLE event_log (event_id UUID, {columns}) ENGINE = MergeTree ORDER BY event_id"))
        .await;
    refused(&world, &create).await.says(&["ALTER TABLE", "non_replicated_deduplication_window"]);

    world.clickhouse.query("DROP TABLE event_log SYNC").await;
    let window = "SETTINGS non_replicated_deduplication_window = 1000";
    world
        .clickhouse
        .query(format!("CREATE TABLE event_log ({columns}) ENGINE = MergeTree ORDER BY event_type {window}"))
        .await;
    refused(&world, &create).await.says(&["ALTER TABLE", "event_id"]);

    world.clickhouse.query("DROP TABLE event_log SYNC").await;
    world.clickhouse.query("CREATE TABLE event_log (something UInt8) ENGINE = Memory").await;
    refused(&world, &create).await.says(&["MergeTree"]);

    assert_eq!(world.conn().await.count("outbox_event").await, 20);
    world.clickhouse.query("DROP TABLE event_log SYNC").await;
    world.drain().await;
    world.assert_exactly_once(&committed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_clickhouse_is_named() {
    let world = World::new(Kind::Sqlite).await;
    refused(&world, &[("CLICKHOUSE_URL", "http://127.0.0.1:1")]).await.says(&["127.0.0.1:1", "CLICKHOUSE_"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_names_the_variables_and_does_not_show_it() {
    let server = PrivateClickHouse::start_with_password("the-right-one").await;
    let world = World::with_clickhouse(Kind::Sqlite, ClickHouseDatabase::create_on(&server).await).await;
    let committed = create_users(&mut world.conn().await, 0..5).await;
    refused(&world, &[("CLICKHOUSE_PASSWORD", SECRET)]).await.says(&["CLICKHOUSE_PASSWORD"]);
    world.drain().await;
    world.assert_exactly_once(&committed).await;
}
