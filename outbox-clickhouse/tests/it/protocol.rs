//! Answers that a real server gives too rarely to wait for.

use std::time::Duration;

use outbox_clickhouse::ClickHouseSink;
use outbox_core::{Part, Sink, SinkError, SinkErrorKind};
use outbox_test::databases::ClickHouseDatabase;

use crate::fake::{Fake, Reply, Request};
use crate::support::{events, part, settings_at, sink};

const ERROR: &str = "500 Internal Server Error";
const BAD: &str = "400 Bad Request";
const MISSING: &str = "404 Not Found";

/// Every answer of a real server that was seen, with the status that came along: statuses say nothing.
#[rustfmt::skip]
const ANSWERS: &[(&str, i32, &str, SinkErrorKind)] = &[
    (MISSING, 60, "", SinkErrorKind::Stop),
    (MISSING, 81, "", SinkErrorKind::Stop),
    (ERROR, 16, "", SinkErrorKind::Stop),
    (MISSING, 73, "", SinkErrorKind::Stop),
    (MISSING, 115, "", SinkErrorKind::Stop),
    (BAD, 62, "", SinkErrorKind::Stop),
    (BAD, 44, "", SinkErrorKind::Stop),
    ("501 Not Implemented", 48, "", SinkErrorKind::Stop),
    ("403 Forbidden", 516, "", SinkErrorKind::Stop),
    ("401 Unauthorized", 194, "", SinkErrorKind::Stop),
    ("403 Forbidden", 497, "", SinkErrorKind::Stop),
    (BAD, 117, "Type of 'a' must be Int32, not Int64: (while reading header)", SinkErrorKind::Stop),
    (BAD, 117, "Unknown field found", SinkErrorKind::BadRows),
    (BAD, 27, "", SinkErrorKind::BadRows),
    (BAD, 72, "", SinkErrorKind::BadRows),
    (BAD, 41, "", SinkErrorKind::BadRows),
    (ERROR, 131, "", SinkErrorKind::BadRows),
    (ERROR, 691, "", SinkErrorKind::BadRows),
    (ERROR, 69, "", SinkErrorKind::BadRows),
    (ERROR, 469, "", SinkErrorKind::BadRows),
    (ERROR, 252, "Too many partitions for single INSERT block", SinkErrorKind::BadRows),
    (ERROR, 252, "Too many parts", SinkErrorKind::Busy),
    (ERROR, 202, "", SinkErrorKind::Busy),
    (ERROR, 241, "", SinkErrorKind::Busy),
    (ERROR, 243, "", SinkErrorKind::Busy),
    ("408 Request Timeout", 159, "", SinkErrorKind::Unknown),
    (ERROR, 209, "", SinkErrorKind::Unknown),
    (ERROR, 210, "", SinkErrorKind::Unknown),
    (ERROR, 279, "", SinkErrorKind::Unknown),
    (ERROR, 319, "", SinkErrorKind::Unknown),
    (ERROR, 519, "", SinkErrorKind::Unknown),
    (ERROR, 999, "", SinkErrorKind::Unknown),
    (ERROR, 164, "", SinkErrorKind::Environment),
    (ERROR, 242, "", SinkErrorKind::Environment),
    (ERROR, 285, "", SinkErrorKind::Environment),
    (ERROR, 395, "while pushing to view db.v", SinkErrorKind::Environment),
    (ERROR, 60, "Table db.t does not exist: while pushing to view db.v", SinkErrorKind::Environment),
    (ERROR, 4711, "", SinkErrorKind::Unforeseen),
    ("200 OK", 60, "Table db.x does not exist", SinkErrorKind::Stop),
];

/// A part that a real server has frozen.
async fn frozen(rows: usize) -> (ClickHouseDatabase, Part) {
    let database = ClickHouseDatabase::create().await;
    let sink = sink(&database).await;
    let part = part(&sink, events(rows)).await;
    (database, part)
}

