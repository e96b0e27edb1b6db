//! MySQL (a MariaDB): producers on connections of their own, pruning all the time, and a server that is killed.

use std::time::Duration;

use diesel::result::Error as DieselError;
use diesel::sql_types::Text;
use diesel::{QueryResult, sql_query};
use diesel_async::{AsyncConnection, AsyncMysqlConnection, RunQueryDsl, SimpleAsyncConnection};
use fastrand::Rng;
use outbox::Store;
use outbox::mysql::MySqlStore;
use outbox::prelude::*;
use outbox_test::databases::MySqlDatabase;
use outbox_test::servers::PrivateMariaDb;
use outbox_tests::service::user_created;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use crate::Failure;
use crate::place::Source;
use crate::transaction::{Nested, Transaction, Way, crash_times, millis};
use crate::verdict::Counts;

const PRODUCERS: usize = 8;
/// Between two prunings, beside the relays' own.
const PRUNE_EVERY: Duration = Duration::from_millis(200);
/// Before a client connects again.
const RECONNECT: Duration = Duration::from_millis(100);

/// Everything that happens to the server until `until`.
pub(crate) async fn chaos(
    server: PrivateMariaDb,
    database: Box<MySqlDatabase>,
    rng: &mut Rng,
    duration: Duration,
    until: Instant,
) -> Result<(Source, Counts), Failure> {
    let mut producers = JoinSet::new();
    for no in 0..PRODUCERS {
        let url = database.url().to_owned();
        producers.spawn(Producer { no, url, rng: rng.fork(), prepared: 0, in_doubt: Vec::new() }.run(until));
    }
    let ((server, database_crashes), pruned) =
        tokio::join!(crash(server, rng.fork(), duration, until), prune(database.url(), until));
    let in_doubt = producers.join_all().await.concat();
    decide(&mut AsyncMysqlConnection::establish(database.url()).await?, in_doubt).await?;
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

/// Ends transactions that were prepared, perhaps, as it was decided. What is left is what could not be asked.
async fn decide(conn: &mut AsyncMysqlConnection, mut in_doubt: Vec<String>) -> QueryResult<Vec<String>> {
    while let Some(decision) = in_doubt.last() {
        match conn.batch_execute(decision).await {
            // It was never prepared, or has ended.
            Err(DieselError::DatabaseError(_, info)) if info.message().contains("XAER_NOTA") => {}
            Err(error) => return Err(error),
            Ok(()) => {}
        }
        in_doubt.pop();
    }
    Ok(in_doubt)
}

/// Why a transaction was not committed.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the producer thought better of it")]
    Wanted,
    #[error(transparent)]
    Database(#[from] DieselError),
}

/// A service on one connection.
struct Producer {
    no: usize,
    url: String,
    rng: Rng,
    prepared: u64,
    /// What shall become of transactions that were prepared, perhaps.
    in_doubt: Vec<String>,
}

impl Producer {
    /// Returns what is in doubt at the end.
    async fn run(mut self, until: Instant) -> Vec<String> {
        while Instant::now() < until {
            if let Ok(mut conn) = AsyncMysqlConnection::establish(&self.url).await {
                // It ends with the connection: what COMMIT did then, the table `truth` knows.
                let _ = self.work(&mut conn, until).await;
            }
            sleep(RECONNECT).await;
        }
        self.in_doubt
    }

    async fn work(&mut self, conn: &mut AsyncMysqlConnection, until: Instant) -> QueryResult<()> {
        self.in_doubt = decide(conn, self.in_doubt.clone()).await?;
        while Instant::now() < until {
            let transaction = Transaction::random(&mut self.rng);
            match transaction.way {
                Way::Emit => match business(conn, &transaction).await {
                    Ok(()) | Err(Refused::Wanted) => {}
                    Err(Refused::Database(error)) => return Err(error),
                },
                Way::Sql => plain(conn, &transaction).await?,
                Way::Prepared(decided) => self.two_phase(conn, &transaction, decided).await?,
            }
            sleep(transaction.pause).await;
        }
        Ok(())
    }

    async fn two_phase(
        &mut self,
        conn: &mut AsyncMysqlConnection,
        transaction: &Transaction,
        decided: Duration,
    ) -> QueryResult<()> {
        self.prepared += 1;
        let name = format!("chaos-{}-{}", self.no, self.prepared);
        let decision = if transaction.commits { "COMMIT" } else { "ROLLBACK" };
        conn.batch_execute(&format!("XA START '{name}'")).await?;
        fill(conn, transaction).await?;
        // Before it is prepared: its answer may be lost.
        self.in_doubt.push(format!("XA {decision} '{name}'"));
        conn.batch_execute(&format!("XA END '{name}'; XA PREPARE '{name}'")).await?;
        sleep(decided).await;
        self.in_doubt = decide(conn, self.in_doubt.clone()).await?;
        Ok(())
    }
}

/// The road of a service that uses the attribute.
#[transactional_event]
async fn business(conn: &mut AsyncMysqlConnection, transaction: &Transaction) -> Result<(), Refused> {
    emit(conn, transaction.events).await?;
    if let Some(savepoint) = transaction.nested {
        match nested(conn, savepoint).await {
            Ok(()) | Err(Refused::Wanted) => {}
            Err(error) => return Err(error),
        }
        emit(conn, 1).await?;
    }
    sleep(transaction.think).await;
    if transaction.commits { Ok(()) } else { Err(Refused::Wanted) }
}

#[transactional_event]
async fn nested(conn: &mut AsyncMysqlConnection, savepoint: Nested) -> Result<(), Refused> {
    emit(conn, savepoint.events).await?;
    if savepoint.commits { Ok(()) } else { Err(Refused::Wanted) }
}

async fn emit(conn: &mut AsyncMysqlConnection, events: usize) -> QueryResult<()> {
    let mut ids = Vec::with_capacity(events);
    for no in 0..events {
        ids.push(conn.emit(&user_created(no as i64)).await?);
    }
    tell(conn, &ids).await
}

async fn plain(conn: &mut AsyncMysqlConnection, transaction: &Transaction) -> QueryResult<()> {
    conn.batch_execute("START TRANSACTION").await?;
    fill(conn, transaction).await?;
    conn.batch_execute(if transaction.commits { "COMMIT" } else { "ROLLBACK" }).await
}

/// The same by hand, in a transaction that is open.
async fn fill(conn: &mut AsyncMysqlConnection, transaction: &Transaction) -> QueryResult<()> {
    insert(conn, transaction.events).await?;
    if let Some(Nested { events, commits }) = transaction.nested {
        conn.batch_execute("SAVEPOINT nested").await?;
        insert(conn, events).await?;
        let end = if commits { "RELEASE" } else { "ROLLBACK TO" };
        conn.batch_execute(&format!("{end} SAVEPOINT nested")).await?;
        insert(conn, 1).await?;
    }
    sleep(transaction.think).await;
    Ok(())
}

/// Rows of ids from a JSON array, which is one bind however many there are.
const IDS: &str = "JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(36) PATH '$')) AS l";

async fn insert(conn: &mut AsyncMysqlConnection, events: usize) -> QueryResult<()> {
    let ids: Vec<Uuid> = (0..events).map(|_| Uuid::now_v7()).collect();
    let insert = format!(
        "INSERT INTO outbox_event (id, event_type, version, occurred_at, environment, destination, payload, bytes) \
         SELECT id, 'user_created', 1, UNIX_TIMESTAMP() * 1000000, 'test', 'event_log', '{{}}', 100 FROM {IDS}"
    );
    sql_query(insert).bind::<Text, _>(json(&ids)).execute(conn).await?;
    tell(conn, &ids).await
}

/// Says in the same transaction which events there are.
async fn tell(conn: &mut AsyncMysqlConnection, ids: &[Uuid]) -> QueryResult<()> {
    let tell = sql_query(format!("INSERT INTO truth (event_id) SELECT id FROM {IDS}")).bind::<Text, _>(json(ids));
    tell.execute(conn).await.map(drop)
}

fn json(ids: &[Uuid]) -> String {
    format!("{ids:?}").replace('[', "[\"").replace(']', "\"]").replace(", ", "\",\"")
}
