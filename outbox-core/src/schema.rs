//! What is known of an event type without a value of it: its name, version and table, and for the layout `columns` its
//! columns and what its table is made from.
//!
//! The derive writes it down as constants ([`EventSchema`]); a store keeps it as records ([`SchemaRecord`]), so that a relay
//! without the Rust types knows it too.

use serde::{Deserialize, Serialize};

use crate::{ColumnType, Upcast};

/// The event types that a type can be stored under, known without a value of it. Derived with
/// [`EventLog`](crate::EventLog).
#[diagnostic::on_unimplemented(
    message = "the event types of `{Self}` are not known",
    label = "this type does not implement `EventSchema`",
    note = "`#[derive(outbox::EventLog)]` on `{Self}` implements it too"
)]
pub trait EventSchema {
    /// One entry for a struct, one per variant for an enum.
    const EVENT_TYPES: &'static [EventType];
}

/// How an event is spread over its destination's columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// All fields as one JSON text, in one column. Any number of event types share a table.
    #[default]
    Context,
    /// A column for each field, in a table of the event type's own.
    Columns,
}

/// One entry of [`EventSchema::EVENT_TYPES`].
///
/// # Examples
/// ```
/// use outbox_core::{Column, ColumnType, Ddl, EventType, Layout};
///
/// const CREATED: EventType = EventType::new("user_created", 1, "event_log");
/// assert_eq!(CREATED.layout, Layout::Context);
///
/// const SEEN: EventType = EventType::new("page_seen", 1, "page_seen")
///     .in_columns(&[Column::new("path", ColumnType::named("String"))], Ddl { order_by: Some("path"), ..Ddl::NONE });
/// assert_eq!(SEEN.layout, Layout::Columns);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct EventType {
    /// The stored name.
    pub name: &'static str,
    /// The current version of the payload's shape.
    pub version: i32,
    /// The destination table.
    pub table: &'static str,
    /// How its fields are spread over the table's columns.
    pub layout: Layout,
    /// Its fields' columns; empty in the layout `context`.
    pub columns: &'static [Column],
    /// What its table is made from.
    pub ddl: Ddl,
    /// How older versions are read as the current one.
    pub upcast: Option<Upcast>,
}

impl EventType {
    /// An event type in the layout `context`.
    #[must_use]
    pub const fn new(name: &'static str, version: i32, table: &'static str) -> Self {
        Self { name, version, table, layout: Layout::Context, columns: &[], ddl: Ddl::NONE, upcast: None }
    }

    /// The same, with older versions read by way of `upcast`.
    #[must_use]
    pub const fn upcast(self, upcast: Upcast) -> Self {
        Self { upcast: Some(upcast), ..self }
    }

    /// The same in the layout `columns`.
    #[must_use]
    pub const fn in_columns(self, columns: &'static [Column], ddl: Ddl) -> Self {
        Self { layout: Layout::Columns, columns, ddl, ..self }
    }

    /// The same in the layout `columns`, with those of the event that it wraps. Where `ddl` leaves the choice open, the wrapped
    /// event's counts.
    ///
    /// # Panics
    /// When the wrapped type is several events, or is not in the layout `columns`. In a constant that is an error of the
    /// compiler.
    #[must_use]
    pub const fn in_columns_of(self, wrapped: &'static [Self], ddl: Ddl) -> Self {
        match wrapped {
            [Self { layout: Layout::Columns, columns, ddl: theirs, .. }] => self.in_columns(columns, ddl.or(*theirs)),
            [_] => panic!("the wrapped event has no columns: give it `#[event_log(layout = \"columns\")]`, too"),
            _ => panic!("the wrapped type is not one event but several, and each has columns of its own"),
        }
    }
}

/// The column of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Column {
    /// The field's name in the payload.
    pub name: &'static str,
    /// The type of the values in ClickHouse.
    pub ty: ColumnType,
    /// The compression, `ZSTD(3)` say.
    pub codec: Option<&'static str>,
    /// The expression for rows that do not have the field, older ones say.
    pub default: Option<&'static str>,
    /// A comment on the column.
    pub comment: Option<&'static str>,
    /// For a flattened field: the columns that stand in its place.
    pub flattened: Option<&'static [Column]>,
}

impl Column {
    /// A column without codec, default and comment.
    #[must_use]
    pub const fn new(name: &'static str, ty: ColumnType) -> Self {
        Self { name, ty, codec: None, default: None, comment: None, flattened: None }
    }

    /// The same with codec, default and comment.
    #[must_use]
    pub const fn with(
        self,
        codec: Option<&'static str>,
        default: Option<&'static str>,
        comment: Option<&'static str>,
    ) -> Self {
        Self { codec, default, comment, ..self }
    }

    /// The columns of a flattened field.
    #[must_use]
    pub const fn flattened(columns: &'static [Self]) -> Self {
        Self { flattened: Some(columns), ..Self::new("", ColumnType::named("")) }
    }
}

