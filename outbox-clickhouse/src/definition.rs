//! What a table looks like right now: engine, columns, window, and the tables that materialized views fill from it.

use std::collections::BTreeMap;

use clickhouse::Row;
use outbox_core::SinkError;
use serde::Deserialize;

use crate::TableName;
use crate::client::Server;
use crate::columns::{self, Column};
use crate::sql::text;

/// A table and everything that an INSERT into it writes.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    pub(crate) version: (u32, u32),
    pub(crate) table: Table,
    pub(crate) columns: Vec<ColumnRow>,
    /// The materialized views that read from the table, directly or through another view, each with its target.
    pub(crate) views: Vec<View>,
}

#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) name: TableName,
    /// None when there is no such table.
    pub(crate) target: Option<Table>,
}

/// A table without its columns.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) name: TableName,
    pub(crate) row: TableRow,
    /// The server's own values for what the table does not set.
    defaults: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Default, Row, Deserialize)]
pub(crate) struct TableRow {
    pub(crate) engine: String,
    pub(crate) engine_full: String,
    pub(crate) uuid_text: String,
    /// When it was last altered: a window that was set to 0 and back has forgotten its tokens.
    pub(crate) altered: u32,
    pub(crate) create_table_query: String,
    pub(crate) partition_key: String,
    pub(crate) dependencies_database: Vec<String>,
    pub(crate) dependencies_table: Vec<String>,
}

#[derive(Clone, Debug, Row, Deserialize)]
pub(crate) struct ColumnRow {
    pub(crate) name: String,
    pub(crate) server_type: String,
    pub(crate) default_kind: String,
    pub(crate) default_expression: String,
    pub(crate) is_in_partition_key: u8,
}

impl ColumnRow {
    /// Whether an INSERT may name the column.
    pub(crate) fn takes_values(&self) -> bool {
        !matches!(self.default_kind.as_str(), "MATERIALIZED" | "ALIAS")
    }
}

impl Table {
    /// The setting that holds the engine's window.
    pub(crate) fn window_setting(&self) -> &'static str {
        if self.row.engine.starts_with("Replicated") || self.row.engine.starts_with("Shared") {
            "replicated_deduplication_window"
        } else {
            "non_replicated_deduplication_window"
        }
    }

    /// How many blocks the table remembers tokens for.
    pub(crate) fn window(&self) -> u64 {
        let name = self.window_setting();
        let set = self.row.engine_full.rsplit_once(&format!(" {name} = ")).and_then(|(_, rest)| {
            let digits = rest.split(|char: char| !char.is_ascii_digit()).next()?;
            digits.parse().ok()
        });
        set.or_else(|| self.defaults.get(name).copied()).unwrap_or_default()
    }

    pub(crate) fn is_merge_tree(&self) -> bool {
        self.row.engine.ends_with("MergeTree")
    }
}

impl Definition {
    /// The columns that an event fills, in the layout's order, with the server's types.
    pub(crate) fn filled(&self) -> Vec<Column> {
        let column = |spec: &columns::ColumnSpec| {
            let row = self.columns.iter().find(|row| row.name == spec.name && row.takes_values())?;
            let usable = spec.required || columns::fits(spec.field, &row.server_type);
            usable.then(|| Column { name: row.name.clone(), server_type: row.server_type.clone() })
        };
        columns::COLUMNS.iter().filter_map(column).collect()
    }

    /// Changes when the table does, or is made anew under the same name. Views are left out: a repeat under the same token
    /// is what fills a view that was repaired.
    pub(crate) fn fingerprint(&self) -> String {
        let TableRow { uuid_text, altered, create_table_query, .. } = &self.table.row;
        format!("{:016x}", fnv1a(format!("{uuid_text} {altered} {create_table_query}").as_bytes()))
    }
}

