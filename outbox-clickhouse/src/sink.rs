//! [`ClickHouseSink`]: parts in, INSERTs out, and an "ok" only where it is proof.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use outbox_core::{Frozen, Part, Recovery, Sink, SinkError, SinkErrorKind, StoredEvent, VarError, Vars};
use uuid::Uuid;

use crate::check::{Findings, check};
use crate::client::Server;
use crate::ddl::create_table_sql;
use crate::definition::Definition;
use crate::digest::Digest;
use crate::encode::Format;
use crate::recover;
use crate::settings::{DEFAULT_EVENT_TABLE, Delivery};
use crate::statement::{self, BODY_BYTES_MAX, Mark, ROWS_MAX, Statement};
use crate::{ClickHouseSettings, TableName};

/// How much of a body goes into one write.
const CHUNK_BYTES: usize = 1 << 20;

/// How long what is known about a table is used for new parts. A table that was altered meanwhile refuses the INSERT, and
/// a repeat looks anew.
const DEFINITION_AGE_MAX: Duration = Duration::from_secs(60);

/// How long a mark serves for new parts. An older one is safe, recovery is only more careful.
const MARK_AGE_MAX: Duration = Duration::from_secs(1);

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
    pub(crate) server: Server,
    known: Arc<Mutex<HashMap<TableName, Known>>>,
}

/// What is known about a table, and since when.
#[derive(Default)]
struct Known {
    definition: Option<(Instant, Arc<Definition>)>,
    mark: Option<(Instant, Mark)>,
}

impl ClickHouseSink {
    /// A sink with these settings. Nothing is connected yet.
    #[must_use]
    pub fn new(settings: ClickHouseSettings) -> Self {
        Self { server: Server::new(settings), known: Arc::default() }
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
        &self.server.settings
    }

    /// The event log table, with its database.
    #[must_use]
    pub fn event_log_table(&self) -> TableName {
        self.settings().table(DEFAULT_EVENT_TABLE)
    }

    /// Creates the event log table when it is missing. A table that is there stays as it is: whether it is fit,
    /// [`check`](Sink::check) says.
    ///
    /// # Errors
    /// [`SinkError`] when the server is not reachable, the database is missing, or the user may not create tables.
    pub async fn ensure_table(&self) -> Result<(), SinkError> {
        let table = self.event_log_table();
        self.server.execute("create table", Some(&table), &create_table_sql(&table)).await?;
        self.forget(&table);
        Ok(())
    }

    fn exactly_once(&self) -> bool {
        self.settings().delivery == Delivery::ExactlyOnce
    }

