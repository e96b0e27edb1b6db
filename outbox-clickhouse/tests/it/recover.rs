//! What became of a send whose outcome nobody knows, without a crash.

use chrono::{DateTime, Utc};
use outbox_clickhouse::ClickHouseSink;
use outbox_core::{Part, Recovery, Sink, SinkError, SinkErrorKind};
use outbox_test::databases::ClickHouseDatabase;
use outbox_test::proxy::{FaultProxy, Mode};
use outbox_test::servers::PrivateClickHouse;
use tokio::task::JoinHandle;

use crate::support::{
    again, counts, deliver_like_a_relay, events, events_at, ids_view, part, part_at_last, settings, sink,
    sink_through_a_proxy,
};

/// Takes rows away for good, and leaves the tokens remembered: what a crash can do.
async fn lose_rows(database: &ClickHouseDatabase, filter: &str) {
    database.query(format!("ALTER TABLE event_log DELETE WHERE {filter} SETTINGS mutations_sync = 2")).await;
}

#[tokio::test]
async fn a_lost_reply_is_sent_again_and_arrives_once() {
    // Of its own: a server may abort when a connection is cut.
    let server = PrivateClickHouse::start().await;
    let database = ClickHouseDatabase::create_on(&server).await;
    let (proxy, through) = sink_through_a_proxy(&database).await;
    let mut rows = 0;
    for mode in [Mode::LoseReply, Mode::CutAfter(3000), Mode::Refuse] {
        let mut tries = 0;
        loop {
            (rows, tries) = (rows + 100, tries + 1);
            if is_sent_again(&server, &proxy, &through, mode).await {
                break;
            }
            assert!(tries < 5, "{mode:?}: the server has aborted each time, or it is not its fault");
        }
    }
    assert_eq!(counts(&database).await, (rows, rows));
}

/// Delivers a hundred rows whose first reply is lost. False when the server has aborted meanwhile: then they are looked for, and
/// it shows nothing of a token that is remembered.
async fn is_sent_again(server: &PrivateClickHouse, proxy: &FaultProxy, sink: &ClickHouseSink, mode: Mode) -> bool {
    // It may still be on its way up after the cut before.
    let part = part_at_last(sink, 100).await;
    let (process, cuts) = (server.process(), proxy.cuts());
    proxy.set_once(mode);
    let lost = sink.deliver(&part).await.expect_err("the reply was lost");
    assert_eq!(lost.kind(), SinkErrorKind::Unknown, "{lost}");
    proxy.wait_for(cuts + 1).await;
    let recovered = sink.recover(&again(&part)).await;
    if let Ok(recovery) = recovered
        && server.process() == process
    {
        assert_eq!(recovery, Recovery::Resend);
        if sink.deliver(&again(&part)).await.is_ok() {
            return true;
        }
    }
    deliver_like_a_relay(sink, again(&part)).await;
    false
}

#[tokio::test]
async fn a_full_window_is_read_back() {
    let database = ClickHouseDatabase::create().await;
    sink(&database).await;
    database.query("ALTER TABLE event_log MODIFY SETTING non_replicated_deduplication_window = 20").await;
    let sink = ClickHouseSink::new(settings(&database));
    let first = part(&sink, events(10)).await;
    sink.deliver(&first).await.unwrap();
    assert_eq!(sink.recover(&again(&first)).await.unwrap(), Recovery::Resend);
    for _ in 0..30 {
        sink.deliver(&part(&sink, events(1)).await).await.unwrap();
    }
    assert_eq!(sink.recover(&again(&first)).await.unwrap(), Recovery::Delivered);
    assert_eq!(counts(&database).await, (40, 40), "a blind repeat would have doubled it");
}