/// FNV-1a: the same on every platform and in every release, unlike the standard library's hashers.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Server {
    /// The server's version, as far as it matters.
    pub(crate) async fn version(&self, operation: &'static str) -> Result<(u32, u32), SinkError> {
        let rows: Vec<String> = self.rows(operation, None, "SELECT version()").await?;
        let mut numbers = rows.first().map_or("", String::as_str).split('.').map(|number| number.parse().unwrap_or(0));
        Ok((numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)))
    }

    /// What the table looks like, None when it does not exist.
    pub(crate) async fn definition(
        &self,
        operation: &'static str,
        name: &TableName,
    ) -> Result<Option<Definition>, SinkError> {
        let version = self.version(operation).await?;
        let defaults = self.default_windows(operation).await?;
        let Some(table) = self.table(operation, name, &defaults).await? else { return Ok(None) };
        let columns = format!(
            "SELECT name, type AS server_type, default_kind, default_expression, is_in_partition_key \
             FROM system.columns WHERE database = {} AND table = {} ORDER BY position",
            text(&name.database),
            text(&name.table)
        );
        let columns = self.rows(operation, Some(name), &columns).await?;
        let views = self.views(operation, &table, &defaults).await?;
        Ok(Some(Definition { version, table, columns, views }))
    }

    /// Views of views included: what a view writes is pushed on to the views that read from its target.
    async fn views(
        &self,
        operation: &'static str,
        source: &Table,
        defaults: &BTreeMap<String, u64>,
    ) -> Result<Vec<View>, SinkError> {
        let mut views: Vec<View> = Vec::new();
        let mut open = dependents(source);
        while let Some(name) = open.pop() {
            if views.iter().any(|view| view.name == name) {
                continue;
            }
            let Some(view) = self.table(operation, &name, defaults).await? else { continue };
            if view.row.engine != "MaterializedView" {
                continue;
            }
            let target = match view_target(&name, &view.row) {
                Target::Refreshed => continue,
                Target::Table(target) => self.table(operation, &target, defaults).await?,
            };
            // A view hangs on its source; the views behind it may hang on the view or on its target.
            open.extend(dependents(&view));
            open.extend(target.iter().flat_map(dependents));
            views.push(View { name, target });
        }
        views.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(views)
    }

    async fn table(
        &self,
        operation: &'static str,
        name: &TableName,
        defaults: &BTreeMap<String, u64>,
    ) -> Result<Option<Table>, SinkError> {
        let sql = format!(
            "SELECT engine, engine_full, toString(uuid) AS uuid_text, \
             toUInt32(toUnixTimestamp(metadata_modification_time)) AS altered, create_table_query, partition_key, \
             dependencies_database, dependencies_table FROM system.tables WHERE database = {} AND name = {}",
            text(&name.database),
            text(&name.table)
        );
        let rows: Vec<TableRow> = self.rows(operation, Some(name), &sql).await?;
        let table = |row| Table { name: name.clone(), row, defaults: defaults.clone() };
        Ok(rows.into_iter().next().map(table))
    }

    async fn default_windows(&self, operation: &'static str) -> Result<BTreeMap<String, u64>, SinkError> {
        let sql = "SELECT name, toUInt64OrZero(value) AS value FROM system.merge_tree_settings \
                   WHERE name = 'non_replicated_deduplication_window' UNION ALL \
                   SELECT name, toUInt64OrZero(value) AS value FROM system.replicated_merge_tree_settings \
                   WHERE name = 'replicated_deduplication_window'";
        let rows: Vec<(String, u64)> = self.rows(operation, None, sql).await?;
        Ok(rows.into_iter().collect())
    }
}

fn dependents(table: &Table) -> Vec<TableName> {
    let names = table.row.dependencies_database.iter().zip(&table.row.dependencies_table);
    names.map(|(database, table)| TableName::new(database, table)).collect()
}

#[derive(Debug, PartialEq)]
enum Target {
    Table(TableName),
    /// Filled by a timer, not by inserts.
    Refreshed,
}

