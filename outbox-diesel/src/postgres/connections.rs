//! The store's connections: few, opened when needed, and given up after anything but a clean end.
//!
//! A general pool hands a connection out again after a step was dropped in the middle, or keeps asking a dead one whether
//! it lives. Here a connection goes back only when its step has ended well, so the next step after a failure begins on a
//! new one, and the error that an operator sees is PostgreSQL's own.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use diesel::{ConnectionError, ConnectionResult, QueryResult};
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, TransactionManager};
use outbox_core::{StoreError, StoreErrorKind};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_postgres::tls::TlsStream;
use tokio_postgres::{Client, Connection, NoTls, Socket};

use super::error::store_error;
use super::opened::{Driver, Manner, Opened, Opening};

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(super) struct Connections {
    connect: Arc<dyn Fn(Manner) -> Opening + Send + Sync>,
    /// Whether a pooler in transaction mode lies between: every step is one transaction then.
    pooled: bool,
    idle: Arc<Mutex<Vec<Opened>>>,
    permits: Arc<Semaphore>,
}

impl Connections {
    /// To a URL, without TLS.
    pub(super) fn to(url: &str, max: usize) -> Self {
        let url = Arc::<str>::from(url);
        let connect = move || {
            let url = Arc::clone(&url);
            async move { tokio_postgres::connect(&url, NoTls).await }
        };
        Self::with_clients(connect, max)
    }

    pub(super) fn with_clients<F, S>(connect: impl Fn() -> F + Send + Sync + 'static, max: usize) -> Self
    where
        F: Future<Output = Result<(Client, Connection<Socket, S>), tokio_postgres::Error>> + Send + 'static,
        S: TlsStream + Unpin + Send + 'static,
    {
        Self::new(move |manner| Box::pin(Opened::from_client(connect(), manner)), max)
    }

    pub(super) fn with<F>(connect: impl Fn() -> F + Send + Sync + 'static, max: usize) -> Self
    where
        F: Future<Output = ConnectionResult<AsyncPgConnection>> + Send + 'static,
    {
        let connect = move |_| -> Opening {
            let connecting = connect();
            Box::pin(async move { connecting.await.map(Opened::driven_by_task) })
        };
        Self::new(connect, max)
    }

    fn new(connect: impl Fn(Manner) -> Opening + Send + Sync + 'static, max: usize) -> Self {
        Self { connect: Arc::new(connect), pooled: false, idle: Arc::default(), permits: Arc::new(Semaphore::new(max)) }
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
        let mut opened = match self.usable() {
            Some(opened) => opened,
            None => self.open(operation, Driver::Step).await?,
        };
        match timeout(limit, opened.run(step)).await {
            Ok(Ok(done)) => {
                self.idle().push(opened);
                Ok(done)
            }
            Ok(Err(error)) => Err(store_error(operation, error)),
            Err(_) => Err(unavailable(operation, format!("PostgreSQL did not answer within {} s", limit.as_secs()))),
        }
    }

    /// A connection that is nobody else's, and that is listened to all the time.
    pub(super) async fn listening(&self, operation: &'static str) -> Result<AsyncPgConnection, StoreError> {
        self.open(operation, Driver::Task).await.map(Opened::into_connection)
    }

    async fn open(&self, operation: &'static str, driver: Driver) -> Result<Opened, StoreError> {
        let manner = Manner { driver, pooled: self.pooled };
        match timeout(CONNECT_TIMEOUT, (self.connect)(manner)).await {
            Ok(Ok(opened)) => Ok(opened),
            Ok(Err(error)) => Err(refused(operation, error)),
            Err(_) => {
                let limit = CONNECT_TIMEOUT.as_secs();
                Err(unavailable(operation, format!("cannot reach PostgreSQL within {limit} s: look at DATABASE_URL")))
            }
        }
    }

    /// An idle connection that the server has not closed meanwhile, as far as one can tell without asking.
    fn usable(&self) -> Option<Opened> {
        let mut idle = self.idle();
        std::iter::from_fn(|| idle.pop()).find_map(Opened::still_open)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Opened>> {
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
