//! Events as the bytes of an INSERT's body.
//!
//! `RowBinaryWithNamesAndTypes` where every column's bytes are known, with the server's own words for the types: a table
//! that was altered since answers an error instead of reading the bytes as something else. `JSONEachRow` where the
//! server has to convert. Which of the two is decided once, when a part is frozen.

use std::fmt::Write as _;

use bytes::Bytes;
use outbox_core::{Event, StoredEvent};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::columns::{self, Column, Field, Shape, Wire};

/// The body's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Format {
    #[serde(rename = "RowBinaryWithNamesAndTypes")]
    RowBinary,
    #[serde(rename = "JSONEachRow")]
    Json,
}

impl Format {
    /// The format's name in SQL.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RowBinary => "RowBinaryWithNamesAndTypes",
            Self::Json => "JSONEachRow",
        }
    }

    /// The best format for these columns of the envelope.
    pub(crate) fn of(columns: &[Column]) -> Self {
        let binary = columns.iter().all(|column| planned(column).is_some_and(|(_, wire)| wire.is_some()));
        if binary { Self::RowBinary } else { Self::Json }
    }

    /// The body. None when a column is unknown to this version, or the format cannot write it.
    pub(crate) fn encode(self, columns: &[Column], events: &[StoredEvent]) -> Option<Bytes> {
        let size = events.iter().map(|stored| stored.event.bytes() + 64).sum::<usize>();
        let mut body = Vec::with_capacity(size + size / 8);
        // What the payload brings along needs no plan: its text goes in as it is.
        let spread = columns.iter().any(|column| column.payload);
        let columns: Vec<&Column> = columns.iter().filter(|column| !column.payload).collect();
        let plan = columns.iter().map(|column| planned(column)).collect::<Option<Vec<_>>>()?;
        match self {
            Self::RowBinary if spread => return None,
            Self::RowBinary => {
                let plan: Vec<_> = plan.into_iter().map(|(field, wire)| Some((field, wire?))).collect::<Option<_>>()?;
                binary_header(&mut body, &columns);
                for stored in events {
                    plan.iter().for_each(|(field, wire)| binary_value(&mut body, *field, *wire, stored));
                }
            }
            Self::Json => {
                let plan: Vec<_> = columns.into_iter().zip(plan).map(|(column, (field, _))| (column, field)).collect();
                events.iter().try_for_each(|stored| json_row(&mut body, &plan, stored, spread)).ok()?;
            }
        }
        Some(body.into())
    }
}

fn planned(column: &Column) -> Option<(Field, Option<Wire>)> {
    let field = columns::spec(&column.name)?.field;
    Some((field, columns::wire(field, &column.server_type)))
}

/// A value of the envelope on its way into a column.
enum Value<'a> {
    Uuid(Uuid),
    Text(&'a str),
    Micros(i64),
    Integer(i64),
    Null,
}

fn value(field: Field, stored: &StoredEvent) -> Value<'_> {
    let StoredEvent { seq, event } = stored;
    match field {
        Field::Id => Value::Uuid(event.id),
        Field::EventType => Value::Text(&event.event_type),
        Field::OccurredAt => Value::Micros(event.occurred_at.timestamp_micros()),
        Field::Environment => Value::Text(&event.environment),
        Field::Payload => Value::Text(&event.payload),
        Field::Version => Value::Integer(event.version.into()),
        Field::Seq => Value::Integer(*seq),
        Field::Key => optional_text(event.key.as_deref()),
        Field::Headers => optional_text(event.headers.as_deref()),
    }
}

fn optional_text(text: Option<&str>) -> Value<'_> {
    text.map_or(Value::Null, Value::Text)
}

fn binary_header(body: &mut Vec<u8>, columns: &[&Column]) {
    length(body, columns.len());
    columns.iter().for_each(|column| binary_text(body, &column.name));
    columns.iter().for_each(|column| binary_text(body, &column.server_type));
}

fn binary_value(body: &mut Vec<u8>, field: Field, wire: Wire, stored: &StoredEvent) {
    let value = value(field, stored);
    if wire.nullable {
        let null = matches!(value, Value::Null);
        body.push(null.into());
        if null {
            return;
        }
    }
    match value {
        Value::Text(text) => binary_text(body, text),
        // Only texts can be absent, here into a column that knows no NULL.
        Value::Null => binary_text(body, ""),
        Value::Uuid(id) => {
            // Two 64-bit halves, each with its low byte first.
            let (high, low) = id.as_u64_pair();
            body.extend_from_slice(&high.to_le_bytes());
            body.extend_from_slice(&low.to_le_bytes());
        }
        // Both numbers come out of the envelope in the width of their column's type, see `columns::wire`: low bytes first.
        Value::Integer(number) | Value::Micros(number) => {
            body.extend_from_slice(&number.to_le_bytes()[..if wire.shape == Shape::Int32 { 4 } else { 8 }]);
        }
    }
}

fn binary_text(body: &mut Vec<u8>, text: &str) {
    length(body, text.len());
    body.extend_from_slice(text.as_bytes());
}

