//! The SQL that makes a table, and the SQL that mends one.

use std::sync::Arc;

use outbox_core::{ColumnRecord, DdlRecord, SchemaRecord};

use crate::columns::{COLUMNS, ColumnSpec};
use crate::types::{arguments, is_nullable};
use crate::volatile::is_volatile;
use crate::{TableName, sql};

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
    Ddl::default().create_context_table(table)
}

/// A column as DDL writes it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NewColumn {
    name: String,
    ty: String,
    codec: Option<String>,
    default: Option<String>,
    comment: Option<String>,
}

impl From<&ColumnSpec> for NewColumn {
    fn from(spec: &ColumnSpec) -> Self {
        let codec = spec.codec.map(str::to_owned);
        Self { name: spec.name.into(), ty: spec.created_as.into(), codec, default: None, comment: None }
    }
}

impl From<&ColumnRecord> for NewColumn {
    fn from(record: &ColumnRecord) -> Self {
        let ColumnRecord { name, ty, codec, default, comment } = record.clone();
        Self { name, ty, codec, default, comment }
    }
}

impl NewColumn {
    fn sql(&self) -> String {
        let mut text = format!("{} {}", sql::name(&self.name), self.ty);
        if let Some(default) = &self.default {
            text.push_str(&format!(" DEFAULT {default}"));
        }
        if let Some(comment) = &self.comment {
            text.push_str(&format!(" COMMENT {}", sql::text(comment)));
        }
        if let Some(codec) = &self.codec {
            text.push_str(&format!(" CODEC({codec})"));
        }
        text
    }
}

/// Why no table is made out of a schema.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("{0} has no sorting key: name its columns in `order_by`, or write tuple()")]
    EmptyOrder(String),
    #[error(
        "{0} would be sorted by {1}, which can be NULL: leave it out of `order_by`, or make the field one that is always there"
    )]
    NullableOrder(String, String),
    #[error(
        "{0} would be partitioned by {1}, which is not the same when an event comes again: partition by what the event itself \
         holds, toYYYYMM(event_date_time) say"
    )]
    VolatilePartition(String, String),
    #[error("{0} would have the column {1} as {2} for one event and as {3} for another: give them tables of their own")]
    TwoTypes(String, String, String, String),
}

/// Writes DDL.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ddl {
    /// Everything is done ON CLUSTER this one.
    pub(crate) cluster: Option<String>,
}

impl Ddl {
    fn on_cluster(&self) -> String {
        self.cluster.as_ref().map(|cluster| format!(" ON CLUSTER {}", sql::text(cluster))).unwrap_or_default()
    }

    /// The `CREATE TABLE` of the layout `context`.
    pub(crate) fn create_context_table(&self, table: &TableName) -> String {
        let columns: Vec<NewColumn> = COLUMNS.iter().map(Into::into).collect();
        let order = "(event_type, event_date_time, event_id)";
        self.create(table, &columns, "MergeTree", Some("toYYYYMM(event_date_time)"), order, None, "context")
    }

    /// The `CREATE TABLE` for events of these schemas, a column for each field.
    ///
    /// # Errors
    /// When the table could not tell repeats, or there could be no such table.
    pub(crate) fn create_columns_table(
        &self,
        table: &TableName,
        schemas: &[Arc<SchemaRecord>],
    ) -> Result<String, Refused> {
        let place = table.to_string();
        let columns = all_columns(&place, schemas)?;
        // The newest version knows best.
        let hint =
            |of: fn(&DdlRecord) -> &Option<String>| schemas.iter().rev().find_map(|schema| of(&schema.ddl).clone());
        let order = hint(|ddl| &ddl.order_by).unwrap_or_else(|| "(event_type, event_date_time, event_id)".to_owned());
        check_order(&place, &order, &columns)?;
        let partition = hint(|ddl| &ddl.partition_by).unwrap_or_else(|| "toYYYYMM(event_date_time)".to_owned());
        check_partition(&place, &partition, &columns)?;
        let engine = hint(|ddl| &ddl.engine).unwrap_or_else(|| "MergeTree".to_owned());
        let ttl = hint(|ddl| &ddl.ttl);
        Ok(self.create(table, &columns, &engine, Some(&partition), &order, ttl.as_deref(), "columns"))
    }

