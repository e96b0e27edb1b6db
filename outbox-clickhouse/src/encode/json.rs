//! `JSONEachRow`: the server converts.

use std::fmt::Write as _;

use outbox_core::{Event, StoredEvent};

use super::{Value, value};
use crate::columns::{self, Column, Field};

/// The body of these rows: one array, or a line for each. `spread`: as for a row.
pub(super) fn rows(
    body: &mut Vec<u8>,
    plan: &[(&Column, Field)],
    events: &[StoredEvent],
    spread: bool,
    array: bool,
) -> Result<(), serde_json::Error> {
    if array {
        body.push(b'[');
    }
    for (at, stored) in events.iter().enumerate() {
        if array && at > 0 {
            body.push(b',');
        }
        row(body, plan, stored, spread)?;
    }
    if array {
        body.push(b']');
    }
    Ok(())
}

/// `spread`: the payload's fields are columns, too, and its text becomes the rest of the row.
fn row(
    body: &mut Vec<u8>,
    plan: &[(&Column, Field)],
    stored: &StoredEvent,
    spread: bool,
) -> Result<(), serde_json::Error> {
    let mut separator = b'{';
    for (column, field) in plan {
        body.push(separator);
        separator = b',';
        serde_json::to_writer(&mut *body, &column.name)?;
        body.push(b':');
        match value(*field, stored) {
            Value::Text(json) if columns::is_json(&column.server_type) => body.extend_from_slice(json.as_bytes()),
            Value::Text(text) => serde_json::to_writer(&mut *body, text)?,
            Value::Uuid(id) => serde_json::to_writer(&mut *body, &id)?,
            Value::Integer(number) => serde_json::to_writer(&mut *body, &number)?,
            Value::Micros(_) => serde_json::to_writer(&mut *body, &time_text(&stored.event))?,
            Value::Null => body.extend_from_slice(b"null"),
        }
    }
    let fields = stored.event.payload.trim();
    let fields = fields.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default().trim();
    match (spread && !fields.is_empty(), separator) {
        (true, separator) => {
            body.push(separator);
            body.extend_from_slice(fields.as_bytes());
        }
        (false, b'{') => body.push(b'{'),
        (false, _) => {}
    }
    body.extend_from_slice(b"}\n");
    Ok(())
}

fn time_text(event: &Event) -> String {
    let mut text = String::with_capacity(27);
    // Writing to a String cannot fail.
    let _ = write!(text, "{}", event.occurred_at.format("%Y-%m-%dT%H:%M:%S%.6fZ"));
    text
}
