//! The databases that the tests run on, each fresh, with a table of accounts and the outbox.

use diesel::connection::SimpleConnection;
use diesel::sql_types::Text;
use diesel::{Connection, QueryableByName, SqliteConnection};
use diesel_async::sync_connection_wrapper::SyncConnectionWrapper;
use diesel_async::{AsyncConnection, AsyncMysqlConnection, AsyncPgConnection, SimpleAsyncConnection};
use outbox::OutboxBackend;
use outbox_test::databases::{MySqlDatabase, PostgresDatabase, SqliteFile};

const ACCOUNT: &str = "CREATE TABLE account (name TEXT PRIMARY KEY);
    CREATE TABLE child (parent TEXT NOT NULL REFERENCES account (name) DEFERRABLE INITIALLY DEFERRED);";
/// MySQL looks at a foreign key at once, whatever the table says.
const MYSQL_ACCOUNT: &str = "CREATE TABLE account (name VARCHAR(255) COLLATE utf8mb4_bin PRIMARY KEY) \
    CHARACTER SET utf8mb4";
const MYSQL: &str = include_str!("../../../outbox-diesel/migrations/mysql/0001_outbox.sql");
const SQLITE: &str = include_str!("../../../outbox-diesel/migrations/sqlite/0001_outbox.sql");

/// One statement, so one snapshot: a commit is in all of it or in none.
const SEEN: &str = "SELECT 'account' AS what, name AS value, 0 AS seq FROM account
    UNION ALL SELECT 'event', key, seq FROM outbox_event ORDER BY what, seq, value";
const MYSQL_SEEN: &str = "SELECT 'account' AS what, name AS value, 0 AS seq FROM account
    UNION ALL SELECT 'event', `key`, seq FROM outbox_event ORDER BY what, seq, value";

/// What another connection sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) accounts: Vec<String>,
    /// The keys of the events, in their order.
    pub(super) events: Vec<String>,
}

impl Seen {
    /// Accounts (in alphabetical order) with one event each, in the same order.
    pub(super) fn both(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Self { accounts: names.clone(), events: names }
    }

    pub(super) fn holds(&self, name: &str) -> bool {
        self.events.iter().any(|event| event == name)
    }
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    what: String,
    #[diesel(sql_type = Text)]
    value: String,
}

fn seen(lines: Vec<Line>) -> Seen {
    let mut seen = Seen::default();
    for Line { what, value } in lines {
        if what == "account" { seen.accounts.push(value) } else { seen.events.push(value) }
    }
    seen
}

/// A database with async connections.
pub(super) trait AsyncDatabase: Sized {
    type Conn: AsyncConnection<Backend: OutboxBackend> + Send + 'static;
    /// Whether a failed statement ends the transaction.
    const STRICT: bool;

    async fn create() -> Self;
    async fn connect(&self) -> Self::Conn;
    async fn seen(&self) -> Seen;
}

/// A database with blocking connections.
pub(super) trait BlockingDatabase: Sized {
    type Conn: Connection<Backend: OutboxBackend>;
    const STRICT: bool;

    fn create() -> Self;
    fn connect(&self) -> Self::Conn;
    fn seen(&self) -> Seen;
}

pub(super) struct Postgres(PostgresDatabase);

impl Postgres {
    pub(super) fn url(&self) -> &str {
        self.0.url()
    }
}

impl AsyncDatabase for Postgres {
    type Conn = AsyncPgConnection;
    const STRICT: bool = true;

    async fn create() -> Self {
        let database = Self(PostgresDatabase::create().await);
        let mut conn = AsyncDatabase::connect(&database).await;
        conn.batch_execute(&outbox::postgres::MIGRATIONS.concat()).await.expect("the outbox");
        conn.batch_execute(ACCOUNT).await.expect("the accounts");
        database
    }

    async fn connect(&self) -> AsyncPgConnection {
        AsyncPgConnection::establish(self.0.url()).await.expect("a connection")
    }

    async fn seen(&self) -> Seen {
        use diesel_async::RunQueryDsl;
        seen(diesel::sql_query(SEEN).load(&mut AsyncDatabase::connect(self).await).await.expect("both tables"))
    }
}

pub(super) struct Mysql(MySqlDatabase);

impl Mysql {
    pub(super) fn url(&self) -> &str {
        self.0.url()
    }
}

impl AsyncDatabase for Mysql {
    type Conn = AsyncMysqlConnection;
    const STRICT: bool = false;

    async fn create() -> Self {
        let database = Self(MySqlDatabase::create().await);
        let mut conn = AsyncDatabase::connect(&database).await;
        conn.batch_execute(MYSQL).await.expect("the outbox");
        conn.batch_execute(MYSQL_ACCOUNT).await.expect("the accounts");
        database
    }

