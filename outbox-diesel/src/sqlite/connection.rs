//! One blocking connection behind an async face.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::query_builder::SqlQuery;
use diesel::result::{ConnectionError, Error};
use diesel::{Connection, QueryResult, SqliteConnection};
use outbox_core::{StoreError, StoreErrorKind};

use crate::Tables;

/// Whether a step's commit waits for the disk.
#[derive(Clone, Copy)]
pub(super) enum Durability {
    /// The commit is on disk before the step returns, and with it every commit before it.
    Full,
    /// The commit survives a crash of the process, and may be lost when the machine loses power.
    Process,
}

/// The name of the step that may make the file.
pub(super) const SETUP: &str = "setup";

/// How long a step waits for another writer, in milliseconds.
const BUSY_TIMEOUT_MS: u32 = 10_000;

/// The connection within a step.
pub(super) struct Step<'c> {
    pub(super) conn: &'c mut SqliteConnection,
    pub(super) tables: &'c Tables,
}

impl Step<'_> {
    /// A statement about the outbox's tables, whatever their prefix.
    pub(super) fn query(&self, statement: &str) -> SqlQuery {
        diesel::sql_query(self.tables.unqualified(statement))
    }

    /// Runs `write` under the write lock, which is taken at the beginning.
    pub(super) fn write<T>(&mut self, write: impl FnOnce(&mut Step<'_>) -> QueryResult<T>) -> QueryResult<T> {
        let tables = self.tables;
        self.conn.immediate_transaction(|conn| write(&mut Step { conn, tables }))
    }
}

/// A connection that is opened when first used, and again after a failure.
#[derive(Clone)]
pub(super) struct SharedConnection {
    path: Arc<str>,
    tables: Arc<Tables>,
    conn: Arc<Mutex<Option<SqliteConnection>>>,
}

impl SharedConnection {
    pub(super) fn new(path: &str, tables: Tables) -> Self {
        Self { path: Arc::from(path), tables: Arc::new(tables), conn: Arc::default() }
    }

    /// The same file, other tables.
    pub(super) fn with_tables(&self, tables: Tables) -> Self {
        Self { tables: Arc::new(tables), ..self.clone() }
    }

    /// Runs `step` on a thread that may block.
    ///
    /// # Cancel safety
    /// Once started, `step` runs to its end even when the future is dropped.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        durability: Durability,
        step: impl FnOnce(&mut Step<'_>) -> QueryResult<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = self.clone();
        let ran = tokio::task::spawn_blocking(move || {
            let mut slot = shared.conn.lock().unwrap_or_else(PoisonError::into_inner);
            let mut conn = match slot.take() {
                Some(conn) => conn,
                // Only setting up makes a file: anything else would hide that the path is mistyped.
                None if operation != SETUP && !Path::new(&*shared.path).exists() => {
                    let message =
                        format!("there is no file {}: look at DATABASE_URL, or run `outbox migrate`", shared.path);
                    return Err(StoreError::new(StoreErrorKind::Schema, operation, message));
                }
                None => open(&shared.path).map_err(|e| unreachable_file(operation, &shared.path, e))?,
            };
            let synchronous = match durability {
                Durability::Full => "PRAGMA synchronous = FULL",
                Durability::Process => "PRAGMA synchronous = NORMAL",
            };
            let done = conn
                .batch_execute(synchronous)
                .and_then(|()| step(&mut Step { conn: &mut conn, tables: &shared.tables }));
            // After a failure the connection may be in any state: the next step opens a new one.
            if done.is_ok() {
                *slot = Some(conn);
            }
            done.map_err(|e| store_error(operation, e))
        });
        ran.await.unwrap_or_else(|panicked| {
            Err(StoreError::new(StoreErrorKind::Unavailable, operation, "the step was stopped").with_source(panicked))
        })
    }

    /// The connection's `synchronous`, as the last step left it: 2 is FULL, 1 is NORMAL.
    #[cfg(test)]
    pub(super) fn synchronous(&self) -> i32 {
        #[derive(diesel::QueryableByName)]
        struct Row {
            #[diesel(sql_type = diesel::sql_types::Integer)]
            synchronous: i32,
        }
        let mut slot = self.conn.lock().unwrap_or_else(PoisonError::into_inner);
        let conn = slot.as_mut().expect("the last step ended well");
        let row: Row =
            diesel::RunQueryDsl::get_result(diesel::sql_query("PRAGMA synchronous"), conn).expect("a setting");
        row.synchronous
    }
}

fn open(path: &str) -> Result<SqliteConnection, ConnectionError> {
    let mut conn = SqliteConnection::establish(path)?;
    let pragmas = format!("PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}; PRAGMA foreign_keys = ON;");
    conn.batch_execute(&pragmas)
        .and_then(|()| switch_to_wal(&mut conn))
        .map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(conn)
}

/// Turns the file to a write-ahead log.
///
/// SQLite doesn't wait here, whatever its busy timeout: two connections that both read the old mode and now both want the
/// file for themselves would wait for each other. So one of them is told that the file is locked, and asks again.
fn switch_to_wal(conn: &mut SqliteConnection) -> QueryResult<()> {
    let until = Instant::now() + Duration::from_millis(BUSY_TIMEOUT_MS.into());
    loop {
        match conn.batch_execute("PRAGMA journal_mode = WAL") {
            Err(e) if e.to_string().contains("database is locked") && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(fastrand::u64(1..10)));
            }
            switched => return switched,
        }
    }
}

fn unreachable_file(operation: &'static str, path: &str, error: ConnectionError) -> StoreError {
    let message = format!("cannot open the SQLite file {path}: {error}; its folder must exist and be writable");
    StoreError::new(StoreErrorKind::Unavailable, operation, message).with_source(error)
}

fn store_error(operation: &'static str, error: Error) -> StoreError {
    if let Error::DeserializationError(source) = error {
        let message = format!("a stored row cannot be read: {source}");
        return StoreError::new(StoreErrorKind::Mismatch, operation, message);
    }
    let text = error.to_string();
    if text.contains("no such table") || text.contains("no such column") {
        let message = format!(
            "{text}; the outbox tables are missing or old: run `outbox migrate`, or call `SqliteStore::setup()`"
        );
        return StoreError::new(StoreErrorKind::Schema, operation, message).with_source(error);
    }
    StoreError::new(StoreErrorKind::Unavailable, operation, format!("SQLite: {text}")).with_source(error)
}
