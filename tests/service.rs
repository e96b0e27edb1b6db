//! The service under test: users, each with an event, on PostgreSQL and MySQL (async) and on SQLite (blocking and async).

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel_async::sync_connection_wrapper::SyncConnectionWrapper;
use diesel_async::{AsyncConnection, AsyncMysqlConnection, AsyncPgConnection, SimpleAsyncConnection};
use outbox::prelude::*;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

diesel::table! {
    /// Users.
    users (id) {
        /// Their number.
        id -> BigInt,
        /// Unique.
        email -> Text,
    }
}

/// The table, on every database.
pub const USERS: &str = "CREATE TABLE users (id BIGINT PRIMARY KEY NOT NULL, email VARCHAR(200) NOT NULL UNIQUE)";

/// The event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, EventLog)]
pub struct UserCreated {
    /// Of the user.
    pub email: String,
    /// Of the user.
    pub first_name: String,
    /// Of the user.
    pub last_name: String,
}

/// An event for the user `id`.
#[must_use]
pub fn user_created(id: i64) -> UserCreated {
    UserCreated { email: email(id), first_name: "Zoë".into(), last_name: "O'Hara \"\\\n\u{1F600}".into() }
}

/// The e-mail of the user `id`.
#[must_use]
pub fn email(id: i64) -> String {
    format!("user{id}@example.org")
}

/// Async SQLite.
pub type AsyncSqlite = SyncConnectionWrapper<SqliteConnection>;

/// PostgreSQL.
///
/// # Errors
/// The database's.
#[transactional_event]
pub async fn create_user_postgres(conn: &mut AsyncPgConnection, id: i64) -> Result<Uuid, DieselError> {
    let insert = diesel::insert_into(users::table).values((users::id.eq(id), users::email.eq(email(id))));
    diesel_async::RunQueryDsl::execute(insert, conn).await?;
    conn.emit(&user_created(id)).await
}

/// MySQL.
///
/// # Errors
/// The database's.
#[transactional_event]
pub async fn create_user_mysql(conn: &mut AsyncMysqlConnection, id: i64) -> Result<Uuid, DieselError> {
    let insert = diesel::insert_into(users::table).values((users::id.eq(id), users::email.eq(email(id))));
    diesel_async::RunQueryDsl::execute(insert, conn).await?;
    conn.emit(&user_created(id)).await
}

/// PostgreSQL, blocking.
///
/// # Errors
/// The database's.
#[cfg(feature = "postgres-sync")]
#[transactional_event]
pub fn create_user_blocking_postgres(conn: &mut PgConnection, id: i64) -> Result<Uuid, DieselError> {
    let insert = diesel::insert_into(users::table).values((users::id.eq(id), users::email.eq(email(id))));
    diesel::RunQueryDsl::execute(insert, conn)?;
    conn.emit(&user_created(id))
}

/// SQLite, blocking.
///
/// # Errors
/// The database's.
#[transactional_event]
pub fn create_user_sqlite(conn: &mut SqliteConnection, id: i64) -> Result<Uuid, DieselError> {
    // As services do: it reads before it writes, and must not be told then that another has written meanwhile.
    let _known: i64 = diesel::RunQueryDsl::get_result(users::table.filter(users::id.eq(id)).count(), conn)?;
    let insert = diesel::insert_into(users::table).values((users::id.eq(id), users::email.eq(email(id))));
    diesel::RunQueryDsl::execute(insert, conn)?;
    conn.emit(&user_created(id))
}

/// SQLite, async.
///
/// # Errors
/// The database's.
#[transactional_event]
pub async fn create_user_async_sqlite(conn: &mut AsyncSqlite, id: i64) -> Result<Uuid, DieselError> {
    let insert = diesel::insert_into(users::table).values((users::id.eq(id), users::email.eq(email(id))));
    diesel_async::RunQueryDsl::execute(insert, conn).await?;
    conn.emit(&user_created(id)).await
}

/// Which kind of connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Its statements are awaited.
    Async,
    /// Its statements block.
    Blocking,
}

