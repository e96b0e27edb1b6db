//! Waiting until everything that was committed is settled.

use std::time::Duration;

use outbox::mysql::MySqlStore;
use outbox::postgres::PostgresStore;
use outbox::sqlite::SqliteStore;
use outbox::{Status, Store, StoreError};
use outbox_test::databases::ClickHouseDatabase;
use tokio::time::{Instant, sleep};

use crate::Failure;
use crate::place::{self, Source};

/// Without any movement for so long, something is broken: every lease and every back-off is over long before.
const STUCK_AFTER: Duration = Duration::from_secs(60);
/// Between two looks at data that sends no signal.
const POLL: Duration = Duration::from_millis(100);

pub(crate) async fn drain(source: &Source, url: &str, database: &ClickHouseDatabase) -> Result<(), Failure> {
    match source {
        Source::Postgres(_) => wait(&PostgresStore::connect(url).await?, database).await,
        Source::MySql(..) => wait(&MySqlStore::connect(url).await?, database).await,
        Source::Sqlite(_) => wait(&SqliteStore::new(url), database).await,
    }
}

async fn wait(store: &impl Store, database: &ClickHouseDatabase) -> Result<(), Failure> {
    let (mut last, mut moved) = (None, Instant::now());
    loop {
        let status = store.status().await;
        let pending = pending(&status);
        if pending == Some(0) {
            return Ok(());
        }
        let now = (pending, place::delivered(database).await.map(|ids| ids.len()).ok());
        if last != Some(now) {
            (last, moved) = (Some(now), Instant::now());
        } else if moved.elapsed() > STUCK_AFTER {
            return Err(format!("nothing moved for {STUCK_AFTER:?}: {status:?}").into());
        }
        sleep(POLL).await;
    }
}

/// None as long as nobody can say.
fn pending(status: &Result<Status, StoreError>) -> Option<u64> {
    let routes = &status.as_ref().ok()?.routes;
    (!routes.is_empty()).then(|| routes.iter().map(outbox::RouteStatus::pending_events).sum())
}
