//! A sink on a database of the test's own, events, parts, and a relay in twenty lines.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use outbox_clickhouse::{ClickHouseSettings, ClickHouseSink};
use outbox_core::{
    BatchId, EncodeError, Event, EventLog, EventSchema, EventType, Part, PartId, Recovery, Route, Sink, StoredEvent,
};
use outbox_test::databases::ClickHouseDatabase;
use serde::Deserialize;
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct UserCreated {
    pub(crate) email: String,
}

impl EventLog for UserCreated {
    fn event_type(&self) -> &str {
        "user_created"
    }
    fn key(&self) -> Option<String> {
        Some(self.email.clone())
    }
    fn payload(&self) -> Result<String, EncodeError> {
        let mut payload = outbox_core::PayloadWriter::new();
        payload.field("email", &self.email)?;
        Ok(payload.finish())
    }
}

impl EventSchema for UserCreated {
    const EVENT_TYPES: &'static [EventType] = &[EventType::new("user_created", 1, "event_log")];
}

/// `rows` events, now.
pub(crate) fn events(rows: usize) -> Vec<StoredEvent> {
    events_at(rows, |_| Utc::now().trunc_subsecs(6))
}

pub(crate) fn events_at(rows: usize, at: impl Fn(usize) -> DateTime<Utc>) -> Vec<StoredEvent> {
    let stored = |row: usize| {
        let email = format!("user{row}@example.org \u{1F600} \"'\\\t");
        let mut event = Event::from_log(&UserCreated { email }, "test").unwrap();
        event.occurred_at = at(row);
        event.headers = Some(r#"{"traceparent":"00-1-2-01"}"#.to_owned());
        StoredEvent { seq: i64::try_from(row).unwrap() + 1, event }
    };
    (0..rows).map(stored).collect()
}

pub(crate) fn settings(database: &ClickHouseDatabase) -> ClickHouseSettings {
    settings_at(database.url(), database.name())
}

pub(crate) fn settings_at(url: &str, database: &str) -> ClickHouseSettings {
    ClickHouseSettings::new().url(url).unwrap().database(database).insert_timeout(Duration::from_secs(30))
}

/// A sink with the default table, made by itself.
pub(crate) async fn sink(database: &ClickHouseDatabase) -> ClickHouseSink {
    let sink = ClickHouseSink::new(settings(database).create_table(true));
    sink.check().await.unwrap();
    sink
}

/// A part that is frozen now.
pub(crate) async fn part(sink: &ClickHouseSink, events: Vec<StoredEvent>) -> Part {
    try_part(sink, events).await.unwrap()
}

pub(crate) async fn try_part(sink: &ClickHouseSink, events: Vec<StoredEvent>) -> Result<Part, outbox_core::SinkError> {
    let frozen = sink.freeze("event_log", &events.iter().collect::<Vec<_>>()).await?;
    Ok(Part {
        id: PartId { batch: BatchId(1), no: 0 },
        route: Route::default(),
        table: "event_log".to_owned(),
        token: Uuid::new_v4(),
        fence: 1,
        events: events.into(),
        frozen,
        resend: false,
        replay: false,
    })
}

/// The part as a later claim sees it.
pub(crate) fn again(part: &Part) -> Part {
    Part { resend: true, fence: part.fence + 1, ..part.clone() }
}

/// What a relay does with a part, until it is delivered. Returns how often something failed.
pub(crate) async fn deliver_like_a_relay(sink: &ClickHouseSink, first: Part) -> u32 {
    let mut part = first;
    let mut failures = 0;
    loop {
        match step(sink, &part).await {
            Ok(None) => return failures,
            Ok(Some(next)) => part = next,
            Err(_) => {
                failures += 1;
                part = again(&part);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// One try; `Some` is a part that stands in for this one.
async fn step(sink: &ClickHouseSink, part: &Part) -> Result<Option<Part>, outbox_core::SinkError> {
    if part.resend {
        match sink.recover(part).await? {
            Recovery::Resend => {}
            Recovery::Delivered => return Ok(None),
            Recovery::Replace { landed } => {
                let rest = part.events.iter().filter(|stored| !landed.contains(&stored.event.id)).cloned().collect();
                return try_part(sink, rest).await.map(Some);
            }
        }
    }
    sink.deliver(part).await.map(|()| None)
}

/// Rows, and distinct ids.
pub(crate) async fn counts(database: &ClickHouseDatabase) -> (u64, u64) {
    let text = database.query("SELECT count(), uniqExact(event_id) FROM event_log").await;
    let (rows, ids) = text.split_once('\t').unwrap();
    (rows.parse().unwrap(), ids.parse().unwrap())
}
