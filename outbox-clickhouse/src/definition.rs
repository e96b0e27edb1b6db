//! What a table looks like right now: engine, columns, window, and the tables that materialized views fill from it.

use std::collections::BTreeMap;

use clickhouse::Row;
use serde::Deserialize;

use crate::TableName;

/// A table and everything that an INSERT into it writes.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    pub(crate) version: (u32, u32),
    /// The table that is written to.
    pub(crate) table: Table,
    pub(crate) columns: Vec<ColumnRow>,
    /// The tables that keep the rows: of a Distributed one, its local table on each shard; else the table itself.
    pub(crate) locals: Vec<Table>,
    pub(crate) local_columns: Vec<ColumnRow>,
    /// Of a Distributed table.
    pub(crate) cluster: Option<String>,
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
    pub(crate) defaults: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Default, Row, Deserialize)]
pub(crate) struct TableRow {
    /// Which server this is about, where several were asked.
    pub(crate) shard: String,
    pub(crate) engine: String,
    pub(crate) engine_full: String,
    pub(crate) uuid_text: String,
    /// When it was last altered: a window that was set to 0 and back has forgotten its tokens.
    pub(crate) altered: u32,
    pub(crate) create_table_query: String,
    /// `cityHash64` of it: the time of an alteration has whole seconds only.
    pub(crate) query_hash: u64,
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
    /// Whether its memory of tokens is Keeper's, the same for every replica.
    pub(crate) fn is_replicated(&self) -> bool {
        self.row.engine.starts_with("Replicated") || self.row.engine.starts_with("Shared")
    }

    /// The setting that holds the engine's window.
    pub(crate) fn window_setting(&self) -> &'static str {
        if self.is_replicated() { "replicated_deduplication_window" } else { "non_replicated_deduplication_window" }
    }

    /// How many blocks the table remembers tokens for.
    pub(crate) fn window(&self) -> u64 {
        self.setting(self.window_setting())
    }

    /// How many seconds it remembers them for; None: for ever.
    pub(crate) fn window_seconds(&self) -> Option<u64> {
        self.is_replicated().then(|| self.setting("replicated_deduplication_window_seconds"))
    }

    fn setting(&self, name: &str) -> u64 {
        let set = self.row.engine_full.rsplit_once(&format!(" {name} = ")).and_then(|(_, rest)| {
            let digits = rest.split(|char: char| !char.is_ascii_digit()).next()?;
            digits.parse().ok()
        });
        set.or_else(|| self.defaults.get(name).copied()).unwrap_or_default()
    }

    pub(crate) fn is_merge_tree(&self) -> bool {
        self.row.engine.ends_with("MergeTree")
    }

    /// Its name, with the server's where several were asked.
    pub(crate) fn place(&self) -> String {
        match self.row.shard.as_str() {
            "" => self.name.to_string(),
            shard => format!("{} on {shard}", self.name),
        }
    }

    pub(crate) fn dependents(&self) -> impl Iterator<Item = TableName> {
        let names = self.row.dependencies_database.iter().zip(&self.row.dependencies_table);
        names.map(|(database, table)| TableName::new(database, table))
    }
}

impl Definition {
    /// The smallest window of the tables that keep the rows, and of those that views fill: whichever forgets a token first
    /// takes a repeat twice.
    pub(crate) fn window(&self) -> u64 {
        self.locals.iter().chain(self.targets()).map(Table::window).min().unwrap_or_default()
    }

    pub(crate) fn window_seconds(&self) -> Option<u64> {
        self.locals.iter().chain(self.targets()).filter_map(Table::window_seconds).min()
    }

    /// The tables that materialized views fill.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &Table> {
        self.views.iter().filter_map(|view| view.target.as_ref())
    }

    /// Whether tokens are remembered by Keeper, so that any replica can take a repeat.
    pub(crate) fn is_replicated(&self) -> bool {
        !self.locals.is_empty() && self.locals.iter().all(Table::is_replicated)
    }

    /// Whether a repeat has to go to the same host.
    pub(crate) fn is_sticky(&self) -> bool {
        self.cluster.is_none() && !self.is_replicated()
    }

    pub(crate) fn column(&self, name: &str) -> Option<&ColumnRow> {
        self.columns.iter().find(|row| row.name == name)
    }

    /// Changes when the table does, or is made anew under the same name. Views are left out: a repeat under the same token
    /// is what fills a view that was repaired.
    pub(crate) fn fingerprint(&self) -> String {
        let mut text = String::new();
        let tables = std::iter::once(&self.table).chain(self.cluster.iter().flat_map(|_| &self.locals));
        for table in tables {
            let TableRow { uuid_text, altered, create_table_query, .. } = &table.row;
            if self.is_replicated() {
                // Each replica has its own id and its own time.
                text.push_str(create_table_query);
            } else {
                text.push_str(&format!("{uuid_text} {altered} {create_table_query}"));
            }
        }
        format!("{:016x}", fnv1a(text.as_bytes()))
    }

    /// What [`Server::mark`](crate::server::Server::mark) sees of the tables: another one, and the definition is out of date.
    pub(crate) fn stamp(&self) -> String {
        let stamp = |table: &Table| format!("{} {} {}", table.row.uuid_text, table.row.altered, table.row.query_hash);
        let mut stamps: Vec<_> = self.locals.iter().map(stamp).collect();
        stamps.sort_unstable();
        stamps.join(",")
    }
}

