//! The connection: the `clickhouse` crate over a connector of our own, and a time limit around everything.
//!
//! The crate's own connector has no connect timeout and leaves Nagle's algorithm on, which costs 40 ms per insert of two
//! chunks or more (measured: 44 ms against 1.8 ms).

use std::time::Duration;

use clickhouse::insert_formatted::InsertFormatted;
use clickhouse::{Client, Compression, RowOwned, RowRead};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use outbox_core::SinkError;

use crate::error::{Explain, timed_out};
use crate::{ClickHouseSettings, TableName};

const KEEPALIVE: Duration = Duration::from_secs(60);

/// Below the server's `keep_alive_timeout` (3 s in its shipped configuration): a pooled connection that the server has
/// closed costs a failed insert.
const POOL_IDLE: Duration = Duration::from_secs(2);

/// One server. Clones share the connections.
#[derive(Clone)]
pub(crate) struct Server {
    client: Client,
    pub(crate) settings: ClickHouseSettings,
}

impl Server {
    pub(crate) fn new(settings: ClickHouseSettings) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(settings.connect_timeout));
        connector.set_keepalive(Some(KEEPALIVE));
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(POOL_IDLE)
            .build(connector);
        // No database in the URL: names are always qualified, and a missing one shall not fail every question.
        let client = Client::with_http_client(http)
            .with_url(format!("http://{}", settings.address()))
            .with_user(settings.user.as_str())
            .with_password(settings.password_text())
            .with_compression(Compression::None)
            // A profile that turns it on would make old answers out of questions about what is there now.
            .with_setting("use_query_cache", "0")
            .with_product_info("outbox", env!("CARGO_PKG_VERSION"));
        Self { client, settings }
    }

    /// A client whose unqualified names are in the settings' database.
    pub(crate) fn reader(&self) -> Client {
        self.client.clone().with_database(self.settings.database.as_str())
    }

    /// All rows of a question.
    pub(crate) async fn rows<T: RowOwned + RowRead>(
        &self,
        operation: &'static str,
        about: Option<&TableName>,
        sql: &str,
    ) -> Result<Vec<T>, SinkError> {
        self.limited(operation, about, self.client.query_raw(sql).fetch_all()).await
    }

    /// Runs a statement that answers nothing.
    pub(crate) async fn execute(
        &self,
        operation: &'static str,
        about: Option<&TableName>,
        sql: &str,
    ) -> Result<(), SinkError> {
        self.limited(operation, about, self.client.query_raw(sql).execute()).await
    }

    /// An INSERT whose rows the caller has encoded. Nothing is sent yet.
    pub(crate) fn insert(&self, sql: String) -> InsertFormatted {
        let limit = Some(self.settings.insert_timeout);
        self.client.insert_formatted_with(sql).with_timeouts(limit, limit)
    }

    /// Waits for `future` as long as the settings allow, and puts its error into words.
    pub(crate) async fn limited<T>(
        &self,
        operation: &'static str,
        about: Option<&TableName>,
        future: impl Future<Output = Result<T, clickhouse::error::Error>>,
    ) -> Result<T, SinkError> {
        match tokio::time::timeout(self.settings.insert_timeout, future).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(Explain { operation, about, settings: &self.settings }.error(error)),
            Err(_) => Err(timed_out(operation, &self.settings)),
        }
    }
}