    #[allow(clippy::too_many_arguments, reason = "the clauses of one statement, in their order")]
    fn create(
        &self,
        table: &TableName,
        columns: &[NewColumn],
        engine: &str,
        partition: Option<&str>,
        order: &str,
        ttl: Option<&str>,
        layout: &str,
    ) -> String {
        let columns: Vec<_> = columns.iter().map(|column| format!("    {}", column.sql())).collect();
        let clause = |name: &str, text: Option<&str>| text.map(|text| format!("{name} {text}\n")).unwrap_or_default();
        let bracketed = ["(", "tuple"].iter().any(|start| order.trim_start().starts_with(start));
        let order = if bracketed { order.to_owned() } else { format!("({order})") };
        format!(
            "CREATE TABLE IF NOT EXISTS {table}{} (\n{}\n)\nENGINE = {engine}\n{}ORDER BY {order}\n{}\
             SETTINGS non_replicated_deduplication_window = {WINDOW}, replicated_deduplication_window = {WINDOW}, \
             replicated_deduplication_window_seconds = {WINDOW_SECONDS}, fsync_after_insert = 1, fsync_part_directory = 1\n\
             COMMENT 'outbox: layout {layout} 1'",
            self.on_cluster(),
            columns.join(",\n"),
            clause("PARTITION BY", partition),
            clause("TTL", ttl),
        )
    }

    /// Adds a column.
    pub(crate) fn add_column(&self, table: &TableName, column: &NewColumn) -> String {
        format!("ALTER TABLE {table}{} ADD COLUMN IF NOT EXISTS {}", self.on_cluster(), column.sql())
    }

    /// Gives a column another type.
    pub(crate) fn modify_column(&self, table: &TableName, column: &NewColumn) -> String {
        format!("ALTER TABLE {table}{} MODIFY COLUMN {}", self.on_cluster(), column.sql())
    }

    /// Turns the window on.
    pub(crate) fn modify_window(&self, table: &TableName, setting: &str) -> String {
        format!("ALTER TABLE {table}{} MODIFY SETTING {setting} = {WINDOW}", self.on_cluster())
    }
}

/// The envelope's columns, less those that a field takes, and every field of every schema.
fn all_columns(place: &str, schemas: &[Arc<SchemaRecord>]) -> Result<Vec<NewColumn>, Refused> {
    let mut fields: Vec<NewColumn> = Vec::new();
    for field in schemas.iter().flat_map(|schema| &schema.columns) {
        match fields.iter().find(|known| known.name == field.name) {
            Some(known) if known.ty != field.ty => {
                let (name, ty) = (field.name.clone(), field.ty.clone());
                return Err(Refused::TwoTypes(place.to_owned(), name, known.ty.clone(), ty));
            }
            Some(_) => {}
            None => fields.push(field.into()),
        }
    }
    let envelope = COLUMNS.iter().filter(|spec| spec.in_columns && fields.iter().all(|field| field.name != spec.name));
    Ok(envelope.map(Into::into).chain(fields.clone()).collect())
}

fn terms(key: &str) -> Vec<&str> {
    let key = key.trim();
    let inner = key.strip_prefix("tuple").unwrap_or(key).trim();
    arguments(inner.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(key))
}

fn check_order(place: &str, order: &str, columns: &[NewColumn]) -> Result<(), Refused> {
    let terms = terms(order);
    let unsorted_on_purpose = order.split_whitespace().collect::<String>() == "tuple()";
    if terms.iter().all(|term| term.is_empty()) && !unsorted_on_purpose {
        return Err(Refused::EmptyOrder(place.to_owned()));
    }
    let nullable =
        |term: &&&str| columns.iter().any(|column| column.name == term.trim_matches('`') && is_nullable(&column.ty));
    match terms.iter().find(nullable) {
        Some(term) => Err(Refused::NullableOrder(place.to_owned(), (*term).to_owned())),
        None => Ok(()),
    }
}

