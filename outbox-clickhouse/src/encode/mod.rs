//! Events as the bytes of an INSERT's body.
//!
//! `Native` where every column's bytes are known, with the server's own words for the types: a table that was altered since
//! answers an error instead of reading the bytes as something else. `JSONEachRow` where the server has to convert. Which of
//! them is decided once, when a part is frozen.

mod binary;
mod json;
mod native;

use bytes::Bytes;
use outbox_core::StoredEvent;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::columns::{self, Column, Field, Wire};

/// The body's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Format {
    Native,
    #[serde(rename = "RowBinaryWithNamesAndTypes")]
    RowBinary,
    /// Objects in brackets, so that an end that is missing is noticed wherever it was cut.
    JsonArray,
    /// A line for each object: of parts that were frozen before.
    #[serde(rename = "JSONEachRow")]
    JsonLines,
}

/// Since which version a server compares the types of a `Native` block when it is asked to (`input_format_native_allow_types_conversion`).
pub(crate) const NATIVE_SINCE: (u32, u32) = (23, 3);

impl Format {
    /// The format's name in SQL.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Native => "Native",
            Self::RowBinary => "RowBinaryWithNamesAndTypes",
            Self::JsonArray | Self::JsonLines => "JSONEachRow",
        }
    }

    /// Whether the server converts what it gets.
    pub(crate) fn is_json(self) -> bool {
        matches!(self, Self::JsonArray | Self::JsonLines)
    }

    /// The best format for these columns of the envelope, for a server of this version.
    pub(crate) fn of(columns: &[Column], version: (u32, u32)) -> Self {
        let wires = columns.iter().map(|column| planned(column).and_then(|(_, wire)| wire)).collect::<Option<Vec<_>>>();
        match wires {
            None => Self::JsonArray,
            Some(wires) if version >= NATIVE_SINCE && wires.iter().all(|wire| native::takes(*wire)) => Self::Native,
            Some(_) => Self::RowBinary,
        }
    }

    /// The body. None when a column is unknown to this version, or the format cannot write it.
    pub(crate) fn encode(self, columns: &[Column], events: &[StoredEvent]) -> Option<Bytes> {
        let size = events.iter().map(|stored| stored.event.bytes() + 64).sum::<usize>();
        let mut body = Vec::with_capacity(size + size / 8);
        // What the payload brings along needs no plan: its text goes in as it is.
        let spread = columns.iter().any(|column| column.payload);
        let columns: Vec<&Column> = columns.iter().filter(|column| !column.payload).collect();
        let plan = columns.iter().map(|column| planned(column)).collect::<Option<Vec<_>>>()?;
        let wired = || plan.iter().map(|(field, wire)| Some((*field, (*wire)?))).collect::<Option<Vec<_>>>();
        match self {
            Self::Native | Self::RowBinary if spread => return None,
            Self::Native => native::block(&mut body, &columns, &wired()?, events),
            Self::RowBinary => binary::rows(&mut body, &columns, &wired()?, events),
            Self::JsonArray | Self::JsonLines => {
                let plan: Vec<_> = columns.into_iter().zip(plan).map(|(column, (field, _))| (column, field)).collect();
                json::rows(&mut body, &plan, events, spread, self == Self::JsonArray).ok()?;
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

impl<'a> Value<'a> {
    /// Where only a text or none can be.
    fn text(self) -> &'a str {
        match self {
            Self::Text(text) => text,
            _ => "",
        }
    }
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

#[cfg(test)]
pub(crate) mod tests {
    use chrono::DateTime;
    use outbox_core::Event;

    use super::*;

    pub(crate) fn stored() -> StoredEvent {
        let id = Uuid::parse_str("00112233-4455-6677-8899-aabbccddeeff").expect("a UUID");
        let at = DateTime::from_timestamp_micros(0x0102_0304_0506).expect("a time");
        let mut event = Event::stored(id, "a".into(), 3, at);
        event.environment = "e".into();
        event.payload = r#"{"x":"ü"}"#.into();
        event.key = Some("k".into());
        StoredEvent { seq: 7, event }
    }

    pub(crate) fn columns(columns: &[(&str, &str)]) -> Vec<Column> {
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
        assert_eq!(Format::of(&columns, NATIVE_SINCE), Format::Native);
        assert_eq!(Format::of(&columns, (22, 8)), Format::RowBinary);
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
        assert_eq!(Format::of(&columns, NATIVE_SINCE), Format::JsonArray);
        let body = Format::JsonLines.encode(&columns, &[stored(), stored()]).expect("known columns");
        let row = "{\"event_id\":\"00112233-4455-6677-8899-aabbccddeeff\",\"event_date_time\":\"1970-01-13T19:49:12.157446Z\",\
                   \"event_context\":{\"x\":\"ü\"},\"key\":\"k\",\"headers\":null,\"metadata_version\":3,\"seq\":7}\n";
        assert_eq!(body, format!("{row}{row}"));
        let array = Format::JsonArray.encode(&columns, &[stored(), stored()]).expect("known columns");
        assert_eq!(array, format!("[{row},{row}]"));
        assert_eq!(Format::JsonArray.encode(&columns, &[]).expect("known columns"), "[]");
    }

    #[test]
    fn a_payload_that_is_spread_becomes_the_rest_of_the_row() {
        let x = Column { payload: true, ..Column::envelope("x", "String") };
        let columns = [Column::envelope("event_id", "UUID"), x.clone()];
        let mut empty = stored();
        empty.event.payload = " { } ".into();
        let body = Format::JsonLines.encode(&columns, &[stored(), empty]).expect("known columns");
        let id = "\"event_id\":\"00112233-4455-6677-8899-aabbccddeeff\"";
        assert_eq!(body, format!("{{{id},\"x\":\"ü\"}}\n{{{id}}}\n"));
        assert_eq!(
            Format::JsonLines.encode(std::slice::from_ref(&x), &[stored()]).expect("fields only"),
            "{\"x\":\"ü\"}\n"
        );
        assert_eq!(Format::RowBinary.encode(&[x], &[stored()]), None, "its bytes are not known");
    }

    #[test]
    fn a_column_of_a_later_version_is_not_guessed_at() {
        let unknown = columns(&[("event_id", "UUID"), ("invented_later", "String")]);
        assert_eq!(Format::JsonLines.encode(&unknown, &[stored()]), None);
        assert_eq!(Format::RowBinary.encode(&columns(&[("event_date_time", "DateTime")]), &[stored()]), None);
    }
}
