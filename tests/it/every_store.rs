//! A fresh outbox on each database, a connection beside it, and the way from there into ClickHouse.

use std::time::Duration;

use diesel_async::sync_connection_wrapper::SyncConnectionWrapper;
use diesel_async::{AsyncConnection, AsyncMysqlConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use outbox::clickhouse::{ClickHouseSettings, ClickHouseSink};
use outbox::mysql::MySqlStore;
use outbox::postgres::PostgresStore;
use outbox::sqlite::SqliteStore;
use outbox::{RelayBuilder, Store, Vars};
use outbox_test::databases::{ClickHouseDatabase, MySqlDatabase, PostgresDatabase, SqliteFile};

/// Makes a test of each function for each database. It gets a connection, and a function that makes stores.
macro_rules! on_every_store {
    ($($test:ident),+ $(,)?) => {
        on_every_store!(@on postgres $($test)+);
        on_every_store!(@on mysql $($test)+);
        on_every_store!(@on sqlite $($test)+);
    };
    (@on $database:ident $($test:ident)+) => {
        mod $database {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    let (_database, conn, store) = crate::every_store::$database().await;
                    super::$test(conn, store).await;
                }
            )+
        }
    };
}
pub(crate) use on_every_store;

pub(crate) async fn postgres() -> (PostgresDatabase, AsyncPgConnection, impl Fn() -> PostgresStore) {
    let database = PostgresDatabase::create().await;
    let store = PostgresStore::connect(database.url()).await.expect("a pool");
    store.setup().await.expect("tables");
    let conn = AsyncPgConnection::establish(database.url()).await.expect("PostgreSQL answers");
    (database, conn, move || store.clone())
}

pub(crate) async fn mysql() -> (MySqlDatabase, AsyncMysqlConnection, impl Fn() -> MySqlStore) {
    let database = MySqlDatabase::create().await;
    let url = database.url().to_owned();
    MySqlStore::new(&url).setup().await.expect("tables");
    let conn = AsyncMysqlConnection::establish(&url).await.expect("MySQL answers");
    (database, conn, move || MySqlStore::new(&url))
}

pub(crate) async fn sqlite() -> (SqliteFile, SyncConnectionWrapper<diesel::SqliteConnection>, impl Fn() -> SqliteStore)
{
    let file = SqliteFile::create();
    let url = file.url();
    SqliteStore::new(&url).setup().await.expect("tables");
    let mut conn: SyncConnectionWrapper<diesel::SqliteConnection> =
        SyncConnectionWrapper::establish(&file.path().to_string_lossy()).await.expect("the file opens");
    // As a service opens it: a relay writes to the file, too.
    conn.batch_execute("PRAGMA busy_timeout = 20000").await.expect("a pragma");
    (file, conn, move || SqliteStore::new(&url))
}

/// A sink that makes its tables.
pub(crate) fn sink(clickhouse: &ClickHouseDatabase) -> ClickHouseSink {
    let mut vars = vec![
        ("CLICKHOUSE_URL", clickhouse.url().to_owned()),
        ("CLICKHOUSE_DATABASE", clickhouse.name().to_owned()),
        ("OUTBOX_CLICKHOUSE_CREATE_TABLE", "true".to_owned()),
    ];
    if let (Some(user), Some(password)) = (clickhouse.user(), clickhouse.password()) {
        vars.extend([("CLICKHOUSE_USER", user.to_owned()), ("CLICKHOUSE_PASSWORD", password.to_owned())]);
    }
    ClickHouseSink::new(ClickHouseSettings::from_vars(&Vars::new(vars)).expect("good settings"))
}

/// Delivers what is there.
pub(crate) async fn drain<S: Store>(relay: RelayBuilder<S>, clickhouse: &ClickHouseDatabase) {
    let relay = relay.sink(sink(clickhouse)).linger(Duration::ZERO).once();
    relay.start().await.expect("the relay starts").ended().await.expect("everything is delivered");
}

/// A column of texts.
#[derive(diesel::QueryableByName)]
pub(crate) struct TextRow {
    #[diesel(sql_type = diesel::sql_types::Nullable<diesel::sql_types::Text>)]
    text: Option<String>,
}

/// What a `SELECT .. AS text ..` gives.
pub(crate) async fn texts<C>(conn: &mut C, sql: &str) -> Vec<Option<String>>
where
    C: AsyncConnection,
    diesel::query_builder::SqlQuery: diesel_async::methods::LoadQuery<'static, C, TextRow>,
{
    let rows = RunQueryDsl::load::<TextRow>(diesel::sql_query(sql), conn).await.expect("texts");
    rows.into_iter().map(|row| row.text).collect()
}
