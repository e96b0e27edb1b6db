//! The first send of a part, and a repeat that recovery has allowed: when the server's "ok" counts, and when its "no" is
//! about the table and not about the rows.

use std::time::Instant;

use outbox_core::{Part, SinkError, SinkErrorKind};

use crate::error::Unexplained;
use crate::server::Server;
use crate::sink::ClickHouseSink;
use crate::statement::{Mark, Statement};

impl ClickHouseSink {
    pub(crate) async fn deliver_to(
        &self,
        server: &Server,
        part: &Part,
        statement: &Statement,
        mark: &Mark,
    ) -> Result<(), SinkError> {
        let before = Instant::now();
        if statement.format.is_json() && !part.resend {
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
            Err(error) if is_refusal(&error) && is_unexplained(&error) => {
                return Err(unexplained(server, part, statement, error).await);
            }
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

/// Without the server's words nobody knows whether a view has refused the rows, when the table had taken them already.
async fn unexplained(server: &Server, part: &Part, statement: &Statement, refused: SinkError) -> SinkError {
    if !statement.exactly_once || !statement.has_ids() {
        return refused;
    }
    match server.read_back(statement, &part.events).await {
        Ok(landed) if landed.is_empty() => refused,
        Ok(_) => refused.with_kind(SinkErrorKind::Environment),
        Err(error) => error,
    }
}

/// Rows are refused.
pub(crate) fn is_refusal(error: &SinkError) -> bool {
    error.kind() == SinkErrorKind::BadRows
}

/// The server has not said why.
pub(crate) fn is_unexplained(error: &SinkError) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<Unexplained>())
}

/// The server refused the statement before it read a row, because the table is another one than when it was made.
pub(crate) fn is_outdated(error: &SinkError) -> bool {
    error.kind() == SinkErrorKind::Stop && matches!(error.code(), Some(16 | 44 | 53 | 60 | 81 | 117))
}

fn is_truncated(error: &SinkError) -> bool {
    is_refusal(error) && matches!(error.code(), Some(32 | 33))
}