/// A connection of any kind.
#[allow(missing_debug_implementations, reason = "connections have none")]
pub enum Conn {
    /// PostgreSQL, async.
    Postgres(Box<AsyncPgConnection>),
    /// MySQL, async.
    MySql(Box<AsyncMysqlConnection>),
    /// PostgreSQL, blocking.
    #[cfg(feature = "postgres-sync")]
    BlockingPostgres(Box<PgConnection>),
    /// SQLite, blocking.
    Sqlite(Box<SqliteConnection>),
    /// SQLite, async.
    AsyncSqlite(Box<AsyncSqlite>),
}

impl Conn {
    /// Connects to `url`: `postgres://..`, `mysql://..` or `sqlite://..`.
    pub async fn open(url: &str, mode: Mode) -> Self {
        if url.starts_with("mysql://") {
            return Self::MySql(Box::new(AsyncMysqlConnection::establish(url).await.expect("MySQL answers")));
        }
        match url.strip_prefix("sqlite://") {
            #[cfg(feature = "postgres-sync")]
            None if mode == Mode::Blocking => {
                Self::BlockingPostgres(Box::new(PgConnection::establish(url).expect("PostgreSQL answers")))
            }
            None => Self::Postgres(Box::new(AsyncPgConnection::establish(url).await.expect("PostgreSQL answers"))),
            Some(path) if mode == Mode::Async => {
                let mut conn = AsyncSqlite::establish(path).await.expect("the file opens");
                conn.batch_execute(SQLITE_PRAGMAS).await.expect("pragmas");
                Self::AsyncSqlite(Box::new(conn))
            }
            Some(path) => {
                let mut conn = SqliteConnection::establish(path).expect("the file opens");
                conn.batch_execute(SQLITE_PRAGMAS).expect("pragmas");
                Self::Sqlite(Box::new(conn))
            }
        }
    }

    /// Runs statements.
    pub async fn execute(&mut self, sql: &str) {
        match self {
            Self::Postgres(conn) => conn.batch_execute(sql).await,
            Self::MySql(conn) => conn.batch_execute(sql).await,
            Self::AsyncSqlite(conn) => conn.batch_execute(sql).await,
            #[cfg(feature = "postgres-sync")]
            Self::BlockingPostgres(conn) => conn.batch_execute(sql),
            Self::Sqlite(conn) => conn.batch_execute(sql),
        }
        .unwrap_or_else(|e| panic!("{e}: {sql}"));
    }

    /// The wrapped function under test.
    ///
    /// # Errors
    /// The database's.
    pub async fn create_user(&mut self, id: i64) -> Result<Uuid, DieselError> {
        match self {
            Self::Postgres(conn) => create_user_postgres(conn, id).await,
            Self::MySql(conn) => create_user_mysql(conn, id).await,
            Self::AsyncSqlite(conn) => create_user_async_sqlite(conn, id).await,
            #[cfg(feature = "postgres-sync")]
            Self::BlockingPostgres(conn) => create_user_blocking_postgres(conn, id),
            Self::Sqlite(conn) => create_user_sqlite(conn, id),
        }
    }

    /// A count.
    pub async fn count(&mut self, table: &str) -> i64 {
        #[derive(QueryableByName)]
        struct Count {
            #[diesel(sql_type = diesel::sql_types::BigInt)]
            count: i64,
        }
        let query = diesel::sql_query(format!("SELECT count(*) AS count FROM {table}"));
        let count: Result<Count, _> = match self {
            Self::Postgres(conn) => diesel_async::RunQueryDsl::get_result(query, conn).await,
            Self::MySql(conn) => diesel_async::RunQueryDsl::get_result(query, conn).await,
            Self::AsyncSqlite(conn) => diesel_async::RunQueryDsl::get_result(query, conn).await,
            #[cfg(feature = "postgres-sync")]
            Self::BlockingPostgres(conn) => diesel::RunQueryDsl::get_result(query, conn.as_mut()),
            Self::Sqlite(conn) => diesel::RunQueryDsl::get_result(query, conn.as_mut()),
        };
        count.expect("a count").count
    }
}

const SQLITE_PRAGMAS: &str = "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL";
