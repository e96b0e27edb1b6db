//! COMMIT went out and its answer was lost: it may have been carried out, so it is never tried again.

use std::sync::atomic::{AtomicU32, Ordering};

use diesel_async::{AsyncConnection, AsyncMysqlConnection, AsyncPgConnection, SimpleAsyncConnection};
use outbox::prelude::*;
use outbox::{OutboxBackend, TransientError};
use outbox_test::proxy::{FaultProxy, Mode};

use super::databases::{AsyncDatabase, Mysql, Postgres, Seen};
use super::{insert, opened};

/// Would have everything run again.
#[derive(Debug)]
struct Stubborn;

impl From<diesel::result::Error> for Stubborn {
    fn from(_: diesel::result::Error) -> Self {
        Self
    }
}

impl TransientError for Stubborn {
    fn is_transient(&self) -> bool {
        true
    }
}

#[transactional_event(retries = 5, retry_delay = "1ms")]
async fn open<C>(conn: &mut C, proxy: &FaultProxy, mode: Mode, runs: &AtomicU32) -> Result<(), Stubborn>
where
    C: AsyncConnection<Backend: OutboxBackend>,
{
    let run = runs.fetch_add(1, Ordering::SeqCst);
    let name = format!("run-{run}");
    conn.batch_execute(&insert(&name)).await?;
    conn.emit(&opened(&name)).await?;
    proxy.set_once(mode);
    Ok(())
}

/// The same URL, through a proxy.
async fn through_a_proxy(url: &str) -> (FaultProxy, String) {
    let (before, rest) = url.split_once('@').expect("a user");
    let (host, database) = rest.split_once('/').expect("a database");
    let proxy = FaultProxy::start(host).await;
    let url = format!("{before}@{}/{database}", proxy.addr());
    (proxy, url)
}

#[tokio::test]
async fn postgres_is_not_asked_again() {
    let database = <Postgres as AsyncDatabase>::create().await;
    let (proxy, url) = through_a_proxy(database.url()).await;
    let mut conn = AsyncPgConnection::establish(&url).await.expect("a connection");
    let runs = AtomicU32::new(0);
    open(&mut conn, &proxy, Mode::LoseReply, &runs).await.expect_err("nobody answers");
    assert_eq!((proxy.cuts(), runs.load(Ordering::SeqCst)), (1, 1));
    let mut other = AsyncDatabase::connect(&database).await;
    other.batch_execute("LOCK TABLE account").await.expect_err("outside a transaction");
    // The server may still be at it: wait for its locks.
    other.batch_execute("BEGIN; LOCK TABLE account IN ACCESS EXCLUSIVE MODE; COMMIT").await.expect("it has ended");
    assert_eq!(AsyncDatabase::seen(&database).await, Seen::both(&["run-0"]), "it was carried out, once");
}

#[tokio::test]
async fn mysql_is_not_asked_again() {
    let database = <Mysql as AsyncDatabase>::create().await;
    let (proxy, url) = through_a_proxy(database.url()).await;
    let mut conn = AsyncMysqlConnection::establish(&url).await.expect("a connection");
    let runs = AtomicU32::new(0);
    open(&mut conn, &proxy, Mode::LoseReply, &runs).await.expect_err("nobody answers");
    assert_eq!((proxy.cuts(), runs.load(Ordering::SeqCst)), (1, 1));
    let mut other = AsyncDatabase::connect(&database).await;
    other.batch_execute("LOCK TABLES account WRITE").await.expect("it has ended");
    other.batch_execute("UNLOCK TABLES").await.expect("nothing is in the way");
    assert_eq!(AsyncDatabase::seen(&database).await, Seen::both(&["run-0"]), "it was carried out, once");
}
