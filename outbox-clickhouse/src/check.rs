//! Whether a table is fit: pure findings, each with the statement that mends it.

use std::sync::Arc;

use outbox_core::SchemaRecord;

use crate::columns::{self, COLUMNS, ID_COLUMN};
use crate::ddl::Ddl;
use crate::definition::{Definition, Table, View};
use crate::report::{Drift, Finding, Severity};
use crate::types;
use crate::volatile::is_volatile;

/// Looks for everything that is wrong, so that it can be mended in one go. `schemas` are those of the layout `columns`; without
/// any the table is one of the layout `context`.
pub(crate) fn check(definition: &Definition, schemas: &[Arc<SchemaRecord>], ddl: &Ddl) -> Vec<Finding> {
    if let Some(problem) = engine_problem(definition) {
        return vec![problem];
    }
    let mut findings = match schemas {
        [] => envelope_problems(definition, ddl, |spec| spec.required),
        _ => {
            let mut findings = envelope_problems(definition, ddl, |spec| spec.name == ID_COLUMN);
            findings.extend(field_problems(definition, schemas, ddl));
            findings
        }
    };
    let windows = definition.locals.iter().filter_map(|local| window_problem(local, None, ddl));
    findings.extend(windows);
    findings.extend(definition.views.iter().filter_map(|view| view_problem(view, ddl)));
    findings.extend(partition_problem(definition, schemas));
    findings.sort_by_key(|finding| finding.severity);
    findings
}

fn engine_problem(definition: &Definition) -> Option<Finding> {
    let broken = |text: String| Some(Finding { severity: Severity::Broken, drift: Drift::Engine, text, mend: None });
    let table = &definition.table;
    if definition.cluster.is_some() && definition.locals.is_empty() {
        return broken(format!("{} is Distributed and its local table is on no shard", table.name));
    }
    let other = definition.locals.iter().find(|local| !local.is_merge_tree())?;
    broken(format!(
        "{} has the engine {}: events need a table of the MergeTree family, or a Distributed one over such tables",
        other.place(),
        other.row.engine
    ))
}

fn envelope_problems(
    definition: &Definition,
    ddl: &Ddl,
    required: impl Fn(&columns::ColumnSpec) -> bool,
) -> Vec<Finding> {
    let name = &definition.table.name;
    let problem = |spec: &columns::ColumnSpec| {
        let (drift, text, mend) = match definition.column(spec.name) {
            None => {
                let text = format!("{name} has no column {}", spec.name);
                (Drift::MissingColumn(spec.name.into()), text, ddl.add_column(name, &spec.into()))
            }
            Some(row) if !row.takes_values() => {
                let text = format!("the column {} of {name} is {} and takes no values", spec.name, row.default_kind);
                (Drift::ColumnType(spec.name.into()), text, ddl.modify_column(name, &spec.into()))
            }
            // An optional column of another type is somebody else's, and left alone.
            Some(row) if !columns::fits(spec.field, &row.server_type) => {
                let text = format!("the column {} of {name} has the type {}", spec.name, row.server_type);
                (Drift::ColumnType(spec.name.into()), text, ddl.modify_column(name, &spec.into()))
            }
            Some(_) => return None,
        };
        let severity = if spec.name == ID_COLUMN { Severity::NotExactlyOnce } else { Severity::Broken };
        Some(Finding { severity, drift, text, mend: Some(mend) })
    };
    COLUMNS.iter().filter(|spec| required(spec)).filter_map(problem).collect()
}

