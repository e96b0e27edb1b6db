//! A sink on a database of the test's own, events, parts, and a relay in twenty lines.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use outbox_clickhouse::{ClickHouseSettings, ClickHouseSink};
use outbox_core::{
    BatchId, ColumnRecord, DdlRecord, EncodeError, Event, EventLog, EventSchema, EventType, Layout, Part, PartId,
    Recovery, Route, SchemaRecord, Sink, StoredEvent,
};
use outbox_test::databases::ClickHouseDatabase;
use outbox_test::proxy::FaultProxy;
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

/// A table `ids`, with a window of so many blocks, that a materialized view fills from the event log.
pub(crate) async fn ids_view(database: &ClickHouseDatabase, window: u32) {
    for sql in [
        &format!(
            "CREATE TABLE ids (id UUID) ENGINE = MergeTree ORDER BY id \
             SETTINGS non_replicated_deduplication_window = {window}"
        ),
        "CREATE MATERIALIZED VIEW v TO ids AS SELECT event_id AS id FROM event_log",
    ] {
        database.query(sql).await;
    }
}

/// A sink on the default table, through a proxy that can cut it off.
pub(crate) async fn sink_through_a_proxy(database: &ClickHouseDatabase) -> (FaultProxy, ClickHouseSink) {
    sink(database).await;
    let proxy = FaultProxy::start(database.address()).await;
    let through = ClickHouseSink::new(settings_at(&proxy.http_url(), database.name()));
    (proxy, through)
}

/// A part that is frozen now.
pub(crate) async fn part(sink: &ClickHouseSink, events: Vec<StoredEvent>) -> Part {
    try_part(sink, events).await.unwrap()
}

pub(crate) async fn try_part(sink: &ClickHouseSink, events: Vec<StoredEvent>) -> Result<Part, outbox_core::SinkError> {
    part_for(sink, "event_log", events).await
}

/// A part, as soon as the server answers.
pub(crate) async fn part_at_last(sink: &ClickHouseSink, rows: usize) -> Part {
    loop {
        match try_part(sink, events(rows)).await {
            Ok(part) => return part,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// A part for a table, frozen now.
pub(crate) async fn part_for(
    sink: &ClickHouseSink,
    table: &str,
    events: Vec<StoredEvent>,
) -> Result<Part, outbox_core::SinkError> {
    let frozen = sink.freeze(table, &events.iter().collect::<Vec<_>>()).await?;
    Ok(Part {
        id: PartId { batch: BatchId(1), no: 0 },
        route: Route::default(),
        table: table.to_owned(),
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

/// A schema in the layout `columns`.
pub(crate) fn visits_schema() -> SchemaRecord {
    let column = |(name, ty): (&str, &str)| ColumnRecord {
        name: name.into(),
        ty: ty.into(),
        codec: None,
        default: None,
        comment: None,
    };
    let columns =
        [("visits", "UInt32"), ("path", "String"), ("price", "Decimal(9, 2)"), ("seen_at", "DateTime64(6, 'UTC')")];
    SchemaRecord {
        event_type: "page_seen".into(),
        version: 1,
        table: "page_seen".into(),
        layout: Layout::Columns,
        columns: columns.map(column).into(),
        ddl: DdlRecord { order_by: Some("event_date_time, event_id".into()), ..DdlRecord::default() },
    }
}

/// An event of that schema.
pub(crate) fn visit(visits: u64) -> StoredEvent {
    let mut event = Event::stored(Uuid::now_v7(), "page_seen".into(), 1, Utc::now().trunc_subsecs(6));
    event.table = "page_seen".into();
    event.environment = "test".into();
    event.payload =
        format!(r#"{{"visits":{visits},"path":"/","price":"0.5","seen_at":"2023-11-14T22:13:20.000001Z"}}"#);
    StoredEvent { seq: i64::try_from(visits % 1000).unwrap() + 1, event }
}

/// One try; `Some` is a part that stands in for this one.
pub(crate) async fn step(sink: &ClickHouseSink, part: &Part) -> Result<Option<Part>, outbox_core::SinkError> {
    if part.resend {
        match sink.recover(part).await? {
            Recovery::Resend => {}
            Recovery::Delivered => return Ok(None),
            Recovery::Replace { landed } => {
                let rest = part.events.iter().filter(|stored| !landed.contains(&stored.event.id)).cloned().collect();
                return part_for(sink, &part.table, rest).await.map(Some);
            }
        }
    }
    sink.deliver(part).await.map(|()| None)
}

/// Rows, and distinct ids.
pub(crate) async fn counts(database: &ClickHouseDatabase) -> (u64, u64) {
    let text = database.query("SELECT count(), uniqExact(event_id) FROM event_log").await;
    let (rows, ids) = text.split_once('\t').unwrap_or_else(|| panic!("no counts: {text:?}"));
    (rows.parse().unwrap(), ids.parse().unwrap())
}
