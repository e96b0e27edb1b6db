//! [`ClickHouseSink`]: parts in, INSERTs out, and an "ok" only where it is proof.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use outbox_core::{
    EventSchema, Frozen, Part, Recovery, SchemaRecord, Sink, SinkError, SinkErrorKind, StoredEvent, VarError, Vars,
};
use uuid::Uuid;

use crate::digest::Digest;
use crate::encode::Format;
use crate::error::BadRow;
use crate::hosts::Hosts;
use crate::known::Known;
use crate::recover;
use crate::report::TableReport;
use crate::schemas::Schemas;
use crate::server::Server;
use crate::settings::{DEFAULT_EVENT_TABLE, Delivery, EnsureTable};
use crate::statement::{self, BODY_BYTES_MAX, Mark, Statement};
use crate::{ClickHouseSettings, TableName};

/// How much of a body goes into one write. With compression each is one compressed block.
const CHUNK_BYTES: usize = 1 << 20;

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
    fn tables(&self) -> Vec<(String, Vec<Arc<SchemaRecord>>)> {
        let tables = self.schemas.tables();
        match tables.is_empty() {
            true => vec![(DEFAULT_EVENT_TABLE.to_owned(), Vec::new())],
            false => tables.into_iter().collect(),
        }
    }

    pub(crate) fn exactly_once(&self) -> bool {
        self.settings().delivery == Delivery::ExactlyOnce
    }

    pub(crate) fn forget(&self, table: &TableName) {
        self.known.forget(table);
    }

    /// Sends the part as it was frozen. `Ok` is the server's answer to the whole INSERT.
    pub(crate) async fn send(
        &self,
        operation: &'static str,
        server: &Server,
        part: &Part,
        statement: &Statement,
    ) -> Result<usize, SinkError> {
        let body = body(operation, statement, &part.events)?;
        let bytes = body.len();
        let sent = self.insert(operation, server, part, statement, body).await;
        if sent.as_ref().is_err_and(is_outdated) {
            self.forget(&statement.table);
        }
        sent.map(|()| bytes)
    }

    async fn insert(
        &self,
        operation: &'static str,
        server: &Server,
        part: &Part,
        statement: &Statement,
        mut body: Bytes,
    ) -> Result<(), SinkError> {
        let mut insert = server.insert(statement.sql());
        let query_id = format!("{}{}-{}", query_id_prefix(part.token), part.fence, Uuid::new_v4().simple());
        for (name, value) in &statement.settings {
            insert = insert.with_setting(name, value);
        }
        // The server gives up when this side does, so that nothing of this part runs for ever.
        let limit = self.settings().insert_timeout;
        insert = insert
            .with_setting("insert_deduplication_token", part.token.to_string())
            .with_setting("max_execution_time", limit.as_secs().max(1).to_string())
            .with_setting("query_id", query_id.as_str())
            .with_setting("log_comment", format!("outbox route {} part {} fence {}", part.route, part.id, part.fence));
        tracing::debug!(
            part = %part.id,
            token = %part.token,
            rows = part.events.len(),
            resend = part.resend,
            digest = %Digest(&part.events),
            "sending"
        );
        let send = async move {
            while !body.is_empty() {
                let chunk = body.split_to(CHUNK_BYTES.min(body.len()));
                // An end() after a failed send answers Ok: the error must leave from here.
                insert.send(chunk).await?;
            }
            insert.end().await
        };
        let sent = server.limited(operation, Some(&statement.table), limit, send).await;
        sent.map_err(|error| name_bad_row(error, &part.events).with_query_id(query_id))
    }

    /// Where the server converts, it does not say when a value does not fit its column any more. So the table is looked at
    /// right before, and what was altered since the part was frozen must still fit.
    async fn look_again(&self, server: &Server, statement: &Statement) -> Result<(), SinkError> {
        if server.stamp("deliver", statement).await? == statement.stamp {
            return Ok(());
        }
        self.forget(&statement.table);
        match server.definition("deliver", &statement.table).await? {
            Some(definition) if !statement.still_fits(&definition) => {
                let message = format!("{} was altered since the part was frozen: it is frozen anew", statement.table);
                Err(SinkError::unknown("deliver", message))
            }
            // The server names what is missing.
            _ => Ok(()),
        }
    }

    /// A statement that does not fit the table any more needs no person where a new one will do: recovery finds that
    /// nothing has arrived, and the events are frozen anew.
    async fn outdated(&self, server: &Server, statement: &Statement, refused: SinkError) -> SinkError {
        let definition = match server.definition("deliver", &statement.table).await {
            Ok(definition) => definition,
            Err(error) => return error,
        };
        match definition {
            Some(now) if statement.exactly_once && now.fingerprint() != statement.definition => {
                let message = format!("{} was altered since the part was frozen: it is frozen anew", statement.table);
                SinkError::unknown("deliver", message).with_source(refused)
            }
            _ => refused,
        }
    }

    /// A 200 for a repeat proves nothing when the server started anew since the first send.
    async fn prove(&self, server: &Server, statement: &Statement, mark: &Mark) -> Result<(), SinkError> {
        let start = server.start("deliver", statement).await?;
        if start.is_same(&mark.start) {
            return Ok(());
        }
        let message = "ClickHouse has restarted since the first send, so its answer to the repeat is no proof: the rows are read back";
        Err(SinkError::unknown("deliver", message))
    }
}

