use std::collections::HashMap;

use outbox_clickhouse::EventLogRow;
use outbox_core::Sink;
use outbox_test::databases::ClickHouseDatabase;

use crate::support::{UserCreated, again, counts, events, part, sink};

fn client(database: &ClickHouseDatabase) -> clickhouse::Client {
    clickhouse::Client::default().with_url(database.url()).with_database(database.name())
}

#[tokio::test]
async fn a_thousand_rows_arrive_and_decode() {
    let database = ClickHouseDatabase::create().await;
    let sink = sink(&database).await;
    let events = events(1000);
    let part = part(&sink, events.clone()).await;
    assert!(part.frozen.statement.contains(r#""format":"Native""#), "{}", part.frozen.statement);
    sink.deliver(&part).await.unwrap();

    let rows = client(&database).query("SELECT ?fields FROM event_log").fetch_all::<EventLogRow>().await.unwrap();
    assert_eq!(rows.len(), 1000);
    let rows: HashMap<_, _> = rows.into_iter().map(|row| (row.event_id, row)).collect();
    for stored in &events {
        let row = &rows[&stored.event.id];
        assert_eq!(row.event_date_time, stored.event.occurred_at);
        assert_eq!((row.environment.as_str(), row.metadata_version), ("test", 1));
        assert_eq!(row.event_context, stored.event.payload);
        let expected: UserCreated = serde_json::from_str(&stored.event.payload).unwrap();
        assert_eq!(row.decode::<UserCreated>().unwrap(), expected);
    }
    let written = database.query("SELECT min(seq), max(seq), countIf(key != ''), any(headers) FROM event_log").await;
    assert_eq!(written, "1\t1000\t1000\t{\"traceparent\":\"00-1-2-01\"}");
    assert_eq!(
        database.query("SELECT count() FROM system.parts WHERE database = currentDatabase() AND active").await,
        "1"
    );
}

#[tokio::test]
async fn the_same_part_twice_arrives_once() {
    let database = ClickHouseDatabase::create().await;
    let sink = sink(&database).await;
    let part = part(&sink, events(100)).await;
    sink.deliver(&part).await.unwrap();
    sink.deliver(&again(&part)).await.unwrap();
    let (first, second) = (again(&part), again(&part));
    let both = tokio::join!(sink.deliver(&first), sink.deliver(&second));
    assert!(both.0.is_ok() && both.1.is_ok());
    assert_eq!(counts(&database).await, (100, 100));
}

#[tokio::test]
async fn another_part_with_the_same_events_is_another_delivery() {
    let database = ClickHouseDatabase::create().await;
    let sink = sink(&database).await;
    let events = events(10);
    sink.deliver(&part(&sink, events.clone()).await).await.unwrap();
    sink.deliver(&part(&sink, events).await).await.unwrap();
    assert_eq!(counts(&database).await, (20, 10), "only the token tells a repeat");
}

#[tokio::test]
async fn ten_thousand_events_are_one_block_and_read_back() {
    let database = ClickHouseDatabase::create().await;
    let sink = sink(&database).await;
    let part = part(&sink, events(10_000)).await;
    sink.deliver(&part).await.unwrap();
    // Makes recovery read back: the table's definition is another one.
    database.query("ALTER TABLE event_log ADD COLUMN more String").await;
    let recovery = sink.recover(&again(&part)).await.unwrap();
    assert_eq!(recovery, outbox_core::Recovery::Delivered);
    assert_eq!(counts(&database).await, (10_000, 10_000));
}
