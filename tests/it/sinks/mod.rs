//! The sinks under `examples`: the exported conformance suite, and what each promises beyond it.

mod ndjson;
mod webhook;

use chrono::Utc;
use outbox::{BatchId, Event, Frozen, Part, PartId, Route, StoredEvent};
use uuid::Uuid;

/// A part of so many events, as a relay has it before the first send.
fn part(events: usize) -> Part {
    let stored = |row: usize| {
        let mut event = Event::stored(Uuid::now_v7(), "user_created".into(), 1, Utc::now());
        event.payload = format!(r#"{{"row":{row},"text":"a \"quote\", a \n and ü"}}"#);
        event.table = "event_log".into();
        StoredEvent { seq: i64::try_from(row).unwrap_or(0) + 1, event }
    };
    Part {
        id: PartId { batch: BatchId(1), no: 0 },
        route: Route::default(),
        table: "event_log".into(),
        token: Uuid::new_v4(),
        fence: 1,
        events: (0..events).map(stored).collect(),
        frozen: Frozen::default(),
        resend: false,
        replay: false,
    }
}

/// As another relay has it that has taken it over.
fn taken_over(part: &Part) -> Part {
    Part { fence: part.fence + 1, resend: true, ..part.clone() }
}
