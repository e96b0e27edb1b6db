//! PostgreSQL: producers on connections of their own, pruning all the time, and immediate stops.

use std::time::Duration;

use diesel::result::Error as DieselError;
use diesel::sql_types::{Array, BigInt, Text, Uuid as SqlUuid};
use diesel::{QueryResult, QueryableByName, sql_query};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use fastrand::Rng;
use outbox::prelude::*;
use outbox_test::servers::PrivatePostgres;
use outbox_tests::service::user_created;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use crate::Failure;
use crate::place::Source;
use crate::transaction::{Nested, Transaction, Way, crash_times, millis};
use crate::verdict::Counts;

const PRODUCERS: usize = 8;
/// Between two calls of `outbox_prune()`, beside the relays' own.
const PRUNE_EVERY: Duration = Duration::from_millis(200);
/// Before a client connects again.
const RECONNECT: Duration = Duration::from_millis(100);

/// Everything that happens to PostgreSQL until `until`.
pub(crate) async fn chaos(
    server: PrivatePostgres,
    url: &str,
    rng: &mut Rng,
    duration: Duration,
    until: Instant,
) -> (Source, Counts) {
    let mut producers = JoinSet::new();
    for no in 0..PRODUCERS {
        let producer = Producer { no, url: url.to_owned(), rng: rng.fork(), prepared: 0, in_doubt: Vec::new() };
        producers.spawn(producer.run(until));
    }
    let ((server, database_crashes), pruned) =
        tokio::join!(crash(server, rng.fork(), duration, until), prune(url, until));
    producers.join_all().await;
    let counts = Counts { database_crashes, pruned, ..Counts::default() };
    (Source::Postgres(server), counts)
}

/// Immediate stops, spread over the time.
async fn crash(
    mut server: PrivatePostgres,
    mut rng: Rng,
    duration: Duration,
    until: Instant,
) -> (PrivatePostgres, u64) {
    let times = crash_times(&mut rng, duration);
    let crashes = times.len() as u64;
    for time in times {
        sleep_until(until - duration + time).await;
        server.stop_immediate().await;
        sleep(millis(&mut rng, 0..300)).await;
        server.restart().await;
    }
    (server, crashes)
}

#[derive(QueryableByName)]
struct Pruned {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Prunes all the time. Returns how many partitions went; what the relays prune, their logs say.
async fn prune(url: &str, until: Instant) -> u64 {
    let mut pruned = 0;
    while Instant::now() < until {
        if let Ok(mut conn) = AsyncPgConnection::establish(url).await {
            let query = || sql_query("SELECT outbox_prune()::bigint AS count");
            while Instant::now() < until
                && let Ok(found) = query().get_result::<Pruned>(&mut conn).await
            {
                pruned += found.count.unsigned_abs();
                sleep(PRUNE_EVERY).await;
            }
        }
        sleep(RECONNECT).await;
    }
    pruned
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
    /// Transactions that were prepared, perhaps, and what shall become of them.
    in_doubt: Vec<String>,
}

impl Producer {
    async fn run(mut self, until: Instant) {
        while Instant::now() < until {
            if let Ok(mut conn) = AsyncPgConnection::establish(&self.url).await {
                // It ends with the connection: what COMMIT did then, the table `truth` knows.
                let _ = self.work(&mut conn, until).await;
            }
            sleep(RECONNECT).await;
        }
    }

    async fn work(&mut self, conn: &mut AsyncPgConnection, until: Instant) -> QueryResult<()> {
        while let Some(decision) = self.in_doubt.last() {
            match conn.batch_execute(decision).await {
                // It was never prepared, or has ended.
                Err(DieselError::DatabaseError(_, info)) if info.message().contains("does not exist") => {}
                ended => ended?,
            }
            self.in_doubt.pop();
        }
        while Instant::now() < until {
            let transaction = Transaction::random(&mut self.rng);
            let asynchronous = if transaction.asynchronous { "off" } else { "on" };
            conn.batch_execute(&format!("SET synchronous_commit = {asynchronous}")).await?;
            match transaction.way {
                Way::Emit => match business(conn, &transaction).await {
                    Ok(()) | Err(Refused::Wanted) => {}
                    Err(Refused::Database(error)) => return Err(error),
                },
                Way::Sql => self.plain(conn, &transaction).await?,
                Way::Prepared(decided) => self.two_phase(conn, &transaction, decided).await?,
            }
            sleep(transaction.pause).await;
        }
        Ok(())
    }

