//! `from = ..`: connections out of pools, which come back clean or not at all.

use std::future::pending;

use diesel::r2d2;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, bb8, deadpool};
use diesel_async::{AsyncMysqlConnection, AsyncPgConnection, SimpleAsyncConnection};
use outbox::prelude::*;
use outbox::{TxOptions, sync, transaction_with};
use tokio::sync::oneshot;

use super::databases::{AsyncDatabase, BlockingDatabase, Mysql, Postgres, Seen, Sqlite};
use super::{AppError, insert, opened};

/// Writes, and waits for ever when it is told to tell that it has.
macro_rules! service {
    ($service:ident, $pool:ty, $conn:ty) => {
        struct $service {
            pool: $pool,
        }

        impl $service {
            #[transactional_event(from = &self.pool, conn = db)]
            async fn open(&self, name: &str, arrived: Option<oneshot::Sender<()>>) -> Result<(), AppError> {
                let db: &mut $conn = db;
                db.batch_execute(&insert(name)).await?;
                db.emit(&opened(name)).await?;
                if let Some(arrived) = arrived {
                    let _ = arrived.send(());
                    pending().await
                }
                Ok(())
            }

            #[transactional_event(from = &self.pool, retries = 2, emit = |name| opened(name))]
            async fn told(&self, name: String) -> Result<String, AppError> {
                conn.batch_execute(&insert(&name)).await?;
                Ok(name)
            }

            /// Drops one in the middle, and needs its connection's place for the next.
            async fn drop_one_and_go_on(&self) {
                self.open("ann", None).await.expect("commits");
                self.open("ann", None).await.expect_err("the name is taken");
                let (arrived, arrival) = oneshot::channel();
                tokio::select! {
                    _ = self.open("bob", Some(arrived)) => {}
                    _ = arrival => {}
                }
                // Waits for the lock of the one that was dropped, unless the server has rolled it back.
                self.open("bob", None).await.expect("commits");
                self.told("cyn".to_owned()).await.expect("commits");
                let options = TxOptions::new();
                let out: Result<(), AppError> = transaction_with(options, &self.pool, async |conn| {
                    conn.emit(&opened("dan")).await?;
                    Err(AppError::Refused)
                })
                .await;
                out.expect_err("refuses");
            }
        }
    };
}

service!(Bb8, bb8::Pool<AsyncPgConnection>, AsyncPgConnection);
service!(Bb8Mysql, bb8::Pool<AsyncMysqlConnection>, AsyncMysqlConnection);
service!(Deadpool, deadpool::Pool<AsyncPgConnection>, AsyncPgConnection);

const ALL: [&str; 3] = ["ann", "bob", "cyn"];

#[tokio::test]
async fn bb8_replaces_what_was_dropped_on_postgres() {
    let database = <Postgres as AsyncDatabase>::create().await;
    let manager = AsyncDieselConnectionManager::new(database.url());
    let pool = bb8::Pool::builder().max_size(1).build(manager).await.expect("a pool");
    Bb8 { pool }.drop_one_and_go_on().await;
    assert_eq!(AsyncDatabase::seen(&database).await, Seen::both(&ALL));
}

#[tokio::test]
async fn bb8_replaces_what_was_dropped_on_mysql() {
    let database = <Mysql as AsyncDatabase>::create().await;
    let manager = AsyncDieselConnectionManager::new(database.url());
    let pool = bb8::Pool::builder().max_size(1).build(manager).await.expect("a pool");
    Bb8Mysql { pool }.drop_one_and_go_on().await;
    assert_eq!(AsyncDatabase::seen(&database).await, Seen::both(&ALL));
}