/// LEB128.
fn length(body: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        body.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    body.push(length as u8);
}

/// `spread`: the payload's fields are columns, too, and its text becomes the rest of the row.
fn json_row(
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

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn stored() -> StoredEvent {
        let id = Uuid::parse_str("00112233-4455-6677-8899-aabbccddeeff").expect("a UUID");
        let at = DateTime::from_timestamp_micros(0x0102_0304_0506).expect("a time");
        let mut event = Event::stored(id, "a".into(), 3, at);
        event.environment = "e".into();
        event.payload = r#"{"x":"ü"}"#.into();
        event.key = Some("k".into());
        StoredEvent { seq: 7, event }
    }

    fn columns(columns: &[(&str, &str)]) -> Vec<Column> {
        columns.iter().map(|(name, server_type)| Column::envelope(name, server_type)).collect()
    }

    #[test]
    fn binary_bytes_are_exact() {
        let columns = columns(&[
            ("event_id", "UUID"),
            ("event_type", "LowCardinality(String)"),
            ("event_date_time", "DateTime64(6, 'UTC')"),
            ("metadata_version", "Int32"),
            ("key", "Nullable(String)"),
            ("headers", "Nullable(String)"),
        ]);
        assert_eq!(Format::of(&columns), Format::RowBinary);
        let body = Format::RowBinary.encode(&columns, &[stored()]).expect("known columns");
        let mut expected = vec![6];
        for text in ["event_id", "event_type", "event_date_time", "metadata_version", "key", "headers"] {
            expected.push(u8::try_from(text.len()).expect("short"));
            expected.extend_from_slice(text.as_bytes());
        }
        for text in
            ["UUID", "LowCardinality(String)", "DateTime64(6, 'UTC')", "Int32", "Nullable(String)", "Nullable(String)"]
        {
            expected.push(u8::try_from(text.len()).expect("short"));
            expected.extend_from_slice(text.as_bytes());
        }
        expected.extend_from_slice(&[0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0x00]);
        expected.extend_from_slice(&[0xff, 0xee, 0xdd, 0xcc, 0xbb, 0xaa, 0x99, 0x88]);
        expected.extend_from_slice(&[1, b'a']);
        expected.extend_from_slice(&[6, 5, 4, 3, 2, 1, 0, 0]);
        expected.extend_from_slice(&[3, 0, 0, 0]);
        expected.extend_from_slice(&[0, 1, b'k', 1]);
        assert_eq!(body, expected);
    }

    #[test]
    fn long_texts_have_a_length_of_several_bytes() {
        let mut body = Vec::new();
        for (number, expected) in [(0, &[0][..]), (127, &[127]), (128, &[0x80, 1]), (300, &[0xac, 2])] {
            body.clear();
            length(&mut body, number);
            assert_eq!(body, expected);
        }
    }

    #[test]
    fn json_is_for_types_that_the_server_converts() {
        let columns = columns(&[
            ("event_id", "UUID"),
            ("event_date_time", "DateTime64(3)"),
            ("event_context", "JSON"),
            ("key", "String"),
            ("headers", "String"),
            ("metadata_version", "UInt32"),
            ("seq", "Int64"),
        ]);
        assert_eq!(Format::of(&columns), Format::Json);
        let body = Format::Json.encode(&columns, &[stored(), stored()]).expect("known columns");
        let row = "{\"event_id\":\"00112233-4455-6677-8899-aabbccddeeff\",\"event_date_time\":\"1970-01-13T19:49:12.157446Z\",\
                   \"event_context\":{\"x\":\"ü\"},\"key\":\"k\",\"headers\":null,\"metadata_version\":3,\"seq\":7}\n";
        assert_eq!(body, format!("{row}{row}"));
    }

    #[test]
    fn a_payload_that_is_spread_becomes_the_rest_of_the_row() {
        let x = Column { payload: true, ..Column::envelope("x", "String") };
        let columns = [Column::envelope("event_id", "UUID"), x.clone()];
        let mut empty = stored();
        empty.event.payload = " { } ".into();
        let body = Format::Json.encode(&columns, &[stored(), empty]).expect("known columns");
        let id = "\"event_id\":\"00112233-4455-6677-8899-aabbccddeeff\"";
        assert_eq!(body, format!("{{{id},\"x\":\"ü\"}}\n{{{id}}}\n"));
        assert_eq!(Format::Json.encode(std::slice::from_ref(&x), &[stored()]).expect("fields only"), "{\"x\":\"ü\"}\n");
        assert_eq!(Format::RowBinary.encode(&[x], &[stored()]), None, "its bytes are not known");
    }

    #[test]
    fn a_column_of_a_later_version_is_not_guessed_at() {
        let unknown = columns(&[("event_id", "UUID"), ("invented_later", "String")]);
        assert_eq!(Format::Json.encode(&unknown, &[stored()]), None);
        assert_eq!(Format::RowBinary.encode(&columns(&[("event_date_time", "DateTime")]), &[stored()]), None);
    }
}
