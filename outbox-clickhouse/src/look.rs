//! Questions about a table: its definition, and what hangs on it, here or on the shards behind it.

use std::collections::BTreeMap;

use outbox_core::SinkError;

use crate::TableName;
use crate::definition::{ColumnRow, Definition, Table, TableRow, View};
use crate::server::Server;
use crate::sql::{text, unquoted};
use crate::views::{Target, view_target};

/// Whom a question about system tables is put to.
#[derive(Clone, Copy)]
pub(crate) enum Scope<'a> {
    /// The server itself.
    Here,
    /// One replica of each shard of a cluster.
    Cluster(&'a str),
}

impl<'a> Scope<'a> {
    pub(crate) fn of(cluster: Option<&'a str>) -> Self {
        cluster.map_or(Self::Here, Self::Cluster)
    }

    /// What stands behind FROM.
    pub(crate) fn system(self, table: &str) -> String {
        match self {
            Self::Here => format!("system.{table}"),
            Self::Cluster(cluster) => format!("cluster({}, 'system', {})", text(cluster), text(table)),
        }
    }

    /// Names the server that answers, where there are several.
    pub(crate) fn shard(self) -> &'static str {
        match self {
            Self::Here => "''",
            Self::Cluster(_) => "concat(hostName(), ':', toString(tcpPort()))",
        }
    }
}

type Defaults = BTreeMap<String, u64>;

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
        let defaults = self.default_windows(operation, Scope::Here).await?;
        let Some(table) = self.tables(operation, Scope::Here, name, &defaults).await?.pop() else { return Ok(None) };
        let columns = self.columns(operation, Scope::Here, name).await?;
        let Some((cluster, local)) = distributed(&table) else {
            let locals = vec![table.clone()];
            let views = self.views(operation, Scope::Here, &locals, &defaults).await?;
            let local_columns = columns.clone();
            return Ok(Some(Definition { version, table, columns, locals, local_columns, cluster: None, views }));
        };
        let scope = Scope::Cluster(&cluster);
        let defaults = self.default_windows(operation, scope).await?;
        let mut locals = self.tables(operation, scope, &local, &defaults).await?;
        locals.sort_unstable_by(|a, b| a.row.shard.cmp(&b.row.shard));
        let local_columns = self.columns(operation, scope, &local).await?;
        let views = self.views(operation, scope, &locals, &defaults).await?;
        Ok(Some(Definition { version, table, columns, locals, local_columns, cluster: Some(cluster), views }))
    }

    async fn columns(
        &self,
        operation: &'static str,
        scope: Scope<'_>,
        name: &TableName,
    ) -> Result<Vec<ColumnRow>, SinkError> {
        let sql = format!(
            "SELECT name, type AS server_type, default_kind, default_expression, is_in_partition_key \
             FROM {} WHERE database = {} AND table = {} ORDER BY position",
            scope.system("columns"),
            text(&name.database),
            text(&name.table)
        );
        self.rows(operation, Some(name), &sql).await
    }

    /// Views of views included: what a view writes is pushed on to the views that read from its target.
    async fn views(
        &self,
        operation: &'static str,
        scope: Scope<'_>,
        sources: &[Table],
        defaults: &Defaults,
    ) -> Result<Vec<View>, SinkError> {
        let mut seen: Vec<TableName> = Vec::new();
        let mut views: Vec<View> = Vec::new();
        let mut open: Vec<TableName> = sources.iter().flat_map(Table::dependents).collect();
        while let Some(name) = open.pop() {
            if seen.contains(&name) {
                continue;
            }
            seen.push(name.clone());
            for view in self.tables(operation, scope, &name, defaults).await? {
                if view.row.engine != "MaterializedView" {
                    continue;
                }
                let targets = match view_target(&name, &view.row) {
                    Target::Refreshed => continue,
                    Target::Table(target) => self.tables(operation, scope, &target, defaults).await?,
                };
                let target = targets.into_iter().find(|target| target.row.shard == view.row.shard);
                // A view hangs on its source; the views behind it may hang on the view or on its target.
                open.extend(view.dependents());
                open.extend(target.iter().flat_map(Table::dependents));
                views.push(View { name: name.clone(), target });
            }
        }
        views.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(views)
    }

    /// The table on each server that is asked.
    async fn tables(
        &self,
        operation: &'static str,
        scope: Scope<'_>,
        name: &TableName,
        defaults: &Defaults,
    ) -> Result<Vec<Table>, SinkError> {
        let sql = format!(
            "SELECT {} AS shard, engine, engine_full, toString(uuid) AS uuid_text, \
             toUInt32(toUnixTimestamp(metadata_modification_time)) AS altered, create_table_query, cityHash64(create_table_query) AS query_hash, partition_key, \
             dependencies_database, dependencies_table FROM {} WHERE database = {} AND name = {}",
            scope.shard(),
            scope.system("tables"),
            text(&name.database),
            text(&name.table)
        );
        let rows: Vec<TableRow> = self.rows(operation, Some(name), &sql).await?;
        let table = |row| Table { name: name.clone(), row, defaults: defaults.clone() };
        Ok(rows.into_iter().map(table).collect())
    }

    async fn default_windows(&self, operation: &'static str, scope: Scope<'_>) -> Result<Defaults, SinkError> {
        let sql = format!(
            "SELECT name, min(value) AS value FROM (\
             SELECT name, toUInt64OrZero(value) AS value FROM {} WHERE name = 'non_replicated_deduplication_window' \
             UNION ALL SELECT name, toUInt64OrZero(value) AS value FROM {} \
             WHERE name IN ('replicated_deduplication_window', 'replicated_deduplication_window_seconds')) GROUP BY name",
            scope.system("merge_tree_settings"),
            scope.system("replicated_merge_tree_settings"),
        );
        let rows: Vec<(String, u64)> = self.rows(operation, None, &sql).await?;
        Ok(rows.into_iter().collect())
    }
}

/// The cluster and the local table of `Distributed('cluster', 'database', 'table', ..)`.
fn distributed(table: &Table) -> Option<(String, TableName)> {
    if table.row.engine != "Distributed" {
        return None;
    }
    let mut rest = table.row.engine_full.strip_prefix("Distributed(")?;
    let mut next = || {
        let (name, after) = argument(rest.trim_start_matches([',', ' ']))?;
        rest = after;
        Some(name)
    };
    let (cluster, database, local) = (next()?, next()?, next()?);
    let database = if database.is_empty() { &table.name.database } else { &database };
    Some((cluster, TableName::new(database, &local)))
}

/// An argument of an engine: a quoted text, or a word.
fn argument(text: &str) -> Option<(String, &str)> {
    if text.starts_with('\'') {
        return unquoted(text, '\'');
    }
    let end = text.find([',', ')'])?;
    Some((text[..end].trim().to_owned(), &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::tests::table;

    #[test]
    fn a_distributed_table_names_its_local_one() {
        let of = |full: &str| distributed(&table("Distributed", full));
        let local = |cluster: &str, database, table| Some((cluster.to_owned(), TableName::new(database, table)));
        assert_eq!(of("Distributed('c', 'd', 'local', cityHash64(event_id))"), local("c", "d", "local"));
        assert_eq!(of(r"Distributed('c\'s', '', 'local')"), local("c's", "db", "local"));
        assert_eq!(of("Distributed(c, d, t)"), local("c", "d", "t"));
        assert_eq!(distributed(&table("MergeTree", "MergeTree ORDER BY c")), None);
    }
}
