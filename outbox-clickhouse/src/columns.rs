//! The columns that an event fills, and which types of a server they fit into.

use serde::{Deserialize, Serialize};

use crate::sql;

/// One piece of the envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Id,
    EventType,
    OccurredAt,
    Environment,
    Payload,
    Version,
    Seq,
    Key,
    Headers,
}

/// A column of the default layout.
#[derive(Debug)]
pub(crate) struct ColumnSpec {
    pub(crate) name: &'static str,
    pub(crate) field: Field,
    /// The type in a table that the sink creates.
    pub(crate) created_as: &'static str,
    /// The compression in such a table.
    pub(crate) codec: Option<&'static str>,
    /// The others are filled where the table has them.
    pub(crate) required: bool,
    /// Whether a table with a column per field has it, too.
    pub(crate) in_columns: bool,
}

/// The default layout, in the order of the original table.
pub(crate) const COLUMNS: &[ColumnSpec] = &[
    column("event_id", Field::Id, "UUID").required(),
    column("event_type", Field::EventType, "LowCardinality(String)").required(),
    column("event_date_time", Field::OccurredAt, "DateTime64(6, 'UTC')").required(),
    column("environment", Field::Environment, "LowCardinality(String)").required(),
    ColumnSpec { in_columns: false, ..column("event_context", Field::Payload, "String").required().compressed() },
    column("metadata_version", Field::Version, "Int32").required(),
    column("seq", Field::Seq, "Int64"),
    column("key", Field::Key, "String"),
    column("headers", Field::Headers, "String").compressed(),
];

/// The column that makes exactly once possible.
pub(crate) const ID_COLUMN: &str = "event_id";

const fn column(name: &'static str, field: Field, created_as: &'static str) -> ColumnSpec {
    ColumnSpec { name, field, created_as, codec: None, required: false, in_columns: true }
}

impl ColumnSpec {
    const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    const fn compressed(self) -> Self {
        Self { codec: Some("ZSTD(1)"), ..self }
    }
}

pub(crate) fn spec(name: &str) -> Option<&'static ColumnSpec> {
    COLUMNS.iter().find(|spec| spec.name == name)
}

/// A column to send: its name, and its type in the server's own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Column {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) server_type: String,
    /// Whether its value comes from the payload's field of that name, and not from the envelope.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) payload: bool,
}

impl Column {
    /// A column that a piece of the envelope fills.
    pub(crate) fn envelope(name: &str, server_type: &str) -> Self {
        Self { name: name.to_owned(), server_type: server_type.to_owned(), payload: false }
    }

    pub(crate) fn quoted(&self) -> String {
        sql::name(&self.name)
    }
}

/// How a value is written in a binary format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wire {
    pub(crate) shape: Shape,
    /// It can be NULL.
    pub(crate) nullable: bool,
    /// The column keeps each value once.
    pub(crate) dictionary: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Uuid,
    Text,
    Micros,
    Int32,
    Int64,
}

fn inside<'a>(server_type: &'a str, wrapper: &str) -> Option<&'a str> {
    server_type.strip_prefix(wrapper)?.strip_suffix(')')
}

/// The server's type without `LowCardinality` and `Nullable`, and whether it takes NULL.
fn bare(server_type: &str) -> (&str, bool) {
    let server_type = inside(server_type, "LowCardinality(").unwrap_or(server_type);
    match inside(server_type, "Nullable(") {
        Some(inner) => (inner, true),
        None => (server_type, false),
    }
}

/// How `field` is written in binary for a column of `server_type`, None when only text formats can convert it.
pub(crate) fn wire(field: Field, server_type: &str) -> Option<Wire> {
    let (bare, nullable) = bare(server_type);
    let micros = bare == "DateTime64(6)" || bare.starts_with("DateTime64(6, ");
    let shape = match field {
        Field::Id if bare == "UUID" => Shape::Uuid,
        Field::OccurredAt if micros => Shape::Micros,
        Field::Version if bare == "Int32" => Shape::Int32,
        Field::Seq if bare == "Int64" => Shape::Int64,
        Field::EventType | Field::Environment | Field::Payload | Field::Key | Field::Headers if bare == "String" => {
            Shape::Text
        }
        _ => return None,
    };
    Some(Wire { shape, nullable, dictionary: server_type.starts_with("LowCardinality(") })
}

/// Whether the server can turn `field` into a column of `server_type` without losing anything but precision of time.
pub(crate) fn fits(field: Field, server_type: &str) -> bool {
    let (bare, nullable) = bare(server_type);
    let integer = |bits: &[&str]| bits.contains(&bare);
    match field {
        Field::Id => bare == "UUID" && !nullable,
        Field::OccurredAt => bare == "DateTime" || bare.starts_with("DateTime(") || bare.starts_with("DateTime64("),
        Field::Version => integer(&["Int32", "UInt32", "Int64", "UInt64", "Int128", "UInt128", "Int256", "UInt256"]),
        Field::Seq => integer(&["Int64", "UInt64", "Int128", "UInt128", "Int256", "UInt256"]),
        Field::EventType | Field::Environment | Field::Key => bare == "String" || bare.starts_with("Enum"),
        Field::Payload | Field::Headers => bare == "String" || is_json(server_type),
    }
}

/// Whether the column takes an object where others take its text.
pub(crate) fn is_json(server_type: &str) -> bool {
    let (bare, _) = bare(server_type);
    bare == "JSON" || bare.starts_with("JSON(")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_format_is_for_types_of_the_same_bytes() {
        let wire_of = |field, server_type| wire(field, server_type).map(|wire| (wire.shape, wire.nullable));
        assert_eq!(wire_of(Field::Id, "UUID"), Some((Shape::Uuid, false)));
        assert_eq!(wire_of(Field::OccurredAt, "DateTime64(6)"), Some((Shape::Micros, false)));
        assert_eq!(wire_of(Field::OccurredAt, "Nullable(DateTime64(6, 'Europe/Berlin'))"), Some((Shape::Micros, true)));
        assert_eq!(wire_of(Field::EventType, "LowCardinality(String)"), Some((Shape::Text, false)));
        assert_eq!(wire_of(Field::Key, "LowCardinality(Nullable(String))"), Some((Shape::Text, true)));
        assert_eq!(wire_of(Field::Version, "Int32"), Some((Shape::Int32, false)));
        for (field, server_type) in [
            (Field::OccurredAt, "DateTime64(3)"),
            (Field::OccurredAt, "DateTime"),
            (Field::Version, "UInt32"),
            (Field::Payload, "JSON"),
            (Field::EventType, "Enum8('a' = 1)"),
            (Field::Id, "String"),
        ] {
            assert_eq!(wire(field, server_type), None, "{server_type}");
        }
    }

    #[test]
    fn types_that_would_lose_something_do_not_fit() {
        for (field, server_type) in [
            (Field::Id, "String"),
            (Field::Id, "Nullable(UUID)"),
            (Field::OccurredAt, "Date"),
            (Field::Version, "Int8"),
            (Field::Seq, "Int32"),
            (Field::Payload, "FixedString(8)"),
        ] {
            assert!(!fits(field, server_type), "{server_type}");
        }
        for (field, server_type) in [
            (Field::OccurredAt, "DateTime64(3, 'UTC')"),
            (Field::Payload, "JSON(max_dynamic_paths=8)"),
            (Field::EventType, "Enum8('a' = 1)"),
            (Field::Version, "UInt64"),
        ] {
            assert!(fits(field, server_type), "{server_type}");
        }
    }
}
