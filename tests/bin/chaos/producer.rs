//! A service on one connection, on PostgreSQL or MySQL: transactions of every kind, each of which says in itself which events it has.

use std::future::Future;
use std::time::Duration;

use diesel::QueryResult;
use diesel::result::Error as DieselError;
use diesel_async::AsyncConnection;
use fastrand::Rng;
use outbox::OutboxBackend;
use outbox::prelude::*;
use outbox_tests::service::user_created;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::transaction::{Nested, Transaction, Way};

const PRODUCERS: usize = 8;
/// Before a client connects again.
pub(crate) const RECONNECT: Duration = Duration::from_millis(100);

/// What a producer says differently to each database.
pub(crate) trait Client: AsyncConnection<Backend: OutboxBackend> + 'static {
    /// What is in the error about a prepared transaction that is unknown: it was never prepared, or has ended.
    const NEVER_PREPARED: &'static str;

    /// Opens a transaction that will be prepared under this name.
    fn begin_prepared(name: &str) -> String;

    /// Prepares it.
    fn prepare(name: &str) -> String;

    /// Ends one that is prepared: COMMIT or ROLLBACK.
    fn decision(name: &str, decision: &str) -> String;

    /// Before each transaction.
    fn configure(&mut self, transaction: &Transaction) -> impl Future<Output = QueryResult<()>> + Send;

    /// Writes as many events into the outbox by hand, and tells of them.
    fn insert(&mut self, events: usize) -> impl Future<Output = QueryResult<()>> + Send;

    /// Says in the same transaction which events there are.
    fn tell(&mut self, ids: &[Uuid]) -> impl Future<Output = QueryResult<()>> + Send;
}

/// Lets producers work until then. Returns what shall become of transactions that were prepared, perhaps.
pub(crate) fn start<C: Client>(url: &str, rng: &mut Rng, until: Instant) -> JoinSet<Vec<String>> {
    let mut producers = JoinSet::new();
    for no in 0..PRODUCERS {
        let producer = Producer { no, url: url.to_owned(), rng: rng.fork(), prepared: 0, in_doubt: Vec::new() };
        producers.spawn(producer.run::<C>(until));
    }
    producers
}

/// Ends transactions that were prepared, perhaps, as it was decided. What is left is what could not be asked.
pub(crate) async fn decide<C: Client>(conn: &mut C, in_doubt: &mut Vec<String>) -> QueryResult<()> {
    while let Some(decision) = in_doubt.last() {
        match conn.batch_execute(decision).await {
            Err(DieselError::DatabaseError(_, info)) if info.message().contains(C::NEVER_PREPARED) => {}
            ended => ended?,
        }
        in_doubt.pop();
    }
    Ok(())
}

/// Why a transaction was not committed.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the producer thought better of it")]
    Wanted,
    #[error(transparent)]
    Database(#[from] DieselError),
}

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
    async fn run<C: Client>(mut self, until: Instant) -> Vec<String> {
        while Instant::now() < until {
            if let Ok(mut conn) = C::establish(&self.url).await {
                // It ends with the connection: what COMMIT did then, the table `truth` knows.
                let _ = self.work(&mut conn, until).await;
            }
            sleep(RECONNECT).await;
        }
        self.in_doubt
    }

    async fn work<C: Client>(&mut self, conn: &mut C, until: Instant) -> QueryResult<()> {
        decide(conn, &mut self.in_doubt).await?;
        while Instant::now() < until {
            let transaction = Transaction::random(&mut self.rng);
            conn.configure(&transaction).await?;
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

    async fn two_phase<C: Client>(
        &mut self,
        conn: &mut C,
        transaction: &Transaction,
        decided: Duration,
    ) -> QueryResult<()> {
        self.prepared += 1;
        let name = format!("chaos-{}-{}", self.no, self.prepared);
        conn.batch_execute(&C::begin_prepared(&name)).await?;
        fill(conn, transaction).await?;
        // Before it is prepared: its answer may be lost.
        self.in_doubt.push(C::decision(&name, end(transaction)));
        conn.batch_execute(&C::prepare(&name)).await?;
        sleep(decided).await;
        decide(conn, &mut self.in_doubt).await
    }
}

/// The road of a service that uses the attribute.
#[transactional_event]
async fn business<C: Client>(conn: &mut C, transaction: &Transaction) -> Result<(), Refused> {
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
async fn nested<C: Client>(conn: &mut C, savepoint: Nested) -> Result<(), Refused> {
    emit(conn, savepoint.events).await?;
    if savepoint.commits { Ok(()) } else { Err(Refused::Wanted) }
}

async fn emit<C: Client>(conn: &mut C, events: usize) -> QueryResult<()> {
    let mut ids = Vec::with_capacity(events);
    for no in 0..events {
        ids.push(conn.emit(&user_created(no as i64)).await?);
    }
    conn.tell(&ids).await
}

async fn plain<C: Client>(conn: &mut C, transaction: &Transaction) -> QueryResult<()> {
    conn.batch_execute("START TRANSACTION").await?;
    fill(conn, transaction).await?;
    conn.batch_execute(end(transaction)).await
}

fn end(transaction: &Transaction) -> &'static str {
    if transaction.commits { "COMMIT" } else { "ROLLBACK" }
}

/// The same by hand, in a transaction that is open.
async fn fill<C: Client>(conn: &mut C, transaction: &Transaction) -> QueryResult<()> {
    conn.insert(transaction.events).await?;
    if let Some(Nested { events, commits }) = transaction.nested {
        conn.batch_execute("SAVEPOINT nested").await?;
        conn.insert(events).await?;
        let end = if commits { "RELEASE" } else { "ROLLBACK TO" };
        conn.batch_execute(&format!("{end} SAVEPOINT nested")).await?;
        conn.insert(1).await?;
    }
    sleep(transaction.think).await;
    Ok(())
}
