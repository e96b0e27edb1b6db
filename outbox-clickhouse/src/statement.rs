//! What is frozen with a part: how it is sent, and the server's state before its first send.

use std::collections::BTreeMap;

use outbox_core::{Frozen, Part, SinkError};
use serde::{Deserialize, Serialize};

use crate::columns::{Column, ID_COLUMN};
use crate::definition::Definition;
use crate::encode::{Format, NATIVE_SINCE};
use crate::observe::Start;
use crate::settings::Delivery;
use crate::{ClickHouseSettings, TableName, types};

/// The most rows of an INSERT: one INSERT must be one block, or a retry that is cut differently doubles rows.
pub(crate) const ROWS_MAX: usize = 1_000_000;
/// The largest body of an INSERT, for the same reason.
pub(crate) const BODY_BYTES_MAX: usize = 128 << 20;

/// Where the server would begin a second block, pinned so that no server default can be lower.
const BLOCK_ROWS: usize = 1 << 20;
const BLOCK_BYTES: usize = 256 << 20;
const _: () = assert!(ROWS_MAX < BLOCK_ROWS && BODY_BYTES_MAX < BLOCK_BYTES);

/// How a part is sent, each time the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Statement {
    #[serde(flatten)]
    pub(crate) table: TableName,
    pub(crate) format: Format,
    pub(crate) columns: Vec<Column>,
    pub(crate) settings: BTreeMap<String, String>,
    pub(crate) exactly_once: bool,
    /// The fingerprint of the table.
    pub(crate) definition: String,
    /// How many blocks the table, and each that a view fills from it, remembers tokens for.
    pub(crate) window: u64,
    /// For how many seconds; None: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) window_seconds: Option<u64>,
    /// Whether materialized views read from the table.
    pub(crate) views: bool,
    /// The host whose table alone remembers the token; None: any host will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<String>,
    /// The cluster of a Distributed table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cluster: Option<String>,
    /// Its local table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) local: Option<TableName>,
    /// The stamp of the table's definition.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) stamp: String,
    /// Whether Keeper remembers the token, for all replicas.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) replicated: bool,
}

impl Statement {
    /// The INSERT, up to its rows.
    pub(crate) fn sql(&self) -> String {
        let columns: Vec<_> = self.columns.iter().map(Column::quoted).collect();
        format!("INSERT INTO {} ({}) FORMAT {}", self.table, columns.join(", "), self.format.name())
    }

    /// Whether the rows can be found again by their ids.
    pub(crate) fn has_ids(&self) -> bool {
        self.has(ID_COLUMN)
    }

    /// Whether the columns can still take what the statement brings. The server would not ask: where it converts, a number that
    /// is too large for its column becomes another one.
    pub(crate) fn still_fits(&self, definition: &Definition) -> bool {
        self.columns.iter().all(|column| {
            let now = definition.column(&column.name).filter(|row| row.takes_values());
            now.is_some_and(|now| types::holds(&column.server_type, &now.server_type))
        })
    }

    /// Whether a piece of the envelope fills this column.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.columns.iter().any(|column| column.name == name && !column.payload)
    }
}

/// The server before the first send.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// Which start of the server it was.
    pub(crate) start: Start,
    /// How many blocks had been written to the table.
    pub(crate) blocks: i64,
    /// When it was, by the server's clock, in seconds.
    #[serde(default)]
    pub(crate) at: u32,
    /// How many blocks had been written to the tables that views fill from it, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) targets: BTreeMap<String, i64>,
}

/// Both texts of a [`Frozen`].
pub(crate) fn freeze(statement: &Statement, mark: &Mark) -> Result<Frozen, SinkError> {
    let text = |json: Result<String, serde_json::Error>| {
        json.map_err(|error| SinkError::stop("freeze", "the statement cannot be written as JSON").with_source(error))
    };
    Ok(Frozen { statement: text(serde_json::to_string(statement))?, mark: text(serde_json::to_string(mark))? })
}

/// What was frozen with the part.
pub(crate) fn thaw(operation: &'static str, part: &Part) -> Result<(Statement, Mark), SinkError> {
    let read = || -> Result<_, serde_json::Error> {
        Ok((serde_json::from_str(&part.frozen.statement)?, serde_json::from_str(&part.frozen.mark)?))
    };
    read().map_err(|error| {
        let message = "the part's statement was not frozen by this sink: was the route given another sink, or was the \
                       part frozen by a newer version?";
        SinkError::stop(operation, message).with_source(error)
    })
}