impl ClickHouseSink {
    async fn deliver_to(
        &self,
        server: &Server,
        part: &Part,
        statement: &Statement,
        mark: &Mark,
    ) -> Result<(), SinkError> {
        let before = Instant::now();
        if statement.format == Format::Json && !part.resend {
            self.look_again(server, statement).await?;
        }
        let mut sent = self.send("deliver", server, part, statement).await;
        if sent.as_ref().is_err_and(is_truncated) {
            // Too few bytes may also be a body that was cut on its way: once more, before the rows are blamed.
            tracing::warn!(part = %part.id, "the server has read less than was sent: sent once more");
            sent = self.send("deliver", server, part, statement).await;
        }
        let bytes = match sent {
            Ok(bytes) => bytes,
            Err(error) if is_outdated(&error) => return Err(self.outdated(server, statement, error).await),
            Err(error) => return Err(error),
        };
        if part.resend && statement.exactly_once {
            self.prove(server, statement, mark).await?;
        }
        tracing::info!(
            part = %part.id,
            table = %statement.table,
            host = %server.address,
            rows = part.events.len(),
            bytes,
            ms = u64::try_from(before.elapsed().as_millis()).unwrap_or(u64::MAX),
            resend = part.resend,
            "delivered"
        );
        Ok(())
    }

    /// Looks at one table, after doing to it what the settings allow.
    async fn check_table(&self, server: &Server, name: &str, schemas: &[Arc<SchemaRecord>]) -> Result<(), SinkError> {
        let table = self.settings().table(name);
        if self.settings().ensure != EnsureTable::Check {
            server.ensure("check", &table, schemas, self.settings().ensure).await?;
        }
        let definition = self.look_up("check", server, &table, schemas).await?;
        self.refuse_unfit("check", server, &definition, schemas)?;
        // Needs the right to read system.parts.
        let (mark, _) = server.mark("check", &crate::observe::Watched::of(&definition)).await?;
        if self.exactly_once() && mark.start.is_unknown() {
            tracing::warn!(
                "this server does not show when it was started: every repeat is read back, which costs time"
            );
        }
        Ok(())
    }

    /// The first host that answers.
    async fn reachable(&self) -> Result<&Server, SinkError> {
        let mut last = None;
        for server in self.hosts.in_order() {
            match server.version("check").await {
                Ok(_) => {
                    self.hosts.prefer(server);
                    return Ok(server);
                }
                Err(error) => last = Some(last.unwrap_or(error)),
            }
        }
        Err(last.unwrap_or_else(|| SinkError::stop("check", "no host is named")))
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
        let server = self.reachable().await?;
        let tables = self.tables();
        let (mut fit, mut refused) = (0_usize, None);
        for (name, schemas) in &tables {
            match self.check_table(server, name, schemas).await {
                Ok(()) => fit += 1,
                Err(error) if name == DEFAULT_EVENT_TABLE || error.kind() != SinkErrorKind::Stop => return Err(error),
                Err(error) => {
                    tracing::error!(table = name, %error, "events for this table will be held back");
                    refused.get_or_insert(error);
                }
            }
        }
        match refused {
            Some(error) if fit == 0 => Err(error),
            _ => Ok(()),
        }
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

/// How the query ids of a part's sends begin, whichever relay sends it.
pub(crate) fn query_id_prefix(token: Uuid) -> String {
    format!("outbox-{token}-")
}

/// Turns the row's number in the body, which `Explain` has put into the error, into the event's id.
fn name_bad_row(error: SinkError, events: &[StoredEvent]) -> SinkError {
    let row = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<BadRow>());
    match row.and_then(|BadRow(row)| events.get(row.checked_sub(1)?)) {
        Some(stored) => {
            let id = stored.event.id;
            error.with_bad_ids(vec![id])
        }
        None => error,
    }
}

fn body(operation: &'static str, statement: &Statement, events: &[StoredEvent]) -> Result<Bytes, SinkError> {
    let Some(body) = statement.format.encode(&statement.columns, events) else {
        let message =
            "the part was frozen by a newer version with columns that this one does not know: run that version";
        return Err(SinkError::stop(operation, message));
    };
    if body.len() > BODY_BYTES_MAX {
        let message =
            format!("{} bytes are more than one block of {BODY_BYTES_MAX}: lower OUTBOX_BATCH_BYTES_MAX", body.len());
        return Err(SinkError::stop(operation, message));
    }
    Ok(body)
}

/// The server refused the statement before it read a row, because the table is another one than when it was made.
pub(crate) fn is_outdated(error: &SinkError) -> bool {
    error.kind() == SinkErrorKind::Stop && matches!(error.code(), Some(16 | 44 | 60 | 81 | 117))
}

fn is_truncated(error: &SinkError) -> bool {
    error.kind() == SinkErrorKind::BadRows && matches!(error.code(), Some(32 | 33))
}
