//! Tables as people have them.

use chrono::{DateTime, Utc};
use outbox_clickhouse::{ClickHouseSink, Delivery};
use outbox_core::Sink;
use outbox_test::databases::ClickHouseDatabase;

use crate::support::{again, counts, events, events_at, part, settings};

/// Makes a table of these columns, delivers 50 events twice, and returns the frozen statement.
async fn deliver_twice(database: &ClickHouseDatabase, columns: &str) -> String {
    let sql = format!(
        "CREATE TABLE event_log ({columns}) ENGINE = MergeTree PARTITION BY toYYYYMM(event_date_time) \
         ORDER BY (event_type, event_date_time) SETTINGS non_replicated_deduplication_window = 1000"
    );
    database.query(sql).await;
    let sink = ClickHouseSink::new(settings(database));
    sink.check().await.unwrap();
    let part = part(&sink, events(50)).await;
    sink.deliver(&part).await.unwrap();
    sink.deliver(&again(&part)).await.unwrap();
    assert_eq!(counts(database).await, (50, 50));
    let first = &part.events[7].event;
    let read = database
        .query(format!(
            "SELECT toString(event_type), environment, toInt32(metadata_version), toUnixTimestamp(event_date_time), \
             JSONExtractString(toString(event_context), 'email') = {} FROM event_log WHERE event_id = '{}'",
            // The same text through ClickHouse's own parser.
            format_args!("JSONExtractString('{}', 'email')", first.payload.replace('\\', r"\\").replace('\'', r"\'")),
            first.id
        ))
        .await;
    assert_eq!(read, format!("user_created\ttest\t1\t{}\t1", first.occurred_at.timestamp()));
    part.frozen.statement
}

#[tokio::test]
async fn the_original_table_with_an_id() {
    let database = ClickHouseDatabase::create().await;
    let statement = deliver_twice(
        &database,
        "event_type String, event_date_time DateTime64(6), environment String, event_context String, metadata_version Int32, \
         event_id UUID",
    )
    .await;
    assert!(statement.contains("Native") && !statement.contains("headers"), "{statement}");
}

/// A dictionary's numbers take one, two or four bytes.
#[tokio::test]
async fn a_dictionary_of_any_size_arrives() {
    let database = ClickHouseDatabase::create().await;
    database
        .query(
            "CREATE TABLE event_log (event_id UUID, event_type LowCardinality(String), event_date_time DateTime64(6, 'UTC'), \
             environment String, event_context String, metadata_version Int32, seq Int64, key LowCardinality(String)) \
             ENGINE = MergeTree ORDER BY event_id SETTINGS non_replicated_deduplication_window = 1000",
        )
        .await;
    let sink = ClickHouseSink::new(settings(&database));
    for rows in [1, 256, 257, 65_537] {
        let mut events = events(rows);
        events.iter_mut().for_each(|stored| stored.event.key = Some(format!("key {}", stored.seq)));
        // The last comes twice, and one has none.
        events.push(events[rows - 1].clone());
        events.push(events[0].clone());
        events[rows + 1].event.key = None;
        let part = part(&sink, events).await;
        assert!(part.frozen.statement.contains("Native"), "{}", part.frozen.statement);
        sink.deliver(&part).await.unwrap();
        let right =
            "SELECT countIf(key = concat('key ', toString(seq))), countIf(key = ''), uniqExact(key) FROM event_log";
        assert_eq!(database.query(right).await, format!("{}\t1\t{}", rows + 1, rows + 1));
        database.query("TRUNCATE TABLE event_log").await;
    }
}

#[tokio::test]
async fn low_cardinality_and_nullable_everywhere() {
    let database = ClickHouseDatabase::create().await;
    let statement = deliver_twice(
        &database,
        "event_id UUID, event_type LowCardinality(String), event_date_time DateTime64(6, 'Europe/Berlin'), environment \
         LowCardinality(Nullable(String)), event_context LowCardinality(String), metadata_version Nullable(Int32), seq Int64, \
         key LowCardinality(Nullable(String)), headers Nullable(String), ingested DateTime DEFAULT now()",
    )
    .await;
    assert!(statement.contains("RowBinary"), "{statement}");
    assert_eq!(database.query("SELECT countIf(isNull(key)), min(seq), max(seq) FROM event_log").await, "0\t1\t50");
}

