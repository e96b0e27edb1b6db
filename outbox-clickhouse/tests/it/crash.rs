//! ClickHouse killed with SIGKILL: every restart is seen, and every event arrives exactly once.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use outbox_clickhouse::ClickHouseSink;
use outbox_core::{Part, Recovery, Sink, SinkErrorKind};
use outbox_test::databases::ClickHouseDatabase;
use outbox_test::servers::PrivateClickHouse;
use uuid::Uuid;

use crate::support::{again, counts, deliver_like_a_relay, events, ids_view, part, part_at_last, settings, sink};

/// How often the crash test kills; set OUTBOX_TEST_CLICKHOUSE_KILLS for a long run.
const KILLS: u32 = 20;
const WRITERS: usize = 6;

/// The start of the server as a new sink marks it.
async fn start_of_server(database: &ClickHouseDatabase) -> String {
    let sink = ClickHouseSink::new(settings(database));
    let mark = part(&sink, events(1)).await.frozen.mark;
    let mark: serde_json::Value = serde_json::from_str(&mark).unwrap();
    mark["start"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_restart_is_seen_and_none_is_made_up_kill() {
    let mut server = PrivateClickHouse::start().await;
    let database = ClickHouseDatabase::create_on(&server).await;
    sink(&database).await;
    let mut seen = HashSet::new();
    for kill in 0..30 {
        let start = start_of_server(&database).await;
        assert!(!start.is_empty());
        assert!(seen.insert(start), "restart {kill} was not seen");
        server.kill();
        server.restart().await;
    }
    let start = start_of_server(&database).await;
    assert!(seen.insert(start.clone()), "the last restart was not seen");
    for _ in 0..200 {
        assert_eq!(start_of_server(&database).await, start, "there was no restart");
    }
}

#[tokio::test]
async fn a_remembered_token_without_its_rows_is_not_believed_after_a_kill() {
    let mut server = PrivateClickHouse::start().await;
    let database = ClickHouseDatabase::create_on(&server).await;
    let sink = sink(&database).await;
    let part = part(&sink, events(10)).await;
    sink.deliver(&part).await.unwrap();
    // The shape that a crash leaves: the token is kept, the rows are not.
    database.query("ALTER TABLE event_log DELETE WHERE 1 SETTINGS mutations_sync = 2").await;
    server.kill();
    server.restart().await;
    let unproven = sink.deliver(&again(&part)).await.expect_err("the server says ok and has nothing");
    assert_eq!(unproven.kind(), SinkErrorKind::Unknown);
    assert_eq!(counts(&database).await, (0, 0), "or the test shows nothing");
    assert_eq!(sink.recover(&again(&part)).await.unwrap(), Recovery::Replace { landed: vec![] });
    deliver_like_a_relay(&sink, again(&part)).await;
    assert_eq!(counts(&database).await, (10, 10));
}

#[tokio::test]
async fn a_part_that_survived_a_kill_is_not_sent_again() {
    let mut server = PrivateClickHouse::start().await;
    let database = ClickHouseDatabase::create_on(&server).await;
    let sink = sink(&database).await;
    let part = part(&sink, events(10_000)).await;
    sink.deliver(&part).await.unwrap();
    server.kill();
    server.restart().await;
    assert_eq!(sink.recover(&again(&part)).await.unwrap(), Recovery::Delivered);
    assert_eq!(counts(&database).await, (10_000, 10_000));
}

#[tokio::test]
async fn a_view_that_a_kill_interrupted_is_completed() {
    let mut server = PrivateClickHouse::start().await;
    let database = ClickHouseDatabase::create_on(&server).await;
    let sink = sink(&database).await;
    for sql in [
        "CREATE TABLE slow (c UInt8) ENGINE = MergeTree ORDER BY c SETTINGS non_replicated_deduplication_window = 100",
        "CREATE MATERIALIZED VIEW v TO slow AS SELECT sleepEachRow(0.4) AS c FROM event_log",
    ] {
        database.query(sql).await;
    }
    // Rows of parts whose views were through before the kill came, which shows nothing: the next part is tried.
    let mut earlier: u64 = 0;
    let (sink, part) = loop {
        assert!(earlier < 50, "the view takes two seconds, and ten kills came too late");
        // Of its own each time: what it knows of the server, and its connections, end with a kill.
        let sink = ClickHouseSink::new(sink.settings().clone());
        let part = part(&sink, events(5)).await;
        let sending = tokio::spawn({
            let (sink, part) = (sink.clone(), part.clone());
            async move { sink.deliver(&part).await }
        });
        // The source has its rows before the view has.
        while !sending.is_finished() && counts(&database).await == (earlier, earlier) {}
        server.kill();
        let sent = sending.await.unwrap();
        server.restart().await;
        let filled = database.query("SELECT count() FROM slow").await;
        if filled == earlier.to_string() {
            sent.expect_err("killed");
            break (sink, part);
        }
        earlier += 5;
        assert_eq!((filled, counts(&database).await), (earlier.to_string(), (earlier, earlier)), "it was through");
    };
    assert_eq!(sink.recover(&again(&part)).await.unwrap(), Recovery::Delivered);
    let all = earlier + 5;
    assert_eq!(counts(&database).await, (all, all));
    assert_eq!(database.query("SELECT count() FROM slow").await, all.to_string());
}

#[tokio::test]
async fn a_token_that_is_forgotten_is_not_sent_again_after_a_kill() {
    let mut server = PrivateClickHouse::start().await;
    let database = ClickHouseDatabase::create_on(&server).await;
    let sink = sink(&database).await;
    ids_view(&database, 1000).await;
    database.query("ALTER TABLE event_log MODIFY SETTING non_replicated_deduplication_window = 20").await;
    let sink = ClickHouseSink::new(sink.settings().clone());
    let lost = part(&sink, events(10)).await;
    sink.deliver(&lost).await.unwrap();
    for _ in 0..30 {
        sink.deliver(&part(&sink, events(1)).await).await.unwrap();
    }
    server.kill();
    server.restart().await;
    assert_eq!(sink.recover(&again(&lost)).await.unwrap(), Recovery::Delivered);
    assert_eq!(counts(&database).await, (40, 40), "to complete the view would double the table");
    assert_eq!(database.query("SELECT count() FROM ids").await, "40");
}

#[tokio::test]
async fn a_send_after_a_restart_is_ended_before_the_read_back_of_a_part_from_before() {
    let mut server = PrivateClickHouse::start().await;
    let database = ClickHouseDatabase::create_on(&server).await;
    sink(&database).await;
    database.query("ALTER TABLE event_log ADD COLUMN slow UInt8 MATERIALIZED sleepEachRow(0.5)").await;
    let sink = ClickHouseSink::new(settings(&database));
    let part = part(&sink, events(5)).await;
    server.kill();
    server.restart().await;
    let sending = tokio::spawn({
        let (sink, part) = (sink.clone(), part.clone());
        async move { sink.deliver(&part).await }
    });
    let running = format!("SELECT count() FROM system.processes WHERE startsWith(query_id, 'outbox-{}')", part.token);
    while database.query(running.clone()).await == "0" {
        assert!(!sending.is_finished(), "the insert takes two and a half seconds");
    }
    // So that it is not sent again under its token, which would wait for the first.
    database.query("ALTER TABLE event_log DROP COLUMN environment").await;
    sink.recover(&again(&part)).await.unwrap();
    assert_eq!(database.query(running).await, "0");
    sending.abort();
    database.query("ALTER TABLE event_log ADD COLUMN environment String").await;
    deliver_like_a_relay(&sink, again(&part)).await;
    assert_eq!(counts(&database).await, (5, 5));
}

#[tokio::test]
async fn rows_that_are_refused_when_they_are_sent_again_after_a_kill_get_a_new_token() {
    let mut server = PrivateClickHouse::start().await;
    let database = ClickHouseDatabase::create_on(&server).await;
    sink(&database).await;
    database.query("ALTER TABLE event_log ADD CONSTRAINT picky CHECK environment != 'test'").await;
    let sink = ClickHouseSink::new(settings(&database));
    let never_sent = part(&sink, events(10)).await;
    server.kill();
    server.restart().await;
    // The relay sends them as a first time, and picks out what is refused then.
    assert_eq!(sink.recover(&again(&never_sent)).await.unwrap(), Recovery::Replace { landed: vec![] });
    let refused = sink.deliver(&part(&sink, never_sent.events.to_vec()).await).await.unwrap_err();
    assert_eq!(refused.kind(), SinkErrorKind::BadRows, "{refused}");
}

#[tokio::test]
async fn a_replay_after_a_kill_sends_only_what_is_missing() {
    let mut server = PrivateClickHouse::start().await;
    let database = ClickHouseDatabase::create_on(&server).await;
    let sink = sink(&database).await;
    ids_view(&database, 1000).await;
    let sink = ClickHouseSink::new(sink.settings().clone());
    let (all, some) = (events(10), events(10));
    sink.deliver(&part(&sink, all.clone()).await).await.unwrap();
    sink.deliver(&part(&sink, some[..5].to_vec()).await).await.unwrap();
    let replayed = async |events| Part { replay: true, ..again(&part(&sink, events).await) };
    let (all, some) = (replayed(all).await, replayed(some).await);
    server.kill();
    server.restart().await;
    assert_eq!(sink.recover(&all).await.unwrap(), Recovery::Delivered);
    let Recovery::Replace { landed } = sink.recover(&some).await.unwrap() else { panic!("five are missing") };
    assert_eq!(landed.len(), 5);
    assert_eq!(counts(&database).await, (15, 15));
    assert_eq!(database.query("SELECT count() FROM ids").await, "15");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_during_inserts_by_several_writers_lose_and_double_nothing() {
    let kills = std::env::var("OUTBOX_TEST_CLICKHOUSE_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let mut server = PrivateClickHouse::start().await;
    let database = ClickHouseDatabase::create_on(&server).await;
    let sink = sink(&database).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (delivered, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU32::new(0)));
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let (sink, stop) = (sink.clone(), Arc::clone(&stop));
            let (delivered, failed) = (Arc::clone(&delivered), Arc::clone(&failed));
            tokio::spawn(async move {
                let mut ids: Vec<Uuid> = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let part = part_at_last(&sink, 10).await;
                    ids.extend(part.events.iter().map(|stored| stored.event.id));
                    failed.fetch_add(deliver_like_a_relay(&sink, part).await, Ordering::Relaxed);
                    delivered.fetch_add(1, Ordering::Relaxed);
                }
                ids
            })
        })
        .collect();
    for _ in 0..kills {
        let before = delivered.load(Ordering::Relaxed);
        // Between the inserts of a running server, at a moment that differs each time.
        while delivered.load(Ordering::Relaxed) < before + 10 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_micros(fastrand::u64(0..20_000))).await;
        server.kill();
        server.restart().await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut sent = HashSet::new();
    for writer in writers {
        sent.extend(writer.await.unwrap());
    }
    let (rows, ids) = counts(&database).await;
    let (failed, parts) = (failed.load(Ordering::Relaxed), delivered.load(Ordering::Relaxed));
    assert!(failed > kills, "the kills hit something: {failed} failures");
    let arrived = database.query("SELECT DISTINCT toString(event_id) FROM event_log").await;
    let arrived: HashSet<Uuid> = arrived.lines().map(|id| id.parse().unwrap()).collect();
    let lost = sent.difference(&arrived).count();
    assert_eq!(
        (lost, rows - ids, rows),
        (0, 0, sent.len() as u64),
        "lost, doubled, rows; {parts} parts, {failed} failures"
    );
    eprintln_summary(kills, parts, failed, rows);
}

#[allow(clippy::print_stderr, reason = "a long run wants its numbers")]
fn eprintln_summary(kills: u32, parts: u64, failed: u32, rows: u64) {
    eprintln!("{kills} kills, {parts} parts, {failed} failed tries, {rows} rows: none lost, none doubled");
}
