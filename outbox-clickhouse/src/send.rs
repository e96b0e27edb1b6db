//! One INSERT: the part's body under its token, and the error with what leads back to it.

use bytes::Bytes;
use outbox_core::{Part, SinkError, SinkErrorKind, StoredEvent};
use uuid::Uuid;

use crate::deliver::is_outdated;
use crate::digest::Digest;
use crate::error::BadRow;
use crate::server::Server;
use crate::sink::ClickHouseSink;
use crate::statement::{BODY_BYTES_MAX, Statement};

/// How much of a body goes into one write. With compression each is one compressed block.
const CHUNK_BYTES: usize = 1 << 20;

impl ClickHouseSink {
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
            // From its end the guard knows how many rows an answer has to be about.
            .with_setting(
                "log_comment",
                format!("outbox route {} part {} fence {} rows {}", part.route, part.id, part.fence, part.events.len()),
            );
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
        sent.map_err(|error| blame_rows(error, statement, &part.events).with_query_id(query_id))
    }
}

/// How the query ids of a part's sends begin, whichever relay sends it.
pub(crate) fn query_id_prefix(token: Uuid) -> String {
    format!("outbox-{token}-")
}

/// Turns the row's number in the body, which `Explain` has put into the error, into the event's id. What was read from the body
/// and did not parse has gone nowhere; what a shard refuses it counts within its share, and the others may have taken theirs.
fn blame_rows(error: SinkError, statement: &Statement, events: &[StoredEvent]) -> SinkError {
    let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<BadRow>());
    let row = source.map(|BadRow(row)| *row).filter(|row| row.as_sent || statement.cluster.is_none());
    match row.and_then(|row| events.get(row.number.checked_sub(1)?)) {
        Some(stored) => {
            let id = stored.event.id;
            error.with_bad_ids(vec![id])
        }
        None if statement.cluster.is_some() && error.kind() == SinkErrorKind::BadRows => error.partly_arrived(),
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
