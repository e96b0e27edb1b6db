//! Deciding how a part will be sent: which host, which statement, and what the server looked like before.

use std::sync::Arc;
use std::time::Instant;

use outbox_core::{Frozen, SchemaRecord, SinkError, StoredEvent};

use crate::TableName;
use crate::check::check;
use crate::definition::Definition;
use crate::divide::divide;
use crate::hosts::is_unreachable;
use crate::known::{Asking, Known, KnownMark};
use crate::partition::PartitionKey;
use crate::report::{Finding, Severity};
use crate::server::Server;
use crate::settings::EnsureTable;
use crate::shape::shape;
use crate::sink::ClickHouseSink;
use crate::statement::{self, Mark, ROWS_MAX, Statement};

impl ClickHouseSink {
    /// See [`Sink::divide`](outbox_core::Sink::divide).
    pub(crate) async fn divide_events(
        &self,
        table: &str,
        events: &[&StoredEvent],
    ) -> Result<Vec<Vec<usize>>, SinkError> {
        let table = self.settings().table(table);
        let mut schemas = self.schemas.lookup();
        // One event needs no look at the table, and most batches no second one.
        let key = match events.len() {
            0 | 1 => None,
            _ => {
                let (_, definition) = self.definition_for(&table, &[]).await?;
                let local = definition.locals.first().unwrap_or(&definition.table);
                PartitionKey::parse(&local.row.partition_key)
            }
        };
        Ok(divide(events, self.settings(), key.as_ref(), |stored| schemas.kind(stored)))
    }

    /// See [`Sink::freeze`](outbox_core::Sink::freeze).
    pub(crate) async fn freeze_events(&self, table: &str, events: &[&StoredEvent]) -> Result<Frozen, SinkError> {
        let table = self.settings().table(table);
        if events.len() > ROWS_MAX {
            let message =
                format!("{} rows are more than one block of {ROWS_MAX}: lower OUTBOX_BATCH_ROWS_MAX", events.len());
            return Err(SinkError::stop("freeze", message));
        }
        let mut lookup = self.schemas.lookup();
        let lacking = events.iter().find(|stored| lookup.lacks(stored));
        if let Some(stored) = lacking {
            // The relay looks whether it is registered by now. Sent by an older version's columns, its rows would be refused for
            // fields that nobody knows, and be held as dead.
            let (name, version) = (&stored.event.event_type, stored.event.version);
            let message = format!(
                "version {version} of the event {name} is not registered: start the service that emits it with \
                 Relay::builder(..).schema::<..>(), or register it in the outbox"
            );
            return Err(SinkError::stop("freeze", message));
        }
        if events.iter().any(|stored| lookup.kind(stored) > 0) {
            return Err(SinkError::stop(
                "freeze",
                "events of several column lists cannot be one part: divide them first",
            ));
        }
        let schema = lookup.schema(0);
        let schemas: Vec<_> = schema.iter().cloned().collect();
        let (server, definition) = self.definition_for(&table, &schemas).await?;
        // What else lives in this table may be unwell; these events must fit.
        self.refuse_unfit("freeze", server, &definition, &schemas)?;
        let (mark, definition) = self.mark(server, &table, definition, &schemas).await?;
        let shape = shape(&definition, schema.as_deref());
        let statement = Statement {
            format: shape.format,
            columns: shape.columns,
            settings: statement::insert_settings(definition.version, self.settings()),
            exactly_once: self.exactly_once(),
            definition: definition.fingerprint(),
            window: definition.window(),
            window_seconds: definition.window_seconds(),
            views: !definition.views.is_empty(),
            host: definition.is_sticky().then(|| server.address.to_string()),
            cluster: definition.cluster.clone(),
            local: definition.cluster.as_ref().and(definition.locals.first()).map(|local| local.name.clone()),
            stamp: definition.stamp(),
            replicated: definition.is_replicated(),
            table,
        };
        statement::freeze(&statement, &mark)
    }

    /// The first host that answers, and the table there. A host that cannot be reached is passed over: nothing was sent.
    async fn definition_for(
        &self,
        table: &TableName,
        schemas: &[Arc<SchemaRecord>],
    ) -> Result<(&Server, Arc<Definition>), SinkError> {
        let mut last = None;
        for server in self.hosts.in_order() {
            let found = match self.known.definition(table, &server.address) {
                Some(definition) => Ok(definition),
                None => self.make_fit_and_look_up("freeze", server, table, schemas).await,
            };
            match found {
                Ok(definition) => {
                    self.hosts.prefer(server);
                    return Ok((server, definition));
                }
                Err(error) if is_unreachable(&error) => last = Some(error),
                Err(error) => return Err(self.hosts.blame(server, false, error)),
            }
        }
        Err(last.unwrap_or_else(|| SinkError::stop("freeze", "no host is named")))
    }