/// FNV-1a: the same on every platform and in every release, unlike the standard library's hashers.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn table(engine: &str, engine_full: &str) -> Table {
        Table {
            name: TableName::new("db", "event_log"),
            row: TableRow { engine: engine.into(), engine_full: engine_full.into(), ..TableRow::default() },
            defaults: [
                ("non_replicated_deduplication_window", 0),
                ("replicated_deduplication_window", 10_000),
                ("replicated_deduplication_window_seconds", 3600),
            ]
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
        }
    }

    pub(crate) fn definition(table: Table, columns: Vec<ColumnRow>) -> Definition {
        Definition {
            version: (26, 7),
            locals: vec![table.clone()],
            table,
            local_columns: columns.clone(),
            columns,
            cluster: None,
            views: vec![],
        }
    }

    pub(crate) fn column(name: &str, server_type: &str) -> ColumnRow {
        ColumnRow {
            name: name.into(),
            server_type: server_type.into(),
            default_kind: String::new(),
            default_expression: String::new(),
            is_in_partition_key: 0,
        }
    }

    #[test]
    fn the_window_comes_from_the_table_or_the_server() {
        let full = "MergeTree ORDER BY c SETTINGS non_replicated_deduplication_window = 77, replicated_deduplication_window = 5";
        assert_eq!(table("MergeTree", full).window(), 77);
        assert_eq!(table("ReplicatedMergeTree", full).window(), 5);
        assert_eq!(table("MergeTree", "MergeTree ORDER BY c SETTINGS replicated_deduplication_window = 5").window(), 0);
        assert_eq!(table("SharedMergeTree", "SharedMergeTree ORDER BY c").window(), 10_000);
        assert_eq!(table("ReplicatedMergeTree", full).window_seconds(), Some(3600));
        assert_eq!(table("MergeTree", full).window_seconds(), None);
    }

    #[test]
    fn the_fingerprint_sees_another_table_under_the_same_name() {
        let fingerprint = |engine: &str, query: &str, uuid: &str| {
            let mut table = table(engine, "");
            table.row = TableRow { create_table_query: query.into(), uuid_text: uuid.into(), ..table.row };
            definition(table, vec![]).fingerprint()
        };
        assert_eq!(fingerprint("MergeTree", "a", "1"), fingerprint("MergeTree", "a", "1"));
        assert_ne!(fingerprint("MergeTree", "a", "1"), fingerprint("MergeTree", "b", "1"));
        assert_ne!(fingerprint("MergeTree", "a", "1"), fingerprint("MergeTree", "a", "2"));
        let replica = |query, uuid| fingerprint("ReplicatedMergeTree", query, uuid);
        assert_eq!(replica("a", "1"), replica("a", "2"), "each replica has its own id");
        assert_ne!(replica("a", "1"), replica("b", "1"));
    }

    #[test]
    fn a_distributed_table_is_as_good_as_its_worst_local_one() {
        let window = |blocks| {
            table("MergeTree", &format!("MergeTree ORDER BY c SETTINGS non_replicated_deduplication_window = {blocks}"))
        };
        let spread = Definition {
            locals: vec![window(100), window(7)],
            cluster: Some("c".into()),
            ..definition(table("Distributed", "Distributed('c', 'db', 'local')"), vec![])
        };
        assert_eq!(spread.window(), 7);
        assert!(!spread.is_sticky(), "any host passes the token on");
        assert!(definition(window(1), vec![]).is_sticky());
        assert!(!definition(table("SharedMergeTree", ""), vec![]).is_sticky());
        let view = View { name: TableName::new("db", "v"), target: Some(window(3)) };
        assert_eq!(Definition { views: vec![view], ..spread }.window(), 3, "what a view fills forgets sooner");
    }
}
