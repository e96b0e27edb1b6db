//! Answers that a real server gives too rarely to wait for.

use std::time::Duration;

use outbox_clickhouse::ClickHouseSink;
use outbox_core::{Part, Sink, SinkError, SinkErrorKind};
use outbox_test::databases::ClickHouseDatabase;

use crate::fake::{Fake, Reply, Request};
use crate::support::{events, part, settings_at, sink};

/// A part that a real server has frozen.
async fn frozen(rows: usize) -> (ClickHouseDatabase, Part) {
    let database = ClickHouseDatabase::create().await;
    let sink = sink(&database).await;
    let part = part(&sink, events(rows)).await;
    (database, part)
}

async fn deliver(part: &Part, reply: Reply) -> (Result<(), SinkError>, Vec<Request>) {
    let fake = Fake::start(reply).await;
    let settings = settings_at(&fake.url(), "db").password("hunter2").insert_timeout(Duration::from_secs(2));
    let delivered = ClickHouseSink::new(settings).deliver(part).await;
    (delivered, fake.requests())
}

#[tokio::test]
async fn codes_decide_and_http_statuses_do_not() {
    let (_database, part) = frozen(3).await;
    let text =
        |code: i32, words: &str| format!("Code: {code}. DB::Exception: {words} SECRET. (NAME) (version 26.7.2.1)");
    for (status, code, words, expected) in [
        ("500 Internal Server Error", 252, "Too many parts", SinkErrorKind::Busy),
        ("500 Internal Server Error", 252, "Too many partitions for single INSERT block", SinkErrorKind::BadRows),
        ("404 Not Found", 60, "Table db.x does not exist", SinkErrorKind::Stop),
        ("500 Internal Server Error", 16, "No such column", SinkErrorKind::Stop),
        ("500 Internal Server Error", 469, "Constraint", SinkErrorKind::BadRows),
        ("400 Bad Request", 27, "Cannot parse", SinkErrorKind::BadRows),
        ("500 Internal Server Error", 999, "Keeper", SinkErrorKind::Unknown),
        ("500 Internal Server Error", 241, "Memory limit", SinkErrorKind::Busy),
        ("408 Request Timeout", 159, "Timeout exceeded", SinkErrorKind::Unknown),
        ("500 Internal Server Error", 395, "while pushing to view db.v", SinkErrorKind::Unknown),
        ("500 Internal Server Error", 4711, "Something new", SinkErrorKind::Unknown),
        ("200 OK", 60, "Table db.x does not exist", SinkErrorKind::Stop),
    ] {
        let (delivered, _) = deliver(&part, Reply::exception(status, code, &text(code, words))).await;
        let error = delivered.expect_err("refused");
        assert_eq!((error.kind(), error.code()), (expected, Some(code)), "{error}");
        let (delivered, _) = deliver(&part, Reply::exception(status, code, "")).await;
        if code != 252 && status != "200 OK" {
            let error = delivered.expect_err("refused");
            assert_eq!((error.kind(), error.code()), (expected, Some(code)), "only the header: {error}");
        }
    }
}

#[tokio::test]
async fn a_truncated_body_is_blamed_on_the_rows_only_the_second_time() {
    let (_database, mut part) = frozen(3).await;
    let reply = || Reply::exception("500 Internal Server Error", 33, "Code: 33. DB::Exception: Cannot read all data.");
    assert_eq!(deliver(&part, reply()).await.0.unwrap_err().kind(), SinkErrorKind::Unknown);
    part.resend = true;
    assert_eq!(deliver(&part, reply()).await.0.unwrap_err().kind(), SinkErrorKind::BadRows);
}

#[tokio::test]
async fn whatever_is_no_answer_is_an_unknown_outcome_and_quotes_nothing() {
    let (_database, part) = frozen(3).await;
    for reply in [
        Reply::plain("502 Bad Gateway", "<html>SECRET</html>"),
        Reply::plain("503 Service Unavailable", ""),
        Reply::plain("413 Payload Too Large", "slow down, SECRET"),
        Reply::plain("429 Too Many Requests", ""),
        Reply::Raw(String::new()),
        Reply::Raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".into()),
        Reply::Raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal".into()),
        Reply::Raw("SECRET garbage\r\n\r\n".into()),
        Reply::Early("HTTP/1.1 500 Oops\r\nContent-Length: 6\r\n\r\nSECRET".into()),
        Reply::Silence,
    ] {
        let error = deliver(&part, reply.clone()).await.0.expect_err("no answer");
        assert_eq!(error.kind(), SinkErrorKind::Unknown, "{reply:?}: {error}");
        let text = format!("{error} {error:?}");
        assert!(!text.contains("SECRET") && !text.contains("hunter2"), "{text}");
    }
}

#[tokio::test]
async fn an_early_refusal_of_a_large_body_is_no_success() {
    let (_database, part) = frozen(30_000).await;
    let reply = Reply::Early("HTTP/1.1 413 Payload Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".into());
    assert_eq!(deliver(&part, reply).await.0.unwrap_err().kind(), SinkErrorKind::Unknown);
}

#[tokio::test]
async fn every_send_pins_the_settings_that_matter() {
    let (database, part) = frozen(3).await;
    let (delivered, requests) = deliver(&part, Reply::plain("200 OK", "")).await;
    delivered.expect("the fake said so");
    let [request] = &requests[..] else { panic!("one INSERT is one request: {requests:?}") };
    let token = part.token;
    for pair in [
        format!("insert_deduplication_token={token}"),
        format!("query_id=outbox-{token}-1-"),
        "async_insert=0".into(),
        "wait_for_async_insert=1".into(),
        "deduplicate_insert=enable".into(),
        "deduplicate_blocks_in_dependent_materialized_views=1".into(),
        "distributed_foreground_insert=1".into(),
        "max_insert_block_size=1048576".into(),
        "min_insert_block_size_rows=1048576".into(),
        "min_insert_block_size_bytes=268435456".into(),
        "max_execution_time=2".into(),
        "log_comment=outbox".into(),
    ] {
        assert!(request.target.contains(&pair), "{pair} in {}", request.target);
    }
    assert!(!request.target.contains("hunter2"), "the password is a header");
    assert!(request.target.contains(database.name()), "the frozen table, whatever the settings say now");
    assert_eq!(&request.body[..2], [9, 8], "nine columns");
}
