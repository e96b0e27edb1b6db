//! Tables that are altered while events are on their way to them: whatever happens, no value ends as another one.
//!
//! In each case a part is frozen, the table is altered, and then the part is sent and seen through as a relay does. Either
//! every event arrives with its value, or it is refused in words; and what was not altered goes on.

use outbox_clickhouse::ClickHouseSink;
use outbox_core::{Part, Sink, SinkErrorKind, StoredEvent};
use outbox_test::databases::ClickHouseDatabase;

use crate::support::{again, deliver_like_a_relay, events, part_for, settings, step, visit, visits_schema};

/// What becomes of the part.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// It arrives as it was frozen.
    AsItIs,
    /// It is frozen anew, and arrives.
    Anew,
    /// Nobody guesses: it waits for a person.
    Refused,
}
use Fate::{Anew, AsItIs, Refused};

async fn fate(sink: &ClickHouseSink, part: &Part) -> Fate {
    let Err(first) = sink.deliver(part).await else { return AsItIs };
    if first.kind() == SinkErrorKind::Stop {
        return Refused;
    }
    assert_eq!(first.kind(), SinkErrorKind::Unknown, "{first}");
    let mut part = again(part);
    for _ in 0..3 {
        match step(sink, &part).await {
            Ok(None) => return Anew,
            Ok(Some(next)) => part = next,
            Err(refused) => {
                assert_eq!(refused.kind(), SinkErrorKind::Stop, "{refused}");
                return Refused;
            }
        }
    }
    panic!("neither delivered nor refused");
}

/// The layout `context`, which goes as a block of columns with names and types: the server compares the types.
#[tokio::test]
async fn the_envelope_in_a_block_survives_every_alteration_or_is_refused() {
    every_alteration(|_| {}, |in_a_block, _| in_a_block).await;
}

