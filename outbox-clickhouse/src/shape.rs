//! Which columns an event fills in a table, and in which format.

use outbox_core::SchemaRecord;

use crate::columns::{self, COLUMNS, Column, ColumnSpec};
use crate::definition::Definition;
use crate::encode::Format;

/// How rows of one kind are written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shape {
    pub(crate) columns: Vec<Column>,
    pub(crate) format: Format,
}

/// The shape of events of `schema`; None: of the layout `context`. What does not fit is for the check to say.
pub(crate) fn shape(definition: &Definition, schema: Option<&SchemaRecord>) -> Shape {
    match schema {
        None => {
            let columns = envelope(definition, |spec| spec.required);
            Shape { format: Format::of(&columns, definition.version), columns }
        }
        Some(schema) => {
            let mut columns = envelope(definition, |_| false);
            // A field of that name is the event's own, and not a piece of the envelope.
            columns.retain(|column| schema.columns.iter().all(|field| field.name != column.name));
            columns.extend(schema.columns.iter().map(|field| Column {
                name: field.name.clone(),
                // Where the table has no such column, the server refuses the statement by that name.
                server_type: definition.column(&field.name).map_or("", |row| &row.server_type).to_owned(),
                payload: true,
            }));
            Shape { columns, format: Format::JsonArray }
        }
    }
}

/// The columns that the envelope fills, in the layout's order, with the server's types. One that is not `required` and is of
/// another type is somebody else's.
fn envelope(definition: &Definition, required: impl Fn(&ColumnSpec) -> bool) -> Vec<Column> {
    let column = |spec: &ColumnSpec| {
        let row = definition.column(spec.name).filter(|row| row.takes_values())?;
        let usable = required(spec) || columns::fits(spec.field, &row.server_type);
        // The payload is spread over columns, or is one: never both.
        usable.then(|| Column::envelope(&row.name, &row.server_type))
    };
    COLUMNS.iter().filter_map(column).collect()
}

#[cfg(test)]
mod tests {
    use outbox_core::{ColumnRecord, DdlRecord, Layout};

    use super::*;
    use crate::definition::tests::{column, definition, table};

    fn schema(fields: &[&str]) -> SchemaRecord {
        let field = |name: &&str| ColumnRecord {
            name: (*name).to_owned(),
            ty: "String".into(),
            codec: None,
            default: None,
            comment: None,
        };
        SchemaRecord {
            event_type: "seen".into(),
            version: 1,
            table: "seen".into(),
            layout: Layout::Columns,
            columns: fields.iter().map(field).collect(),
            ddl: DdlRecord::default(),
        }
    }

    fn names(shape: &Shape) -> Vec<(&str, bool)> {
        shape.columns.iter().map(|column| (column.name.as_str(), column.payload)).collect()
    }

    #[test]
    fn a_column_per_field_comes_with_the_envelope_s_columns_that_the_table_has() {
        let rows =
            vec![column("event_id", "UUID"), column("path", "String"), column("seq", "Int64"), column("x", "Int8")];
        let definition = definition(table("MergeTree", ""), rows);
        let shape = shape(&definition, Some(&schema(&["path"])));
        assert_eq!(names(&shape), [("event_id", false), ("seq", false), ("path", true)]);
        assert_eq!(shape.format, Format::JsonArray);
    }

    #[test]
    fn a_field_takes_its_column_from_the_envelope() {
        let rows = vec![column("event_id", "UUID"), column("key", "String"), column("environment", "String")];
        let definition = definition(table("MergeTree", ""), rows);
        let shape = shape(&definition, Some(&schema(&["key"])));
        assert_eq!(names(&shape), [("event_id", false), ("environment", false), ("key", true)]);
    }

    #[test]
    fn a_missing_column_stays_in_the_statement_so_that_nothing_is_dropped_in_silence() {
        let definition = definition(table("MergeTree", ""), vec![column("event_id", "UUID")]);
        assert_eq!(names(&shape(&definition, Some(&schema(&["gone"])))), [("event_id", false), ("gone", true)]);
    }
}
