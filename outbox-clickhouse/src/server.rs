//! One server: the `clickhouse` crate, and a time limit around everything.

use std::sync::Arc;
use std::time::Duration;

use clickhouse::insert_formatted::InsertFormatted;
use clickhouse::{Client, RowOwned, RowRead};
use outbox_core::{SinkError, SinkErrorKind};

use crate::error::Explain;
use crate::{ClickHouseSettings, TableName};

/// One server. Clones share the connections.
#[derive(Clone)]
pub(crate) struct Server {
    pub(super) client: Client,
    /// `host:port`.
    pub(crate) address: Arc<str>,
    pub(crate) settings: Arc<ClickHouseSettings>,
    /// Why it cannot be used at all.
    pub(super) broken: Option<Arc<str>>,
}

impl Server {
    /// All rows of a question.
    pub(crate) async fn rows<T: RowOwned + RowRead>(
        &self,
        operation: &'static str,
        about: Option<&TableName>,
        sql: &str,
    ) -> Result<Vec<T>, SinkError> {
        let limit = self.settings.query_timeout;
        let rows = self.limited(operation, about, limit, self.client.query_raw(sql).fetch_all()).await;
        rows.map_err(no_rows_at_fault)
    }

    /// The one number that a question asks for.
    pub(crate) async fn one(&self, operation: &'static str, sql: &str) -> Result<u64, SinkError> {
        let rows: Vec<u64> = self.rows(operation, None, sql).await?;
        match rows[..] {
            [number] => Ok(number),
            _ => Err(SinkError::unknown(operation, "the server's answer cannot be read")),
        }
    }

    /// Runs a statement that answers nothing.
    pub(crate) async fn execute(
        &self,
        operation: &'static str,
        about: Option<&TableName>,
        sql: &str,
    ) -> Result<(), SinkError> {
        let limit = self.settings.query_timeout;
        let done = self.limited(operation, about, limit, self.client.query_raw(sql).execute()).await;
        done.map_err(no_rows_at_fault)
    }

    /// An INSERT whose rows the caller has encoded. Nothing is sent yet.
    pub(crate) fn insert(&self, sql: String) -> InsertFormatted {
        self.client
            .insert_formatted_with(sql)
            .with_timeouts(Some(self.settings.send_timeout), Some(self.settings.insert_timeout))
    }

    /// Waits for `future` no longer than `limit`, and puts its error into words.
    pub(crate) async fn limited<T>(
        &self,
        operation: &'static str,
        about: Option<&TableName>,
        limit: Duration,
        future: impl Future<Output = Result<T, clickhouse::error::Error>>,
    ) -> Result<T, SinkError> {
        let explain = Explain { operation, about, settings: &self.settings, address: &self.address };
        if let Some(why) = &self.broken {
            return Err(SinkError::stop(operation, why.to_string()));
        }
        let error = match tokio::time::timeout(limit, future).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => explain.error(error, limit),
            Err(_) => explain.timed_out(limit),
        };
        Err(error.with_host(&*self.address))
    }
}

/// A question brings no rows: what its code says of rows that were sent is about others, such as those of a broken part that
/// it reads.
fn no_rows_at_fault(error: SinkError) -> SinkError {
    match error.kind() {
        SinkErrorKind::BadRows => error.with_kind(SinkErrorKind::Unforeseen),
        _ => error,
    }
}
