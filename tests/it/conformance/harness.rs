//! What the suites need of each database and of ClickHouse.

use std::time::Duration;

use diesel::connection::{SimpleConnection, TransactionManager as _};
use diesel::{Connection, SqliteConnection};
use diesel_async::{
    AsyncConnection, AsyncMysqlConnection, AsyncPgConnection, SimpleAsyncConnection, TransactionManager as _,
};
use outbox::clickhouse::{ClickHouseSettings, ClickHouseSink};
use outbox::mysql::MySqlStore;
use outbox::postgres::PostgresStore;
use outbox::prelude::*;
use outbox::sqlite::SqliteStore;
use outbox::{Vars, is_outbox_full};
use outbox_test::conformance::sink::SinkHarness;
use outbox_test::conformance::store::{Sample, StoreHarness, StoreTx};
use outbox_test::databases::{ClickHouseDatabase, MySqlDatabase, PostgresDatabase, SqliteFile};
use outbox_test::memory::{ManualClock, MemorySink, MemoryStore, MemoryTx};
use uuid::Uuid;

/// In memory.
pub(super) struct Memory(ManualClock, MemoryStore);

impl StoreHarness for Memory {
    type Store = MemoryStore;
    type Tx = MemoryTransaction;

    const TELLS_THE_TIME: bool = false;

    async fn create() -> Self {
        let clock = ManualClock::new();
        Self(clock.clone(), MemoryStore::new(clock))
    }

    fn store(&self) -> MemoryStore {
        self.1.clone()
    }

    async fn begin(&self) -> MemoryTransaction {
        MemoryTransaction(self.1.begin(), self.1.clone())
    }

    async fn elapse(&self, time: Duration) {
        self.0.advance(time);
    }

    async fn lose(&self, key: &str) {
        let events = self.1.events();
        let found = events.iter().find(|stored| stored.event.key.as_deref() == Some(key)).expect("it is there");
        self.1.lose(found.event.id);
    }
}

pub(super) struct MemoryTransaction(MemoryTx, MemoryStore);

impl StoreTx for MemoryTransaction {
    async fn emit(&mut self, samples: &[Sample]) -> bool {
        !self.1.is_full() && samples.iter().all(|sample| self.0.emit(sample).is_ok())
    }

    async fn commit(self) {
        self.0.commit();
    }

    async fn rollback(self) {}
}

/// A transaction on an async connection.
pub(super) struct AsyncTransaction<C>(C);

impl<C: AsyncConnection<Backend: outbox::OutboxBackend> + Send + 'static> AsyncTransaction<C> {
    async fn begin(url: &str) -> Self {
        Self::on(C::establish(url).await.expect("the server answers")).await
    }

    pub(super) async fn on(mut conn: C) -> Self {
        C::TransactionManager::begin_transaction(&mut conn).await.expect("begins");
        Self(conn)
    }
}

impl<C: AsyncConnection<Backend: outbox::OutboxBackend> + Send + 'static> StoreTx for AsyncTransaction<C> {
    async fn emit(&mut self, samples: &[Sample]) -> bool {
        match self.0.emit_all(samples).await {
            Ok(written) => written == samples.len(),
            Err(error) if is_outbox_full(&error) => false,
            Err(error) => panic!("{error}"),
        }
    }

    async fn commit(mut self) {
        C::TransactionManager::commit_transaction(&mut self.0).await.expect("commits");
    }

    async fn rollback(mut self) {
        C::TransactionManager::rollback_transaction(&mut self.0).await.expect("rolls back");
    }
}

/// PostgreSQL.
pub(super) struct Postgres(pub(super) PostgresDatabase);

impl StoreHarness for Postgres {
    type Store = PostgresStore;
    type Tx = AsyncTransaction<AsyncPgConnection>;

    async fn create() -> Self {
        Self(PostgresDatabase::create().await)
    }

    fn store(&self) -> PostgresStore {
        PostgresStore::new(self.0.url())
    }

    async fn begin(&self) -> Self::Tx {
        AsyncTransaction::begin(self.0.url()).await
    }

    async fn elapse(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn lose(&self, key: &str) {
        let mut conn = AsyncPgConnection::establish(self.0.url()).await.expect("the server answers");
        conn.batch_execute(&format!("DELETE FROM outbox_event WHERE key = '{key}'")).await.expect("deletes");
    }
}

/// MariaDB.
pub(super) struct MySql(MySqlDatabase);

impl StoreHarness for MySql {
    type Store = MySqlStore;
    type Tx = AsyncTransaction<AsyncMysqlConnection>;