#[tokio::test]
async fn other_precisions_and_types_go_as_json() {
    for columns in [
        "event_id UUID, event_type LowCardinality(String), event_date_time DateTime64(3), environment String, event_context \
         String, metadata_version UInt32, key Nullable(String)",
        "event_id UUID, event_type Enum8('user_created' = 1), event_date_time DateTime('Asia/Tokyo'), environment String, \
         event_context JSON, metadata_version Int64, headers JSON",
    ] {
        let database = ClickHouseDatabase::create().await;
        let statement = deliver_twice(&database, columns).await;
        assert!(statement.contains("JsonArray"), "{statement}");
    }
}

#[tokio::test]
async fn a_time_keeps_its_microseconds_in_both_formats() {
    for (column, expected) in [("DateTime64(6)", "123456"), ("DateTime64(9)", "123456000"), ("DateTime64(3)", "123")] {
        let database = ClickHouseDatabase::create().await;
        let sql = format!(
            "CREATE TABLE event_log (event_id UUID, event_type String, event_date_time {column}, environment String, \
             event_context String, metadata_version Int32) ENGINE = MergeTree ORDER BY event_type \
             SETTINGS non_replicated_deduplication_window = 1000"
        );
        database.query(sql).await;
        let sink = ClickHouseSink::new(settings(&database));
        let at = DateTime::<Utc>::from_timestamp_micros(1_700_000_000_123_456).unwrap();
        let part = part(&sink, events_at(1, |_| at)).await;
        sink.deliver(&part).await.unwrap();
        let read = database.query("SELECT splitByChar('.', toString(event_date_time))[2] FROM event_log").await;
        assert_eq!(read, expected, "{column}");
        // And the read-back finds it under any precision.
        database.query("ALTER TABLE event_log ADD COLUMN more String").await;
        assert_eq!(sink.recover(&again(&part)).await.unwrap(), outbox_core::Recovery::Delivered, "{column}");
    }
}

#[tokio::test]
async fn a_table_without_ids_works_at_least_once_when_asked() {
    let database = ClickHouseDatabase::create().await;
    database
        .query(
            "CREATE TABLE event_log (event_type String, event_date_time DateTime64(6), environment String, event_context \
             String, metadata_version Int32) ENGINE = MergeTree ORDER BY event_type",
        )
        .await;
    let sink = ClickHouseSink::new(settings(&database).delivery(Delivery::AtLeastOnce));
    sink.check().await.unwrap();
    let part = part(&sink, events(5)).await;
    sink.deliver(&part).await.unwrap();
    assert_eq!(sink.recover(&again(&part)).await.unwrap(), outbox_core::Recovery::Resend);
    sink.deliver(&again(&part)).await.unwrap();
    assert_eq!(database.query("SELECT count() FROM event_log").await, "10", "no window: twice");
    // A statement that the table would refuse for ever gives way to a new one.
    let old = crate::support::part(&sink, events(5)).await;
    database.query("ALTER TABLE event_log MODIFY COLUMN metadata_version Int64").await;
    sink.deliver(&old).await.unwrap_err();
    let anew = outbox_core::Recovery::Replace { landed: vec![] };
    assert_eq!(sink.recover(&again(&old)).await.unwrap(), anew);
    assert_eq!(crate::support::deliver_like_a_relay(&sink, again(&old)).await, 0);
    assert_eq!(database.query("SELECT count() FROM event_log").await, "15");
}

#[tokio::test]
async fn the_configured_table_takes_the_event_log_and_others_keep_their_names() {
    let database = ClickHouseDatabase::create().await;
    let settings = settings(&database).event_log_table("audit").create_table(true);
    let sink = ClickHouseSink::new(settings);
    sink.check().await.unwrap();
    sink.deliver(&part(&sink, events(3)).await).await.unwrap();
    assert_eq!(database.query("SELECT count() FROM audit").await, "3");
    let refused = sink.freeze("orders", &[]).await.unwrap_err();
    assert!(
        refused.to_string().contains(&format!("the table `{}`.`orders` does not exist", database.name())),
        "{refused}"
    );
}