async fn deliver(part: &Part, reply: Reply) -> (Result<(), SinkError>, Vec<Request>) {
    // Where there is an answer, a slow machine gets the time to read it.
    let timeout = Duration::from_secs(if matches!(reply, Reply::Silence) { 2 } else { 30 });
    let fake = Fake::start(reply).await;
    let settings = settings_at(&fake.url(), "db").password("hunter2").insert_timeout(timeout);
    let delivered = ClickHouseSink::new(settings).deliver(part).await;
    (delivered, fake.requests())
}

#[tokio::test]
async fn codes_decide_and_http_statuses_do_not() {
    let (_database, part) = frozen(3).await;
    let text =
        |code: i32, words: &str| format!("Code: {code}. DB::Exception: {words} SECRET. (NAME) (version 26.7.2.1)");
    for (status, code, words, expected) in ANSWERS {
        let (delivered, _) = deliver(&part, Reply::exception(status, *code, &text(*code, words))).await;
        let error = delivered.expect_err("refused");
        assert_eq!((error.kind(), error.code()), (*expected, Some(*code)), "{error}");
        let (delivered, _) = deliver(&part, Reply::exception(status, *code, "")).await;
        // Without its text a code cannot be told apart from its twin.
        if words.is_empty() {
            let error = delivered.expect_err("refused");
            // Whether a view has refused them is looked up in the table, and this server refuses that, too.
            let expected = if *expected == SinkErrorKind::BadRows { SinkErrorKind::Unforeseen } else { *expected };
            assert_eq!((error.kind(), error.code()), (expected, Some(*code)), "only the header: {error}");
        }
    }
}

#[tokio::test]
async fn a_truncated_body_is_sent_once_more_before_the_rows_are_blamed() {
    let (_database, part) = frozen(3).await;
    for code in [32, 33] {
        let text = format!("Code: {code}. DB::Exception: Cannot read all data. (CANNOT_READ_ALL_DATA)");
        let (delivered, requests) = deliver(&part, Reply::exception(ERROR, code, &text)).await;
        assert_eq!(delivered.unwrap_err().kind(), SinkErrorKind::BadRows);
        let [first, second] = &requests[..] else { panic!("twice: {requests:?}") };
        assert_eq!(first.body, second.body);
        let token = format!("insert_deduplication_token={}", part.token);
        assert!(first.target.contains(&token) && second.target.contains(&token));
    }
}

#[tokio::test]
async fn the_row_that_the_server_counts_is_named_by_its_id_with_host_and_query() {
    let (_database, part) = frozen(3).await;
    let text = "Code: 469. DB::Exception: Constraint `c` for table db.t is violated at row 2. Expression: (a != 7). Column \
                values: a = SECRET. (VIOLATED_CONSTRAINT) (version 26.7.2.1)";
    let (delivered, requests) = deliver(&part, Reply::exception(ERROR, 469, text)).await;
    let error = delivered.expect_err("refused");
    assert_eq!(error.bad_ids(), [part.events[1].event.id]);
    assert!(error.host().is_some_and(|host| host.starts_with("127.0.0.1:")), "{error:?}");
    let query_id = error.query_id().expect("the request had one");
    assert!(requests[0].target.contains(query_id), "{query_id}");
    assert!(!format!("{error} {error:?}").contains("SECRET"), "{error:?}");
}

#[tokio::test]
async fn whatever_is_no_answer_is_an_unknown_outcome_and_quotes_nothing() {
    let (_database, part) = frozen(3).await;
    for reply in [
        Reply::plain("502 Bad Gateway", "<html>SECRET</html>"),
        Reply::plain("503 Service Unavailable", ""),
        Reply::plain("200 OK", "<html>SECRET</html>"),
        Reply::plain("200 OK", ""),
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
    let (delivered, requests) = deliver(&part, Reply::ok()).await;
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
        "max_execution_time=30".into(),
        "log_comment=outbox".into(),
    ] {
        assert!(request.target.contains(&pair), "{pair} in {}", request.target);
    }
    assert!(!request.target.contains("hunter2"), "the password is a header");
    assert!(request.target.contains(database.name()), "the frozen table, whatever the settings say now");
    assert_eq!(&request.body[..2], [9, 3], "nine columns, and as many rows");
}
