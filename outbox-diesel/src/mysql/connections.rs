//! The store's connections: few, opened when needed, with every setting that matters their own, and given up after anything but
//! a clean end.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use diesel::query_builder::SqlQuery;
use diesel::result::Error;
use diesel::{ConnectionError, ConnectionResult, QueryResult};
use diesel_async::{AsyncConnection, AsyncMysqlConnection, SimpleAsyncConnection};
use outbox_core::{StoreError, StoreErrorKind};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::error::{is_rolled_back, store_error};
use crate::Tables;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a step is done again that the server has rolled back to end a deadlock, or for a lock that did not come.
const ATTEMPTS_MAX: u32 = 5;

/// Between two attempts; the n-th waits n times as long.
const ATTEMPT_DELAY: Duration = Duration::from_millis(10);

/// What the store relies on, whatever the server's defaults are: names that compare as bytes and times in UTC, errors instead
/// of cut values, messages that can be told apart, each statement with a snapshot of its own, and no lock waited for long.
const SESSION: &str = "SET NAMES utf8mb4; \
    SET SESSION time_zone = '+00:00', autocommit = 1, lc_messages = 'en_US', innodb_lock_wait_timeout = 5, \
        sql_mode = 'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ZERO_DATE,NO_ZERO_IN_DATE,NO_ENGINE_SUBSTITUTION'; \
    SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";

type Connecting = Pin<Box<dyn Future<Output = ConnectionResult<AsyncMysqlConnection>> + Send>>;
type Connect = Arc<dyn Fn() -> Connecting + Send + Sync>;

/// A connection within a step.
pub(super) struct Step<'c> {
    pub(super) conn: &'c mut AsyncMysqlConnection,
    tables: &'c Tables,
}

impl Step<'_> {
    /// A statement about the outbox's tables, wherever they are.
    pub(super) fn query(&self, statement: &str) -> SqlQuery {
        diesel::sql_query(self.tables.sql(statement))
    }

    pub(super) fn tables(&self) -> Tables {
        self.tables.clone()
    }

    /// Begins a transaction. A step that fails is rolled back.
    pub(super) async fn begin(&mut self) -> QueryResult<()> {
        // Said again: a pooler in between may know one setting of a session and not another.
        self.conn.batch_execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION").await
    }

    /// Ends it, and is durable then when the server is.
    pub(super) async fn commit(&mut self) -> QueryResult<()> {
        self.conn.batch_execute("COMMIT").await
    }

    /// Ends it without a trace.
    pub(super) async fn rollback(&mut self) -> QueryResult<()> {
        self.conn.batch_execute("ROLLBACK").await
    }
}

#[derive(Clone)]
pub(super) struct Connections {
    connect: Connect,
    tables: Arc<Tables>,
    idle: Arc<Mutex<Vec<AsyncMysqlConnection>>>,
    permits: Arc<Semaphore>,
}

impl Connections {
    pub(super) fn new<F>(max: usize, tables: Tables, connect: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ConnectionResult<AsyncMysqlConnection>> + Send + 'static,
    {
        Self {
            connect: Arc::new(move || Box::pin(connect())),
            tables: Arc::new(tables),
            idle: Arc::default(),
            permits: Arc::new(Semaphore::new(max)),
        }
    }

    /// The same server, other tables.
    pub(super) fn with_tables(self, tables: Tables) -> Self {
        Self { tables: Arc::new(tables), ..self }
    }

    /// Runs a step on a connection, each attempt for at most `limit`. A step that the server has rolled back by itself is run
    /// again: it has left no trace, so that it is neither lost nor done twice.
    ///
    /// # Cancel safety
    /// Dropped in the middle, the connection is closed, and the server rolls back what was open.
    pub(super) async fn run<T, F>(
        &self,
        operation: &'static str,
        limit: Duration,
        step: impl Fn() -> F,
    ) -> Result<T, StoreError>
    where
        F: AsyncFnOnce(&mut Step<'_>) -> QueryResult<T>,
    {
        // Never closed.
        let _permit = self.permits.acquire().await;
        let idle = self.idle().pop();
        let mut conn = match idle {
            Some(conn) => conn,
            None => self.open(operation).await?,
        };
        for attempt in 1.. {
            let mut on = Step { conn: &mut conn, tables: &self.tables };
            let error = match timeout(limit, step()(&mut on)).await {
                Ok(Ok(done)) => {
                    self.idle().push(conn);
                    return Ok(done);
                }
                Ok(Err(error)) => error,
                Err(_) => {
                    let text = format!("MySQL did not answer within {} s", limit.as_secs());
                    return Err(unavailable(operation, text));
                }
            };
            // The server has rolled back the transaction after a deadlock, and only the statement after a lock that did not come.
            if !is_rolled_back(&error) || attempt >= ATTEMPTS_MAX || on.rollback().await.is_err() {
                return Err(store_error(operation, error));
            }
            tracing::debug!(operation, attempt, "a deadlock or a lock that did not come: once more");
            sleep(ATTEMPT_DELAY * attempt).await;
        }
        Err(store_error(operation, Error::RollbackTransaction))
    }

    async fn open(&self, operation: &'static str) -> Result<AsyncMysqlConnection, StoreError> {
        let opened = async {
            let mut conn = (self.connect)().await?;
            conn.batch_execute(SESSION).await.map_err(ConnectionError::CouldntSetupConfiguration)?;
            Ok(conn)
        };
        match timeout(CONNECT_TIMEOUT, opened).await {
            Ok(Ok(conn)) => Ok(conn),
            Ok(Err(error)) => Err(refused(operation, error)),
            Err(_) => {
                let limit = CONNECT_TIMEOUT.as_secs();
                Err(unavailable(operation, format!("cannot reach MySQL within {limit} s: look at DATABASE_URL")))
            }
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<AsyncMysqlConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connects to a URL, without TLS.
pub(super) fn by_url(url: &str) -> impl Fn() -> Connecting + Send + Sync + 'static {
    let url: Arc<str> = Arc::from(url);
    move || {
        let url = Arc::clone(&url);
        Box::pin(async move { AsyncMysqlConnection::establish(&url).await })
    }
}

fn refused(operation: &'static str, error: ConnectionError) -> StoreError {
    // The variant that quotes the URL is left out: it may hold a password.
    let text = match &error {
        ConnectionError::InvalidConnectionUrl(_) => "the URL is malformed".to_owned(),
        error => error.to_string(),
    };
    unavailable(operation, format!("cannot reach MySQL: {text}; look at DATABASE_URL"))
}

fn unavailable(operation: &'static str, message: String) -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, operation, message)
}