#[tokio::test]
async fn deadpool_replaces_what_was_dropped_at_once() {
    let database = <Postgres as AsyncDatabase>::create().await;
    let manager = AsyncDieselConnectionManager::new(database.url());
    let pool = deadpool::Pool::builder(manager).max_size(2).build().expect("a pool");
    let service = Deadpool { pool };
    let (arrived, arrival) = oneshot::channel();
    tokio::select! {
        _ = service.open("ann", Some(arrived)) => {}
        _ = arrival => {}
    }
    assert_eq!(service.pool.status().size, 0, "it is out of the pool");
    // Nobody takes a connection from the pool: the lock goes by itself.
    AsyncDatabase::connect(&database).await.batch_execute(&insert("ann")).await.expect("its turn comes");
    AsyncDatabase::connect(&database).await.batch_execute("DELETE FROM account").await.expect("an empty table");
    service.drop_one_and_go_on().await;
    assert_eq!(AsyncDatabase::seen(&database).await, Seen::both(&ALL));
}

#[tokio::test]
async fn guards_and_owned_pools_will_do_too() {
    #[transactional_event(from = pool)]
    async fn owned(pool: bb8::Pool<AsyncPgConnection>) -> Result<(), AppError> {
        conn.emit(&opened("a")).await?;
        Ok(())
    }
    #[transactional_event(from = pool.get().await.map_err(|_| AppError::Refused)?, conn = db)]
    async fn guard(pool: &bb8::Pool<AsyncPgConnection>) -> Result<(), AppError> {
        db.emit(&opened("b")).await?;
        Ok(())
    }
    #[transactional_event(from = &mut state.0)]
    async fn field(state: &mut (AsyncPgConnection, u8)) -> Result<(), AppError> {
        conn.emit(&opened("c")).await?;
        Ok(())
    }
    let database = <Postgres as AsyncDatabase>::create().await;
    let manager = AsyncDieselConnectionManager::new(database.url());
    let pool = bb8::Pool::builder().max_size(1).build(manager).await.expect("a pool");
    guard(&pool).await.expect("commits");
    owned(pool).await.expect("commits");
    field(&mut (AsyncDatabase::connect(&database).await, 0)).await.expect("commits");
    assert_eq!(AsyncDatabase::seen(&database).await.events, ["b", "a", "c"]);
}

#[tokio::test]
async fn a_pool_without_a_connection_is_an_error_that_says_so() {
    let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new("postgres://nobody@127.0.0.1:1/none");
    let build = bb8::Pool::builder().max_size(1).connection_timeout(std::time::Duration::from_millis(1));
    let pool = build.build_unchecked(manager);
    let error = Bb8 { pool }.open("ann", None).await.expect_err("nobody listens there");
    assert!(error.to_string().starts_with("the pool gave no connection: "), "{error}");
}

struct Blocking {
    pool: r2d2::Pool<r2d2::ConnectionManager<diesel::SqliteConnection>>,
}

impl Blocking {
    #[transactional_event(from = &self.pool, retries = 1)]
    fn open(&self, name: &str, panics: bool) -> Result<(), AppError> {
        use diesel::connection::SimpleConnection;
        conn.batch_execute(&insert(name))?;
        conn.emit(&opened(name))?;
        assert!(!panics, "as the test wants");
        Ok(())
    }
}

#[test]
fn r2d2_gives_connections_and_takes_them_back() {
    let database = <Sqlite as BlockingDatabase>::create();
    let manager = r2d2::ConnectionManager::new(database.url());
    let service = Blocking { pool: r2d2::Pool::builder().max_size(1).build(manager).expect("a pool") };
    service.open("ann", false).expect("commits");
    service.open("ann", false).expect_err("the name is taken");
    let panicking = std::panic::AssertUnwindSafe(|| service.open("bob", true));
    std::panic::catch_unwind(panicking).expect_err("it panics");
    service.open("bob", false).expect("commits");
    let owned: Result<(), AppError> = sync::transaction_with(TxOptions::new(), service.pool.clone(), |conn| {
        conn.emit(&opened("cyn"))?;
        Ok(())
    });
    owned.expect("commits");
    assert_eq!(BlockingDatabase::seen(&database).events, ["ann", "bob", "cyn"]);
}
