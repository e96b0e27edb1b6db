//! The server's state as recovery needs it: which start of the server this is, and how far a table's blocks have come.

use std::collections::BTreeMap;

use clickhouse::Row;
use outbox_core::SinkError;
use serde::{Deserialize, Serialize};

use crate::TableName;
use crate::definition::{Definition, Table};
use crate::look::Scope;
use crate::server::Server;
use crate::sql::text;
use crate::statement::{Mark, Statement};

/// Which start of the server this is.
///
/// After a crash a plain MergeTree can remember a token whose rows are gone (measured: 7 of 1,176 retries after kill -9 got
/// "ok" for rows that were absent), so a re-send proves nothing once the server has started anew. `uptime()` cannot tell:
/// it counts whole seconds and a restart takes 0.3 s.
///
/// What can: ids that the server draws at random when it starts and keeps in memory only. There are two kinds:
/// * the `uuid` of the in-memory databases in `system.databases`: `INFORMATION_SCHEMA`, `information_schema`, and `system`
///   where that one is in memory too;
/// * the `uuid` of `system.one`, where `system` is an Atomic database. The server's source says about it: "UUIDs are not
///   persistent".
///
/// Measured on 26.7, where all three databases are in memory: 150 of 150 restarts after kill -9 seen, 0 of 1,000 repeated
/// questions without a restart answered otherwise (the test `every_restart_is_seen_and_none_is_made_up_kill`).
///
/// All that are there and not nil are put together; any difference counts as a restart. Wrong in that direction, it costs
/// a read-back. Without any id, no two observations are ever the same start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Start(String);

impl Start {
    /// Whether the server cannot have restarted between the two observations.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        !self.is_unknown() && self == other
    }

    /// Whether the server shows nothing that tells its starts apart.
    pub(crate) fn is_unknown(&self) -> bool {
        self.0.is_empty()
    }
}

/// The ids of all servers that are asked.
fn start_sql(scope: Scope<'_>) -> String {
    let (shard, databases, tables) = (scope.shard(), scope.system("databases"), scope.system("tables"));
    format!(
        "ifNull((SELECT arrayStringConcat(arraySort(groupArray(id)), ' ') FROM (\
         SELECT concat({shard}, name, '=', toString(uuid)) AS id, uuid FROM {databases} \
         WHERE engine = 'Memory' AND name IN ('system', 'INFORMATION_SCHEMA', 'information_schema') \
         UNION ALL \
         SELECT concat({shard}, 'system.one=', toString(uuid)) AS id, uuid FROM {tables} \
         WHERE database = 'system' AND name = 'one'\
         ) WHERE uuid != toUUID('00000000-0000-0000-0000-000000000000')), '')"
    )
}

/// See [`Definition::stamp`].
fn stamp_sql(scope: Scope<'_>, table: &TableName) -> String {
    format!(
        "ifNull((SELECT arrayStringConcat(arraySort(groupArray(concat(toString(uuid), ' ', \
         toString(toUInt32(toUnixTimestamp(metadata_modification_time))), ' ', toString(cityHash64(create_table_query))))), ',') FROM {} \
         WHERE database = {} AND name = {}), '')",
        scope.system("tables"),
        text(&table.database),
        text(&table.table)
    )
}

/// The tables whose state matters to a part, and whom to ask about them.
pub(crate) struct Watched<'a> {
    pub(crate) scope: Scope<'a>,
    pub(crate) table: &'a TableName,
    /// Keeper remembers the tokens together with the rows: a restart takes nothing away.
    pub(crate) replicated: bool,
    /// What views fill from it.
    pub(crate) targets: Vec<&'a Table>,
}

impl<'a> Watched<'a> {
    /// The table itself, or the local tables of a Distributed one.
    pub(crate) fn of(definition: &'a Definition) -> Self {
        Self {
            scope: Scope::of(definition.cluster.as_deref()),
            table: definition.locals.first().map_or(&definition.table.name, |local| &local.name),
            replicated: definition.is_replicated(),
            targets: definition.targets().filter(|target| target.is_merge_tree()).collect(),
        }
    }