    fn known(&self) -> MutexGuard<'_, HashMap<TableName, Known>> {
        // Every change under the lock is a single assignment.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn forget(&self, table: &TableName) {
        self.known().remove(table);
    }

    /// Looks at the table, and refuses one that is not fit for the delivery that is asked for.
    pub(crate) async fn look_at(
        &self,
        operation: &'static str,
        table: &TableName,
    ) -> Result<Arc<Definition>, SinkError> {
        let Some(definition) = self.server.definition(operation, table).await? else {
            let message = format!(
                "the table {table} does not exist (or its user `{}` may not see it): set OUTBOX_CLICKHOUSE_CREATE_TABLE=true, or \
                 name another one in CLICKHOUSE_EVENT_LOG_TABLE and CLICKHOUSE_DATABASE, or run\n{}",
                self.settings().user,
                create_table_sql(table)
            );
            return Err(SinkError::stop(operation, message));
        };
        let Findings { broken, not_exactly_once } = check(&definition);
        let mut refused = broken;
        let mut hint = "";
        if self.exactly_once() {
            // Asking for less helps only where nothing else is wrong.
            if refused.is_empty() && !not_exactly_once.is_empty() {
                hint = " (or set OUTBOX_CLICKHOUSE_DELIVERY=at_least_once)";
            }
            refused.extend(not_exactly_once);
        } else {
            for finding in not_exactly_once {
                tracing::warn!(table = %table, "events may arrive twice: {finding}");
            }
        }
        if !refused.is_empty() {
            return Err(SinkError::stop(operation, format!("{}{hint}", refused.join("; "))));
        }
        let definition = Arc::new(definition);
        self.known().entry(table.clone()).or_default().definition = Some((Instant::now(), Arc::clone(&definition)));
        Ok(definition)
    }

    async fn definition(&self, operation: &'static str, table: &TableName) -> Result<Arc<Definition>, SinkError> {
        let known = self.known().get(table).and_then(|known| known.definition.clone());
        match known {
            Some((since, definition)) if since.elapsed() < DEFINITION_AGE_MAX => Ok(definition),
            _ => self.look_at(operation, table).await,
        }
    }

    async fn mark(&self, table: &TableName) -> Result<Mark, SinkError> {
        let known = self.known().get(table).and_then(|known| known.mark.clone());
        if let Some((_, mark)) = known.filter(|(since, _)| since.elapsed() < MARK_AGE_MAX) {
            return Ok(mark);
        }
        let before = Instant::now();
        let mark = self.server.mark("freeze", table).await?;
        self.known().entry(table.clone()).or_default().mark = Some((before, mark.clone()));
        Ok(mark)
    }

    /// Sends the part as it was frozen. `Ok` is the server's answer to the whole INSERT.
    pub(crate) async fn send(
        &self,
        operation: &'static str,
        part: &Part,
        statement: &Statement,
    ) -> Result<usize, SinkError> {
        let body = body(operation, statement, &part.events)?;
        let bytes = body.len();
        let sent = self.insert(operation, part, statement, body).await;
        if sent.as_ref().is_err_and(is_outdated) {
            self.forget(&statement.table);
        }
        sent.map(|()| bytes)
    }

    async fn insert(
        &self,
        operation: &'static str,
        part: &Part,
        statement: &Statement,
        mut body: Bytes,
    ) -> Result<(), SinkError> {
        let mut insert = self.server.insert(statement.sql());
        for (name, value) in &statement.settings {
            insert = insert.with_setting(name, value);
        }
        // The server gives up when this side does, so that nothing of this part runs for ever.
        let limit = self.settings().insert_timeout;
        insert = insert
            .with_setting("insert_deduplication_token", part.token.to_string())
            .with_setting("max_execution_time", limit.as_secs().max(1).to_string())
            .with_setting(
                "query_id",
                format!("{}{}-{}", query_id_prefix(part.token), part.fence, Uuid::new_v4().simple()),
            )
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
        self.server.limited(operation, Some(&statement.table), send).await
    }

    /// A statement that does not fit the table any more needs no person where a new one will do: recovery finds that
    /// nothing has arrived, and the events are frozen anew.
    async fn outdated(&self, statement: &Statement, refused: SinkError) -> SinkError {
        let definition = match self.server.definition("deliver", &statement.table).await {
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
    async fn prove(&self, mark: &Mark) -> Result<(), SinkError> {
        let start = self.server.start("deliver").await?;
        if start.is_same(&mark.start) {
            return Ok(());
        }
        let message = "ClickHouse has restarted since the first send, so its answer to the repeat is no proof: the rows are read back";
        Err(SinkError::unknown("deliver", message))
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
        let before = Instant::now();
        let bytes = match self.send("deliver", part, &statement).await {
            Ok(bytes) => bytes,
            // Too few bytes may also be a body that was cut on its way: once more, before the rows are blamed.
            Err(error) if !part.resend && is_truncated(&error) => {
                let message = "the server has read less than was sent: sent again once, in case it was cut on its way";
                return Err(SinkError::unknown("deliver", message).with_source(error));
            }
            Err(error) if is_outdated(&error) => return Err(self.outdated(&statement, error).await),
            Err(error) => return Err(error),
        };
        if part.resend && statement.exactly_once {
            self.prove(&mark).await?;
        }
        tracing::info!(
            part = %part.id,
            table = %statement.table,
            rows = part.events.len(),
            bytes,
            ms = u64::try_from(before.elapsed().as_millis()).unwrap_or(u64::MAX),
            resend = part.resend,
            "delivered"
        );
        Ok(())
    }

    /// Looks at the server and the event log table, creates the table when the settings ask for it, and refuses what
    /// cannot work, each with the statement that mends it.
    async fn check(&self) -> Result<(), SinkError> {
        let table = self.event_log_table();
        self.server.version("check").await?;
        if self.settings().create_table {
            self.ensure_table().await?;
        }
        self.look_at("check", &table).await?;
        // Needs the right to read system.parts.
        let mark = self.server.mark("check", &table).await?;
        if self.exactly_once() && mark.start.is_unknown() {
            tracing::warn!(
                "this server does not show when it was started: every repeat is read back, which costs time"
            );
        }
        Ok(())
    }

    async fn freeze(&self, table: &str, events: &[&StoredEvent]) -> Result<Frozen, SinkError> {
        let table = self.settings().table(table);
        if events.len() > ROWS_MAX {
            let message =
                format!("{} rows are more than one block of {ROWS_MAX}: lower OUTBOX_BATCH_ROWS_MAX", events.len());
            return Err(SinkError::stop("freeze", message));
        }
        let definition = self.definition("freeze", &table).await?;
        let columns = definition.filled();
        let statement = Statement {
            format: Format::of(&columns),
            columns,
            settings: statement::insert_settings(definition.version, self.settings().delivery),
            exactly_once: self.exactly_once(),
            definition: definition.fingerprint(),
            window: definition.table.window(),
            views: !definition.views.is_empty(),
            table: table.clone(),
        };
        let mark = self.mark(&table).await?;
        statement::freeze(&statement, &mark)
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
