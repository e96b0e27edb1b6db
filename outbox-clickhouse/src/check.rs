//! Whether a table is fit: pure findings, each with the statement that mends it.

use crate::columns::{self, COLUMNS, ID_COLUMN};
use crate::ddl;
use crate::definition::{Definition, Table, View};

/// What is wrong with a table.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Findings {
    /// No event could be written, or not as it is.
    pub(crate) broken: Vec<String>,
    /// An event might arrive twice.
    pub(crate) not_exactly_once: Vec<String>,
}

/// Looks for everything that is wrong, so that it can be mended in one go.
pub(crate) fn check(definition: &Definition) -> Findings {
    let table = &definition.table;
    let name = &table.name;
    let mut findings = Findings::default();
    if !table.is_merge_tree() {
        let engine = &table.row.engine;
        let why = format!("{name} has the engine {engine}: events need a table of the MergeTree family");
        return Findings { broken: vec![why], ..findings };
    }
    for spec in COLUMNS {
        let problem = match definition.columns.iter().find(|row| row.name == spec.name) {
            None if spec.required => format!("{name} has no column {}: {}", spec.name, ddl::add_column(name, spec)),
            Some(row) if spec.required && !row.takes_values() => {
                let kind = &row.default_kind;
                let mend = ddl::modify_column(name, spec);
                format!("the column {} of {name} is {kind} and takes no values: {mend}", spec.name)
            }
            // An optional column of another type is somebody else's, and left alone.
            Some(row) if spec.required && !columns::fits(spec.field, &row.server_type) => {
                let mend = ddl::modify_column(name, spec);
                format!("the column {} of {name} has the type {}: {mend}", spec.name, row.server_type)
            }
            _ => continue,
        };
        if spec.name == ID_COLUMN {
            findings.not_exactly_once.push(problem);
        } else {
            findings.broken.push(problem);
        }
    }
    findings.not_exactly_once.extend(window_problem(table, None));
    findings.not_exactly_once.extend(definition.views.iter().filter_map(view_problem));
    findings.not_exactly_once.extend(partition_problem(definition));
    findings
}

fn window_problem(table: &Table, view: Option<&View>) -> Option<String> {
    if table.window() > 0 {
        return None;
    }
    let filled = view.map(|view| format!(" (filled by the materialized view {})", view.name)).unwrap_or_default();
    let mend = ddl::modify_window(&table.name, table.window_setting());
    Some(format!("{}{filled} remembers no tokens: {mend}", table.name))
}

fn view_problem(view: &View) -> Option<String> {
    match &view.target {
        None => Some(format!(
            "the materialized view {} writes to a table that is not there: DROP VIEW {}",
            view.name, view.name
        )),
        // Keeps nothing itself; the views behind it are looked at in their turn.
        Some(target) if target.row.engine == "Null" => None,
        Some(target) if target.is_merge_tree() => window_problem(target, Some(view)),
        Some(target) => Some(format!(
            "{} (filled by the materialized view {}) has the engine {} and cannot tell a repeat: give it a MergeTree engine",
            target.name, view.name, target.row.engine
        )),
    }
}

/// A retry that lands in another partition is not recognised: the key must depend on the event alone.
fn partition_problem(definition: &Definition) -> Option<String> {
    let name = &definition.table.name;
    let filled = definition.filled();
    let server_side = definition.columns.iter().find(|row| {
        row.is_in_partition_key == 1
            && !filled.iter().any(|column| column.name == row.name)
            && is_volatile(&row.default_expression)
    });
    if let Some(row) = server_side {
        return Some(format!(
            "{name} is partitioned by {}, whose value is made by the server ({}): make a new table with PARTITION BY \
             toYYYYMM(event_date_time)",
            row.name, row.default_expression
        ));
    }
    is_volatile(&definition.table.row.partition_key).then(|| {
        format!(
            "{name} is partitioned by {}, which changes between a send and its repeat: make a new table with PARTITION \
             BY toYYYYMM(event_date_time)",
            definition.table.row.partition_key
        )
    })
}