#[tokio::test]
async fn a_token_that_fell_out_of_the_window_before_anything_landed_is_used_once_more() {
    let database = ClickHouseDatabase::create().await;
    sink(&database).await;
    database.query("ALTER TABLE event_log MODIFY SETTING non_replicated_deduplication_window = 20").await;
    let sink = ClickHouseSink::new(settings(&database));
    let never_sent = part(&sink, events(10)).await;
    for _ in 0..30 {
        sink.deliver(&part(&sink, events(1)).await).await.unwrap();
    }
    assert_eq!(sink.recover(&again(&never_sent)).await.unwrap(), Recovery::Delivered);
    assert_eq!(counts(&database).await, (40, 40));
}

#[tokio::test]
async fn an_altered_table_is_read_back_and_missing_rows_get_a_new_token() {
    let database = ClickHouseDatabase::create().await;
    let sink = sink(&database).await;
    let year = |row: usize| {
        DateTime::<Utc>::from_timestamp(1_600_000_000 + 40_000_000 * i64::try_from(row % 3).unwrap(), 0).unwrap()
    };
    let part = part(&sink, events_at(9, year)).await;
    sink.deliver(&part).await.unwrap();
    database.query("ALTER TABLE event_log ADD COLUMN more String").await;
    lose_rows(&database, "event_date_time < fromUnixTimestamp(1600000001)").await;
    let Recovery::Replace { landed } = sink.recover(&again(&part)).await.unwrap() else { panic!("some are missing") };
    let expected: Vec<_> = part.events.iter().filter(|e| e.event.occurred_at != year(0)).map(|e| e.event.id).collect();
    assert_eq!(landed, expected);
    lose_rows(&database, "1").await;
    let nothing = Recovery::Replace { landed: vec![] };
    assert_eq!(sink.recover(&again(&part)).await.unwrap(), nothing, "the token is remembered, the rows are gone");
    deliver_like_a_relay(&sink, again(&part)).await;
    assert_eq!(counts(&database).await, (9, 9));
}

#[tokio::test]
async fn a_type_that_changed_between_freezing_and_sending_gets_a_new_statement() {
    let database = ClickHouseDatabase::create().await;
    let sink = sink(&database).await;
    let part = part(&sink, events(5)).await;
    database.query("ALTER TABLE event_log MODIFY COLUMN metadata_version Int64").await;
    let refused = sink.deliver(&part).await.unwrap_err();
    assert_eq!(refused.kind(), SinkErrorKind::Unknown, "no person has to look: {refused}");
    assert!(refused.to_string().contains("was altered since the part was frozen"), "{refused}");
    assert_eq!(sink.recover(&again(&part)).await.unwrap(), Recovery::Replace { landed: vec![] });
    assert_eq!(deliver_like_a_relay(&sink, again(&part)).await, 0, "the new statement fits at once");
    assert_eq!(counts(&database).await, (5, 5));
}

#[tokio::test]
async fn a_table_made_anew_under_the_same_name_gets_the_rows() {
    let database = ClickHouseDatabase::create().await;
    let sink = sink(&database).await;
    let part = part(&sink, events(5)).await;
    sink.deliver(&part).await.unwrap();
    database.query("DROP TABLE event_log SYNC").await;
    let gone = sink.recover(&again(&part)).await.unwrap_err();
    assert_eq!((gone.kind(), gone.code()), (SinkErrorKind::Stop, Some(60)), "{gone}");
    sink.ensure_table().await.unwrap();
    assert_eq!(sink.recover(&again(&part)).await.unwrap(), Recovery::Delivered);
    assert_eq!(counts(&database).await, (5, 5));
}

