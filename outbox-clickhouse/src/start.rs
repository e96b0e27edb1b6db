//! What the start looks at: a server that answers, and every table that events are bound for.

use std::sync::Arc;

use outbox_core::{SchemaRecord, SinkError, SinkErrorKind};

use crate::server::Server;
use crate::settings::DEFAULT_EVENT_TABLE;
use crate::sink::ClickHouseSink;

impl ClickHouseSink {
    /// See [`Sink::check`](outbox_core::Sink::check).
    pub(crate) async fn check_all(&self) -> Result<(), SinkError> {
        let server = self.reachable().await?;
        if self.exactly_once() {
            // The right to see queries of one's own, and so to end them, is better missed now than when it is needed.
            server.execute("check", None, "KILL QUERY WHERE query_id = '' SYNC FORMAT Null").await?;
        }
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

    /// Looks at one table, after doing to it what the settings allow.
    async fn check_table(&self, server: &Server, name: &str, schemas: &[Arc<SchemaRecord>]) -> Result<(), SinkError> {
        let table = self.settings().table(name);
        let definition = self.make_fit_and_look_up("check", server, &table, schemas).await?;
        self.refuse_unfit("check", server, &definition, schemas)?;
        // Needs the right to read system.parts. The first part finds the mark, and does not wait for the question.
        let (mark, _) = self.known.ask_mark("check", server, &table, &definition).await?;
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