/// As parts were frozen by earlier versions: row by row, with names and types.
#[tokio::test]
async fn the_envelope_in_rows_survives_every_alteration_or_is_refused() {
    let in_rows = |part: &mut Part| {
        let in_a_block = std::mem::take(&mut part.frozen.statement);
        let in_rows = r#""format":"RowBinaryWithNamesAndTypes""#;
        part.frozen.statement = in_a_block.replace(r#""format":"Native""#, in_rows);
    };
    every_alteration(in_rows, |_, in_rows| in_rows).await;
}

/// `freeze`: what else is frozen with the part. `of`: which fate counts, in a block or in rows.
async fn every_alteration(freeze: impl Fn(&mut Part), of: impl Fn(Fate, Fate) -> Fate) {
    let check = "countIf(event_type = 'user_created' AND environment = 'test' AND toInt64(metadata_version) = 1)";
    for (alteration, in_a_block, in_rows) in [
        ("ADD COLUMN more String", AsItIs, AsItIs),
        ("ADD COLUMN more UInt8 DEFAULT 7 FIRST", AsItIs, AsItIs),
        ("ADD COLUMN more UInt8 MATERIALIZED 7 AFTER event_id", AsItIs, AsItIs),
        ("ADD COLUMN more UInt8 ALIAS 7", AsItIs, AsItIs),
        ("MODIFY COLUMN event_context String FIRST", AsItIs, AsItIs),
        ("MODIFY COLUMN event_context String CODEC(ZSTD(9))", AsItIs, AsItIs),
        ("MODIFY COLUMN event_context LowCardinality(String)", AsItIs, Anew),
        ("MODIFY COLUMN metadata_version Int64", Anew, Anew),
        ("MODIFY COLUMN metadata_version UInt32", Anew, Anew),
        ("MODIFY COLUMN metadata_version Nullable(Int32)", Anew, Anew),
        ("MODIFY COLUMN metadata_version Int16", Refused, Refused),
        ("MODIFY COLUMN metadata_version String", Refused, Refused),
        ("MODIFY COLUMN metadata_version DateTime", Refused, Refused),
        ("MODIFY COLUMN metadata_version SimpleAggregateFunction(max, Int32)", AsItIs, Refused),
        ("MODIFY COLUMN metadata_version Int64, DROP COLUMN environment", Refused, Refused),
        ("MODIFY COLUMN environment FixedString(4)", Refused, Refused),
        ("MODIFY COLUMN environment FixedString(8)", Refused, Refused),
        ("MODIFY COLUMN environment Enum8('test' = 1, 'live' = 2)", Anew, Anew),
        ("MODIFY COLUMN event_date_time DateTime64(3, 'UTC')", Anew, Anew),
        ("MODIFY COLUMN event_date_time DateTime64(9, 'UTC')", Anew, Anew),
        ("MODIFY COLUMN event_date_time DateTime64(6, 'Asia/Tokyo')", AsItIs, Anew),
        ("DROP COLUMN key", Anew, Anew),
        ("RENAME COLUMN key TO account", Anew, Anew),
        ("DROP COLUMN environment", Refused, Refused),
        ("RENAME COLUMN environment TO place", Refused, Refused),
        ("MODIFY COLUMN environment MATERIALIZED 'x'", Refused, Refused),
    ] {
        let database = ClickHouseDatabase::create().await;
        // Free of keys, so that every column can be altered.
        database
            .query(
                "CREATE TABLE event_log (event_id UUID, event_type LowCardinality(String), event_date_time DateTime64(6, 'UTC'), \
                 environment String, event_context String, metadata_version Int32, key String) ENGINE = MergeTree \
                 ORDER BY event_id SETTINGS non_replicated_deduplication_window = 100",
            )
            .await;
        let sink = ClickHouseSink::new(settings(&database));
        let mut part = part_for(&sink, "event_log", events(5)).await.unwrap();
        assert!(part.frozen.statement.contains(r#""format":"Native""#));
        freeze(&mut part);
        let expected = of(in_a_block, in_rows);
        database.query(format!("ALTER TABLE event_log {alteration}")).await;
        assert_eq!(fate(&sink, &part).await, expected, "{alteration}");
        let rows = if expected == Refused { "0" } else { "5" };
        assert_eq!(database.query("SELECT count() FROM event_log").await, rows, "{alteration}");
        if expected != Refused {
            assert_eq!(database.query(format!("SELECT {check} FROM event_log")).await, "5", "{alteration}");
        }
    }
}

/// The layout `columns`, whose rows go as JSON: the server converts, and would not say when a number is bent.
#[tokio::test]
async fn fields_in_columns_survive_every_alteration_or_are_refused() {
    let visits = || -> Vec<StoredEvent> { [70_000, 4_000_000_000].map(visit).into() };
    let intact = "groupArray((toString(visits), path, toString(price), toUnixTimestamp(seen_at)))";
    for (alteration, expected) in [
        ("ADD COLUMN more String", AsItIs),
        ("ADD COLUMN more UInt8 DEFAULT 7 FIRST", AsItIs),
        ("ADD COLUMN more UInt8 MATERIALIZED 7", AsItIs),
        ("ADD COLUMN more UInt8 ALIAS 7", AsItIs),
        ("MODIFY COLUMN path String FIRST", AsItIs),
        ("MODIFY COLUMN visits UInt64", AsItIs),
        ("MODIFY COLUMN visits Int64", AsItIs),
        ("MODIFY COLUMN visits Nullable(UInt32)", AsItIs),
        ("MODIFY COLUMN visits String", AsItIs),
        ("MODIFY COLUMN visits UInt16", Refused),
        ("MODIFY COLUMN visits Int32", Refused),
        ("MODIFY COLUMN visits DateTime", Refused),
        ("MODIFY COLUMN visits Float32", Refused),
        ("MODIFY COLUMN path LowCardinality(String)", AsItIs),
        ("MODIFY COLUMN path Nullable(String)", AsItIs),
        ("MODIFY COLUMN path FixedString(1)", Refused),
        ("MODIFY COLUMN path FixedString(4)", Refused),
        ("MODIFY COLUMN visits UInt64, DROP COLUMN path", Refused),
        ("MODIFY COLUMN visits SimpleAggregateFunction(max, UInt32)", AsItIs),
        ("MODIFY COLUMN path Enum8('/' = 1)", AsItIs),
        ("MODIFY COLUMN path Enum8('/' = 1, '/other' = 2)", AsItIs),
        ("MODIFY COLUMN price Decimal(18, 4)", AsItIs),
        ("MODIFY COLUMN price Decimal(9, 1)", Refused),
        ("MODIFY COLUMN seen_at DateTime64(9, 'UTC')", AsItIs),
        ("MODIFY COLUMN seen_at DateTime64(6, 'Asia/Tokyo')", AsItIs),
        ("MODIFY COLUMN seen_at DateTime", AsItIs),
        ("DROP COLUMN path", Refused),
        ("RENAME COLUMN path TO place", Refused),
        ("DROP COLUMN seq", Anew),
    ] {
        let database = ClickHouseDatabase::create().await;
        database
            .query(
                "CREATE TABLE page_seen (event_id UUID, event_date_time DateTime64(6, 'UTC'), seq Int64, visits UInt32, path String, \
                 price Decimal(9, 2), seen_at DateTime64(6, 'UTC')) ENGINE = MergeTree ORDER BY event_id \
                 SETTINGS non_replicated_deduplication_window = 100",
            )
            .await;
        let sink = ClickHouseSink::new(settings(&database));
        sink.learn(&[visits_schema()]);
        let part = part_for(&sink, "page_seen", visits()).await.unwrap();
        assert!(part.frozen.statement.contains("JsonArray"));
        database.query(format!("ALTER TABLE page_seen {alteration}")).await;
        assert_eq!(fate(&sink, &part).await, expected, "{alteration}");
        let rows = if expected == Refused { "0" } else { "2" };
        assert_eq!(database.query("SELECT count() FROM page_seen").await, rows, "{alteration}");
        if expected != Refused {
            let expected = ["4000000000", "70000"].map(|visits| format!("('{visits}','/','0.5',1700000000)")).join(",");
            let read = database.query(format!("SELECT arraySort({intact}) FROM page_seen")).await;
            assert_eq!(read, format!("[{expected}]"), "{alteration}");
        }
    }
}

/// Wrappers and members that change nothing of what a value is.
#[tokio::test]
async fn an_enum_that_gains_a_member_takes_what_was_frozen_before() {
    for (column, alteration) in [
        ("path Enum8('/' = 1)", "MODIFY COLUMN path Enum8('/' = 1, '/other' = 2)"),
        ("path Enum8('/' = 1)", "MODIFY COLUMN path Enum16('/' = 1, '/other' = 2000)"),
        ("path LowCardinality(String)", "MODIFY COLUMN path String"),
    ] {
        let database = ClickHouseDatabase::create().await;
        let sql = format!(
            "CREATE TABLE page_seen (event_id UUID, event_date_time DateTime64(6, 'UTC'), visits UInt32, {column}, price Decimal(9, 2), \
             seen_at DateTime64(6, 'UTC')) ENGINE = MergeTree ORDER BY event_id SETTINGS non_replicated_deduplication_window = 100"
        );
        database.query(sql).await;
        let sink = ClickHouseSink::new(settings(&database));
        sink.learn(&[visits_schema()]);
        let part = part_for(&sink, "page_seen", vec![visit(3)]).await.unwrap();
        database.query(format!("ALTER TABLE page_seen {alteration}")).await;
        assert_ne!(fate(&sink, &part).await, Refused, "{alteration}");
        assert_eq!(database.query("SELECT count(), any(toString(path)) FROM page_seen").await, "1\t/", "{alteration}");
    }
}

#[tokio::test]
async fn a_column_that_is_renamed_in_flight_holds_the_event_until_it_is_back() {
    let database = ClickHouseDatabase::create().await;
    let sink = ClickHouseSink::new(settings(&database).create_table(true));
    sink.learn(&[visits_schema()]);
    sink.check().await.unwrap();
    let part = part_for(&sink, "page_seen", vec![visit(3)]).await.unwrap();
    database.query("ALTER TABLE page_seen RENAME COLUMN path TO place").await;
    let refused = sink.deliver(&part).await.unwrap_err();
    assert_eq!(refused.kind(), SinkErrorKind::Unknown, "{refused}");
    let parked = step(&sink, &again(&part)).await.unwrap_err();
    assert_eq!(parked.kind(), SinkErrorKind::Stop, "{parked}");
    assert!(parked.to_string().contains("no column path"), "{parked}");
    database.query("ALTER TABLE page_seen RENAME COLUMN place TO path").await;
    assert_eq!(deliver_like_a_relay(&sink, again(&part)).await, 0);
    assert_eq!(database.query("SELECT count(), any(path) FROM page_seen").await, "1\t/");
}
