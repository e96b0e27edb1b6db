//! The real server behind all cases. Version 26.7 aborts at times when a connection is cut: then it is started again, as a
//! service manager would.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use outbox_test::databases::ClickHouseDatabase;
use outbox_test::servers::PrivateClickHouse;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// Between two looks at its health.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// Without an answer for so long, it is taken for one that has aborted: connections are still accepted while it writes down
/// why, and nobody answers them.
const SILENT_FOR: Duration = Duration::from_secs(8);

pub(crate) struct Server {
    health: Arc<ClickHouseDatabase>,
    restarts: Arc<AtomicU32>,
    answers: watch::Receiver<Answers>,
    watching: JoinHandle<()>,
}

/// Since when it has answered at each look; None while it does not.
type Answers = Option<Instant>;

impl Server {
    pub(crate) async fn start() -> Self {
        let clickhouse = PrivateClickHouse::start().await;
        let health = Arc::new(ClickHouseDatabase::create_on(&clickhouse).await);
        let restarts = Arc::<AtomicU32>::default();
        let (said, answers) = watch::channel(Some(Instant::now()));
        let watching = tokio::spawn(watch(clickhouse, Arc::clone(&health), said, Arc::clone(&restarts)));
        Self { health, restarts, answers, watching }
    }

    /// A database for a case.
    pub(crate) async fn database(&self) -> ClickHouseDatabase {
        loop {
            match self.health.try_create_beside().await {
                Ok(database) => return database,
                Err(error) => eprintln!("a database for a case: {error}: again"),
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Returns when the server has answered for so long from now on, without a break.
    pub(crate) async fn answers_for(&self, span: Duration) {
        let mut answers = self.answers.clone();
        let mut since = Instant::now();
        loop {
            let up = *answers.borrow_and_update();
            since = up.map_or(since, |up| up.max(since));
            tokio::select! {
                () = tokio::time::sleep_until(since + span), if up.is_some() => return,
                changed = answers.changed() => if changed.is_err() { return },
            }
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

async fn watch(
    mut clickhouse: PrivateClickHouse,
    health: Arc<ClickHouseDatabase>,
    said: watch::Sender<Answers>,
    restarts: Arc<AtomicU32>,
) {
    let mut answered = Instant::now();
    loop {
        sleep(LOOK_EVERY).await;
        let answer = timeout(SILENT_FOR, health.try_query("SELECT 1")).await;
        if let Ok(Ok(_)) = answer {
            answered = Instant::now();
            said.send_if_modified(|answers| answers.is_none().then(|| *answers = Some(answered)).is_some());
            continue;
        }
        said.send_replace(None);
        // It answers "aborted" while it writes down why, which takes up to ten seconds, or not at all. Once it is gone, it is
        // started again without us; but not what is in its place and does not answer either.
        let aborted = matches!(&answer, Ok(Err(error)) if error.contains("Code: 236"));
        if aborted || answered.elapsed() >= SILENT_FOR {
            clickhouse.kill();
            clickhouse.restart().await;
            restarts.fetch_add(1, Ordering::Relaxed);
            answered = Instant::now();
        }
    }
}
