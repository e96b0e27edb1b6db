//! Where a run takes place: private servers, the proxy between them, the tables, and how relays find all that.

use std::collections::HashSet;
use std::path::PathBuf;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncConnection, AsyncMysqlConnection, AsyncPgConnection, SimpleAsyncConnection};
use outbox::mysql::MySqlStore;
use outbox::sqlite::SqliteStore;
use outbox::{Store, Tables};
use outbox_test::databases::{ClickHouseDatabase, MySqlDatabase, SqliteFile};
use outbox_test::proxy::FaultProxy;
use outbox_test::servers::{PrivateClickHouse, PrivateMariaDb, PrivatePostgres};
use tokio::process::Command;

use crate::sabotage::Guard;
use crate::{Database, Failure};

/// Slots of 2^11 rows: the default's 2^20 are too many to go round in a minute.
const SLOT_BITS: u32 = 11;

/// How long a killed relay holds its batch: as short as it may be.
pub(crate) const LEASE: &str = "1s";

/// The settings of the relays: everything small and soon, so that much happens.
const SETTINGS: [(&str, &str); 13] = [
    ("CLICKHOUSE_CONNECT_TIMEOUT", "1s"),
    ("CLICKHOUSE_INSERT_TIMEOUT", "3s"),
    ("OUTBOX_BATCH_ROWS", "50"),
    ("OUTBOX_BATCH_ROWS_MAX", "100"),
    ("OUTBOX_CLICKHOUSE_CREATE_TABLE", "true"),
    ("OUTBOX_LEASE", LEASE),
    ("OUTBOX_LINGER", "100ms"),
    // Each send is logged with a digest of its ids.
    ("OUTBOX_LOG", "info,outbox_clickhouse=debug,outbox_relay=debug"),
    ("OUTBOX_LOG_FORMAT", "json"),
    ("OUTBOX_POLL_INTERVAL", "20ms"),
    ("OUTBOX_RETRY_MAX", "300ms"),
    ("OUTBOX_RETRY_MIN", "20ms"),
    ("OUTBOX_WORKERS", "3"),
];

/// Where the events are written.
#[derive(Debug)]
pub(crate) enum Source {
    Postgres(PrivatePostgres),
    MySql(PrivateMariaDb, Box<MySqlDatabase>),
    Sqlite(SqliteFile),
}

pub(crate) struct Place {
    pub(crate) source: Source,
    /// Of the source.
    pub(crate) url: String,
    pub(crate) clickhouse: PrivateClickHouse,
    pub(crate) database: ClickHouseDatabase,
    pub(crate) proxy: FaultProxy,
}

impl Place {
    pub(crate) async fn prepare(database: Database, without: Option<Guard>) -> Result<Self, Failure> {
        let clickhouse = PrivateClickHouse::start().await;
        let proxy = FaultProxy::start(clickhouse.address()).await;
        let source = match database {
            Database::Postgres => Source::Postgres(PrivatePostgres::start().await),
            Database::MySql => {
                let server = PrivateMariaDb::start().await;
                let database = MySqlDatabase::create_at(server.url()).await;
                Source::MySql(server, Box::new(database))
            }
            Database::Sqlite => Source::Sqlite(SqliteFile::create()),
        };
        let url = match &source {
            Source::Postgres(server) => server.url().to_owned(),
            Source::MySql(_, database) => database.url().to_owned(),
            Source::Sqlite(file) => file.url(),
        };
        match &source {
            Source::Postgres(_) => {
                let tables = Tables::new().with_slot_bits(SLOT_BITS)?;
                let sql = outbox::postgres::migrations(&tables).concat();
                let sql = without.map_or_else(|| sql.clone(), |guard| guard.removed_from(&sql));
                let mut conn = AsyncPgConnection::establish(&url).await?;
                conn.batch_execute(&format!("BEGIN; {sql}; CREATE TABLE truth (event_id uuid NOT NULL); COMMIT"))
                    .await?;
            }
            Source::MySql(..) => {
                MySqlStore::new(&url).setup().await?;
                let mut conn = AsyncMysqlConnection::establish(&url).await?;
                conn.batch_execute("CREATE TABLE truth (event_id CHAR(36) CHARACTER SET ascii NOT NULL)").await?;
            }
            Source::Sqlite(file) => {
                SqliteStore::new(&url).setup().await?;
                open_sqlite(&file.path().display().to_string())?
                    .batch_execute("CREATE TABLE truth (event_id TEXT NOT NULL)")?;
            }
        }
        let database = ClickHouseDatabase::create_on(&clickhouse).await;
        Ok(Self { source, url, clickhouse, database, proxy })
    }

    /// How a relay is started: `outbox run`, from the program beside this one.
    pub(crate) fn relay(&self) -> Result<impl Fn() -> Command + Send + Sync + 'static, Failure> {
        let program = std::env::current_exe()?.with_file_name("outbox_under_test");
        let mut settings = SETTINGS.map(|(name, value)| (name, value.to_owned())).to_vec();
        settings.push(("DATABASE_URL", self.url.clone()));
        settings.push(("CLICKHOUSE_URL", self.proxy.http_url()));
        settings.push(("CLICKHOUSE_DATABASE", self.database.name().to_owned()));
        Ok(move || {
            let mut command = Command::new(&program);
            for (name, _) in std::env::vars() {
                if ["OUTBOX_", "CLICKHOUSE_", "DATABASE_"].iter().any(|prefix| name.starts_with(prefix)) {
                    command.env_remove(name);
                }
            }
            // Not a directory that might hold somebody's .env.
            command.arg("run").envs(settings.iter().cloned()).current_dir(PathBuf::from("/"));
            command
        })
    }
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = Text)]
    id: String,
}

impl Source {
    /// The ids of the events whose transactions were committed.
    pub(crate) async fn truth(&self, url: &str) -> Result<HashSet<String>, Failure> {
        let ids: Vec<Id> = match self {
            Self::Postgres(_) => {
                let mut conn = AsyncPgConnection::establish(url).await?;
                let query = sql_query("SELECT event_id::text AS id FROM truth");
                diesel_async::RunQueryDsl::load(query, &mut conn).await?
            }
            Self::MySql(..) => {
                let mut conn = AsyncMysqlConnection::establish(url).await?;
                let query = sql_query("SELECT event_id AS id FROM truth");
                diesel_async::RunQueryDsl::load(query, &mut conn).await?
            }
            Self::Sqlite(file) => {
                let mut conn = open_sqlite(&file.path().display().to_string())?;
                RunQueryDsl::load(sql_query("SELECT event_id AS id FROM truth"), &mut conn)?
            }
        };
        Ok(ids.into_iter().map(|row| row.id).collect())
    }
}

/// As a service opens its file.
pub(crate) fn open_sqlite(path: &str) -> Result<SqliteConnection, Failure> {
    let mut conn = SqliteConnection::establish(path)?;
    conn.batch_execute("PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")?;
    Ok(conn)
}

/// The ids in ClickHouse, one for each row. Without a table nothing has arrived.
///
/// # Errors
/// When it does not answer: it may abort by itself right after a relay was killed.
pub(crate) async fn delivered(database: &ClickHouseDatabase) -> Result<Vec<String>, Failure> {
    if database.try_query("EXISTS TABLE event_log").await? == "0" {
        return Ok(Vec::new());
    }
    let ids = database.try_query("SELECT event_id FROM event_log").await?;
    Ok(ids.lines().map(str::to_owned).collect())
}