    async fn connect(&self) -> AsyncMysqlConnection {
        AsyncMysqlConnection::establish(self.0.url()).await.expect("a connection")
    }

    async fn seen(&self) -> Seen {
        use diesel_async::RunQueryDsl;
        seen(diesel::sql_query(MYSQL_SEEN).load(&mut AsyncDatabase::connect(self).await).await.expect("both tables"))
    }
}

pub(super) struct Sqlite(SqliteFile);

impl Sqlite {
    pub(super) fn url(&self) -> String {
        self.0.url()
    }

    fn blocking(&self) -> SqliteConnection {
        let mut conn = SqliteConnection::establish(&self.0.url()).expect("a connection");
        conn.batch_execute("PRAGMA journal_mode = WAL; PRAGMA busy_timeout = 20000; PRAGMA foreign_keys = ON")
            .expect("settings");
        conn
    }
}

impl BlockingDatabase for Sqlite {
    type Conn = SqliteConnection;
    const STRICT: bool = false;

    fn create() -> Self {
        let database = Self(SqliteFile::create());
        let mut conn = database.blocking();
        conn.batch_execute(SQLITE).expect("the outbox");
        conn.batch_execute(ACCOUNT).expect("the accounts");
        database
    }

    fn connect(&self) -> SqliteConnection {
        self.blocking()
    }

    fn seen(&self) -> Seen {
        use diesel::RunQueryDsl;
        seen(diesel::sql_query(SEEN).load(&mut self.blocking()).expect("both tables"))
    }
}

impl AsyncDatabase for Sqlite {
    type Conn = SyncConnectionWrapper<SqliteConnection>;
    const STRICT: bool = false;

    async fn create() -> Self {
        <Self as BlockingDatabase>::create()
    }

    async fn connect(&self) -> Self::Conn {
        SyncConnectionWrapper::new(self.blocking())
    }

    async fn seen(&self) -> Seen {
        <Self as BlockingDatabase>::seen(self)
    }
}

#[cfg(feature = "postgres-sync")]
impl BlockingDatabase for Postgres {
    type Conn = diesel::PgConnection;
    const STRICT: bool = true;

    fn create() -> Self {
        block_on(<Self as AsyncDatabase>::create())
    }

    fn connect(&self) -> diesel::PgConnection {
        diesel::PgConnection::establish(self.0.url()).expect("a connection")
    }

    fn seen(&self) -> Seen {
        block_on(<Self as AsyncDatabase>::seen(self))
    }
}

#[cfg(feature = "mysql-sync")]
impl BlockingDatabase for Mysql {
    type Conn = diesel::MysqlConnection;
    const STRICT: bool = false;

    fn create() -> Self {
        block_on(<Self as AsyncDatabase>::create())
    }

    fn connect(&self) -> diesel::MysqlConnection {
        diesel::MysqlConnection::establish(self.0.url()).expect("a connection")
    }

    fn seen(&self) -> Seen {
        block_on(<Self as AsyncDatabase>::seen(self))
    }
}

#[cfg(any(feature = "postgres-sync", feature = "mysql-sync"))]
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

/// Runs each case, a generic async function, on each database.
macro_rules! on_each_database {
    ($($case:ident),* $(,)?) => {
        on_each_database!(@each $($case [postgres Postgres, mysql Mysql, sqlite Sqlite]),*);
    };
    (that defers constraints: $($case:ident),* $(,)?) => {
        on_each_database!(@each $($case [postgres Postgres, sqlite Sqlite]),*);
    };
    (with row locks: $($case:ident),* $(,)?) => {
        on_each_database!(@each $($case [postgres Postgres, mysql Mysql]),*);
    };
    (@each $($case:ident [$($name:ident $database:ident),*]),*) => { $(
        mod $case {
            $(
                // Dropping a future of SQLite's async connection needs a second thread.
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::cases::$case::<crate::atomicity::databases::$database>().await;
                }
            )*
        }
    )* };
}

/// Runs each case, a generic function, on each database that has blocking connections.
macro_rules! on_each_blocking_database {
    ($($case:ident),* $(,)?) => { $(
        mod $case {
            #[test]
            fn sqlite() {
                super::cases::$case::<crate::atomicity::databases::Sqlite>();
            }

            #[cfg(feature = "postgres-sync")]
            #[test]
            fn postgres() {
                super::cases::$case::<crate::atomicity::databases::Postgres>();
            }

            #[cfg(feature = "mysql-sync")]
            #[test]
            fn mysql() {
                super::cases::$case::<crate::atomicity::databases::Mysql>();
            }
        }
    )* };
}

pub(super) use {on_each_blocking_database, on_each_database};
