//! The store's connections: few, opened when needed, and given up after anything but a clean end.
//!
//! A general pool hands a connection out again after a step was dropped in the middle, or keeps asking a dead one whether
//! it lives. Here a connection goes back only when its step has ended well, so the next step after a failure begins on a
//! new one, and the error that an operator sees is PostgreSQL's own.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use diesel::{ConnectionError, ConnectionResult, QueryResult};
use diesel_async::{AnsiTransactionManager, AsyncConnection, AsyncPgConnection, TransactionManager};
use outbox_core::{StoreError, StoreErrorKind};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::error::store_error;
use super::pooler::connect_behind_pooler;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

type Connecting = Pin<Box<dyn Future<Output = ConnectionResult<AsyncPgConnection>> + Send>>;

/// How a connection is made.
#[derive(Clone)]
enum Connect {
    /// To a URL, without TLS.
    To(Arc<str>),
    With(Arc<dyn Fn() -> Connecting + Send + Sync>),
}

#[derive(Clone)]
pub(super) struct Connections {
    connect: Connect,
    /// Whether a pooler in transaction mode lies between: every step is one transaction then.
    pooled: bool,
    idle: Arc<Mutex<Vec<AsyncPgConnection>>>,
    permits: Arc<Semaphore>,
}

impl Connections {
    pub(super) fn to(url: &str, max: usize) -> Self {
        Self::new(Connect::To(Arc::from(url)), max)
    }

    pub(super) fn with<F>(connect: impl Fn() -> F + Send + Sync + 'static, max: usize) -> Self
    where
        F: Future<Output = ConnectionResult<AsyncPgConnection>> + Send + 'static,
    {
        Self::new(Connect::With(Arc::new(move || Box::pin(connect()))), max)
    }

    fn new(connect: Connect, max: usize) -> Self {
        Self { connect, pooled: false, idle: Arc::default(), permits: Arc::new(Semaphore::new(max)) }
    }

    /// The same through a pooler, with connections that are made for one.
    pub(super) fn behind_pooler(self) -> Self {
        Self { pooled: true, idle: Arc::default(), ..self }
    }

    pub(super) fn is_behind_pooler(&self) -> bool {
        self.pooled
    }

    /// Runs a step on a connection, for at most `limit`.
    ///
    /// # Cancel safety
    /// Dropped in the middle, the connection is closed, and the server rolls back what was open.
    pub(super) async fn run<T>(
        &self,
        operation: &'static str,
        limit: Duration,
        step: impl AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<T>,
    ) -> Result<T, StoreError> {
        if !self.pooled {
            return self.run_transaction(operation, limit, step).await;
        }
        let transaction = async |conn: &mut AsyncPgConnection| {
            AnsiTransactionManager::begin_transaction(conn).await?;
            let done = step(conn).await?;
            AnsiTransactionManager::commit_transaction(conn).await?;
            Ok(done)
        };
        self.run_transaction(operation, limit, transaction).await
    }

    /// As [`run`](Self::run), for a step that is a transaction by itself.
    ///
    /// # Cancel safety
    /// As [`run`](Self::run).
    pub(super) async fn run_transaction<T>(
        &self,
        operation: &'static str,
        limit: Duration,
        step: impl AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<T>,
    ) -> Result<T, StoreError> {
        // Never closed.
        let _permit = self.permits.acquire().await;
        let idle = self.idle().pop();
        let mut conn = match idle {
            Some(conn) => conn,
            None => self.open(operation).await?,
        };
        match timeout(limit, step(&mut conn)).await {
            Ok(Ok(done)) => {
                self.idle().push(conn);
                Ok(done)
            }
            Ok(Err(error)) => Err(store_error(operation, error)),
            Err(_) => Err(unavailable(operation, format!("PostgreSQL did not answer within {} s", limit.as_secs()))),
        }
    }

    /// A connection that is nobody else's.
    pub(super) async fn open(&self, operation: &'static str) -> Result<AsyncPgConnection, StoreError> {
        let connecting: Connecting = match &self.connect {
            Connect::With(connect) => connect(),
            Connect::To(url) => {
                let (url, pooled) = (Arc::clone(url), self.pooled);
                Box::pin(async move {
                    match pooled {
                        true => connect_behind_pooler(&url).await,
                        false => AsyncPgConnection::establish(&url).await,
                    }
                })
            }
        };
        match timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok(conn)) => Ok(conn),
            Ok(Err(error)) => Err(refused(operation, error)),
            Err(_) => {
                let limit = CONNECT_TIMEOUT.as_secs();
                Err(unavailable(operation, format!("cannot reach PostgreSQL within {limit} s: look at DATABASE_URL")))
            }
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<AsyncPgConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused(operation: &'static str, error: ConnectionError) -> StoreError {
    // The variant that quotes the URL is left out: it may hold a password.
    let text = match &error {
        ConnectionError::InvalidConnectionUrl(_) => "the URL is malformed".to_owned(),
        error => error.to_string(),
    };
    unavailable(operation, format!("cannot reach PostgreSQL: {text}; look at DATABASE_URL"))
}

fn unavailable(operation: &'static str, message: String) -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, operation, message)
}
