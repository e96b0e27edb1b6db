//! MySQL (a MariaDB): producers on connections of their own, pruning all the time, and a server that is killed.

use std::time::Duration;

use diesel::sql_types::Text;
use diesel::{QueryResult, sql_query};
use diesel_async::{AsyncConnection, AsyncMysqlConnection, RunQueryDsl};
use fastrand::Rng;
use outbox::Store;
use outbox::mysql::MySqlStore;
use outbox_test::databases::MySqlDatabase;
use outbox_test::servers::PrivateMariaDb;
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use crate::Failure;
use crate::place::Source;
use crate::producer::{self, Client, decide};
use crate::transaction::{Transaction, crash_times, millis};
use crate::verdict::Counts;

/// Between two prunings, beside the relays' own.
const PRUNE_EVERY: Duration = Duration::from_millis(200);

/// Everything that happens to the server until `until`.
pub(crate) async fn chaos(
    server: PrivateMariaDb,
    database: Box<MySqlDatabase>,
    rng: &mut Rng,
    duration: Duration,
    until: Instant,
) -> Result<(Source, Counts), Failure> {
    let producers = producer::start::<AsyncMysqlConnection>(database.url(), rng, until);
    let ((server, database_crashes), pruned) =
        tokio::join!(crash(server, rng.fork(), duration, until), prune(database.url(), until));
    let mut in_doubt = producers.join_all().await.concat();
    decide(&mut AsyncMysqlConnection::establish(database.url()).await?, &mut in_doubt).await?;
    let counts = Counts { database_crashes, pruned, ..Counts::default() };
    Ok((Source::MySql(server, database), counts))
}

/// SIGKILL and a new start, spread over the time.
async fn crash(mut server: PrivateMariaDb, mut rng: Rng, duration: Duration, until: Instant) -> (PrivateMariaDb, u64) {
    let times = crash_times(&mut rng, duration);
    let crashes = times.len() as u64;
    for time in times {
        sleep_until(until - duration + time).await;
        server.kill().await;
        sleep(millis(&mut rng, 0..300)).await;
        server.restart().await;
    }
    (server, crashes)
}

/// Prunes all the time. Returns how many rows went; what the relays prune, their logs say.
async fn prune(url: &str, until: Instant) -> u64 {
    let store = MySqlStore::new(url);
    let mut pruned = 0;
    while Instant::now() < until {
        pruned += store.prune(Duration::ZERO).await.unwrap_or(0);
        sleep(PRUNE_EVERY).await;
    }
    pruned
}

/// Rows of ids from a JSON array, which is one bind however many there are.
const IDS: &str = "JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(36) PATH '$')) AS l";

impl Client for AsyncMysqlConnection {
    const NEVER_PREPARED: &'static str = "XAER_NOTA";

    fn begin_prepared(name: &str) -> String {
        format!("XA START '{name}'")
    }

    fn prepare(name: &str) -> String {
        format!("XA END '{name}'; XA PREPARE '{name}'")
    }

    fn decision(name: &str, decision: &str) -> String {
        format!("XA {decision} '{name}'")
    }

    async fn configure(&mut self, _: &Transaction) -> QueryResult<()> {
        Ok(())
    }

    async fn insert(&mut self, events: usize) -> QueryResult<()> {
        let ids: Vec<Uuid> = (0..events).map(|_| Uuid::now_v7()).collect();
        let insert = format!(
            "INSERT INTO outbox_event (id, event_type, version, occurred_at, environment, destination, payload, bytes) \
             SELECT id, 'user_created', 1, UNIX_TIMESTAMP() * 1000000, 'test', 'event_log', '{{}}', 100 FROM {IDS}"
        );
        sql_query(insert).bind::<Text, _>(json(&ids)).execute(self).await?;
        self.tell(&ids).await
    }

    async fn tell(&mut self, ids: &[Uuid]) -> QueryResult<()> {
        let tell = sql_query(format!("INSERT INTO truth (event_id) SELECT id FROM {IDS}")).bind::<Text, _>(json(ids));
        tell.execute(self).await.map(drop)
    }
}

fn json(ids: &[Uuid]) -> String {
    format!("{ids:?}").replace('[', "[\"").replace(']', "\"]").replace(", ", "\",\"")
}
