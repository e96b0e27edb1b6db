//! The service's database: which it is, its tables, its connections.

use diesel::connection::SimpleConnection;
use diesel::{Connection as _, SqliteConnection};
use diesel_async::{AsyncConnection, SimpleAsyncConnection};
use outbox::Store;
use outbox::mysql::MySqlStore;
use outbox::postgres::PostgresStore;
use outbox::sqlite::SqliteStore;
use outbox_test::databases::{MySqlDatabase, SqliteFile};
use outbox_test::servers::PrivateMariaDb;

use crate::business::{ACCOUNTS, Variant, mysql, postgres, sqlite};
use crate::place::Place;
use crate::roles::Database;
use crate::{Failure, Result};

const TABLES: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS bench_order (id BIGINT NOT NULL PRIMARY KEY, account BIGINT NOT NULL, note VARCHAR(255) NOT NULL)",
    "CREATE TABLE IF NOT EXISTS bench_account (id BIGINT NOT NULL PRIMARY KEY, charged BIGINT NOT NULL)",
];

/// As a service opens its file. `NORMAL` is what SQLite recommends for WAL mode; `FULL`, that a commit is on the disk.
const PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 60000";

/// A database with the service's tables and an outbox.
pub(crate) enum Service {
    Postgres { url: String, process: Option<u32> },
    MariaDb { database: MySqlDatabase, server: Box<PrivateMariaDb> },
    Sqlite { file: SqliteFile },
}

/// A connection of the service.
pub(crate) enum Connection {
    Postgres(Box<postgres::Connection>),
    MariaDb(Box<mysql::Connection>),
    Sqlite(Option<Box<SqliteConnection>>),
}

impl Service {
    /// One of each kind, with real settings.
    pub(crate) async fn all(place: &Place) -> Result<[Self; 3]> {
        let server = Box::new(PrivateMariaDb::start().await);
        let database = MySqlDatabase::create_at(server.url()).await;
        let all = [
            Self::Postgres { url: place.postgres.url().to_owned(), process: place.postgres.process() },
            Self::MariaDb { database, server },
            Self::Sqlite { file: SqliteFile::create() },
        ];
        for service in &all {
            service.prepare().await?;
        }
        Ok(all)
    }

    /// Twice does no harm.
    async fn prepare(&self) -> Result<()> {
        match self {
            Self::Postgres { url, .. } => PostgresStore::new(url).setup().await?,
            Self::MariaDb { database, .. } => MySqlStore::new(database.url()).setup().await?,
            Self::Sqlite { file } => SqliteStore::new(&file.url()).setup().await?,
        }
        let rows: Vec<String> = (0..ACCOUNTS).map(|id| format!("({id}, 0)")).collect();
        let accounts = format!("INSERT INTO bench_account VALUES {}", rows.join(", "));
        for sql in TABLES.into_iter().chain(["DELETE FROM bench_account", &accounts]) {
            self.execute(sql).await?;
        }
        Ok(())
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Postgres { .. } => "PostgreSQL",
            Self::MariaDb { .. } => "MariaDB",
            Self::Sqlite { .. } => "SQLite",
        }
    }

    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres { .. })
    }

    /// The server's process; SQLite has none.
    pub(crate) fn process(&self) -> Option<u32> {
        match self {
            Self::Postgres { process, .. } => *process,
            Self::MariaDb { server, .. } => server.process(),
            Self::Sqlite { .. } => None,
        }
    }

    /// For a relay.
    pub(crate) fn database(&self) -> Database {
        match self {
            Self::Postgres { url, .. } => Database::Postgres(url.clone()),
            Self::MariaDb { database, .. } => Database::MySql(database.url().to_owned()),
            Self::Sqlite { file } => Database::Sqlite(file.url()),
        }
    }

    pub(crate) async fn execute_all(&self, statements: impl IntoIterator<Item = &str>) -> Result<()> {
        for sql in statements {
            self.execute(sql).await?;
        }
        Ok(())
    }

    /// Takes away what was written so far. Not by TRUNCATE on MariaDB, which begins to count anew.
    pub(crate) async fn empty(&self) -> Result<()> {
        let sql = match self {
            Self::Postgres { .. } => ["TRUNCATE outbox_event", "TRUNCATE bench_order"],
            Self::MariaDb { .. } => ["DELETE FROM outbox_event", "DELETE FROM bench_order"],
            Self::Sqlite { .. } => ["DELETE FROM outbox_event", "DELETE FROM bench_order"],
        };
        self.execute_all(sql).await
    }

    pub(crate) async fn execute(&self, sql: &str) -> Result<()> {
        match self.connect().await? {
            Connection::Postgres(mut conn) => conn.batch_execute(sql).await?,
            Connection::MariaDb(mut conn) => conn.batch_execute(sql).await?,
            Connection::Sqlite(conn) => conn.ok_or("no connection")?.batch_execute(sql)?,
        }
        Ok(())
    }

    pub(crate) async fn connect(&self) -> Result<Connection> {
        Ok(match self {
            Self::Postgres { url, .. } => Connection::Postgres(Box::new(postgres::Connection::establish(url).await?)),
            Self::MariaDb { database, .. } => {
                Connection::MariaDb(Box::new(mysql::Connection::establish(database.url()).await?))
            }
            Self::Sqlite { file } => {
                let mut conn = SqliteConnection::establish(&file.path().display().to_string())?;
                conn.batch_execute(PRAGMAS)?;
                Connection::Sqlite(Some(Box::new(conn)))
            }
        })
    }
}

impl Connection {
    /// One transaction.
    pub(crate) async fn run(&mut self, variant: Variant, order: i64) -> Result<()> {
        match self {
            Self::Postgres(conn) => postgres::run(conn, variant, order).await?,
            Self::MariaDb(conn) => mysql::run(conn, variant, order).await?,
            Self::Sqlite(slot) => {
                let mut conn = slot.take().ok_or("no connection")?;
                let ran = tokio::task::spawn_blocking(move || {
                    sqlite::run(&mut conn, variant, order)?;
                    Ok::<_, Failure>(conn)
                });
                *slot = Some(ran.await??);
            }
        }
        Ok(())
    }
}