/// Every field of every schema needs a column that holds its values unchanged.
fn field_problems(definition: &Definition, schemas: &[Arc<SchemaRecord>], ddl: &Ddl) -> Vec<Finding> {
    let name = &definition.table.name;
    let mut findings: Vec<Finding> = Vec::new();
    for schema in schemas {
        let of = format!("of the event {} (version {})", schema.event_type, schema.version);
        for field in &schema.columns {
            let (drift, text, mend) = if field.name == ID_COLUMN {
                let text =
                    format!("the field {ID_COLUMN} {of} takes the column by which a repeat is told: rename the field");
                (Drift::ColumnType(field.name.clone()), text, None)
            } else {
                match definition.column(&field.name) {
                    None => {
                        let text = format!("{name} has no column {} for a field {of}", field.name);
                        (Drift::MissingColumn(field.name.clone()), text, Some(ddl.add_column(name, &field.into())))
                    }
                    Some(row) if !row.takes_values() => {
                        let text =
                            format!("the column {} of {name} is {} and takes no values", row.name, row.default_kind);
                        (Drift::ColumnType(field.name.clone()), text, None)
                    }
                    // NULL becomes the default where the column has one, which is what a default is for.
                    Some(row)
                        if !types::holds(&without_null(&field.ty, row.default_kind == "DEFAULT"), &row.server_type) =>
                    {
                        let text = format!(
                            "the column {} of {name} has the type {} and would bend values of {} {of}",
                            row.name, row.server_type, field.ty
                        );
                        (Drift::ColumnType(field.name.clone()), text, Some(ddl.modify_column(name, &field.into())))
                    }
                    Some(_) => continue,
                }
            };
            // Versions share most of their fields.
            if !findings.iter().any(|known| known.drift == drift) {
                findings.push(Finding { severity: Severity::Broken, drift, text, mend });
            }
        }
    }
    findings
}

fn without_null(ty: &str, strip: bool) -> String {
    match ty.strip_prefix("Nullable(").and_then(|rest| rest.strip_suffix(')')) {
        Some(inner) if strip => inner.to_owned(),
        _ => ty.to_owned(),
    }
}

fn window_problem(table: &Table, view: Option<&View>, ddl: &Ddl) -> Option<Finding> {
    if table.window() > 0 {
        return None;
    }
    let filled = view.map(|view| format!(" (filled by the materialized view {})", view.name)).unwrap_or_default();
    Some(Finding {
        severity: Severity::NotExactlyOnce,
        drift: Drift::Window(table.place()),
        text: format!("{}{filled} remembers no tokens", table.place()),
        mend: Some(ddl.modify_window(&table.name, table.window_setting())),
    })
}

fn view_problem(view: &View, ddl: &Ddl) -> Option<Finding> {
    let drift = Drift::View(view.name.to_string());
    let severity = Severity::NotExactlyOnce;
    match &view.target {
        None => Some(Finding {
            severity,
            drift,
            text: format!("the materialized view {} writes to a table that is not there", view.name),
            mend: Some(format!("DROP VIEW {}", view.name)),
        }),
        // Keeps nothing itself; the views behind it are looked at in their turn.
        Some(target) if target.row.engine == "Null" => None,
        Some(target) if target.is_merge_tree() => window_problem(target, Some(view), ddl),
        Some(target) => Some(Finding {
            severity,
            drift,
            text: format!(
                "{} (filled by the materialized view {}) has the engine {} and cannot tell a repeat: give it a MergeTree engine",
                target.place(),
                view.name,
                target.row.engine
            ),
            mend: None,
        }),
    }
}

/// A retry that lands in another partition is not recognised: the key must depend on the event alone.
fn partition_problem(definition: &Definition, schemas: &[Arc<SchemaRecord>]) -> Option<Finding> {
    let finding = |text: String| {
        let (severity, drift) = (Severity::NotExactlyOnce, Drift::Partition);
        Some(Finding { severity, drift, text, mend: None })
    };
    let local = definition.locals.first().unwrap_or(&definition.table);
    let name = &local.name;
    let mend = "make a new table with PARTITION BY toYYYYMM(event_date_time)";
    let is_filled = |column: &str| {
        let envelope = COLUMNS.iter().any(|spec| spec.name == column) && definition.column(column).is_some();
        // A field that every event brings along; one that some leave out would be filled by the server.
        let field =
            !schemas.is_empty() && schemas.iter().all(|schema| schema.columns.iter().any(|field| field.name == column));
        envelope || field
    };
    let server_side = definition
        .local_columns
        .iter()
        .find(|row| row.is_in_partition_key == 1 && is_volatile(&row.default_expression) && !is_filled(&row.name));
    if let Some(row) = server_side {
        return finding(format!(
            "{name} is partitioned by {}, whose value is made by the server ({}): {mend}",
            row.name, row.default_expression
        ));
    }
    let key = &local.row.partition_key;
    if is_volatile(key) {
        return finding(format!("{name} is partitioned by {key}, which changes between a send and its repeat: {mend}"));
    }
    None
}

#[cfg(test)]
mod tests;
