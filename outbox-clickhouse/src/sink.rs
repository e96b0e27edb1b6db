//! [`ClickHouseSink`]: parts in, INSERTs out, and an "ok" only where it is proof.

use std::fmt;
use std::sync::Arc;

use outbox_core::{EventSchema, Frozen, Part, Recovery, SchemaRecord, Sink, SinkError, StoredEvent, VarError, Vars};

use crate::hosts::Hosts;
use crate::known::Known;
use crate::recover;
use crate::report::TableReport;
use crate::schemas::Schemas;
use crate::settings::{DEFAULT_EVENT_TABLE, Delivery, EnsureTable};
use crate::statement;
use crate::{ClickHouseSettings, TableName};

/// Delivers parts into ClickHouse: each event exactly once, where the table can tell a repeat.
///
/// A part is one INSERT of one block under the part's token. After an unknown outcome the same INSERT is sent again, and the
/// server drops what it has. Where that is no proof (the server crashed in between, the table was altered, too many blocks
/// came after it) the events' ids are read back first: see [`recover`](Sink::recover).
///
/// # Examples
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use outbox_clickhouse::ClickHouseSink;
/// use outbox_core::Sink;
///
/// let sink = ClickHouseSink::from_env()?;
/// sink.check().await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ClickHouseSink {
    pub(crate) hosts: Hosts,
    pub(crate) schemas: Schemas,
    pub(crate) known: Known,
}

impl ClickHouseSink {
    /// A sink with these settings. Nothing is connected yet.
    #[must_use]
    pub fn new(settings: ClickHouseSettings) -> Self {
        Self { hosts: Hosts::new(settings), schemas: Schemas::default(), known: Known::default() }
    }

    /// A sink with the settings of this process's environment.
    ///
    /// # Errors
    /// [`VarError`] that names the variable at fault.
    pub fn from_env() -> Result<Self, VarError> {
        Self::from_vars(&Vars::from_process())
    }

    /// A sink with the settings in `vars`, see [`ClickHouseSettings::from_vars`].
    ///
    /// # Errors
    /// [`VarError`] that names the variable at fault.
    pub fn from_vars(vars: &Vars) -> Result<Self, VarError> {
        ClickHouseSettings::from_vars(vars).map(Self::new)
    }

    /// The sink's settings.
    #[must_use]
    pub fn settings(&self) -> &ClickHouseSettings {
        self.hosts.settings()
    }

    /// The event log table, with its database.
    #[must_use]
    pub fn event_log_table(&self) -> TableName {
        self.settings().table(DEFAULT_EVENT_TABLE)
    }

    /// Adds what is known of an event type, for its table and, in the layout `columns`, for its columns. A relay tells
    /// its sink what the store knows; this is for a sink of one's own, or before the first start.
    #[must_use]
    pub fn schema<E: EventSchema + ?Sized>(self) -> Self {
        self.schemas.learn(&SchemaRecord::of::<E>());
        self
    }

    /// Creates the event log table when it is missing. A table that is there stays as it is: whether it is fit,
    /// [`check`](Sink::check) says.
    ///
    /// # Errors
    /// [`SinkError`] when the server is not reachable, the database is missing, or the user may not create tables.
    pub async fn ensure_table(&self) -> Result<(), SinkError> {
        self.ensure(DEFAULT_EVENT_TABLE, EnsureTable::Create).await.map(drop)
    }

    /// Makes a table fit, as far as `ensure` allows, and reports what is left to do. `table` is the name that events carry.
    ///
    /// # Errors
    /// [`SinkError`] when the server is not reachable, the database is missing, or the user may not do it.
    pub async fn ensure(&self, table: &str, ensure: EnsureTable) -> Result<TableReport, SinkError> {
        let schemas = self.schemas.tables().remove(table).unwrap_or_default();
        let table = self.settings().table(table);
        let report = self.hosts.preferred().ensure("ensure table", &table, &schemas, ensure).await;
        self.forget(&table);
        report
    }

    /// What differs between the tables that events are bound for and what the events need.
    ///
    /// # Errors
    /// [`SinkError`] when the server cannot be asked.
    pub async fn report(&self) -> Result<Vec<TableReport>, SinkError> {
        let mut reports = Vec::new();
        for (table, schemas) in self.tables() {
            reports.push(self.hosts.preferred().report("report", &self.settings().table(&table), &schemas).await?);
        }
        Ok(reports)
    }

    /// The tables that are to be looked at: those of all schemas, and the default one unless no event is bound for it.
    pub(crate) fn tables(&self) -> Vec<(String, Vec<Arc<SchemaRecord>>)> {
        let tables = self.schemas.tables();
        match tables.is_empty() {
            true => vec![(DEFAULT_EVENT_TABLE.to_owned(), Vec::new())],
            false => tables.into_iter().collect(),
        }
    }

    /// The schemas of the layout `columns` of what is bound for this table; none when no known event is. The event log takes
    /// what nobody registered.
    pub(crate) fn schemas_bound_for(&self, table: &TableName) -> Option<Vec<Arc<SchemaRecord>>> {
        let mut bound = (*table == self.event_log_table()).then(Vec::new);
        for (name, schemas) in self.schemas.tables() {
            if self.settings().table(&name) == *table {
                bound.get_or_insert_default().extend(schemas);
            }
        }
        bound
    }

    pub(crate) fn exactly_once(&self) -> bool {
        self.settings().delivery == Delivery::ExactlyOnce
    }

    pub(crate) fn forget(&self, table: &TableName) {
        self.known.forget(table);
    }
}

impl Sink for ClickHouseSink {
    /// One INSERT under the part's token. Answers `Ok` only when the server answered the whole INSERT, and, for a
    /// repeat, is still the same start of the same server.
    async fn deliver(&self, part: &Part) -> Result<(), SinkError> {
        let (statement, mark) = statement::thaw("deliver", part)?;
        if part.events.is_empty() {
            return Ok(());
        }
        let server = self.hosts.of_part("deliver", statement.host.as_deref())?;
        let delivered = self.deliver_to(server, part, &statement, &mark).await;
        delivered.map_err(|error| self.hosts.blame(server, statement.host.is_some(), error))
    }

    /// Looks at the server and at every table that events are bound for, creates tables where the settings ask for it, and
    /// refuses what cannot work, each with the statement that mends it. A table that is not the only one is not refused but
    /// reported in the log: its parts will be parked, and the others go on.
    async fn check(&self) -> Result<(), SinkError> {
        self.check_all().await
    }

    async fn divide(&self, table: &str, events: &[&StoredEvent]) -> Result<Vec<Vec<usize>>, SinkError> {
        self.divide_events(table, events).await
    }

    fn learn(&self, schemas: &[SchemaRecord]) {
        self.schemas.learn(schemas);
    }

    async fn freeze(&self, table: &str, events: &[&StoredEvent]) -> Result<Frozen, SinkError> {
        self.freeze_events(table, events).await
    }

    /// Decides between a re-send and a read-back, as the module `recover` says.
    async fn recover(&self, part: &Part) -> Result<Recovery, SinkError> {
        recover::recover(self, part).await
    }
}

impl fmt::Debug for ClickHouseSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClickHouseSink").field("settings", self.settings()).finish_non_exhaustive()
    }
}