    /// Makes a table fit, as far as the settings allow, and looks it up: at the start, and when the first part comes for one that the
    /// start did not know of.
    pub(crate) async fn make_fit_and_look_up(
        &self,
        operation: &'static str,
        server: &Server,
        table: &TableName,
        schemas: &[Arc<SchemaRecord>],
    ) -> Result<Arc<Definition>, SinkError> {
        let ensure = self.settings().ensure;
        // Of a table that no known event is bound for, nobody can say yet whether it has a column per field.
        if let Some(bound) = self.schemas_bound_for(table).filter(|_| ensure != EnsureTable::Check) {
            server.ensure(operation, table, &bound, ensure).await?;
        }
        self.look_up(operation, server, table, schemas).await
    }

    /// Asks the server what the table looks like, and keeps the answer.
    async fn look_up(
        &self,
        operation: &'static str,
        server: &Server,
        table: &TableName,
        schemas: &[Arc<SchemaRecord>],
    ) -> Result<Arc<Definition>, SinkError> {
        let before = Instant::now();
        let Some(definition) = server.definition(operation, table).await? else {
            let Finding { text, mend, .. } = server.missing(table, schemas);
            let mend = mend.map(|mend| format!(", or run\n{mend}")).unwrap_or_default();
            let set = match self.settings().ensure {
                EnsureTable::Check => "set OUTBOX_CLICKHOUSE_CREATE_TABLE=true",
                // Asked to make tables, the sink made none: it does not know what this one should look like.
                EnsureTable::Create | EnsureTable::AddColumns => {
                    "register its events (Relay::builder(..).schema::<..>()), so that it can be made"
                }
            };
            let message = format!(
                "{text}: {set}, or name another one in CLICKHOUSE_EVENT_LOG_TABLE and CLICKHOUSE_DATABASE{mend}"
            );
            return Err(SinkError::stop(operation, message));
        };
        let definition = Arc::new(definition);
        self.known.keep_definition(table, &server.address, before, Arc::clone(&definition));
        Ok(definition)
    }

    /// Refuses a table that is not fit for the delivery that is asked for.
    pub(crate) fn refuse_unfit(
        &self,
        operation: &'static str,
        server: &Server,
        definition: &Definition,
        schemas: &[Arc<SchemaRecord>],
    ) -> Result<(), SinkError> {
        let findings = check(definition, schemas, &server.ddl());
        let broken = findings.iter().any(|finding| finding.severity == Severity::Broken);
        let counts = |finding: &&Finding| self.exactly_once() || finding.severity == Severity::Broken;
        let refused: Vec<_> = findings.iter().filter(counts).map(ToString::to_string).collect();
        if refused.is_empty() {
            for finding in &findings {
                tracing::warn!(table = %definition.table.name, "events may arrive twice: {finding}");
            }
            return Ok(());
        }
        // Whoever mends it must not wait for what is known to grow old.
        self.forget(&definition.table.name);
        // Asking for less helps only where nothing else is wrong.
        let hint = if broken { "" } else { " (or set OUTBOX_CLICKHOUSE_DELIVERY=at_least_once)" };
        Err(SinkError::stop(operation, format!("{}{hint}", refused.join("; "))))
    }

    /// The mark, and the definition, anew if the mark shows that it is out of date.
    async fn mark(
        &self,
        server: &Server,
        table: &TableName,
        definition: Arc<Definition>,
        schemas: &[Arc<SchemaRecord>],
    ) -> Result<(Mark, Arc<Definition>), SinkError> {
        if let Some(KnownMark { mark, ask }) = self.known.mark(table, &server.address) {
            if let Some(asking) = ask {
                let (server, table, definition) = (server.clone(), table.clone(), Arc::clone(&definition));
                tokio::spawn(next_mark(self.known.clone(), server, table, definition, asking));
            }
            return Ok((mark, definition));
        }
        let (mark, current) = self.known.ask_mark("freeze", server, table, &definition).await?;
        if current {
            return Ok((mark, definition));
        }
        let definition = self.look_up("freeze", server, table, schemas).await?;
        self.refuse_unfit("freeze", server, &definition, schemas)?;
        Ok((mark, definition))
    }
}

/// Asks for the next mark while parts are frozen with the last one. Without an answer the last one serves until it is too old.
async fn next_mark(known: Known, server: Server, table: TableName, definition: Arc<Definition>, _asking: Asking) {
    // Where it was altered, the next part looks at it anew.
    if let Err(error) = known.ask_mark("freeze", &server, &table, &definition).await {
        tracing::debug!(table = %table, %error, "the server's state is not known anew");
    }
}
