//! Every answer to an INSERT: of ClickHouse by its numbers, of proxies, and of whoever speaks no HTTP.

use std::time::Duration;

use super::Case;
use crate::answer::{after_the_headers, after_the_headers_in_two_pieces, exception, only_the_header, plain, text};
use crate::position::{AnswerCut, How};
use crate::script::{Act, Step, Target};

const ERROR: &str = "500 Internal Server Error";
const BAD: &str = "400 Bad Request";
const MISSING: &str = "404 Not Found";

/// What an answer says about the rows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// They may have arrived: the same again.
    Open,
    /// They have not, and will when somebody has mended the table, the statement or the rights.
    Stop,
    /// Some of them never will.
    Bad,
}
use Class::{Bad, Open, Stop};

/// Each number of the classification, with the status that a server sends along and the words that decide where one
/// number means two things. 7, 216 and 4711 stand for all that nobody has foreseen.
#[rustfmt::skip]
const ANSWERS: &[(i32, &str, &str, Class)] = &[
    (3, ERROR, "Unexpected end of file", Open),
    (159, "408 Request Timeout", "Timeout exceeded", Open),
    (160, ERROR, "Estimated query execution time is too long", Open),
    (209, ERROR, "Timeout exceeded while reading from socket", Open),
    (210, ERROR, "Connection refused", Open),
    (279, ERROR, "All connection tries failed", Open),
    (286, ERROR, "Quorum for previous write has not been satisfied yet", Open),
    (319, ERROR, "Unknown status of insert", Open),
    (394, ERROR, "Query was cancelled", Open),
    (425, ERROR, "System error", Open),
    (519, ERROR, "All attempts to get table structure failed", Open),
    (999, ERROR, "Coordination error", Open),
    (1000, ERROR, "Poco exception", Open),
    (202, ERROR, "Too many simultaneous queries", Open),
    (203, ERROR, "No free connection", Open),
    (241, ERROR, "Memory limit exceeded", Open),
    (243, ERROR, "Cannot reserve space", Open),
    (252, ERROR, "Too many parts", Open),
    (290, ERROR, "Limit exceeded", Open),
    (439, ERROR, "Cannot schedule a task", Open),
    (164, ERROR, "Cannot execute query in readonly mode", Open),
    (225, ERROR, "Keeper session is lost", Open),
    (236, ERROR, "Query was aborted", Open),
    (242, ERROR, "Table is in readonly mode", Open),
    (285, ERROR, "Number of alive replicas is less than the quorum", Open),
    (395, ERROR, "Value passed to throwIf is non-zero: while pushing to view db.v", Open),
    (60, MISSING, "Table db.t does not exist: while pushing to view db.v", Open),
    (7, ERROR, "Something", Open),
    (216, ERROR, "Query with this id is running", Open),
    (4711, ERROR, "Something new", Open),
    (16, ERROR, "No such column", Stop),
    (20, ERROR, "Number of columns does not match", Stop),
    (36, ERROR, "Bad arguments", Stop),
    (44, BAD, "Cannot insert into a MATERIALIZED column", Stop),
    (47, MISSING, "Unknown identifier", Stop),
    (48, "501 Not Implemented", "Not implemented", Stop),
    (60, MISSING, "Table does not exist", Stop),
    (62, BAD, "Syntax error", Stop),
    (73, MISSING, "Unknown format", Stop),
    (81, MISSING, "Database does not exist", Stop),
    (115, MISSING, "Unknown setting", Stop),
    (192, "403 Forbidden", "Unknown user", Stop),
    (193, "401 Unauthorized", "Wrong password", Stop),
    (194, "401 Unauthorized", "Password required", Stop),
    (497, "403 Forbidden", "Not enough privileges", Stop),
    (516, "403 Forbidden", "Authentication failed", Stop),
    (117, BAD, "Type of 'a' must be Int32, not Int64: (while reading header)", Stop),
    (6, BAD, "Cannot parse text", Bad),
    (25, BAD, "Cannot parse escape sequence", Bad),
    (26, BAD, "Cannot parse quoted string", Bad),
    (27, BAD, "Cannot parse input", Bad),
    (32, ERROR, "Attempt to read after eof", Bad),
    (33, ERROR, "Cannot read all data", Bad),
    (38, BAD, "Cannot parse date", Bad),
    (41, BAD, "Cannot parse datetime", Bad),
    (53, BAD, "Type mismatch", Bad),
    (69, ERROR, "Decimal overflow", Bad),
    (70, ERROR, "Cannot convert type", Bad),
    (72, BAD, "Cannot parse number", Bad),
    (117, BAD, "Unknown field found", Bad),
    (120, ERROR, "Cannot insert value of different size into tuple", Bad),
    (128, ERROR, "Too large array size", Bad),
    (130, BAD, "Cannot read array from text", Bad),
    (131, ERROR, "Too large string size", Bad),
    (321, ERROR, "Value is out of range of data type", Bad),
    (349, ERROR, "Cannot insert NULL", Bad),
    (376, BAD, "Cannot parse UUID", Bad),
    (407, ERROR, "Decimal overflow", Bad),
    (441, BAD, "Cannot parse domain value", Bad),
    (467, BAD, "Cannot parse bool", Bad),
    (469, ERROR, "Constraint is violated", Bad),
    (563, BAD, "Cannot read map from text", Bad),
    (626, ERROR, "Cannot parse escape sequence", Bad),
    (632, ERROR, "Unexpected data after parsed value", Bad),
    (675, BAD, "Cannot parse IPv4", Bad),
    (676, BAD, "Cannot parse IPv6", Bad),
    (691, ERROR, "Unknown element of enum", Bad),
    (252, ERROR, "Too many partitions for single INSERT block", Bad),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = ANSWERS.iter().flat_map(of_code).collect();
    cases.extend(of_proxies());
    cases.extend(of_nobody());
    cases.extend(for_long());
    cases
}

