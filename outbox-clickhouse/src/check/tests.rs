use outbox_core::{ColumnRecord, DdlRecord, Layout};

use super::*;
use crate::TableName;
use crate::definition::tests::{column, definition, table};
use crate::definition::{ColumnRow, Definition, View};

const WINDOW: &str = "MergeTree ORDER BY c SETTINGS non_replicated_deduplication_window = 100";

fn good() -> Definition {
    let columns = COLUMNS.iter().filter(|spec| spec.required).map(|spec| column(spec.name, spec.created_as)).collect();
    definition(table("MergeTree", WINDOW), columns)
}

fn with_columns(columns: Vec<ColumnRow>) -> Definition {
    definition(table("MergeTree", WINDOW), columns)
}

fn texts(definition: &Definition, severity: Severity) -> Vec<String> {
    let findings = check(definition, &[], &Ddl::default());
    findings.iter().filter(|finding| finding.severity == severity).map(ToString::to_string).collect()
}

fn schema(fields: &[(&str, &str)]) -> Arc<SchemaRecord> {
    let field = |(name, ty): &(&str, &str)| ColumnRecord {
        name: (*name).to_owned(),
        ty: (*ty).to_owned(),
        codec: None,
        default: None,
        comment: None,
    };
    Arc::new(SchemaRecord {
        event_type: "seen".into(),
        version: 3,
        table: "seen".into(),
        layout: Layout::Columns,
        columns: fields.iter().map(field).collect(),
        ddl: DdlRecord::default(),
    })
}

#[test]
fn the_minimal_table_is_fit() {
    assert_eq!(check(&good(), &[], &Ddl::default()), []);
}

#[test]
fn all_findings_come_at_once_with_their_statements() {
    let mut columns = good().columns;
    columns.retain(|column| !["event_id", "environment"].contains(&column.name.as_str()));
    columns[0].server_type = "UInt8".into();
    let bad = definition(table("MergeTree", "MergeTree ORDER BY c"), columns);
    assert_eq!(
        texts(&bad, Severity::Broken),
        [
            "the column event_type of `db`.`event_log` has the type UInt8: ALTER TABLE `db`.`event_log` MODIFY COLUMN \
             `event_type` LowCardinality(String)",
            "`db`.`event_log` has no column environment: ALTER TABLE `db`.`event_log` ADD COLUMN IF NOT EXISTS `environment` \
             LowCardinality(String)",
        ]
    );
    assert_eq!(
        texts(&bad, Severity::NotExactlyOnce),
        [
            "`db`.`event_log` has no column event_id: ALTER TABLE `db`.`event_log` ADD COLUMN IF NOT EXISTS `event_id` UUID",
            "`db`.`event_log` remembers no tokens: ALTER TABLE `db`.`event_log` MODIFY SETTING \
             non_replicated_deduplication_window = 10000",
        ]
    );
}

#[test]
fn a_partition_must_depend_on_the_event_alone() {
    let mut columns = good().columns;
    columns.push(ColumnRow {
        default_kind: "DEFAULT".into(),
        default_expression: "now()".into(),
        is_in_partition_key: 1,
        ..column("ingested_at", "DateTime")
    });
    assert!(texts(&with_columns(columns), Severity::NotExactlyOnce)[0].contains("partitioned by ingested_at"));
    let mut columns = good().columns;
    columns.push(ColumnRow {
        default_kind: "MATERIALIZED".into(),
        default_expression: "toDate(event_date_time)".into(),
        is_in_partition_key: 1,
        ..column("day", "Date")
    });
    assert_eq!(check(&with_columns(columns), &[], &Ddl::default()), []);
    let mut volatile = table("MergeTree", WINDOW);
    volatile.row.partition_key = "toYYYYMM(now())".into();
    let volatile = definition(volatile, good().columns);
    assert!(texts(&volatile, Severity::NotExactlyOnce)[0].contains("toYYYYMM(now())"));
}

#[test]
fn what_views_fill_needs_windows_too() {
    let with = |engine: &str, full: &str| {
        let view = View { name: TableName::new("db", "v"), target: Some(table(engine, full)) };
        texts(&Definition { views: vec![view], ..good() }, Severity::NotExactlyOnce)
    };
    assert!(with("SummingMergeTree", WINDOW).is_empty());
    assert!(with("Null", "Null").is_empty());
    assert!(with("MergeTree", "MergeTree ORDER BY c")[0].contains("filled by the materialized view `db`.`v`"));
    assert!(with("Memory", "Memory")[0].contains("has the engine Memory"));
}

#[test]
fn a_distributed_table_is_judged_by_its_local_ones() {
    let local = |full: &str, shard: &str| {
        let mut local = table("MergeTree", full);
        local.row.shard = shard.into();
        local
    };
    let over = |locals: Vec<Table>| Definition {
        table: table("Distributed", "Distributed('c', 'db', 'local')"),
        cluster: Some("c".into()),
        locals,
        ..good()
    };
    assert_eq!(check(&over(vec![local(WINDOW, "a:1"), local(WINDOW, "b:2")]), &[], &Ddl::default()), []);
    let blind = texts(&over(vec![local(WINDOW, "a:1"), local("MergeTree", "b:2")]), Severity::NotExactlyOnce);
    assert!(blind[0].starts_with("`db`.`event_log` on b:2 remembers no tokens"), "{blind:?}");
    assert!(texts(&over(vec![]), Severity::Broken)[0].contains("on no shard"));
}

#[test]
fn every_field_needs_a_column_that_holds_it() {
    let columns =
        vec![column("event_id", "UUID"), column("visits", "UInt16"), column("path", "LowCardinality(String)")];
    let fields = [("visits", "UInt32"), ("path", "String"), ("referrer", "Nullable(String)")];
    let findings = check(&with_columns(columns), &[schema(&fields)], &Ddl::default());
    let drifts: Vec<_> = findings.iter().map(|finding| finding.drift.clone()).collect();
    assert_eq!(drifts, [Drift::ColumnType("visits".into()), Drift::MissingColumn("referrer".into())]);
    assert_eq!(
        findings[1].mend.as_deref(),
        Some("ALTER TABLE `db`.`event_log` ADD COLUMN IF NOT EXISTS `referrer` Nullable(String)")
    );
    let json = serde_json::to_string(&findings).expect("plain data");
    assert!(json.contains(r#""drift":{"missing_column":"referrer"}"#), "{json}");
}

#[test]
fn null_needs_a_column_that_takes_it_or_has_a_default_for_it() {
    let fields = schema(&[("visits", "Nullable(UInt32)")]);
    let bare = vec![column("event_id", "UUID"), column("visits", "UInt32")];
    assert_eq!(check(&with_columns(bare.clone()), &[Arc::clone(&fields)], &Ddl::default()).len(), 1);
    let mut with_default = bare;
    with_default[1].default_kind = "DEFAULT".into();
    assert_eq!(check(&with_columns(with_default), &[fields], &Ddl::default()), []);
}

#[test]
fn a_field_may_not_take_the_id_s_column() {
    let findings = check(&good(), &[schema(&[("event_id", "String")])], &Ddl::default());
    assert!(findings[0].text.contains("rename the field"), "{findings:?}");
}