    const FULL_IS_SEEN_WITHIN: Duration = outbox::mysql::FULL_IS_SEEN_WITHIN;

    async fn create() -> Self {
        Self(MySqlDatabase::create().await)
    }

    fn store(&self) -> MySqlStore {
        MySqlStore::new(self.0.url())
    }

    async fn begin(&self) -> Self::Tx {
        AsyncTransaction::begin(self.0.url()).await
    }

    async fn elapse(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn lose(&self, key: &str) {
        let mut conn = AsyncMysqlConnection::establish(self.0.url()).await.expect("the server answers");
        conn.batch_execute(&format!("DELETE FROM outbox_event WHERE `key` = '{key}'")).await.expect("deletes");
    }
}

/// SQLite.
pub(super) struct Sqlite(SqliteFile);

impl Sqlite {
    fn connect(&self) -> SqliteConnection {
        let mut conn = SqliteConnection::establish(&self.0.url()).expect("the file opens");
        conn.batch_execute("PRAGMA busy_timeout = 20000; PRAGMA journal_mode = WAL").expect("settings");
        conn
    }
}

impl StoreHarness for Sqlite {
    type Store = SqliteStore;
    type Tx = SqliteTransaction;

    const CONCURRENT_WRITERS: bool = false;

    async fn create() -> Self {
        Self(SqliteFile::create())
    }

    fn store(&self) -> SqliteStore {
        SqliteStore::new(&self.0.url())
    }

    async fn begin(&self) -> SqliteTransaction {
        let mut conn = self.connect();
        conn.batch_execute("BEGIN").expect("begins");
        conn.batch_execute("ROLLBACK").expect("nothing to roll back");
        SqliteTransaction::begin(conn)
    }

    async fn elapse(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn lose(&self, key: &str) {
        self.connect().batch_execute(&format!("DELETE FROM outbox_event WHERE key = '{key}'")).expect("deletes");
    }
}

pub(super) struct SqliteTransaction(SqliteConnection);

type SqliteManager = <SqliteConnection as Connection>::TransactionManager;

impl SqliteTransaction {
    fn begin(mut conn: SqliteConnection) -> Self {
        SqliteManager::begin_transaction(&mut conn).expect("begins");
        Self(conn)
    }
}

impl StoreTx for SqliteTransaction {
    async fn emit(&mut self, samples: &[Sample]) -> bool {
        match outbox::sync::Emit::emit_all(&mut self.0, samples) {
            Ok(written) => written == samples.len(),
            Err(error) if is_outbox_full(&error) => false,
            Err(error) => panic!("{error}"),
        }
    }

    async fn commit(mut self) {
        SqliteManager::commit_transaction(&mut self.0).expect("commits");
    }

    async fn rollback(mut self) {
        SqliteManager::rollback_transaction(&mut self.0).expect("rolls back");
    }
}

/// A destination in memory.
pub(super) struct MemoryDestination(MemorySink);

impl SinkHarness for MemoryDestination {
    type Sink = MemorySink;

    async fn create() -> Self {
        Self(MemorySink::new())
    }

    fn sink(&self) -> MemorySink {
        self.0.clone()
    }

    async fn arrived(&self) -> Vec<Uuid> {
        self.0.rows().into_iter().map(|row| row.id).collect()
    }
}

/// ClickHouse.
pub(super) struct ClickHouse(ClickHouseDatabase);

impl SinkHarness for ClickHouse {
    type Sink = ClickHouseSink;

    async fn create() -> Self {
        Self(ClickHouseDatabase::create().await)
    }

    fn sink(&self) -> ClickHouseSink {
        let mut vars = vec![
            ("CLICKHOUSE_URL", self.0.url().to_owned()),
            ("CLICKHOUSE_DATABASE", self.0.name().to_owned()),
            ("OUTBOX_CLICKHOUSE_CREATE_TABLE", "true".to_owned()),
        ];
        let login = [("CLICKHOUSE_USER", self.0.user()), ("CLICKHOUSE_PASSWORD", self.0.password())];
        vars.extend(login.into_iter().filter_map(|(name, value)| Some((name, value?.to_owned()))));
        ClickHouseSink::new(ClickHouseSettings::from_vars(&Vars::new(vars)).expect("good settings"))
    }

    async fn arrived(&self) -> Vec<Uuid> {
        let ids = self.0.query("SELECT event_id FROM event_log").await;
        ids.lines().map(|id| id.parse().expect("an id")).collect()
    }
}
