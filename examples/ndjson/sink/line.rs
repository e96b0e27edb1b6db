//! An event as one line.

use outbox::StoredEvent;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Serialize)]
struct Envelope<'a> {
    id: Uuid,
    seq: i64,
    event_type: &'a str,
    version: i32,
    occurred_at: String,
    environment: &'a str,
    table: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
}

/// What is read back of a line.
#[derive(Deserialize)]
pub(super) struct Id {
    pub(super) id: Uuid,
}

/// Puts the event's line behind `lines`. Headers and payload are JSON already, and are not read: a number keeps its digits.
pub(super) fn push(lines: &mut Vec<u8>, stored: &StoredEvent) -> std::io::Result<()> {
    let event = &stored.event;
    let envelope = Envelope {
        id: event.id,
        seq: stored.seq,
        event_type: &event.event_type,
        version: event.version,
        occurred_at: event.occurred_at.to_rfc3339(),
        environment: &event.environment,
        table: &event.table,
        key: event.key.as_deref(),
    };
    serde_json::to_writer(&mut *lines, &envelope)?;
    // Its closing brace comes last.
    lines.pop();
    for (name, json) in [("headers", event.headers.as_deref()), ("payload", Some(event.payload.as_str()))] {
        let Some(json) = json else { continue };
        lines.extend_from_slice(format!(",\"{name}\":").as_bytes());
        // Within a text they are escaped: here they only lay the JSON out.
        lines.extend(json.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
    }
    lines.extend_from_slice(b"}\n");
    Ok(())
}