fn insert(act: Act) -> Vec<Step> {
    vec![Step::once(Target::Insert, act)]
}

/// Each number in each way in which it can be meant.
fn of_code((code, status, words, class): &(i32, &str, &str, Class)) -> Vec<Case> {
    let where_ = if words.contains("while pushing to view") { "_in_a_view" } else { "" };
    let what = match (code, class) {
        (117, Stop) => "_header",
        (252, Bad) => "_partitions",
        _ => "",
    };
    let name = |way: &str| format!("code_{code}{what}{where_}_{way}");
    let answer = exception(status, &text(*code, words));
    let answer = match code {
        // Its words are about the table, and shown.
        252 => exception(status, &text(*code, words).replace(" SECRET", "")),
        _ => answer,
    };
    let row = text(*code, &format!("{words}: (at row {{row}})"));
    let row = if *code == 252 { row.replace(" SECRET", "") } else { row };
    let lost = Step::once(Target::Insert, Act::CutAnswer(AnswerCut::BeforeIt, How::Fin));
    match class {
        Open => vec![
            Case::new(name("before"), insert(Act::Answer(answer.clone()))),
            Case::new(name("after"), insert(Act::AnswerAfter(answer.clone()))),
        ],
        Stop => vec![
            Case::new(name("twice"), vec![Step::times(Target::Insert, Act::Answer(answer.clone()), 2)]),
            Case::new(name("after_a_lost_answer"), vec![lost, Step::once(Target::Insert, Act::Answer(answer))]),
        ],
        Bad => vec![
            Case::new(name("row_named"), vec![Step::once(Target::Poisoned, Act::AnswerRow(row))]).dead_lettered(*code),
            Case::new(name("row_not_named"), vec![Step::once(Target::Poisoned, Act::Answer(answer.clone()))])
                .dead_lettered(*code),
            Case::new(name("after_a_lost_answer"), vec![lost, Step::once(Target::Insert, Act::Answer(answer))]),
        ],
    }
}

