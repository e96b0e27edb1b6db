//! What the start refuses, and the statement that mends it: each is run and then accepted.

use std::time::Duration;

use outbox_clickhouse::{ClickHouseSettings, ClickHouseSink, Delivery};
use outbox_core::{Sink, SinkError, SinkErrorKind};
use outbox_test::databases::ClickHouseDatabase;
use outbox_test::proxy::Mode;
use outbox_test::servers::PrivateClickHouse;

use crate::support::{counts, deliver_like_a_relay, events, part, settings, sink, sink_through_a_proxy};

const COLUMNS: &str = "event_id UUID, event_type String, event_date_time DateTime64(6), environment String, event_context \
                       String, metadata_version Int32";
const WINDOW: &str = "SETTINGS non_replicated_deduplication_window = 1000";

async fn refusal(database: &ClickHouseDatabase) -> SinkError {
    let refused = ClickHouseSink::new(settings(database)).check().await.unwrap_err();
    assert_eq!(refused.kind(), SinkErrorKind::Stop, "{refused}");
    refused
}

/// Runs the statement that the refusal names, up to `until`, and expects the check to pass.
async fn mend(database: &ClickHouseDatabase, refused: &SinkError) {
    let text = refused.to_string();
    for start in text.match_indices("ALTER TABLE").map(|(at, _)| at) {
        let statement = text[start..].split("; ").next().unwrap().split(" (or set").next().unwrap();
        database.query(statement.to_owned()).await;
    }
    let sink = ClickHouseSink::new(settings(database));
    sink.check().await.unwrap();
    deliver_like_a_relay(&sink, part(&sink, events(3)).await).await;
    assert_eq!(counts(database).await, (3, 3));
}

#[tokio::test]
async fn a_missing_table_is_named_and_made_when_asked() {
    let database = ClickHouseDatabase::create().await;
    let refused = refusal(&database).await.to_string();
    for part in [database.name(), "event_log", "OUTBOX_CLICKHOUSE_CREATE_TABLE=true", "CREATE TABLE IF NOT EXISTS"] {
        assert!(refused.contains(part), "{refused}");
    }
    let sink = ClickHouseSink::new(settings(&database).create_table(true));
    sink.check().await.unwrap();
    sink.check().await.unwrap();
    sink.ensure_table().await.unwrap();
}

/// It does not wait for a question.
#[tokio::test]
async fn the_first_part_is_frozen_with_what_the_start_saw() {
    let database = ClickHouseDatabase::create().await;
    let (proxy, started) = sink_through_a_proxy(&database).await;
    started.check().await.unwrap();
    proxy.set(Mode::Refuse);
    let first = part(&started, events(3)).await;
    proxy.set(Mode::Pass);
    deliver_like_a_relay(&started, first).await;
    assert_eq!(counts(&database).await, (3, 3));
}

/// What is known serves for a minute, and no longer than until the next question about the table's state.
#[tokio::test]
async fn a_column_that_is_added_is_filled_by_the_next_part_that_asks() {
    let database = ClickHouseDatabase::create().await;
    sink(&database).await;
    database.query("ALTER TABLE event_log DROP COLUMN headers").await;
    let looked = ClickHouseSink::new(settings(&database));
    let events = events(2);
    looked.divide("event_log", &events.iter().collect::<Vec<_>>()).await.unwrap();
    database.query("ALTER TABLE event_log ADD COLUMN headers String").await;
    deliver_like_a_relay(&looked, part(&looked, events).await).await;
    assert_eq!(database.query("SELECT countIf(headers != '') FROM event_log").await, "2");
}

#[tokio::test]
async fn the_printed_create_table_is_complete() {
    let database = ClickHouseDatabase::create().await;
    let refused = refusal(&database).await.to_string();
    database.query(refused[refused.find("CREATE TABLE").unwrap()..].to_owned()).await;
    ClickHouseSink::new(settings(&database)).check().await.unwrap();
}

#[tokio::test]
async fn a_missing_database_is_named() {
    let database = ClickHouseDatabase::create().await;
    let sink = ClickHouseSink::new(settings(&database).database("not_there").create_table(true));
    let refused = sink.check().await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (SinkErrorKind::Stop, Some(81)));
    assert!(refused.to_string().contains("CREATE DATABASE `not_there`"), "{refused}");
    assert!(refused.to_string().contains("CLICKHOUSE_DATABASE"), "{refused}");
}

#[tokio::test]
async fn a_missing_window_is_refused() {
    let database = ClickHouseDatabase::create().await;
    database.query(format!("CREATE TABLE event_log ({COLUMNS}) ENGINE = MergeTree ORDER BY event_type")).await;
    let refused = refusal(&database).await;
    assert!(refused.to_string().contains("OUTBOX_CLICKHOUSE_DELIVERY=at_least_once"), "{refused}");
    ClickHouseSink::new(settings(&database).delivery(Delivery::AtLeastOnce)).check().await.unwrap();
    mend(&database, &refused).await;
}

