//! A Distributed table over the local tables of two servers.

use outbox_clickhouse::ClickHouseSink;
use outbox_core::{Recovery, Sink, SinkErrorKind};
use outbox_test::servers::PrivateClickHouse;

use crate::support::{again, deliver_like_a_relay, events, part, settings_at};

const COLUMNS: &str = "event_id UUID, event_type String, event_date_time DateTime64(6), environment String, event_context \
                       String, metadata_version Int32";

async fn shards(window: u32) -> (Vec<PrivateClickHouse>, ClickHouseSink) {
    let shards = PrivateClickHouse::start_shards(2).await;
    for shard in &shards {
        shard
            .query(format!(
                "CREATE TABLE event_log_local ({COLUMNS}) ENGINE = MergeTree ORDER BY event_type \
                 SETTINGS non_replicated_deduplication_window = {window}"
            ))
            .await;
        shard
            .query(format!(
                "CREATE TABLE event_log ({COLUMNS}) ENGINE = Distributed('{}', 'default', 'event_log_local', \
                 cityHash64(event_id))",
                PrivateClickHouse::CLUSTER
            ))
            .await;
    }
    let hosts: Vec<_> = shards.iter().map(PrivateClickHouse::address).collect();
    let settings = settings_at(shards[0].url(), "default").hosts(hosts).unwrap();
    (shards, ClickHouseSink::new(settings))
}

async fn counts(shard: &PrivateClickHouse) -> String {
    shard.query("SELECT count(), uniqExact(event_id) FROM event_log").await
}

#[tokio::test]
async fn the_check_looks_through_to_the_local_tables() {
    let (shards, sink) = shards(0).await;
    let refused = sink.check().await.unwrap_err();
    assert_eq!(refused.kind(), SinkErrorKind::Stop);
    let text = refused.to_string();
    assert_eq!(text.matches("`default`.`event_log_local` on ").count(), 2, "one finding per shard: {text}");
    assert!(text.contains("ALTER TABLE `default`.`event_log_local` MODIFY SETTING"), "{text}");
    for shard in &shards {
        shard.query("ALTER TABLE event_log_local MODIFY SETTING non_replicated_deduplication_window = 100").await;
    }
    sink.check().await.unwrap();
}

#[tokio::test]
async fn a_repeat_through_either_host_adds_nothing() {
    let (shards, sink) = shards(1000).await;
    sink.check().await.unwrap();
    let part = part(&sink, events(1000)).await;
    assert!(!part.frozen.statement.contains("\"host\""), "any host passes the token on: {}", part.frozen.statement);
    sink.deliver(&part).await.unwrap();
    let hosts: Vec<_> = shards.iter().rev().map(PrivateClickHouse::address).collect();
    let other = ClickHouseSink::new(sink.settings().clone().hosts(hosts).unwrap());
    assert_eq!(other.recover(&again(&part)).await.unwrap(), Recovery::Resend);
    other.deliver(&again(&part)).await.unwrap();
    assert_eq!(counts(&shards[0]).await, "1000\t1000");
    let local = shards[0].query("SELECT count() FROM event_log_local").await;
    assert!((300..700).contains(&local.parse::<u32>().unwrap()), "spread over both: {local}");
}

#[tokio::test]
async fn a_shard_that_is_killed_in_between_is_completed_without_a_double() {
    let (mut shards, sink) = shards(1000).await;
    sink.check().await.unwrap();
    let lost = part(&sink, events(1000)).await;
    shards[1].kill();
    let down = sink.deliver(&lost).await.unwrap_err();
    assert_eq!(down.kind(), SinkErrorKind::Unknown, "{down}");
    let half: u32 = shards[0].query("SELECT count() FROM event_log_local").await.parse().unwrap();
    assert!(half < 1000, "the other half is nowhere");
    sink.recover(&again(&lost)).await.expect_err("nobody knows what the shard has");
    shards[1].restart().await;
    deliver_like_a_relay(&sink, again(&lost)).await;
    assert_eq!(counts(&shards[0]).await, "1000\t1000");
}

#[tokio::test]
async fn a_shard_that_lost_rows_in_a_kill_is_read_back_through_the_other_host() {
    let (mut shards, sink) = shards(1000).await;
    sink.check().await.unwrap();
    let part = part(&sink, events(1000)).await;
    sink.deliver(&part).await.unwrap();
    shards[1].query("ALTER TABLE event_log_local DELETE WHERE 1 SETTINGS mutations_sync = 2").await;
    shards[1].kill();
    shards[1].restart().await;
    let unproven = sink.deliver(&again(&part)).await.expect_err("the shard's ok proves nothing any more");
    assert_eq!(unproven.kind(), SinkErrorKind::Unknown, "{unproven}");
    let Recovery::Replace { landed } = sink.recover(&again(&part)).await.unwrap() else { panic!("half of it is gone") };
    assert!((300..700).contains(&landed.len()), "{}", landed.len());
    deliver_like_a_relay(&sink, again(&part)).await;
    assert_eq!(counts(&shards[0]).await, "1000\t1000");
}

#[tokio::test]
async fn what_one_shard_refuses_does_not_double_what_another_has_taken() {
    let (shards, sink) = shards(1000).await;
    sink.check().await.unwrap();
    let refused = part(&sink, events(1000)).await;
    let picky = "ALTER TABLE event_log_local ADD CONSTRAINT picky CHECK environment != 'test'";
    shards[1].query(picky).await;
    let error = sink.deliver(&refused).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (SinkErrorKind::BadRows, Some(469)), "{error}");
    assert!(error.may_have_partly_arrived() && error.bad_ids().is_empty(), "a shard counts its own rows: {error:?}");
    let looked = outbox_core::Part { replay: true, ..again(&refused) };
    let Recovery::Replace { landed } = sink.recover(&looked).await.unwrap() else { panic!("half of it is refused") };
    assert!((300..700).contains(&landed.len()), "{}", landed.len());
    shards[1].query("ALTER TABLE event_log_local DROP CONSTRAINT picky").await;
    let rest = refused.events.iter().filter(|stored| !landed.contains(&stored.event.id)).cloned().collect();
    sink.deliver(&part(&sink, rest).await).await.unwrap();
    assert_eq!(counts(&shards[0]).await, "1000\t1000");
}

#[tokio::test]
async fn a_row_that_does_not_parse_is_named_before_anything_goes_to_a_shard() {
    let (shards, sink) = shards(1000).await;
    for shard in &shards {
        // Rows as JSON, because the server converts.
        shard.query("ALTER TABLE event_log_local MODIFY COLUMN event_context JSON").await;
        shard.query("ALTER TABLE event_log MODIFY COLUMN event_context JSON").await;
    }
    let mut rows = events(10);
    rows[6].event.payload = "{\"email\":".to_owned();
    let id = rows[6].event.id;
    let refused = sink.deliver(&part(&sink, rows).await).await.unwrap_err();
    assert_eq!(refused.kind(), SinkErrorKind::BadRows, "{refused}");
    assert_eq!(refused.bad_ids(), [id], "{refused}");
    assert!(!refused.may_have_partly_arrived());
    assert_eq!(counts(&shards[0]).await, "0\t0");
}
