//! PostgreSQL: producers on connections of their own, pruning all the time, and immediate stops.

use std::time::Duration;

use diesel::sql_types::{Array, BigInt, Text, Uuid as SqlUuid};
use diesel::{QueryResult, QueryableByName, sql_query};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use fastrand::Rng;
use outbox_test::servers::PrivatePostgres;
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use crate::Failure;
use crate::place::Source;
use crate::producer::{self, Client, RECONNECT};
use crate::transaction::{Transaction, crash_times, millis};
use crate::verdict::Counts;

/// Between two calls of `outbox_prune()`, beside the relays' own.
const PRUNE_EVERY: Duration = Duration::from_millis(200);

/// Everything that happens to PostgreSQL until `until`.
pub(crate) async fn chaos(
    server: PrivatePostgres,
    url: &str,
    rng: &mut Rng,
    duration: Duration,
    until: Instant,
) -> (Source, Counts) {
    let producers = producer::start::<AsyncPgConnection>(url, rng, until);
    let ((server, database_crashes), pruned) =
        tokio::join!(crash(server, rng.fork(), duration, until), prune(url, until));
    // What is in doubt, `end_prepared` finds in the database.
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

impl Client for AsyncPgConnection {
    const NEVER_PREPARED: &'static str = "does not exist";

    fn begin_prepared(_: &str) -> String {
        "BEGIN".to_owned()
    }

    fn prepare(name: &str) -> String {
        format!("PREPARE TRANSACTION '{name}'")
    }

    fn decision(name: &str, decision: &str) -> String {
        format!("{decision} PREPARED '{name}'")
    }

    async fn configure(&mut self, transaction: &Transaction) -> QueryResult<()> {
        let asynchronous = if transaction.asynchronous { "off" } else { "on" };
        self.batch_execute(&format!("SET synchronous_commit = {asynchronous}")).await
    }

    async fn insert(&mut self, events: usize) -> QueryResult<()> {
        let ids: Vec<Uuid> = (0..events).map(|_| Uuid::now_v7()).collect();
        let insert = "INSERT INTO outbox_event (id, event_type, version, occurred_at, environment, destination, payload, bytes) \
            SELECT id, 'user_created', 1, clock_timestamp(), 'test', 'event_log', '{}', 100 FROM unnest($1) AS id";
        sql_query(insert).bind::<Array<SqlUuid>, _>(&ids).execute(self).await?;
        self.tell(&ids).await
    }

    async fn tell(&mut self, ids: &[Uuid]) -> QueryResult<()> {
        let tell = sql_query("INSERT INTO truth (event_id) SELECT unnest($1)").bind::<Array<SqlUuid>, _>(ids);
        tell.execute(self).await.map(drop)
    }
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
