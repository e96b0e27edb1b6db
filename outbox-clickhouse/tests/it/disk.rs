//! A server whose disk is full.

use outbox_clickhouse::ClickHouseSink;
use outbox_core::{Sink, SinkErrorKind};
use outbox_test::databases::ClickHouseDatabase;
use outbox_test::servers::PrivateClickHouse;

use crate::support::{counts, deliver_like_a_relay, events, settings, sink, try_part};

/// What the disk of the test holds.
const DISK_MIB: u32 = 40;

#[tokio::test]
async fn a_full_disk_holds_the_part_until_there_is_room_again() {
    let server = match PrivateClickHouse::start_on_small_disk(DISK_MIB).await {
        Ok(server) => server,
        Err(why) => return report(&why),
    };
    let database = ClickHouseDatabase::create_on(&server).await;
    let sink = sink(&database).await;
    database.query("CREATE TABLE ballast (a String CODEC(NONE)) ENGINE = MergeTree ORDER BY tuple()").await;
    let fill = "INSERT INTO ballast SELECT randomString(1000) FROM numbers(1000)";
    while database.try_query(fill).await.is_ok() {}
    // What does not fit is refused as a whole, however often it is tried.
    let full = loop {
        match sink.deliver(&try_part(&sink, events(10_000)).await.unwrap()).await {
            Ok(()) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), SinkErrorKind::Busy, "{full}");
    assert_eq!(full.code(), Some(243), "{full}");
    let (before, _) = counts(&database).await;
    let waiting = try_part(&sink, events(10_000)).await.unwrap();
    sink.deliver(&waiting).await.expect_err("full");
    database.query("DROP TABLE ballast SYNC").await;
    deliver_like_a_relay(&sink, crate::support::again(&waiting)).await;
    let after = before + 10_000;
    assert_eq!(counts(&database).await, (after, after));
}

/// The same by the server's own guard, which needs no right: it refuses INSERTs while less than this is free.
#[tokio::test]
async fn a_disk_below_its_reserve_holds_the_part_until_there_is_room_again() {
    let database = ClickHouseDatabase::create().await;
    sink(&database).await;
    let reserve = |bytes: u64| {
        database.query(format!("ALTER TABLE event_log MODIFY SETTING min_free_disk_bytes_to_perform_insert = {bytes}"))
    };
    reserve(1 << 60).await;
    let sink = ClickHouseSink::new(settings(&database));
    let waiting = try_part(&sink, events(10)).await.unwrap();
    let full = sink.deliver(&waiting).await.unwrap_err();
    assert_eq!((full.kind(), full.code()), (SinkErrorKind::Busy, Some(243)), "{full}");
    reserve(0).await;
    deliver_like_a_relay(&sink, crate::support::again(&waiting)).await;
    assert_eq!(counts(&database).await, (10, 10));
}

#[allow(clippy::print_stderr, reason = "what did not run shall be seen")]
fn report(why: &str) {
    eprintln!("not run: no disk of {DISK_MIB} MiB can be mounted here: {why}");
}