fn check_partition(place: &str, partition: &str, columns: &[NewColumn]) -> Result<(), Refused> {
    let refused = |what: &str| Err(Refused::VolatilePartition(place.to_owned(), what.to_owned()));
    if is_volatile(partition) {
        return refused(partition);
    }
    let word = |char: char| !(char.is_alphanumeric() || char == '_');
    let made_by_server = |name: &&str| {
        let column = columns.iter().find(|column| column.name == *name);
        column.and_then(|column| column.default.as_deref()).is_some_and(is_volatile)
    };
    match partition.split(word).find(made_by_server) {
        Some(column) => refused(column),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use outbox_core::Layout;

    use super::*;

    fn schema(ddl: DdlRecord, fields: &[(&str, &str, Option<&str>)]) -> Vec<Arc<SchemaRecord>> {
        let field = |(name, ty, default): &(&str, &str, Option<&str>)| ColumnRecord {
            name: (*name).to_owned(),
            ty: (*ty).to_owned(),
            codec: None,
            default: default.map(str::to_owned),
            comment: None,
        };
        vec![Arc::new(SchemaRecord {
            event_type: "seen".into(),
            version: 1,
            table: "seen".into(),
            layout: Layout::Columns,
            columns: fields.iter().map(field).collect(),
            ddl,
        })]
    }

    fn create(ddl: DdlRecord, fields: &[(&str, &str, Option<&str>)]) -> Result<String, Refused> {
        Ddl::default().create_columns_table(&TableName::new("db", "seen"), &schema(ddl, fields))
    }

    fn order_by(order: &str) -> DdlRecord {
        DdlRecord { order_by: Some(order.into()), ..DdlRecord::default() }
    }

    #[test]
    fn a_table_of_columns_has_the_envelope_the_fields_and_the_windows() {
        let ddl = DdlRecord {
            engine: Some("ReplacingMergeTree".into()),
            order_by: Some("key, event_id".into()),
            partition_by: Some("toDate(event_date_time)".into()),
            ttl: Some("toDateTime(event_date_time) + INTERVAL 1 YEAR".into()),
        };
        let sql = create(ddl, &[("key", "UInt64", None), ("it's", "String", Some("'x'"))]).expect("a good table");
        for part in [
            "`event_id` UUID,",
            "`key` UInt64,",
            "`it's` String DEFAULT 'x'\n",
            "ENGINE = ReplacingMergeTree\nPARTITION BY toDate(event_date_time)\nORDER BY (key, event_id)\nTTL toDateTime",
            "non_replicated_deduplication_window = 10000, replicated_deduplication_window = 10000",
            "COMMENT 'outbox: layout columns 1'",
        ] {
            assert!(sql.contains(part), "{part} in {sql}");
        }
        assert!(!sql.contains("event_context") && !sql.contains("`key` String"), "{sql}");
        let cluster = Ddl { cluster: Some("my c".into()) };
        let table = TableName::new("db", "t");
        assert!(
            cluster.create_context_table(&table).starts_with("CREATE TABLE IF NOT EXISTS `db`.`t` ON CLUSTER 'my c' (")
        );
    }

    #[test]
    fn tables_that_could_not_be_are_refused() {
        let nullable = [("maybe", "Nullable(String)", None)];
        assert!(matches!(create(order_by("()"), &nullable), Err(Refused::EmptyOrder(_))));
        assert!(matches!(create(order_by(" "), &nullable), Err(Refused::EmptyOrder(_))));
        assert!(create(order_by("tuple()"), &nullable).is_ok());
        assert!(matches!(create(order_by("(event_id, `maybe`)"), &nullable), Err(Refused::NullableOrder(..))));
        assert!(matches!(create(order_by("maybe"), &nullable), Err(Refused::NullableOrder(..))));
        assert!(create(order_by("(event_id, assumeNotNull(maybe))"), &nullable).is_ok());
        let partition = |key: &str| DdlRecord { partition_by: Some(key.into()), ..DdlRecord::default() };
        for key in ["toYYYYMM(now())", "rand() % 8"] {
            assert!(matches!(create(partition(key), &[]), Err(Refused::VolatilePartition(..))), "{key}");
        }
        let made = [("at", "DateTime", Some("now()"))];
        assert!(matches!(create(partition("toYYYYMM(at)"), &made), Err(Refused::VolatilePartition(..))));
        assert!(create(partition("toYYYYMM(at_work)"), &made).is_ok());
    }

    #[test]
    fn one_column_has_one_type() {
        let mut both = schema(DdlRecord::default(), &[("a", "UInt8", None)]);
        both.extend(schema(DdlRecord::default(), &[("a", "String", None)]));
        let refused = Ddl::default().create_columns_table(&TableName::new("db", "seen"), &both).expect_err("two types");
        assert!(refused.to_string().contains("a as UInt8"), "{refused}");
    }
}
