//! `examples/ndjson`: lines in files, exactly once, and never half of one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use diesel::connection::SimpleConnection;
use diesel::result::Error as DieselError;
use diesel::{Connection, SqliteConnection};
use outbox::prelude::*;
use outbox::sqlite::SqliteStore;
use outbox::{Recovery, Sink, SinkErrorKind, Store};
use outbox_test::conformance::sink::SinkHarness;
use outbox_test::databases::SqliteFile;
use outbox_test::process::{Process, was_killed};
use tempfile::TempDir;
use tokio::process::Command;
use uuid::Uuid;

use self::sink::NdjsonSink;
use super::{part, taken_over};
use crate::world::eventually;

#[allow(unreachable_pub, reason = "an example's module")]
#[path = "../../../examples/ndjson/sink/mod.rs"]
mod sink;

struct Harness(TempDir);

impl SinkHarness for Harness {
    type Sink = NdjsonSink;

    async fn create() -> Self {
        Self(TempDir::new().expect("a directory"))
    }
    fn sink(&self) -> NdjsonSink {
        NdjsonSink::with_file_bytes(self.0.path(), 1000)
    }
    async fn arrived(&self) -> Vec<Uuid> {
        ids(self.0.path())
    }
}

mod conformance {
    outbox_test::sink_conformance!(super::Harness);
}

/// The files' texts by their names, in their order.
fn files(directory: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(directory).expect("the directory").map(|entry| entry.expect("an entry").path());
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    let events = entries.filter(|path| name(path).starts_with("events-"));
    events.map(|path| (name(&path), fs::read_to_string(&path).expect("text"))).collect()
}

/// An id for each line. Panics on half a line.
fn ids(directory: &Path) -> Vec<Uuid> {
    let mut ids = Vec::new();
    for (name, text) in files(directory) {
        assert!(text.is_empty() || text.ends_with('\n'), "{name} ends in half a line");
        for line in text.lines() {
            let line: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
            ids.push(line["id"].as_str().expect("an id").parse().expect("a UUID"));
        }
    }
    ids
}

#[tokio::test]
async fn a_full_file_gets_its_final_name_and_no_part_is_spread_over_two() {
    let directory = TempDir::new().expect("a directory");
    let sink = NdjsonSink::with_file_bytes(directory.path(), 1000);
    for _ in 0..5 {
        sink.deliver(&part(10)).await.expect("delivers");
    }
    let names: Vec<_> = files(directory.path()).into_keys().collect();
    assert_eq!(names[..4], [1, 2, 3, 4].map(|number| format!("events-{number:06}.ndjson")));
    assert_eq!(names[4], "events-000005.ndjson.open");
    assert!(files(directory.path()).values().all(|text| text.lines().count() == 10));
}

#[tokio::test]
async fn a_line_has_the_envelope_and_the_payload_as_it_was_written() {
    let directory = TempDir::new().expect("a directory");
    let mut one = part(1);
    let mut event = one.events[0].clone();
    event.event.payload = "{\n  \"amount\": 12345678901234567890.10,\n  \"text\": \"a\\nb\"\n}".into();
    event.event.headers = Some(r#"{"traceparent":"00-1-2-01"}"#.into());
    event.event.key = Some("account 7".into());
    one.events = vec![event.clone()].into();
    NdjsonSink::new(directory.path()).deliver(&one).await.expect("delivers");
    let text = files(directory.path()).remove("events-000001.ndjson.open").expect("the file");
    let line: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&line["key"], &line["headers"]["traceparent"]), (&"account 7".into(), &"00-1-2-01".into()));
    assert_eq!(line["payload"]["text"], "a\nb");
    assert!(text.contains("12345678901234567890.10") && text.lines().count() == 1, "{text}");
}

#[tokio::test]
async fn what_a_delivery_that_never_ended_has_left_behind_is_cut_off() {
    let directory = TempDir::new().expect("a directory");
    let first = part(3);
    NdjsonSink::new(directory.path()).deliver(&first).await.expect("delivers");
    // Killed in the middle of a line, and once more in the middle of the journal's.
    for (name, torn) in [("events-000001.ndjson.open", "{\"id\":\"0199"), ("journal", "{\"delivered\":{\"tok")] {
        let file = OpenOptions::new().append(true).open(directory.path().join(name));
        file.expect("it is there").write_all(torn.as_bytes()).expect("written");
    }
    let second = part(3);
    let sink = NdjsonSink::new(directory.path());
    assert_eq!(sink.recover(&taken_over(&first)).await.expect("looks"), Recovery::Delivered);
    assert_eq!(sink.recover(&taken_over(&second)).await.expect("looks"), Recovery::Resend);
    sink.deliver(&taken_over(&second)).await.expect("delivers");
    assert_eq!(ids(directory.path()).len(), 6);
}