#[tokio::test]
async fn a_broken_view_holds_the_part_and_its_repair_completes_it() {
    let database = ClickHouseDatabase::create().await;
    let sink = sink(&database).await;
    for sql in [
        "CREATE TABLE by_type (c UInt8) ENGINE = MergeTree ORDER BY c SETTINGS non_replicated_deduplication_window = 100",
        "CREATE MATERIALIZED VIEW v TO by_type AS SELECT toUInt8(event_context) AS c FROM event_log",
    ] {
        database.query(sql).await;
    }
    let sink = ClickHouseSink::new(sink.settings().clone());
    let part = part(&sink, events(10)).await;
    let refused = sink.deliver(&part).await.unwrap_err();
    assert_eq!(refused.kind(), SinkErrorKind::Environment, "the source has the rows: {refused}");
    assert!(refused.to_string().contains("in the materialized view"), "{refused}");
    assert!(!format!("{refused:?}").contains("@example.org"), "{refused:?}");
    assert_eq!(sink.recover(&again(&part)).await.unwrap(), Recovery::Resend);
    assert!(sink.deliver(&again(&part)).await.is_err());
    database.query("DROP VIEW v").await;
    database
        .query("CREATE MATERIALIZED VIEW v TO by_type AS SELECT toUInt8(metadata_version) AS c FROM event_log")
        .await;
    assert_eq!(deliver_like_a_relay(&sink, again(&part)).await, 0);
    assert_eq!(counts(&database).await, (10, 10));
    assert_eq!(database.query("SELECT count() FROM by_type").await, "10");
}

#[tokio::test]
async fn a_view_that_refuses_rows_in_words_that_are_no_text_is_not_taken_for_bad_rows() {
    let database = ClickHouseDatabase::create().await;
    let sink = sink(&database).await;
    database
        .query(
            "CREATE TABLE by_type (c UInt8) ENGINE = MergeTree ORDER BY c \
             SETTINGS non_replicated_deduplication_window = 100",
        )
        .await;
    // Cut in the middle of a letter.
    let broken = "toUInt8(substring(concat('\u{451}\u{451}', event_type), 1, 3))";
    database.query(format!("CREATE MATERIALIZED VIEW v TO by_type AS SELECT {broken} AS c FROM event_log")).await;
    let sink = ClickHouseSink::new(sink.settings().clone());
    let part = part(&sink, events(10)).await;
    for part in [part.clone(), again(&part)] {
        let refused = sink.deliver(&part).await.unwrap_err();
        assert_eq!(refused.kind(), SinkErrorKind::Environment, "the table has the rows: {refused}");
    }
    database.query("DROP VIEW v").await;
    let repaired = "CREATE MATERIALIZED VIEW v TO by_type AS SELECT toUInt8(metadata_version) AS c FROM event_log";
    database.query(repaired).await;
    assert_eq!(deliver_like_a_relay(&sink, again(&part)).await, 0);
    assert_eq!(counts(&database).await, (10, 10));
    assert_eq!(database.query("SELECT count() FROM by_type").await, "10");
}

/// A send of five rows that has begun.
struct SlowSend {
    part: Part,
    sending: JoinHandle<Result<(), SinkError>>,
    /// The question whether it still runs.
    running: String,
    /// How many rows there are when it has arrived: earlier sends may have ended unseen.
    rows: u64,
}

/// Sends a part whose INSERT takes seconds, and returns when it has begun.
async fn slow_send(database: &ClickHouseDatabase, sink: &ClickHouseSink) -> SlowSend {
    for sends in 1..=10 {
        let part = part(sink, events(5)).await;
        let sending = tokio::spawn({
            let (sink, part) = (sink.clone(), part.clone());
            async move { sink.deliver(&part).await }
        });
        let running =
            format!("SELECT count() FROM system.processes WHERE startsWith(query_id, 'outbox-{}')", part.token);
        while !sending.is_finished() {
            if database.query(running.clone()).await != "0" {
                return SlowSend { part, sending, running, rows: 5 * sends };
            }
        }
        sending.await.unwrap().expect("nobody was in its way");
    }
    panic!("the insert takes seconds, and ten were over before they were seen");
}