/// The settings that are sent with every INSERT. What a server does by default has changed between releases
/// (`async_insert` became 1 in 26.2), so each that matters is spelled out.
pub(crate) fn insert_settings(version: (u32, u32), chosen: &ClickHouseSettings) -> BTreeMap<String, String> {
    let mut settings = chosen.insert_settings.clone();
    settings.extend(
        [
            ("async_insert", "0"),
            ("wait_for_async_insert", "1"),
            ("insert_deduplicate", "1"),
            ("deduplicate_blocks_in_dependent_materialized_views", "1"),
            ("distributed_foreground_insert", "1"),
            ("input_format_parallel_parsing", "0"),
            // A profile that allows errors would drop bad rows and answer 200.
            ("input_format_allow_errors_num", "0"),
            ("input_format_allow_errors_ratio", "0"),
            ("input_format_with_names_use_header", "1"),
            ("input_format_with_types_use_header", "1"),
            ("input_format_skip_unknown_fields", "0"),
            ("input_format_null_as_default", "1"),
            ("input_format_defaults_for_omitted_fields", "1"),
            // Without it the values of a Nested column are lost in silence.
            ("input_format_import_nested_json", "1"),
            ("date_time_input_format", "best_effort"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    for (name, value) in [
        ("max_insert_block_size", BLOCK_ROWS),
        ("min_insert_block_size_rows", BLOCK_ROWS),
        ("min_insert_block_size_bytes", BLOCK_BYTES),
        ("max_partitions_per_insert_block", chosen.insert_partitions_max),
    ] {
        settings.insert(name.to_owned(), value.to_string());
    }
    // Older servers answer "unknown setting".
    let mut since = |minimum: (u32, u32), name: &str, value: &str| {
        if version >= minimum {
            settings.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
    };
    // Of types that are not the table's it would make something else.
    since(NATIVE_SINCE, "input_format_native_allow_types_conversion", "0");
    // Its 20 retries keep an INSERT on a read-only replica hanging for more than two minutes (measured).
    since((23, 2), "insert_keeper_max_retries", "4");
    since((23, 5), "input_format_json_ignore_unknown_keys_in_named_tuple", "0");
    // A time that its column cannot hold is refused, and not bent into another one.
    since((24, 1), "date_time_overflow_behavior", "throw");
    if chosen.delivery == Delivery::ExactlyOnce {
        since((26, 2), "deduplicate_insert", "enable");
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_goes_only_to_servers_that_know_it() {
        let chosen = ClickHouseSettings::new();
        let sent = |version| insert_settings(version, &chosen).contains_key("deduplicate_insert");
        assert!(sent((26, 2)) && sent((27, 1)) && !sent((26, 1)) && !sent((25, 8)));
    }

    #[test]
    fn a_setting_of_one_s_own_goes_along_and_never_wins_over_what_is_decided() {
        let chosen = ClickHouseSettings::new().insert_setting("insert_quorum", "auto").expect("allowed");
        let chosen = chosen.insert_setting("insert_keeper_max_retries", "9").expect("allowed").insert_partitions_max(7);
        let settings = insert_settings((26, 7), &chosen);
        assert_eq!(settings["insert_quorum"], "auto");
        assert_eq!(settings["insert_keeper_max_retries"], "9");
        assert_eq!(settings["max_partitions_per_insert_block"], "7");
        assert!(chosen.insert_setting("async_insert", "1").is_err());
    }

    #[test]
    fn a_statement_survives_the_store() {
        let statement = Statement {
            table: TableName::new("db", "event_log"),
            format: Format::RowBinary,
            columns: vec![Column::envelope("event_id", "UUID")],
            settings: insert_settings((26, 7), &ClickHouseSettings::new()),
            exactly_once: true,
            definition: "f".into(),
            window: 10_000,
            window_seconds: None,
            views: false,
            host: None,
            cluster: None,
            local: None,
            stamp: String::new(),
            replicated: false,
        };
        let text = serde_json::to_string(&statement).expect("plain data");
        assert!(
            text.starts_with(r#"{"database":"db","table":"event_log","format":"RowBinaryWithNamesAndTypes""#),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Statement>(&text).expect("its own text"), statement);
        let sql = "INSERT INTO `db`.`event_log` (`event_id`) FORMAT RowBinaryWithNamesAndTypes";
        assert_eq!(statement.sql(), sql);
    }
}