    async fn plain(&self, conn: &mut AsyncPgConnection, transaction: &Transaction) -> QueryResult<()> {
        conn.batch_execute("BEGIN").await?;
        fill(conn, transaction).await?;
        conn.batch_execute(if transaction.commits { "COMMIT" } else { "ROLLBACK" }).await
    }

    async fn two_phase(
        &mut self,
        conn: &mut AsyncPgConnection,
        transaction: &Transaction,
        decided: Duration,
    ) -> QueryResult<()> {
        self.prepared += 1;
        let name = format!("chaos-{}-{}", self.no, self.prepared);
        let decision = if transaction.commits { "COMMIT" } else { "ROLLBACK" };
        conn.batch_execute("BEGIN").await?;
        fill(conn, transaction).await?;
        // Before it is prepared: its answer may be lost.
        self.in_doubt.push(format!("{decision} PREPARED '{name}'"));
        conn.batch_execute(&format!("PREPARE TRANSACTION '{name}'")).await?;
        sleep(decided).await;
        if let Some(decision) = self.in_doubt.last() {
            conn.batch_execute(decision).await?;
        }
        self.in_doubt.pop();
        Ok(())
    }
}

/// The road of a service that uses the attribute.
#[transactional_event]
async fn business(conn: &mut AsyncPgConnection, transaction: &Transaction) -> Result<(), Refused> {
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
async fn nested(conn: &mut AsyncPgConnection, savepoint: Nested) -> Result<(), Refused> {
    emit(conn, savepoint.events).await?;
    if savepoint.commits { Ok(()) } else { Err(Refused::Wanted) }
}

async fn emit(conn: &mut AsyncPgConnection, events: usize) -> QueryResult<()> {
    let mut ids = Vec::with_capacity(events);
    for no in 0..events {
        ids.push(conn.emit(&user_created(no as i64)).await?);
    }
    tell(conn, &ids).await
}

/// The same by hand, in a transaction that is open.
async fn fill(conn: &mut AsyncPgConnection, transaction: &Transaction) -> QueryResult<()> {
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

async fn insert(conn: &mut AsyncPgConnection, events: usize) -> QueryResult<()> {
    let ids: Vec<Uuid> = (0..events).map(|_| Uuid::now_v7()).collect();
    let insert = "INSERT INTO outbox_event (id, event_type, version, occurred_at, environment, destination, payload, bytes) \
        SELECT id, 'user_created', 1, clock_timestamp(), 'test', 'event_log', '{}', 100 FROM unnest($1) AS id";
    sql_query(insert).bind::<Array<SqlUuid>, _>(&ids).execute(conn).await?;
    tell(conn, &ids).await
}

/// Says in the same transaction which events there are.
async fn tell(conn: &mut AsyncPgConnection, ids: &[Uuid]) -> QueryResult<()> {
    let tell = sql_query("INSERT INTO truth (event_id) SELECT unnest($1)").bind::<Array<SqlUuid>, _>(ids);
    tell.execute(conn).await.map(drop)
}

#[derive(QueryableByName)]
struct Prepared {
    #[diesel(sql_type = Text)]
    gid: String,
}

/// Ends what producers left prepared: every second of them is committed, so that late events come from there, too.
pub(crate) async fn end_prepared(url: &str) -> Result<(), Failure> {
    let mut conn = AsyncPgConnection::establish(url).await?;
    let left: Vec<Prepared> = sql_query("SELECT gid FROM pg_prepared_xacts ORDER BY gid").load(&mut conn).await?;
    for (no, Prepared { gid }) in left.into_iter().enumerate() {
        let decision = if no % 2 == 0 { "COMMIT" } else { "ROLLBACK" };
        conn.batch_execute(&format!("{decision} PREPARED '{gid}'")).await?;
    }
    Ok(())
}
