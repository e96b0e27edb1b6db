//! Wake-ups between processes: a service announces its commits, a relay elsewhere hears of them.
//!
//! Never from the business transaction: a NOTIFY in it makes all committers queue for one lock of the server, and half of the
//! throughput was gone when it was measured. Here a task of the service sends at most one NOTIFY every few milliseconds, on a
//! connection of its own, after the commits. It is a hint, nothing more: who misses it finds the events by polling.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use diesel::sql_types::Text;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::StreamExt;
use outbox_core::StoreError;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::PostgresStore;
use super::store::STEP_TIMEOUT;
use crate::wake;

/// A connection that breaks is made anew after this time.
const RECONNECT: Duration = Duration::from_secs(1);

/// A task that ends when this is dropped.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Announces this process's commits while it lives: see [`PostgresStore::announce_commits`].
#[derive(Debug)]
#[must_use = "dropping it ends the announcements"]
pub struct Announcing {
    _task: Task,
}

/// Hears the announcements of other processes while it lives: see [`PostgresStore::listen`].
#[derive(Debug)]
pub struct Listening {
    heard: Arc<Notify>,
    _task: Task,
}

impl Listening {
    /// A future that is ready after the next announcement.
    pub fn notified(&self) -> impl Future<Output = ()> + Send + use<> {
        let heard = Arc::clone(&self.heard);
        async move { heard.notified().await }
    }
}

impl PostgresStore {
    /// Announces the commits of this process's guards with `NOTIFY`, at most one every `interval`, on a connection of its own,
    /// so that relays in other processes need not wait for their next poll. 10 to 20 ms is a good `interval`: shorter costs the
    /// server more, longer lets events wait.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn announce_commits(&self, interval: Duration) -> Announcing {
        let store = self.clone();
        let task = tokio::spawn(async move {
            let mut next = Box::pin(wake::notified());
            loop {
                next.await;
                // Made before the announcement, so that no commit falls between.
                next = Box::pin(wake::notified());
                if let Err(error) = store.announce().await {
                    tracing::debug!(%error, "a commit is not announced: relays find it at their next poll");
                }
                tokio::time::sleep(interval).await;
            }
        });
        Announcing { _task: Task(task) }
    }

    /// Sends one announcement: what [`announce_commits`](Self::announce_commits) does after commits.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn announce(&self) -> Result<(), StoreError> {
        let notify = async |conn: &mut AsyncPgConnection| {
            let notify = diesel::sql_query("SELECT pg_notify($1, '')");
            notify.bind::<Text, _>(self.channel()).execute(conn).await
        };
        self.connections.run("announce", STEP_TIMEOUT, notify).await.map(drop)
    }

    /// Listens for announcements on a connection of its own, which is made anew when it breaks. Give it to a relay:
    /// `builder.wake_on(move || listening.notified())`. Through a pooler in transaction mode nothing is heard, and a warning says so:
    /// listen with a store that connects to the server itself.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn listen(&self) -> Listening {
        if self.connections.is_behind_pooler() {
            tracing::warn!("a pooler in transaction mode passes no announcements on: relays poll");
        }
        let heard = Arc::<Notify>::default();
        let (store, tell) = (self.clone(), Arc::clone(&heard));
        let task = tokio::spawn(async move {
            loop {
                if let Err(error) = store.hear(&tell).await {
                    tracing::debug!(%error, "not listening: polling goes on");
                }
                tokio::time::sleep(RECONNECT).await;
            }
        });
        Listening { heard, _task: Task(task) }
    }

    /// Until the connection breaks.
    async fn hear(&self, heard: &Notify) -> Result<(), StoreError> {
        let mut conn = self.connections.listening("listen").await?;
        let listen = diesel::sql_query(format!("LISTEN \"{}\"", self.channel())).execute(&mut conn).await;
        listen.map_err(|error| super::error::store_error("listen", error))?;
        // What was announced while nobody listened.
        heard.notify_one();
        let mut notifications = std::pin::pin!(conn.notifications_stream());
        while let Some(Ok(_)) = notifications.next().await {
            heard.notify_one();
        }
        Ok(())
    }

    fn channel(&self) -> String {
        self.tables.sql("outbox_event").into_owned()
    }
}