    /// How far each table has come, by its name: the highest number of a block.
    fn blocks_sql(&self) -> String {
        let (shard, parts) = (self.scope.shard(), self.scope.system("parts"));
        let own = (self.table, self.replicated);
        let tables: Vec<_> = std::iter::once(own)
            .chain(self.targets.iter().map(|target| (&target.name, target.is_replicated())))
            .collect();
        let named = |replicated: Option<bool>| {
            let named = tables.iter().filter(|(_, is)| replicated.is_none_or(|wanted| wanted == *is));
            let pairs: Vec<_> =
                named.map(|(name, _)| format!("({}, {})", text(&name.database), text(&name.table))).collect();
            pairs.join(", ")
        };
        // A plain MergeTree counts per table, a replicated one per partition.
        let of_shard = match (named(Some(true)).as_str(), named(Some(false)).as_str()) {
            ("", _) => "max(blocks)".to_owned(),
            (_, "") => "sum(blocks)".to_owned(),
            (replicated, _) => format!("if((database, table) IN ({replicated}), sum(blocks), max(blocks))"),
        };
        format!(
            "SELECT database, table, toInt64(sum(of_shard)) AS blocks FROM (\
             SELECT shard, database, table, {of_shard} AS of_shard FROM (\
             SELECT {shard} AS shard, database, table, partition_id, max(max_block_number) AS blocks FROM {parts} \
             WHERE (database, table) IN ({}) GROUP BY shard, database, table, partition_id) \
             GROUP BY shard, database, table) GROUP BY database, table",
            named(None)
        )
    }
}

#[derive(Default, Row, Deserialize)]
struct Observed {
    start: String,
    blocks: Vec<(String, i64)>,
    at: u32,
    stamp: String,
}

/// The start of a replicated table's memory: always the same.
const KEEPER: &str = "keeper";

impl Server {
    /// Which start of the server, or of the shards, this is.
    pub(crate) async fn start(&self, operation: &'static str, statement: &Statement) -> Result<Start, SinkError> {
        if statement.replicated {
            return Ok(Start(KEEPER.to_owned()));
        }
        let sql = format!("SELECT {} AS start", start_sql(Scope::of(statement.cluster.as_deref())));
        let rows: Vec<String> = self.rows(operation, None, &sql).await?;
        Ok(Start(rows.into_iter().next().unwrap_or_default()))
    }

    /// The stamp of the table that the statement writes to, as it is now.
    pub(crate) async fn stamp(&self, operation: &'static str, statement: &Statement) -> Result<String, SinkError> {
        let scope = Scope::of(statement.cluster.as_deref());
        let table = statement.local.as_ref().unwrap_or(&statement.table);
        let sql = format!("SELECT {} AS stamp", stamp_sql(scope, table));
        let rows: Vec<String> = self.rows(operation, Some(table), &sql).await?;
        Ok(rows.into_iter().next().unwrap_or_default())
    }

    /// The start; the blocks of the table and of what views fill from it: the highest number that an INSERT got (of several
    /// shards the sum); and the stamp of the [`Definition`].
    pub(crate) async fn mark(
        &self,
        operation: &'static str,
        watched: &Watched<'_>,
    ) -> Result<(Mark, String), SinkError> {
        let Watched { scope, table, replicated, .. } = watched;
        let sql = format!(
            "SELECT {} AS start, (SELECT groupArray((concat(database, '.', table), blocks)) FROM ({})) AS blocks, \
             toUInt32(now()) AS at, {} AS stamp",
            start_sql(*scope),
            watched.blocks_sql(),
            stamp_sql(*scope, table),
        );
        let rows: Vec<Observed> = self.rows(operation, Some(table), &sql).await?;
        let Observed { start, blocks, at, stamp } = rows.into_iter().next().unwrap_or_default();
        let start = Start(if *replicated { KEEPER.to_owned() } else { start });
        let blocks: BTreeMap<_, _> = blocks.into_iter().collect();
        let of = |table: &TableName| {
            let name = format!("{}.{}", table.database, table.table);
            // Not there: nothing was written to it yet.
            let blocks = blocks.get(&name).copied().unwrap_or_default();
            (name, blocks)
        };
        let targets = watched.targets.iter().map(|target| of(&target.name)).collect();
        Ok((Mark { start, blocks: of(table).1, at, targets }, stamp))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_start_is_never_the_same() {
        assert!(Start("a=1".into()).is_same(&Start("a=1".into())));
        assert!(!Start("a=1".into()).is_same(&Start("a=2".into())));
        assert!(!Start(String::new()).is_same(&Start(String::new())));
    }
}