#[tokio::test]
async fn a_relay_that_lost_its_lease_is_turned_away() {
    let directory = TempDir::new().expect("a directory");
    let late = part(3);
    // Another process, which knows the journal only.
    let other = NdjsonSink::new(directory.path());
    assert_eq!(other.recover(&taken_over(&late)).await.expect("looks"), Recovery::Resend);
    let zombie = NdjsonSink::new(directory.path());
    let refused = zombie.deliver(&late).await.expect_err("its fence is the lower one");
    assert_eq!(refused.kind(), SinkErrorKind::Unknown, "{refused}");
    other.deliver(&taken_over(&late)).await.expect("delivers");
    assert_eq!(ids(directory.path()).len(), 3);
}

#[tokio::test]
async fn a_file_that_somebody_took_away_is_not_made_up() {
    let directory = TempDir::new().expect("a directory");
    let sink = NdjsonSink::new(directory.path());
    sink.deliver(&part(3)).await.expect("delivers");
    fs::remove_file(directory.path().join("events-000001.ndjson.open")).expect("gone");
    sink.deliver(&part(2)).await.expect("delivers");
    assert_eq!(files(directory.path()).into_keys().collect::<Vec<_>>(), ["events-000002.ndjson.open"]);
    assert_eq!(ids(directory.path()).len(), 2);
}

#[derive(EventLog)]
struct Seen {
    row: usize,
}

#[transactional_event]
fn emit(conn: &mut SqliteConnection, rows: std::ops::Range<usize>) -> Result<Vec<Uuid>, DieselError> {
    rows.map(|row| conn.emit(&Seen { row })).collect()
}

#[tokio::test]
async fn a_relay_that_is_killed_again_and_again_leaves_no_half_line_and_each_event_once_kill() {
    const KILLS: usize = 20;
    let (database, directory) = (SqliteFile::create(), TempDir::new().expect("a directory"));
    SqliteStore::new(&database.url()).setup().await.expect("the outbox tables install");
    let mut conn = SqliteConnection::establish(&database.path().display().to_string()).expect("the file opens");
    conn.batch_execute("PRAGMA busy_timeout = 20000").expect("a pragma");
    let relay = |once: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ndjson_relay"));
        command.arg(database.url()).arg(directory.path()).args(once);
        Process::spawn(command)
    };
    let journal = || fs::read_to_string(directory.path().join("journal")).unwrap_or_default().lines().count();
    let mut committed = BTreeSet::new();
    for round in 0..KILLS {
        let before = journal();
        let mut doomed = relay(&[]);
        committed.extend(emit(&mut conn, round * 200..round * 200 + 200).expect("commits"));
        eventually("it is delivering", async || journal() > before + round % 5).await;
        assert!(was_killed(doomed.kill9().await), "{:?}", doomed.output());
        for (name, text) in files(directory.path()) {
            assert!(name.ends_with(".open") || text.ends_with('\n'), "{name}: a full file has whole lines only");
        }
    }
    assert!(relay(&["--once"]).wait().await.success());
    // What was under a lease when its relay was killed comes when that has run out.
    eventually("all have arrived", async || {
        if ids(directory.path()).len() < committed.len() {
            relay(&["--once"]).wait().await;
        }
        ids(directory.path()).len() >= committed.len()
    })
    .await;
    let arrived = ids(directory.path());
    assert_eq!(arrived.len(), committed.len(), "no line twice");
    assert_eq!(arrived.into_iter().collect::<BTreeSet<_>>(), committed);
    assert!(files(directory.path()).len() > 10, "many files have come and gone");
}

#[tokio::test]
async fn events_that_were_delivered_are_found_when_they_are_replayed() {
    let directory = TempDir::new().expect("a directory");
    let sink = NdjsonSink::with_file_bytes(directory.path(), 500);
    let whole = part(30);
    for half in [0..10, 10..20] {
        let some = outbox::Part { token: Uuid::new_v4(), events: whole.events[half].into(), ..whole.clone() };
        sink.deliver(&some).await.expect("delivers");
    }
    let replayed = outbox::Part { token: Uuid::new_v4(), replay: true, ..whole.clone() };
    let Recovery::Replace { landed } = sink.recover(&replayed).await.expect("looks") else { panic!("ten are missing") };
    assert_eq!(landed, whole.events[..20].iter().map(|stored| stored.event.id).collect::<Vec<_>>());
}