#[tokio::test]
async fn an_earlier_send_that_still_runs_is_ended_before_the_read_back() {
    let database = ClickHouseDatabase::create().await;
    sink(&database).await;
    database.query("ALTER TABLE event_log ADD COLUMN slow UInt8 MATERIALIZED sleepEachRow(0.5)").await;
    let sink = ClickHouseSink::new(settings(&database));
    let SlowSend { part, sending, running, rows } = slow_send(&database, &sink).await;
    database.query("ALTER TABLE event_log ADD COLUMN more String").await;
    sink.recover(&again(&part)).await.unwrap();
    assert_eq!(database.query(running).await, "0");
    sending.abort();
    deliver_like_a_relay(&sink, again(&part)).await;
    assert_eq!(counts(&database).await, (rows, rows));
}

#[tokio::test]
async fn an_earlier_send_in_the_middle_of_a_view_is_awaited() {
    let database = ClickHouseDatabase::create().await;
    let sink = sink(&database).await;
    for sql in [
        "CREATE TABLE slow (c UInt8) ENGINE = MergeTree ORDER BY c SETTINGS non_replicated_deduplication_window = 100",
        "CREATE MATERIALIZED VIEW v TO slow AS SELECT sleepEachRow(0.5) AS c FROM event_log",
    ] {
        database.query(sql).await;
    }
    let sink = ClickHouseSink::new(sink.settings().clone());
    let SlowSend { part, sending, running, rows } = slow_send(&database, &sink).await;
    database.query("ALTER TABLE event_log ADD COLUMN more String").await;
    let early = sink.recover(&again(&part)).await;
    if database.query(running).await == "1" {
        let early = early.expect_err("the view would lack the rest");
        assert!(early.to_string().contains("at an earlier send of this part still"), "{early}");
    }
    deliver_like_a_relay(&sink, again(&part)).await;
    sending.await.unwrap().expect("nobody ended it");
    assert_eq!(counts(&database).await, (rows, rows));
    assert_eq!(database.query("SELECT count() FROM slow").await, rows.to_string());
}

#[tokio::test]
async fn what_a_view_fills_has_a_window_of_its_own() {
    let database = ClickHouseDatabase::create().await;
    let sink = sink(&database).await;
    ids_view(&database, 20).await;
    let sink = ClickHouseSink::new(sink.settings().clone());
    let lost = part(&sink, events(10)).await;
    sink.deliver(&lost).await.unwrap();
    assert_eq!(sink.recover(&again(&lost)).await.unwrap(), Recovery::Resend);
    // Of others, who fill it, too.
    for id in 0..30 {
        let settings = format!("insert_deduplication_token = 'other {id}', deduplicate_insert = 'enable'");
        let values = format!("('00000000-0000-0000-0000-0000000000{id:02}')");
        database.query(format!("INSERT INTO ids SETTINGS {settings} VALUES {values}")).await;
    }
    deliver_like_a_relay(&sink, again(&lost)).await;
    assert_eq!(counts(&database).await, (10, 10));
    assert_eq!(database.query("SELECT count(), uniqExact(id) FROM ids").await, "40\t40");
}

#[tokio::test]
async fn rows_that_are_refused_after_an_unresolved_send_are_looked_for_before_they_are_picked_out() {
    let database = ClickHouseDatabase::create().await;
    let sink = sink(&database).await;
    let first = part(&sink, events(10)).await;
    // The first send arrived and its reply was lost; then somebody made the table refuse what it has.
    sink.deliver(&first).await.unwrap();
    database.query("ALTER TABLE event_log ADD CONSTRAINT picky CHECK environment != 'test'").await;
    let looked = Part { replay: true, ..again(&first) };
    assert_eq!(sink.recover(&looked).await.unwrap(), Recovery::Delivered, "picking them out would double them");
    // Nothing of this one arrived, and it never will as it is.
    let second = part(&sink, events(10)).await;
    let refused = sink.deliver(&second).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (SinkErrorKind::BadRows, Some(469)), "{refused}");
    assert_eq!(refused.bad_ids(), [second.events[0].event.id]);
    let looked = Part { replay: true, ..again(&second) };
    assert_eq!(sink.recover(&looked).await.unwrap(), Recovery::Replace { landed: vec![] });
    assert_eq!(counts(&database).await, (10, 10));
}