/// What a table of the layout `columns` is made from, as the sink's own SQL. What is not given is the sink's choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ddl {
    /// `ReplacingMergeTree`
    pub engine: Option<&'static str>,
    /// `(account, event_date_time)`
    pub order_by: Option<&'static str>,
    /// `toYYYYMM(event_date_time)`
    pub partition_by: Option<&'static str>,
    /// `event_date_time + INTERVAL 1 YEAR`
    pub ttl: Option<&'static str>,
}

impl Ddl {
    /// Everything is the sink's choice.
    pub const NONE: Self = Self { engine: None, order_by: None, partition_by: None, ttl: None };

    const fn or(self, other: Self) -> Self {
        const fn first(one: Option<&'static str>, other: Option<&'static str>) -> Option<&'static str> {
            match one {
                Some(_) => one,
                None => other,
            }
        }
        Self {
            engine: first(self.engine, other.engine),
            order_by: first(self.order_by, other.order_by),
            partition_by: first(self.partition_by, other.partition_by),
            ttl: first(self.ttl, other.ttl),
        }
    }
}

/// An [`EventType`] as a store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaRecord {
    /// The stored name of the event type.
    pub event_type: String,
    /// The version of the payload's shape.
    pub version: i32,
    /// The destination table.
    pub table: String,
    /// How its fields are spread over the table's columns.
    #[serde(default)]
    pub layout: Layout,
    /// Its fields' columns, flattened ones in their place; empty in the layout `context`.
    #[serde(default)]
    pub columns: Vec<ColumnRecord>,
    /// What its table is made from.
    #[serde(default)]
    pub ddl: DdlRecord,
}

/// A [`Column`] as a store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnRecord {
    /// The field's name in the payload, and the column's.
    pub name: String,
    /// The type in ClickHouse.
    pub ty: String,
    /// The compression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codec: Option<String>,
    /// The expression for rows that do not have the field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// A comment on the column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// A [`Ddl`] as a store keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DdlRecord {
    /// The table's engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// Its sorting key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_by: Option<String>,
    /// Its partition key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_by: Option<String>,
    /// When rows go away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
}

impl SchemaRecord {
    /// The records of a type: one for a struct, one per variant for an enum.
    #[must_use]
    pub fn of<E: EventSchema + ?Sized>() -> Vec<Self> {
        E::EVENT_TYPES.iter().map(Self::from).collect()
    }
}

impl From<&EventType> for SchemaRecord {
    fn from(event_type: &EventType) -> Self {
        let EventType { name, version, table, layout, columns, ddl, upcast: _ } = *event_type;
        let mut record = Self {
            event_type: name.to_owned(),
            version,
            table: table.to_owned(),
            layout,
            columns: Vec::new(),
            ddl: DdlRecord::from(&ddl),
        };
        append(columns, &mut record.columns);
        record
    }
}

fn append(columns: &[Column], records: &mut Vec<ColumnRecord>) {
    for Column { name, ty, codec, default, comment, flattened } in columns {
        match flattened {
            Some(inner) => append(inner, records),
            None => records.push(ColumnRecord {
                name: (*name).to_owned(),
                ty: ty.to_string(),
                codec: codec.map(str::to_owned),
                default: default.map(str::to_owned),
                comment: comment.map(str::to_owned),
            }),
        }
    }
}

impl From<&Ddl> for DdlRecord {
    fn from(ddl: &Ddl) -> Self {
        let owned = |text: Option<&'static str>| text.map(str::to_owned);
        Self {
            engine: owned(ddl.engine),
            order_by: owned(ddl.order_by),
            partition_by: owned(ddl.partition_by),
            ttl: owned(ddl.ttl),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ClickHouseType;

    struct Seen;

    impl EventSchema for Seen {
        const EVENT_TYPES: &'static [EventType] = &[
            EventType::new("seen", 2, "seen").in_columns(
                &[
                    Column::new("path", <String as ClickHouseType>::TYPE).with(
                        Some("ZSTD(3)"),
                        Some("'/'"),
                        Some("where"),
                    ),
                    Column::flattened(&[Column::new("visits", <Option<u32> as ClickHouseType>::TYPE)]),
                ],
                Ddl { order_by: Some("path"), ..Ddl::NONE },
            ),
            EventType::new("left", 1, "event_log"),
        ];
    }

    #[test]
    fn records_survive_json_and_hold_flattened_columns_in_their_place() {
        let records = SchemaRecord::of::<Seen>();
        let columns: Vec<_> = records[0].columns.iter().map(|column| (&*column.name, &*column.ty)).collect();
        assert_eq!(columns, [("path", "String"), ("visits", "Nullable(UInt32)")]);
        assert_eq!(records[1].layout, Layout::Context);
        let json = serde_json::to_string(&records).expect("plain data encodes");
        assert!(json.contains(r#""layout":"columns""#) && json.contains(r#""ddl":{"order_by":"path"}"#), "{json}");
        assert_eq!(serde_json::from_str::<Vec<SchemaRecord>>(&json).expect("and back"), records);
    }

    #[test]
    fn a_record_of_an_older_program_needs_only_name_version_and_table() {
        let json = r#"{"event_type":"left","version":1,"table":"event_log"}"#;
        let record: SchemaRecord = serde_json::from_str(json).expect("the rest has defaults");
        assert_eq!(record, SchemaRecord::of::<Seen>().remove(1));
    }
}