/// Whether the expression calls a function that answers differently each time.
fn is_volatile(expression: &str) -> bool {
    const VOLATILE: &[&str] = &[
        "now",
        "today",
        "yesterday",
        "rand",
        "generate",
        "hostname",
        "serveruuid",
        "queryid",
        "rownumber",
        "blocknumber",
        "uptime",
        "utctimestamp",
        "current",
    ];
    let calls = expression.split('(').map(|before| {
        let start = before.rfind(|char: char| !char.is_alphanumeric() && char != '_').map_or(0, |at| at + 1);
        before[start..].replace('_', "").to_lowercase()
    });
    let closed = expression.matches('(').count();
    calls.take(closed).any(|function| VOLATILE.iter().any(|volatile| function.starts_with(volatile)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TableName;
    use crate::definition::tests::table;
    use crate::definition::{ColumnRow, View};

    const WINDOW: &str = "MergeTree ORDER BY c SETTINGS non_replicated_deduplication_window = 100";

    fn column(name: &str, server_type: &str) -> ColumnRow {
        ColumnRow {
            name: name.into(),
            server_type: server_type.into(),
            default_kind: String::new(),
            default_expression: String::new(),
            is_in_partition_key: 0,
        }
    }

    fn good() -> Definition {
        let columns =
            COLUMNS.iter().filter(|spec| spec.required).map(|spec| column(spec.name, spec.created_as)).collect();
        Definition { version: (26, 7), table: table("MergeTree", WINDOW), columns, views: vec![] }
    }

    #[test]
    fn the_minimal_table_is_fit() {
        assert_eq!(check(&good()), Findings::default());
        assert_eq!(good().filled().len(), 6);
    }

    #[test]
    fn all_findings_come_at_once_with_their_statements() {
        let mut bad = good();
        bad.columns.retain(|column| !["event_id", "environment"].contains(&column.name.as_str()));
        bad.table = table("MergeTree", "MergeTree ORDER BY c");
        bad.columns[0].server_type = "UInt8".into();
        let findings = check(&bad);
        assert_eq!(
            findings.broken,
            [
                "the column event_type of `db`.`event_log` has the type UInt8: ALTER TABLE `db`.`event_log` MODIFY COLUMN \
                 event_type LowCardinality(String)",
                "`db`.`event_log` has no column environment: ALTER TABLE `db`.`event_log` ADD COLUMN environment \
                 LowCardinality(String)",
            ]
        );
        assert_eq!(
            findings.not_exactly_once,
            [
                "`db`.`event_log` has no column event_id: ALTER TABLE `db`.`event_log` ADD COLUMN event_id UUID",
                "`db`.`event_log` remembers no tokens: ALTER TABLE `db`.`event_log` MODIFY SETTING \
                 non_replicated_deduplication_window = 10000",
            ]
        );
    }

    #[test]
    fn a_partition_must_depend_on_the_event_alone() {
        let mut bad = good();
        bad.columns.push(ColumnRow {
            default_kind: "DEFAULT".into(),
            default_expression: "now()".into(),
            is_in_partition_key: 1,
            ..column("ingested_at", "DateTime")
        });
        assert!(check(&bad).not_exactly_once[0].contains("partitioned by ingested_at"));
        let mut derived = good();
        derived.columns.push(ColumnRow {
            default_kind: "MATERIALIZED".into(),
            default_expression: "toDate(event_date_time)".into(),
            is_in_partition_key: 1,
            ..column("day", "Date")
        });
        assert_eq!(check(&derived), Findings::default());
        assert!(is_volatile("toYYYYMM(now64(6))") && is_volatile("randCanonical()") && is_volatile("toDate( now_() )"));
        assert!(!is_volatile("(brand, today)") && !is_volatile("lower(snow)") && !is_volatile("toYYYYMM(now_at)"));
        let mut volatile = good();
        volatile.table.row.partition_key = "toYYYYMM(now())".into();
        assert!(check(&volatile).not_exactly_once[0].contains("toYYYYMM(now())"));
    }

    #[test]
    fn what_views_fill_needs_windows_too() {
        let view = |engine: &str, full: &str| {
            let target = table(engine, full);
            View { name: TableName::new("db", "v"), target: Some(target) }
        };
        let with = |view: View| check(&Definition { views: vec![view], ..good() }).not_exactly_once;
        assert!(with(view("SummingMergeTree", WINDOW)).is_empty());
        assert!(with(view("Null", "Null")).is_empty());
        assert!(
            with(view("MergeTree", "MergeTree ORDER BY c"))[0].contains("filled by the materialized view `db`.`v`")
        );
        assert!(with(view("Memory", "Memory"))[0].contains("has the engine Memory"));
    }
}