/// Where a materialized view writes, out of its definition: `system.tables` has columns for it only in new servers.
fn view_target(view: &TableName, row: &TableRow) -> Target {
    let inner = || {
        let nil = row.uuid_text.bytes().all(|byte| matches!(byte, b'0' | b'-'));
        let table = if nil { format!(".inner.{}", view.table) } else { format!(".inner_id.{}", row.uuid_text) };
        Target::Table(TableName::new(&view.database, &table))
    };
    let Some(rest) = row.create_table_query.strip_prefix("CREATE MATERIALIZED VIEW ") else { return inner() };
    let Some((_, rest)) = qualified(rest) else { return inner() };
    if rest.trim_start().starts_with("REFRESH ") {
        return Target::Refreshed;
    }
    match rest.trim_start().strip_prefix("TO ").and_then(qualified) {
        Some((names, _)) => Target::Table(match &names[..] {
            [table] => TableName::new(&view.database, table),
            [database, table, ..] => TableName::new(database, table),
            [] => return inner(),
        }),
        None => inner(),
    }
}

/// Takes `a.b` or `` `a`.`b` `` off the front.
fn qualified(text: &str) -> Option<(Vec<String>, &str)> {
    let mut names = Vec::new();
    let mut rest = text;
    loop {
        let (name, after) = identifier(rest)?;
        names.push(name);
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None => return Some((names, after)),
        }
    }
}

fn identifier(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('`') else {
        let end = text.find(|char: char| !char.is_alphanumeric() && char != '_').unwrap_or(text.len());
        return (end > 0).then(|| (text[..end].to_owned(), &text[end..]));
    };
    let mut name = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '\\' => name.push(chars.next()?.1),
            '`' => return Some((name, &quoted[at + 1..])),
            char => name.push(char),
        }
    }
    None
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn table(engine: &str, engine_full: &str) -> Table {
        Table {
            name: TableName::new("db", "event_log"),
            row: TableRow { engine: engine.into(), engine_full: engine_full.into(), ..TableRow::default() },
            defaults: [("non_replicated_deduplication_window", 0), ("replicated_deduplication_window", 10_000)]
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
        }
    }

    #[test]
    fn the_window_comes_from_the_table_or_the_server() {
        let full = "MergeTree ORDER BY c SETTINGS non_replicated_deduplication_window = 77, replicated_deduplication_window = 5";
        assert_eq!(table("MergeTree", full).window(), 77);
        assert_eq!(table("ReplicatedMergeTree", full).window(), 5);
        assert_eq!(table("MergeTree", "MergeTree ORDER BY c SETTINGS replicated_deduplication_window = 5").window(), 0);
        assert_eq!(table("SharedMergeTree", "SharedMergeTree ORDER BY c").window(), 10_000);
    }

    #[test]
    fn a_view_s_target_is_read_from_its_definition() {
        let view = TableName::new("db", "v");
        let target = |query: &str, uuid: &str| {
            let row = TableRow { create_table_query: query.into(), uuid_text: uuid.into(), ..TableRow::default() };
            view_target(&view, &row)
        };
        let named = |database, table| Target::Table(TableName::new(database, table));
        assert_eq!(target("CREATE MATERIALIZED VIEW db.v TO db.`a b` (`c` String) AS SELECT", ""), named("db", "a b"));
        assert_eq!(target(r"CREATE MATERIALIZED VIEW db.`x TO y` TO `d.e`.`f\`g` AS", ""), named("d.e", "f`g"));
        assert_eq!(
            target("CREATE MATERIALIZED VIEW db.v (`c` String) ENGINE = MergeTree", "12-3"),
            named("db", ".inner_id.12-3")
        );
        assert_eq!(target("CREATE MATERIALIZED VIEW db.v (`c` String) ENGINE = X", "00-0"), named("db", ".inner.v"));
        assert_eq!(
            target("CREATE MATERIALIZED VIEW db.v REFRESH EVERY 1 HOUR APPEND TO db.t AS", ""),
            Target::Refreshed
        );
    }

    #[test]
    fn the_fingerprint_sees_another_table_under_the_same_name() {
        let fingerprint = |query: &str, uuid: &str| {
            let mut table = table("MergeTree", "");
            table.row = TableRow { create_table_query: query.into(), uuid_text: uuid.into(), ..table.row };
            Definition { version: (26, 7), table, columns: vec![], views: vec![] }.fingerprint()
        };
        assert_eq!(fingerprint("a", "1"), fingerprint("a", "1"));
        assert_ne!(fingerprint("a", "1"), fingerprint("b", "1"));
        assert_ne!(fingerprint("a", "1"), fingerprint("a", "2"));
    }
}