#[tokio::test]
async fn a_missing_id_is_refused() {
    let database = ClickHouseDatabase::create().await;
    let columns = COLUMNS.replace("event_id UUID, ", "");
    database.query(format!("CREATE TABLE event_log ({columns}) ENGINE = MergeTree ORDER BY event_type {WINDOW}")).await;
    let refused = refusal(&database).await;
    assert!(refused.to_string().contains("ADD COLUMN IF NOT EXISTS `event_id` UUID"), "{refused}");
    mend(&database, &refused).await;
}

#[tokio::test]
async fn missing_and_wrong_columns_are_refused_together() {
    let database = ClickHouseDatabase::create().await;
    let columns = COLUMNS.replace("environment String, ", "").replace("DateTime64(6)", "Date");
    database.query(format!("CREATE TABLE event_log ({columns}) ENGINE = MergeTree ORDER BY event_type {WINDOW}")).await;
    let refused = refusal(&database).await;
    assert!(refused.to_string().contains("has the type Date"), "{refused}");
    assert!(refused.to_string().contains("ADD COLUMN IF NOT EXISTS `environment`"), "{refused}");
    mend(&database, &refused).await;
}

#[tokio::test]
async fn other_engines_are_refused() {
    let database = ClickHouseDatabase::create().await;
    database.query(format!("CREATE TABLE event_log ({COLUMNS}) ENGINE = Memory")).await;
    let refused = refusal(&database).await;
    assert!(refused.to_string().contains("has the engine Memory"), "{refused}");
}

#[tokio::test]
async fn a_partition_by_the_server_s_clock_is_refused() {
    let database = ClickHouseDatabase::create().await;
    database
        .query(format!(
            "CREATE TABLE event_log ({COLUMNS}, at DateTime DEFAULT now()) ENGINE = MergeTree PARTITION BY toYYYYMM(at) \
             ORDER BY event_type {WINDOW}"
        ))
        .await;
    let refused = refusal(&database).await;
    assert!(
        refused.to_string().contains("is partitioned by at, whose value is made by the server (now())"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_view_s_target_without_a_window_is_refused() {
    for (target, view) in [
        ("CREATE TABLE `by day` (c String) ENGINE = MergeTree ORDER BY c", "CREATE MATERIALIZED VIEW v TO `by day` AS"),
        ("SELECT 1", "CREATE MATERIALIZED VIEW v ENGINE = MergeTree ORDER BY c AS"),
    ] {
        let database = ClickHouseDatabase::create().await;
        let table = format!("CREATE TABLE event_log ({COLUMNS}) ENGINE = MergeTree ORDER BY event_type {WINDOW}");
        database.query(table).await;
        database.query(target).await;
        database.query(format!("{view} SELECT event_type AS c FROM event_log")).await;
        let refused = refusal(&database).await;
        assert!(refused.to_string().contains("filled by the materialized view"), "{refused}");
        mend(&database, &refused).await;
    }
}

#[tokio::test]
async fn a_view_behind_a_view_needs_a_window_too() {
    let database = ClickHouseDatabase::create().await;
    for sql in [
        format!("CREATE TABLE event_log ({COLUMNS}) ENGINE = MergeTree ORDER BY event_type {WINDOW}"),
        "CREATE TABLE middle (c String) ENGINE = Null".into(),
        "CREATE TABLE last (c String) ENGINE = MergeTree ORDER BY c".into(),
        "CREATE MATERIALIZED VIEW a TO middle AS SELECT event_type AS c FROM event_log".into(),
        "CREATE MATERIALIZED VIEW b TO last AS SELECT c FROM middle".into(),
    ] {
        database.query(sql).await;
    }
    let refused = refusal(&database).await;
    assert!(refused.to_string().contains("`last` (filled by the materialized view"), "{refused}");
    mend(&database, &refused).await;
}

#[tokio::test]
async fn a_wrong_password_names_the_variables_and_not_the_password() {
    let server = PrivateClickHouse::start_with_password("right").await;
    let settings = ClickHouseSettings::new().url(server.url()).unwrap().user("outbox");
    let refused = ClickHouseSink::new(settings.clone().password("hunter2")).check().await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (SinkErrorKind::Stop, Some(516)));
    let text = format!("{refused} {refused:?}");
    assert!(text.contains("CLICKHOUSE_USER and CLICKHOUSE_PASSWORD"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    ClickHouseSink::new(settings.password("right").create_table(true)).check().await.unwrap();
}

#[tokio::test]
async fn an_unreachable_server_names_the_address_and_the_variables() {
    // Bound and closed again: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let settings = ClickHouseSettings::new().host("127.0.0.1").port(port).connect_timeout(Duration::from_secs(2));
    let refused = ClickHouseSink::new(settings).check().await.unwrap_err();
    assert_eq!(refused.kind(), SinkErrorKind::Unknown);
    for part in [&format!("127.0.0.1:{port}"), "refused", "CLICKHOUSE_HOST and CLICKHOUSE_PORT"] {
        assert!(refused.to_string().contains(part), "{refused}");
    }
}
