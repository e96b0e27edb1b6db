//! The service's own database, of any kind.

use std::error::Error;

use diesel::connection::SimpleConnection;
use diesel::sql_types::BigInt;
use diesel::{Connection, QueryDsl, QueryResult, QueryableByName, SqliteConnection};
use diesel_async::{AsyncConnection, AsyncMysqlConnection, AsyncPgConnection, SimpleAsyncConnection};

use crate::app::{AppError, NewUser, User, create_user, create_user_blocking, create_user_mysql, users};

pub enum Database {
    Postgres(String),
    MySql(String),
    Sqlite(String),
}

/// An open connection.
pub enum Conn {
    Postgres(Box<AsyncPgConnection>),
    MySql(Box<AsyncMysqlConnection>),
    Sqlite(Box<SqliteConnection>),
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

const USERS_SQLITE: &str = "CREATE TABLE IF NOT EXISTS users (id INTEGER PRIMARY KEY NOT NULL, email TEXT NOT NULL UNIQUE, \
    first_name TEXT NOT NULL, last_name TEXT NOT NULL)";
const USERS_POSTGRES: &str = "CREATE TABLE IF NOT EXISTS users (id BIGSERIAL PRIMARY KEY, email TEXT NOT NULL UNIQUE, \
    first_name TEXT NOT NULL, last_name TEXT NOT NULL)";
const USERS_MYSQL: &str = "CREATE TABLE IF NOT EXISTS users (id BIGINT AUTO_INCREMENT PRIMARY KEY, \
    email VARCHAR(255) NOT NULL UNIQUE, first_name TEXT NOT NULL, last_name TEXT NOT NULL) DEFAULT CHARACTER SET utf8mb4";

impl Database {
    pub fn from_env() -> Result<Self, Box<dyn Error>> {
        let url = std::env::var("DATABASE_URL").map_err(|_| "DATABASE_URL is not set")?;
        match url.strip_prefix("sqlite://") {
            Some(path) => Ok(Self::Sqlite(path.to_owned())),
            None if url.starts_with("postgres") => Ok(Self::Postgres(url)),
            None if url.starts_with("mysql://") => Ok(Self::MySql(url)),
            None => Err("DATABASE_URL needs sqlite:///path, postgres://.. or mysql://..".into()),
        }
    }

    /// Connects and makes sure that the users table is there.
    pub async fn connect(&self) -> Result<Conn, Box<dyn Error>> {
        match self {
            Self::Postgres(url) => {
                let mut conn = AsyncPgConnection::establish(url).await?;
                conn.batch_execute(USERS_POSTGRES).await?;
                Ok(Conn::Postgres(Box::new(conn)))
            }
            Self::MySql(url) => {
                let mut conn = AsyncMysqlConnection::establish(url).await?;
                conn.batch_execute(USERS_MYSQL).await?;
                Ok(Conn::MySql(Box::new(conn)))
            }
            Self::Sqlite(path) => {
                let mut conn = SqliteConnection::establish(path)?;
                // NORMAL: a commit survives a crash of the process, and may be lost, with its event, with the power.
                conn.batch_execute(
                    "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL",
                )?;
                conn.batch_execute(USERS_SQLITE)?;
                Ok(Conn::Sqlite(Box::new(conn)))
            }
        }
    }
}

impl Conn {
    pub async fn create_user(&mut self, new: &NewUser) -> Result<User, AppError> {
        match self {
            Self::Postgres(conn) => create_user(conn, new).await,
            Self::MySql(conn) => create_user_mysql(conn, new).await,
            Self::Sqlite(conn) => tokio::task::block_in_place(|| create_user_blocking(conn, new)),
        }
    }

    pub async fn emails(&mut self) -> QueryResult<Vec<String>> {
        let query = users::table.select(users::email);
        match self {
            Self::Postgres(conn) => diesel_async::RunQueryDsl::load(query, conn).await,
            Self::MySql(conn) => diesel_async::RunQueryDsl::load(query, conn).await,
            Self::Sqlite(conn) => diesel::RunQueryDsl::load(query, conn.as_mut()),
        }
    }

    /// How many batches have ever been sealed.
    pub async fn batches(&mut self) -> QueryResult<i64> {
        let row: Number = match self {
            Self::Postgres(conn) => {
                let query = diesel::sql_query("SELECT last_value AS number FROM outbox_batch_no_seq");
                diesel_async::RunQueryDsl::get_result(query, conn).await?
            }
            Self::MySql(conn) => {
                let query = diesel::sql_query(
                    "SELECT CAST(auto_increment - 1 AS SIGNED) AS number FROM information_schema.tables \
                     WHERE table_schema = DATABASE() AND table_name = 'outbox_batch'",
                );
                // MySQL 8 would answer from a cache of a day; MariaDB does not read the comment.
                conn.batch_execute("SET @unused = 0 /*!80000 , SESSION information_schema_stats_expiry = 0 */").await?;
                diesel_async::RunQueryDsl::get_result(query, conn).await?
            }
            Self::Sqlite(conn) => {
                let query = diesel::sql_query("SELECT seq AS number FROM sqlite_sequence WHERE name = 'outbox_batch'");
                diesel::RunQueryDsl::get_result(query, conn.as_mut())?
            }
        };
        Ok(row.number)
    }
}
