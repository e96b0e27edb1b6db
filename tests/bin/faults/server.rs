//! The real server behind all cases. Version 26.7 aborts at times when a connection is cut: then it is started again, as a
//! service manager would.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use outbox_test::databases::ClickHouseDatabase;
use outbox_test::servers::PrivateClickHouse;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Between two looks at its health.
const LOOK_EVERY: Duration = Duration::from_millis(300);

pub(crate) struct Server {
    clickhouse: Arc<Mutex<PrivateClickHouse>>,
    restarts: Arc<AtomicU32>,
    watching: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let clickhouse = PrivateClickHouse::start().await;
        let health = ClickHouseDatabase::create_on(&clickhouse).await;
        let clickhouse = Arc::new(Mutex::new(clickhouse));
        let restarts = Arc::<AtomicU32>::default();
        let watching = tokio::spawn(watch(Arc::clone(&clickhouse), health, Arc::clone(&restarts)));
        Self { clickhouse, restarts, watching }
    }

    /// A database for a case.
    pub(crate) async fn database(&self) -> ClickHouseDatabase {
        loop {
            let clickhouse = Arc::clone(&self.clickhouse);
            let made = tokio::spawn(async move { ClickHouseDatabase::create_on(&*clickhouse.lock().await).await });
            // It panics where the server goes down at that moment.
            if let Ok(database) = made.await {
                return database;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    pub(crate) fn restarts(&self) -> u32 {
        self.restarts.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

async fn watch(clickhouse: Arc<Mutex<PrivateClickHouse>>, health: ClickHouseDatabase, restarts: Arc<AtomicU32>) {
    loop {
        sleep(LOOK_EVERY).await;
        // It answers "aborted" while it writes down why, which takes up to ten seconds. Once it is gone, it is started again
        // without us.
        let gone = |error: &String| error.contains("Code: 236");
        if health.try_query("SELECT 1").await.as_ref().is_err_and(gone) {
            let mut clickhouse = clickhouse.lock().await;
            clickhouse.kill();
            clickhouse.restart().await;
            restarts.fetch_add(1, Ordering::Relaxed);
        }
    }
}
