//! The SQL that makes a table, and the SQL that mends one.

use crate::TableName;
use crate::columns::{COLUMNS, ColumnSpec};

/// How many blocks a table shall remember tokens for. A quarter of an hour of one-second batches by ten relays.
pub(crate) const WINDOW: u64 = 10_000;

/// A replicated table also forgets by age; the server's default of an hour is less than a long outage.
const WINDOW_SECONDS: u64 = 86_400;

/// The `CREATE TABLE` of the default layout.
///
/// Both windows are spelled out, because a plain MergeTree has none by default and a replicated one a short one; each kind
/// of table accepts the other's setting. New parts are written through to the disk before an INSERT is acknowledged
/// (1.3 s instead of 0.8 s for 20 inserts): otherwise a power failure takes rows away that the outbox has let go of.
///
/// # Examples
/// ```
/// use outbox_clickhouse::{TableName, create_table_sql};
///
/// let sql = create_table_sql(&TableName::new("analytics", "event_log"));
/// assert!(sql.starts_with("CREATE TABLE IF NOT EXISTS `analytics`.`event_log`"));
/// ```
#[must_use]
pub fn create_table_sql(table: &TableName) -> String {
    let column = |spec: &ColumnSpec| format!("    {} {}{}", spec.name, spec.created_as, spec.codec);
    let columns: Vec<_> = COLUMNS.iter().map(column).collect();
    format!(
        "CREATE TABLE IF NOT EXISTS {table} (\n{}\n)\nENGINE = MergeTree\nPARTITION BY toYYYYMM(event_date_time)\n\
         ORDER BY (event_type, event_date_time, event_id)\n\
         SETTINGS non_replicated_deduplication_window = {WINDOW}, replicated_deduplication_window = {WINDOW}, \
         replicated_deduplication_window_seconds = {WINDOW_SECONDS}, fsync_after_insert = 1, fsync_part_directory = 1\n\
         COMMENT 'outbox: layout context 1'",
        columns.join(",\n")
    )
}

/// Adds a column of the default layout.
pub(crate) fn add_column(table: &TableName, spec: &ColumnSpec) -> String {
    format!("ALTER TABLE {table} ADD COLUMN {} {}{}", spec.name, spec.created_as, spec.codec)
}

/// Gives a column the type of the default layout.
pub(crate) fn modify_column(table: &TableName, spec: &ColumnSpec) -> String {
    format!("ALTER TABLE {table} MODIFY COLUMN {} {}{}", spec.name, spec.created_as, spec.codec)
}

/// Turns the window on.
pub(crate) fn modify_window(table: &TableName, setting: &str) -> String {
    format!("ALTER TABLE {table} MODIFY SETTING {setting} = {WINDOW}")
}