/// A proxy or a load balancer that answers in ClickHouse's place.
fn of_proxies() -> Vec<Case> {
    let mut cases = Vec::new();
    for status in [
        "204 No Content",
        "302 Found",
        "400 Bad Request",
        "403 Forbidden",
        "404 Not Found",
        "407 Proxy Authentication Required",
        "413 Payload Too Large",
        "429 Too Many Requests",
        "500 Internal Server Error",
        "502 Bad Gateway",
        "503 Service Unavailable",
        "504 Gateway Timeout",
    ] {
        let number = &status[..3];
        let page = if number == "204" { "" } else { "<html>SECRET</html>" };
        cases.push(Case::new(format!("http_{number}_before"), insert(Act::Answer(plain(status, page)))));
        cases.push(Case::new(format!("http_{number}_after"), insert(Act::AnswerAfter(plain(status, page)))));
    }
    cases.push(Case::new("http_413_early", insert(Act::AnswerEarly(plain("413 Payload Too Large", "")))));
    cases.push(Case::new("http_502_early", insert(Act::AnswerEarly(plain("502 Bad Gateway", "<html>")))));
    cases.push(Case::new("http_503_empty", insert(Act::Answer(plain("503 Service Unavailable", "")))));
    let too_long = plain("400 Bad Request", "HTTP request URI invalid or too long");
    cases.push(Case::new("http_400_uri_too_long", vec![Step::times(Target::Insert, Act::Answer(too_long), 2)]));
    // A "yes" of somebody else's.
    cases.push(Case::new("http_200_page", insert(Act::Answer(plain("200 OK", "<html>welcome</html>")))));
    cases.push(Case::new("http_200_empty", insert(Act::Answer(plain("200 OK", "")))));
    for code in [60, 241, 999] {
        let name = format!("code_{code}_only_the_header");
        cases.push(Case::new(name, vec![Step::times(Target::Insert, Act::Answer(only_the_header(ERROR, code)), 2)]));
        let name = format!("code_{code}_in_a_200");
        let answer = exception("200 OK", &text(code, "words"));
        cases.push(Case::new(name, vec![Step::times(Target::Insert, Act::Answer(answer), 2)]));
    }
    for (name, answer) in [
        ("old", after_the_headers(false, true)),
        ("old_unfinished", after_the_headers(false, false)),
        ("tagged", after_the_headers(true, true)),
        ("tagged_unfinished", after_the_headers(true, false)),
        ("in_two_pieces", after_the_headers_in_two_pieces()),
    ] {
        let of = |way: &str| format!("exception_after_200_{name}_{way}");
        cases.push(Case::new(of("before"), insert(Act::Answer(answer.clone()))));
        cases.push(Case::new(of("after"), insert(Act::AnswerAfter(answer))));
    }
    cases
}

/// What is no answer at all, and what takes its time.
fn of_nobody() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, bytes) in [
        ("nothing", ""),
        ("garbage", "SECRET garbage\r\n\r\n"),
        ("binary", "\u{1}\u{2}\u{3}\0\0"),
        ("half_a_status_line", "HTTP/1.1 20"),
        ("no_end_of_headers", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"),
        ("short_body", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"),
        ("broken_chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal"),
        ("wrong_chunk_size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"),
        ("unknown_encoding", "HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 3\r\n\r\nabc"),
        ("broken_compression", "HTTP/1.1 200 OK\r\nContent-Encoding: zstd\r\nContent-Length: 3\r\n\r\nabc"),
        ("another_protocol", "220 mail.example.org ESMTP\r\n"),
    ] {
        let bytes = bytes.as_bytes().to_vec();
        cases.push(Case::new(format!("{name}_before"), insert(Act::Answer(bytes.clone()))));
        cases.push(Case::new(format!("{name}_after"), insert(Act::AnswerAfter(bytes))));
    }
    cases.push(Case::new("silence_before", insert(Act::Silence(false))));
    cases.push(Case::new("silence_after", insert(Act::Silence(true))));
    cases.push(Case::new("slow_answer", insert(Act::Drip(Duration::from_millis(1)))));
    cases.push(Case::new("answer_slower_than_the_limit", insert(Act::Drip(Duration::from_millis(20)))));
    cases
}

/// Failures that go on until the part is parked, and then stop.
fn for_long() -> Vec<Case> {
    let for_long = |code: i32, words: &str| {
        let answer = Act::Answer(exception(ERROR, &text(code, words)));
        Case::new(format!("code_{code}_for_long"), vec![Step::times(Target::Insert, answer, 14)])
    };
    vec![
        for_long(242, "Table is in readonly mode"),
        for_long(4711, "Something new"),
        for_long(999, "Coordination error"),
        for_long(241, "Memory limit exceeded"),
        for_long(60, "Table does not exist"),
    ]
}
